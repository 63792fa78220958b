"""What one session leaves for the next, and what two at once do to each other."""

import json
from pathlib import Path

import pytest

from studio.project import inbox as requests
from studio.project.project import Project
from studio.project.store import Store
from studio.search.resume import resume
from studio.search.run import run

SCORES = "lr = 1\nprint('fitness:', lr)\n"


@pytest.fixture
def folder(home, workdir):
    return home / "projects" / "p"


def test_searches_of_one_second_have_projects_of_their_own(home, script, driver):
    script("train.py", SCORES)
    started = [driver("run", "--hp=lr=1,2", "train.py") for _ in range(3)]
    assert [one.wait() for one in started] == [0, 0, 0]
    assert [len(Project(path.name).experiments) for path in (home / "projects").iterdir()] == [2, 2, 2]


def test_a_request_to_stop_is_for_the_driver_of_its_time(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:3"}, project="p", max_experiments=2)
    requests.post(folder, requests.Request("stop"))
    resume("p", max_experiments=3)
    assert [experiment.status for experiment in Project("p").experiments] == ["completed"] * 3


def test_a_retry_of_what_waits_anyway_runs_it_once(folder, script):
    script("train.py", SCORES)
    run("train.py", hyperparams={"lr": "1:4"}, project="p", max_experiments=1)
    store = Store.open(folder)
    store.ask(2, {"lr": 2}, 1)  # asked, never started
    store.close()
    requests.post(folder, requests.Request("retry", [2]))
    resume("p", max_experiments=2)
    found = Project("p").experiments
    assert [(e.status, e.attempt) for e in found] == [("completed", 1), ("completed", 1)]


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


# --- while an optimizer takes its time --------------------------------------------------------------------------------

OPTIMIZER = """
import os, time
import studio

def pause():
    open(os.environ["NOTES"] + "-pause", "w").close()
    while not os.path.exists(os.environ["NOTES"] + "-go"):
        time.sleep(0.005)

class Mine(studio.Optimizer):
    needs_fitness = False

    def __init__(self, space, *, seed):
        if os.environ.get("OPTIMIZER") == "slow":
            pause()
        self.space, self.asked = space, 0

    def ask(self):
        self.asked += 1
        return self.space.suggestion([self.asked / 10])

    def tell(self, suggestion, fitness):
        if os.environ.get("OPTIMIZER") == "breaks":
            pause()
            time.sleep(0.5)
            raise ValueError("no idea")
"""


@pytest.fixture
def searched(script, tree, notes):
    """Options of a search by that optimizer; its experiment 2 waits until it may `go`."""
    tree(
        "train.py",
        """
        lr = 1
        note("begins")
        while os.environ["STUDIO_EXPERIMENT"] == "p/2" and not os.path.exists(os.environ["NOTES"] + "-go"):
            time.sleep(0.005)
        print("fitness:", lr)
        """,
    )
    return ["--project=p", f"--optimizer={script('mine.py', OPTIMIZER)}", "--hp=lr=0:1", "--no-baseline"]


def test_a_stop_while_a_resume_replays_is_heard(searched, command, driver, until, notes):
    assert command("run", *searched, "--max-experiments=1", "train.py").code == 0
    resumed = driver("resume", "p", "--max-experiments=5", env={"OPTIMIZER": "slow"})
    until(Path(f"{notes.path}-pause").exists, what=resumed.err)
    assert "asked the search to stop" in command("stop", "p").err
    Path(f"{notes.path}-go").touch()
    resumed.wait()
    assert Project("p").state == "stopped"
    assert len([e for e in Project("p").experiments if e.started]) == 1


def test_what_ended_while_the_search_broke_off_is_not_done_again(searched, driver, command, until, notes):
    options = [*searched, "--num-workers=2", "--max-experiments=2"]
    broken = driver("run", *options, "train.py", env={"OPTIMIZER": "breaks"})
    until(lambda: Path(f"{notes.path}-pause").exists() and notes.count("begins") == 2, what=broken.err)
    Path(f"{notes.path}-go").touch()
    assert broken.wait() == 1
    assert "no idea" in broken.err
    assert command("resume", "p").code == 0
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2
    assert notes.count("begins") == 2


@pytest.mark.parametrize(
    ("damaged", "code", "advice"),
    [
        (False, 2, "not a terminal, so nobody can be asked; to delete the project, type studio rm p --yes"),
        (True, 1, "studio doctor p --restore"),
    ],
    ids=["well", "damaged"],
)
def test_rm_wants_a_yes_where_nobody_can_be_asked(script, command, folder, damaged, code, advice):
    script("train.py", SCORES)
    assert command("run", "--project=p", "--hp=lr=1", "train.py").code == 0
    if damaged:
        (folder / "studio.db").write_bytes(b"not a database")
    refused = command("rm", "p")
    assert (refused.code, advice in refused.err) == (code, True), refused.err
    assert folder.is_dir()
    assert command("rm", "p", "--yes").code == 0
    assert not folder.exists()
