"""kill -9 of a script, from outside: it failed, its reason names the signal, nothing of it runs on, and the search does."""

import os
import re
import signal

import pytest

from studio.project.project import Project

# 1 waits to be killed, with a child and a daemon; the others score.
WAITS = """
lr = 1
if lr == 1:
    child()
    daemon()
    print("at work", flush=True)
    note(f"up {os.getpid()}")
    sleep()
print("fitness:", lr)
"""


def _session(pid):
    return os.getsid(pid)


@pytest.fixture
def search(driver, tree, notes, until):
    """A search of which experiment 1 waits to be killed."""
    tree("train.py", WAITS)

    def start(workers=1):
        one = driver("run", "--project=p", f"--num-workers={workers}", "--hp=lr=1:3", "train.py")
        until(lambda: notes.of("p/1", "up"))
        return one

    return start


def check(search, name, notes, alive):
    assert search.wait() == 3, search.err
    first, *others = Project("p").experiments
    assert (first.status, first.exit_code, first.fitness) == ("failed", None, None)
    assert first.reason == f"killed by {name}: at work"
    assert re.search(rf"#1/3  failed  lr=1  \S+( s)?  \(killed by {name}: at work\)", search.err), search.err
    assert [(e.status, e.fitness) for e in others] == [("completed", 2), ("completed", 3)]
    assert len(notes.processes("p/1")) == 3
    assert not any(map(alive, notes.processes("p/1")))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGHUP"])
def test_a_script_that_is_killed(search, notes, alive, name, workers):
    """Its child and its daemon have nobody left; they go, too."""
    one = search(workers)
    (script,) = notes.of("p/1", "up")
    os.kill(script, getattr(signal, name))
    check(one, name, notes, alive)


def test_a_script_that_is_killed_with_its_process_group(search, notes, alive):
    """The daemon has left the group."""
    one = search()
    (script,) = notes.of("p/1", "up")
    assert os.getpgid(script) == script != os.getpgid(one.pid)
    os.killpg(script, signal.SIGKILL)
    check(one, "SIGKILL", notes, alive)


def test_each_process_of_a_tree_is_killed_at_once(search, notes, alive):
    one = search()
    for pid in notes.processes("p/1"):
        os.kill(pid, signal.SIGKILL)
    check(one, "SIGKILL", notes, alive)


def test_a_script_whose_children_are_killed_decides_itself(driver, tree, notes, until, alive):
    text = """
    lr = 1
    child()
    daemon()
    note("up")
    os.wait()
    print("fitness:", lr)
    """
    tree("train.py", text)
    one = driver("run", "--project=p", "--hp=lr=1", "train.py")
    until(lambda: notes.of("p/1", "up") if "up 1" in notes.lines else notes.count("up"))
    for pid in notes.processes("p/1"):
        os.kill(pid, signal.SIGKILL)
    assert one.wait() == 0
    assert [e.status for e in Project("p").experiments] == ["completed"]


def test_a_script_that_kills_its_own_process_group_does_not_hit_the_driver(driver, tree, notes, alive):
    text = """
    lr = 1
    daemon()
    if lr == 1:
        os.killpg(0, signal.SIGKILL)
    print("fitness:", lr)
    """
    tree("train.py", text)
    one = driver("run", "--project=p", "--hp=lr=1:2", "train.py")
    assert one.wait() == 3
    assert [e.reason for e in Project("p").experiments] == ["killed by SIGKILL", ""]
    assert not any(map(alive, notes.processes()))


def test_a_script_that_kills_its_parent_process_ends_the_driver_and_resume_goes_on(driver, tree, notes, until, alive):
    """Its parent is the driver: that is kill -9 of the driver, and the watchdog's work."""
    text = """
    lr = 1
    child()
    daemon()
    note("killing")
    if notes_count() == 2:
        os.kill(os.getppid(), signal.SIGKILL)
        sleep()
    print("fitness:", lr)
    """
    tree("train.py", text.replace("notes_count()", "open(os.environ['NOTES']).read().count('killing')"))
    one = driver("run", "--project=p", "--hp=lr=1:3", "train.py")
    assert one.wait() == -signal.SIGKILL
    until(lambda: not any(map(alive, notes.processes())))
    assert driver("resume", "p").wait() == 0
    assert [(e.fitness, e.attempt) for e in Project("p").experiments] == [(1, 1), (2, 1), (3, 1)]
