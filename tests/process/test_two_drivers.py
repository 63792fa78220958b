"""Two drivers on one project: one works, the other says who does. Should the lock be lost, the later one counts."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from studio.project.paths import database
from studio.project.project import Project

OPTIONS = ("--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l")
SEARCH = ("run", *OPTIONS, "--max-experiments=3", "train.py")
# Experiment 2 lasts until it is let go; what it started would last longer.
LASTING = """
lr = 0.1
note(f"begins {os.getpid()}")
if os.environ["STUDIO_EXPERIMENT"] == "p/2":
    child()
    daemon()
    note("lasts")
    while not os.path.exists(os.environ["NOTES"] + "-go"):
        time.sleep(0.005)
print("fitness:", -((lr - 0.02) ** 2))
"""


@pytest.fixture
def folder(home):
    return home / "projects" / "p"


@pytest.fixture
def go(notes):
    """`go()` lets experiment 2 end."""
    return Path(f"{notes.path}-go").touch


@pytest.fixture
def search(tree):
    """The script of the search."""
    tree("train.py", LASTING)


@pytest.fixture
def begun(search, command):
    """A project `p` with one experiment of the search."""
    assert command("run", *OPTIONS, "--max-experiments=1", "train.py").code == 0


def last_line(driver):
    return driver.err.rstrip("\n").rpartition("\n")[2]


def assert_as_one(record, journal, undisturbed):
    """The record is that of one driver: each number asked and told once, at the first attempt."""
    assert record("p") == undisturbed(3)
    assert {(e.status, e.attempt) for e in Project("p").experiments} == {("completed", 1)}
    assert Counter((event.kind, event.number) for event in journal("p")) == {
        (kind, number): 1 for kind in ("ask", "tell") for number in (1, 2, 3)
    }


# --- at once ----------------------------------------------------------------------------------------------------------


def test_of_two_resumes_one_works(begun, driver, until, notes, go, hostname, record, journal, undisturbed):
    both = [driver("resume", "p", "--max-experiments=3") for _ in range(2)]
    until(lambda: notes.count("lasts") and any(not one.running for one in both))
    loser, winner = sorted(both, key=lambda one: one.running)
    assert loser.wait() == 2
    assert loser.err == (
        f"studio: project 'p' is being run by process {winner.pid} on {hostname}; `studio stop p` ends it\n"
    )
    go()
    assert winner.wait() == 0, winner.err
    assert_as_one(record, journal, undisturbed)
    assert [len(notes.of(f"p/{number}", "begins")) for number in (1, 2, 3)] == [1, 1, 1]


def test_two_that_begin_one_project_at_once(search, undisturbed, driver, until, notes, go, record, journal):
    both = [driver(*SEARCH) for _ in range(2)]
    until(lambda: notes.count("lasts") and any(not one.running for one in both))
    loser, winner = sorted(both, key=lambda one: one.running)
    assert loser.wait() == 2
    assert f"project 'p' is being run by process {winner.pid} on" in loser.err or "project 'p' exists" in loser.err
    assert loser.err.count("\n") == 1
    go()
    assert winner.wait() == 0, winner.err
    assert_as_one(record, journal, undisturbed)


def test_other_commands_name_the_running_driver(begun, driver, command, until, notes, go, hostname):
    one = driver("resume", "p", "--max-experiments=3")
    until(lambda: notes.count("lasts"))
    holder = f"process {one.pid} on {hostname}"
    for arguments in (("rm", "-y", "p"), ("doctor", "p", "--restore")):
        refused = command(*arguments)
        assert (refused.code, f"project 'p' is being run by {holder}" in refused.err) == (2, True)
    assert f"ok  p: a driver is running: {holder}" in command("doctor", "p").out
    assert json.loads(command("runs", "list", "--json").out)[0]["state"] == "running"
    go()
    assert one.wait() == 0, one.err


def test_a_holder_that_was_killed_holds_nothing(
    begun, driver, command, until, notes, go, folder, record, journal, undisturbed
):
    dead = driver("resume", "p", "--max-experiments=3")
    until(lambda: notes.count("lasts"))
    assert dead.kill() == -signal.SIGKILL
    assert f"process {dead.pid}" in (folder / "lock").read_text()
    assert json.loads(command("runs", "list", "--json").out)[0]["state"] != "running"
    go()
    heir = driver("resume", "p")
    assert heir.wait() == 0, heir.err
    assert str(dead.pid) not in heir.err
    assert f"process {heir.pid}" in (folder / "lock").read_text()
    assert_as_one(record, journal, undisturbed)


# --- one that was paused and lost its lock ----------------------------------------------------------------------------


def stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def paused(search, driver, until, notes, folder):
    """`paused(moment)`: a driver that is stopped there, or while experiment 2 runs; its lock is gone."""

    def start(moment=None):
        one = driver(*SEARCH, dies=moment and (*moment, "SIGSTOP"))
        if moment is None:
            until(lambda: notes.count("lasts"))
            os.kill(one.pid, signal.SIGSTOP)
        until(lambda: stopped(one.pid), what=one.err)
        (folder / "lock").unlink()
        return one

    return start


@pytest.fixture
def at_work(notes, alive):
    """`at_work(driver)`: the processes of experiment 2 once this driver has started all of them, else none."""

    def look(driver):
        lines = [line for line in notes.lines if line[0] == "p/2"]
        mine = notes.processes("p/2")[-3:]
        if not lines or lines[-1][1] != "lasts" or not alive(mine[0]):
            return []
        parent = Path(f"/proc/{mine[0]}/stat").read_text().rpartition(")")[2].split()[1]
        return mine if int(parent) == driver.pid else []

    return look


def wakes(one):
    """It goes on, and finds that it is not needed any more."""
    os.kill(one.pid, signal.SIGCONT)
    assert one.wait() == 1, one.err
    assert last_line(one) == (
        "studio: another process runs project 'p' now; later results of this one were not recorded"
    )
    assert "Traceback" not in one.err


def test_a_driver_that_wakes_up_after_another_came_to_the_end(
    paused, driver, until, notes, go, alive, record, journal, undisturbed, command, everything
):
    first = paused()
    early = notes.processes()
    second = driver("resume", "p")
    until(lambda: notes.count("lasts") == 2)
    assert not [pid for pid in early if alive(pid)]  # its scripts are not left to it
    go()
    assert second.wait() == 0, second.err
    listed = command("runs", "list", "p", "--json").out
    lines = journal("p")
    wakes(first)
    assert list(first.shown) == [1]
    assert command("runs", "list", "p", "--json").out == listed
    assert journal("p") == lines
    until(lambda: not everything())
    assert_as_one(record, journal, undisturbed)
    assert command("doctor", "p").code == 0


MOMENTS = [
    None,
    ("after", "studio.execution.runner:Runner.start", 2),
    ("before", "studio.project.inbox:pending", 3),
    *(
        pytest.param(moment, marks=pytest.mark.slow)
        for moment in [
            ("before", "studio.project.backup:Backups.write_if_due", 2),
            ("after", "studio.project.backup:Backups.write_if_due", 2),
            ("before", "studio.search.display:PlainLines.finished", 1),
            ("before", "studio.execution.runner:Runner.start", 2),
            ("after", "studio.execution.runner:Runner.poll", 1),
        ]
    ),
]


@pytest.mark.parametrize(
    "moment", MOMENTS, ids=lambda moment: "at work" if moment is None else moment[1].rpartition(":")[2]
)
def test_a_paused_driver_harms_no_other(
    moment, paused, at_work, driver, until, go, alive, record, journal, undisturbed, everything, folder
):
    first = paused(moment)
    second = driver("resume", "p")
    mine = until(lambda: at_work(second))
    wakes(first)
    assert all(alive(pid) for pid in mine)
    assert not (folder / "2" / "1" / "outcome.json").exists()
    go()
    assert second.wait() == 0, second.err
    until(lambda: not everything())
    assert_as_one(record, journal, undisturbed)


def test_a_driver_that_wakes_up_on_a_database_that_was_restored(
    paused, driver, until, notes, go, command, record, journal, undisturbed, folder
):
    """Its own file has another name by now; the one in its place, and its log, belong to the other driver."""
    first = paused()
    for path in (database(folder), Path(f"{database(folder)}-wal")):
        path.write_bytes(b"damaged!" * 1000)
    assert command("doctor", "p", "--restore").code == 0
    second = driver("resume", "p")
    until(lambda: notes.count("lasts") == 2)
    wakes(first)
    assert Path(f"{database(folder)}-wal").stat().st_size > 0
    assert second.kill() == -signal.SIGKILL  # what it committed is in the log alone
    go()
    assert command("resume", "p").code == 0
    assert_as_one(record, journal, undisturbed)
    assert len(list(folder.glob("studio.db.before-*"))) >= 1
