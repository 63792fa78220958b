"""What one session leaves for the next, and what two at once do to each other."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from studio.project import inbox as requests
from studio.project.project import Project
from studio.project.store import Store
from studio.search.observer import Observer
from studio.search.resume import resume
from studio.search.run import run

SCORES = "lr = 1\nprint('fitness:', lr)\n"
FAILS_ONCE = """
import os, sys
lr = 1
marker = os.environ["MARKER"] + str(lr)
if not os.path.exists(marker):
    open(marker, "w").close()
    sys.exit(1)
print("fitness:", lr)
"""


@pytest.fixture
def folder(home, workdir):
    return home / "projects" / "p"


def test_two_searches_of_one_second_have_two_projects(home, script):
    script("train.py", SCORES)
    command = [sys.executable, "-c", "import studio; print(studio.run('train.py', hyperparams={'lr': '1:3'}).name)"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    names = [process.communicate()[0].strip() for process in started]
    assert len(set(names)) == 3
    assert [len(Project(name).experiments) for name in names] == [3, 3, 3]


def test_of_two_searches_with_one_name_one_wins(home, script):
    script("train.py", SCORES)
    command = [sys.executable, "-c", "import studio; studio.run('train.py', hyperparams={'lr': '1:3'}, project='p')"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    codes = sorted(bool(process.communicate() and process.returncode) for process in started)
    assert codes == [False, True, True]
    assert [experiment.fitness for experiment in Project("p").experiments] == [1, 2, 3]


def test_a_retry_that_was_taken_up_is_not_forgotten(folder, script, tmp_path, monkeypatch):
    """The driver that took it up dies before it gets to it."""
    monkeypatch.setenv("MARKER", str(tmp_path / "failed-"))
    script("train.py", FAILS_ONCE)
    run("train.py", hyperparams={"lr": "1:3"}, project="p")
    assert [experiment.status for experiment in Project("p").experiments] == ["failed"] * 3
    store = Store.open(folder)  # what a driver writes when it takes up the request
    for number in (1, 2, 3):
        store.attempt_queued(number, 2)
    store.close()
    resume("p")
    assert [(e.status, e.attempt) for e in Project("p").experiments] == [("completed", 2)] * 3


def test_a_request_to_stop_is_for_the_driver_of_its_time(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:3"}, project="p", max_experiments=2)
    requests.leave(folder, requests.Request("stop"))
    resume("p", max_experiments=3)
    assert [experiment.status for experiment in Project("p").experiments] == ["completed"] * 3


def test_a_retry_of_what_waits_anyway_runs_it_once(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:4"}, project="p", max_experiments=1)
    store = Store.open(folder)
    store.ask(2, {"lr": 2}, 1)  # asked, never started
    store.close()
    requests.leave(folder, requests.Request("retry", [2]))
    resume("p", max_experiments=2)
    found = Project("p").experiments
    assert [(e.status, e.attempt) for e in found] == [("completed", 1), ("completed", 1)]


def test_a_hang_up_that_is_ignored_stays_ignored(home, script):
    script("train.py", "import time\nlr = 1\ntime.sleep(0.5)\nprint('fitness:', lr)\n")
    command = [sys.executable, "-c", "import studio; studio.run('train.py', hyperparams={'lr': '1:2'}, project='p')"]
    ignore = (
        f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, {command!r})"
    )
    driver = subprocess.Popen([sys.executable, "-c", ignore])
    log = home / "projects" / "p" / "1" / "1"
    while not log.exists() and driver.poll() is None:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGHUP)
    assert driver.wait() == 0
    assert len(Project("p").experiments) == 2


def test_an_exhausted_search_ends_and_says_so(home, script):
    script("train.py", SCORES)
    heard = []

    class Listener(Observer):
        def notice(self, text):
            heard.append(text)

    project = run("train.py", hyperparams={"lr": [1, 2]}, optimizer="random", max_time=60, observer=Listener())
    assert project.state == "exhausted"
    assert any("tried before" in text for text in heard)
    assert len(project.experiments) < 1000


def test_without_a_driver_nothing_is_running(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:2"}, project="p")
    store = Store.open(folder)
    store.attempt_started(2, 2)
    assert Project("p").experiments[1].status == "running"
    store.close()
    assert Project("p").experiments[1].status == "stopped"
    assert json.dumps(Project("p").experiments[1].as_dict())


def test_a_budget_below_what_was_asked_for_is_kept(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:9"}, project="p", max_experiments=2)
    store = Store.open(folder)
    for number in (3, 4, 5):
        store.ask(number, {"lr": number}, number - 1)
    store.close()
    resume("p", max_experiments=3)
    assert [experiment.status for experiment in Project("p").experiments] == ["completed"] * 3 + ["queued"] * 2
