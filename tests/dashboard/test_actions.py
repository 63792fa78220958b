"""What the buttons do, to searches that really run; each is what a command does."""

import json
import threading

import pytest

import studio
from studio.dashboard.experiment_table import ExperimentTable
from studio.dashboard.summary import counted, live_summary
from studio.errors import BadInput
from studio.host import create_host
from studio.project import inbox as requests
from studio.project.inbox import Request
from studio.project.records import read_rows, reading
from studio.project.summary import summarize
from studio.search import send_requests
from tests.dashboard.conftest import wait_for

QUICK = "lr = 1\nprint('fitness:', lr)\n"
SLOW = "import time\nlr = 1\nprint('fitness:', lr, flush=True)\ntime.sleep(60)\n"
FAILS_ONCE = """\
import os, pathlib
lr = 1
print('fitness:', lr)
mark = pathlib.Path(os.environ["STUDIO_HOME"], "mark")
if not mark.exists():
    raise SystemExit("the first time it fails")
"""

SLOW_IF_SMALL = """\
import os, pathlib, time
lr = 1
if lr < 0.5 and not pathlib.Path(os.environ["STUDIO_HOME"], "mark").exists():
    time.sleep(60)
print('fitness:', lr)
"""
PAIRS = """\
import studio


class Pairs(studio.Optimizer):
    name = "pairs"

    def __init__(self, space, *, seed):
        self.asked = self.told = 0

    def ask(self):
        if self.asked > self.told and self.asked % 2 == 0:
            return None
        self.asked += 1
        return studio.Suggestion({"lr": (self.asked % 2) * -0.5 + 0.75}, None)

    def tell(self, suggestion, fitness):
        self.told += 1
"""


def status_of(browser, name):
    data = browser.json(f"/api/projects/{name}/experiments?layout=columns")
    return dict(zip(data["number"], data["status"], strict=True))


def ok(answer):
    assert answer.status_code == 200, answer.text
    said = answer.json()["message"]
    assert "driver" not in said  # a word of the inside
    assert "studio" not in said  # a person at a page types no command
    return said


def refused(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["message"]


GATED = """\
import os, pathlib, time
lr = 1
n = 1
print('fitness:', lr * n, flush=True)
while not pathlib.Path(os.environ["STUDIO_HOME"], "gate").exists():
    time.sleep(0.02)
"""


def test_a_running_search_is_steered(browser, live, home):
    """All that can be asked of one search, from its first experiment to what comes after its end."""

    def summary():
        return browser.json("/api/projects/digits")

    def possible():
        return {action for action, why in summary()["actions"].items() if not why}

    options = ["--max-experiments=4", "--num-workers=2", "--max-time=1h", "--hyperparam=n=1:8:i"]
    process = live("digits", *options, text=GATED)
    wait_for(lambda: list(status_of(browser, "digits").values())[:2] == ["running", "running"])
    assert possible() == {"pause", "stop", "add-budget", "add-values"}
    for _ in range(3):  # pause, and at once go on
        send_requests.pause("digits")
        send_requests.resume_or_unpause("digits")
    wait_for(lambda: not list(studio.Project("digits").folder.glob("requests/*")))
    assert summary()["state"] == "running"

    assert "1 experiment" in ok(browser.act("digits", "stop", {"numbers": [2]}))
    wait_for(lambda: status_of(browser, "digits").get(3) == "running")  # the search goes on
    assert [status_of(browser, "digits")[number] for number in (1, 2)] == ["running", "stopped"]
    assert "is not running" in refused(browser.act("digits", "stop", {"numbers": [2]}))

    assert "1 experiment" in ok(browser.act("digits", "add-budget", {"experiments": 1}))
    wait_for(lambda: summary()["planned"] == 5)
    for seconds, time in ((5400, "1H 30M"), (90, 90)):  # parse_duration has all spellings
        before = summary()["max_time"]
        assert str(time) in ok(browser.act("digits", "add-budget", {"time": time}))
        wait_for(lambda before=before, seconds=seconds: summary()["max_time"] == before + seconds)
    beyond = {"values": {"lr": "0.5", "n": 80}}  # beyond its range: it is meant
    assert "next" in ok(browser.act("digits", "add-values", beyond))

    assert "pause" in ok(browser.act("digits", "pause"))
    wait_for(lambda: summary()["state"] == "paused")
    assert "to pause" in ok(browser.act("digits", "pause"))  # once more is no error
    assert possible() == {"resume", "stop", "retry", "add-budget", "add-values"}
    (home / "gate").touch()
    wait_for(lambda: "running" not in status_of(browser, "digits").values())  # what ran goes on to its end
    assert studio.Project("digits").state == "paused"
    assert list(status_of(browser, "digits").values()).count("completed") < 5
    assert "continue" in ok(browser.act("digits", "resume"))
    process.wait(60)
    data = browser.json("/api/projects/digits/experiments?layout=columns")
    at = data["values"]["n"].index(80)
    assert (data["values"]["lr"][at], data["metric"]["fitness"][at]) == (0.5, 40.0)
    assert len(data["number"]) == 6  # values by hand are beside the budget
    assert studio.Project("digits").best.values == {"lr": 0.5, "n": 80}
    assert studio.Project("digits").settings["max_experiments"] == 5  # a resume keeps to it
    assert {"add-budget", "add-values"} <= possible()
    assert summary()["elapsed"] > 0

    # What is left out is the best's; nobody is at work any more, so that the search goes on for it.
    assert "next" in ok(browser.act("digits", "add-values", {"values": {"n": 90}}))
    wait_for(lambda: (best := studio.Project("digits").best) and best.values == {"lr": 0.5, "n": 90})
    wait_for(lambda: summary()["state"] != "running")
    assert "continues" in ok(browser.act("digits", "add-budget", {"experiments": 2}))
    wait_for(lambda: list(status_of(browser, "digits").values()) == ["completed"] * 9)


def test_stop_and_go_on(browser, live):
    process = live("digits", "--max-experiments=2", text=SLOW)
    wait_for(lambda: status_of(browser, "digits").get(1) == "running")
    assert "stop" in ok(browser.act("digits", "stop"))
    process.wait(60)
    assert browser.json("/api/projects/digits")["state"] == "stopped"
    assert status_of(browser, "digits")[1] == "stopped"
    assert "continues" in ok(browser.act("digits", "resume"))
    wait_for(lambda: status_of(browser, "digits")[1] == "running")
    ok(browser.act("digits", "stop"))
    wait_for(lambda: browser.json("/api/projects/digits")["state"] == "stopped")


def test_retry_what_failed(browser, command, script, home):
    script("train.py", FAILS_ONCE)
    assert command(
        "run", "--project=digits", "--optimizer=random", "--max-experiments=2", "--hp=lr=0:1", "train.py"
    ).code
    assert status_of(browser, "digits") == {1: "failed", 2: "failed"}
    (home / "mark").touch()
    assert "1 experiment" in ok(
        browser.act("digits", "retry", {"numbers": [2]})
    )  # nobody is at work: a resume is started
    wait_for(lambda: status_of(browser, "digits") == {1: "failed", 2: "completed"})
    wait_for(lambda: browser.json("/api/projects/digits")["state"] != "running")
    assert "1 experiment" in ok(browser.act("digits", "retry"))
    wait_for(lambda: status_of(browser, "digits") == {1: "completed", 2: "completed"})
    assert browser.json("/api/projects/digits/experiments?layout=columns")["attempts"] == [2, 2]
    assert "no experiment failed" in ok(browser.act("digits", "retry"))
    assert "no experiment 9" in refused(browser.act("digits", "retry", {"numbers": [9]}))


def test_values_by_hand_change_nothing_for_the_optimizer(home, command, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    options = ["--optimizer=cma", "--seed=3", "--hp=lr=0:1", "train.py"]
    command("run", "--project=plain", "--max-experiments=8", *options)
    command("run", "--project=mixed", "--max-experiments=4", *options)
    assert command("add", "mixed", "lr=0.123", "--quiet").code == 0
    assert command("add", "mixed", "--experiments=4", "--quiet").code == 0
    plain = [experiment.values["lr"] for experiment in studio.Project("plain").experiments]
    mixed = [experiment.values["lr"] for experiment in studio.Project("mixed").experiments]
    assert mixed == [*plain[:4], 0.123, *plain[4:]]
    assert command("add", "mixed", "lr=0.456", "--quiet").code == 0  # and what was added is repeated on resume
    assert len(studio.Project("mixed").experiments) == 10


def test_what_cannot_be_done_says_why(browser, project, home):
    project(count=0, ranges={"lr": "0:1", "n": "1:8:i", "opt": "adam,sgd", "w": "0:1:3:a"})
    for action, given, words in [
        ("add-values", {"values": {"optt": 1}}, "did you mean 'opt'"),
        ("add-values", {"values": {"lr": "fast"}}, "'fast' is not a number"),
        ("add-values", {"values": {"n": "1.5"}}, "not a whole number"),
        ("add-values", {"values": {"opt": "adm"}}, "not one of adam, sgd"),
        ("add-values", {"values": {"w": [1, 2]}}, "needs 3 numbers"),
        ("add-values", {"values": {"w": "1,2,x"}}, "needs 3 numbers"),
        ("add-values", {"values": {}}, "no values"),
        ("add-values", {"values": {"lr": 1}}, "no value for hyperparameter n, opt, w"),
        ("add-values", {"values": "lr=1"}, "names with values"),
        ("add-values", {}, "names with values"),
        ("add-budget", {}, "at least 1"),
        ("add-budget", {"experiments": -5}, "at least 1"),
        ("add-budget", {"experiments": "many"}, "not a whole number"),
        ("add-budget", {"time": "soon"}, "not a duration"),
        ("retry", {"numbers": [0]}, "list of experiment numbers"),
        ("retry", {"numbers": []}, "the list is empty"),
        ("stop", {"numbers": []}, "the list is empty"),
        ("stop", {"numbers": None}, "list of experiment numbers"),
        ("stop", {"number": [3]}, "'number' is no field"),
        ("retry", {"numbers": ["1"]}, "list of experiment numbers"),
    ]:
        assert words in refused(browser.act("digits", action, given))
        assert not list((home / "projects" / "digits").glob("requests/*"))


def test_unknown_actions_and_projects(browser, project):
    project()
    assert browser.act("digits", "explode").status_code == 404
    assert browser.act("nix", "stop").status_code == 404


def test_a_resume_that_cannot_begin_says_why(browser, command, script):
    train = script("train.py", QUICK)
    command("run", "--project=digits", "--optimizer=random", "--max-experiments=1", "--hp=lr=0:1", "train.py")
    train.write_text("lr = 2\nprint('fitness:', lr)  # changed\n")
    assert "changed since the search started" in refused(browser.act("digits", "add-budget", {"experiments": 1}))


@pytest.mark.parametrize(
    "given", [("retry", "digits", "1"), ("add", "digits", "lr=0.5"), ("add", "digits", "lr=1", "--time=x")]
)
def test_what_was_refused_does_not_happen_later(command, script, home, given):
    train = script("train.py", QUICK)
    command("run", "--project=digits", "--hp=lr=0.25", "train.py")
    train.write_text("lr = 2\nprint('fitness:', lr)  # changed\n")
    assert command(*given).code == 2
    assert not list((home / "projects" / "digits" / "requests").iterdir())


def test_a_driver_that_ends_takes_no_note_with_it(project):
    """Its lock is released while the note lies there, unread."""
    for name, ask, words in (
        ("stopped", lambda: send_requests.stop("stopped"), "not running"),
        ("paused", lambda: send_requests.pause("paused"), "not running"),
        ("more", lambda: send_requests.add_budget("more", 5), "continues"),
        ("again", lambda: send_requests.retry("again", [3]), "1 experiment will run again"),
        ("queued", lambda: send_requests.add_values("queued", {"lr": 0.5}, create_host()), "these values run next"),
    ):
        store = project(name)
        threading.Timer(0.1, store._lock.close).start()
        asked = ask()
        assert words in asked.words
        waits = [request.action for _, request in requests.pending(store.folder)]
        assert waits == {"again": ["retry"], "queued": ["queue"]}.get(name, [])
        assert asked.resume == {"more": {"max_experiments": "15"}, "again": {}, "queued": {}}.get(name)


def test_a_note_is_carried_out_once(command, script, home):
    """The driver was killed between the commit and the removal: the note is still there."""
    script("train.py", QUICK)
    command("run", "--project=digits", "--hp=lr=0.25,0.5", "train.py")
    folder = home / "projects" / "digits"
    note = requests.post(folder, Request("queue", values={"lr": 7}))
    text = note.read_text()
    assert command("resume", "digits", "--quiet").code == 0
    assert not note.exists()
    note.write_text(text)
    assert command("resume", "digits", "--quiet").code == 0
    assert not note.exists()
    assert [experiment.values["lr"] for experiment in studio.Project("digits").experiments] == [0.25, 0.5, 7]


def test_stopping_one_that_the_optimizer_waits_for_ends_the_search(browser, live, home, workdir):
    """It wants the fitness of both before it goes on."""
    (workdir / "pairs.py").write_text(PAIRS)
    process = live("digits", "--optimizer=pairs.py", "--num-workers=2", "--max-experiments=4", text=SLOW_IF_SMALL)
    wait_for(lambda: status_of(browser, "digits") == {1: "running", 2: "completed"})
    ok(browser.act("digits", "stop", {"numbers": [1]}))
    process.wait(60)
    assert studio.Project("digits").state == "stopped"
    (home / "mark").touch()
    ok(browser.act("digits", "resume"))
    wait_for(lambda: list(status_of(browser, "digits").values()) == ["completed"] * 4)


@pytest.mark.parametrize(("settings", "size", "words"), [
    ({"optimizer": "sobol", "max_experiments": None}, 8, "the 8 experiments of sobol"),
    ({"optimizer": "cma", "max_experiments": None}, None, "has no limit on experiments"),
])  # fmt: skip
def test_a_number_that_would_do_nothing_is_refused(browser, project, settings, size, words):
    store = project(**settings)
    store.begin_session(size=size)
    assert words in refused(browser.act("digits", "add-budget", {"experiments": 5}))


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**63, "9" * 5000, "1" + "0" * 400, 1e300])
@pytest.mark.parametrize("name", ["n", "lr", "opt", "size", "w"])
def test_numbers_too_large_for_a_number(project, value, name):
    ranges = {"lr": "0:1", "n": "1:8:i", "opt": "adam,sgd", "size": "1,2", "w": "0:1:1:a"}
    project(count=0, ranges=ranges).close()
    given = {"lr": 0.5, "n": 2, "opt": "sgd", "size": 1, "w": [0.5], name: [value] if name == "w" else value}
    if (name, value) in (("lr", 1e300), ("size", 1e300), ("w", 1e300), ("w", 2**63)):  # floats may be as large as that
        assert send_requests.add_values("digits", given, create_host()).resume == {}
    else:
        with pytest.raises(BadInput, match=f"hyperparameter {name}: "):
            send_requests.add_values("digits", given, create_host())


def test_a_grid_that_is_done_takes_no_budget(browser, command, script):
    script("train.py", QUICK)
    assert command("run", "--project=digits", "--hp=lr=1,2", "train.py").code == 0
    refused = browser.json("/api/projects/digits")["actions"]
    assert "ends with the 2 experiments of grid" in refused["add-budget"]
    assert refused["add-values"] is None


def test_the_state_and_its_buttons_are_of_one_moment(project):
    """The driver ends between the look at the table and the one at the record."""
    store = project()
    table = ExperimentTable(store.folder, create_host())
    table.refresh()
    store.close()
    summary = summarize(store.folder)
    found = live_summary(table, summary, counted(table, summary))
    assert (found["state"], found["actions"]["resume"]) == ("interrupted", None)


def test_the_same_from_the_command_line(command, live, home):
    live("digits", "--max-experiments=100", text="import time\nlr = 1\nprint('fitness:', lr)\ntime.sleep(0.2)\n")
    assert "asked the search" in command("pause", "digits").err
    assert json.loads(command("runs", "list", "--json").out)[0]["state"] == "paused"  # it was waited for
    assert "next" in command("add", "digits", "lr=0.5").err
    assert "5 experiments" in command("add", "digits", "--experiments=5").err
    assert "no time limit" in command("add", "digits", "--time=5m").err
    assert command("add", "digits").code == 2
    assert "studio add" in command("resume", "digits", "--max-experiments=9").err
    assert "continue" in command("resume", "digits").err
    with reading(home / "projects" / "digits") as connection:
        wait_for(lambda: any('"lr": 0.5' in row.values for row in read_rows(connection)))
    assert "asked the search" in command("stop", "digits").err
    wait_for(lambda: studio.Project("digits").state == "stopped")
    assert "not running" in command("stop", "digits").err
