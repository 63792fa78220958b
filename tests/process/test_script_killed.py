"""A script that is killed: it failed, its reason names the signal, nothing of it runs on, and the search does."""

import os
import re
import signal

import pytest

from studio.project.project import Project

NAMES = ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGHUP"]
# 1 to 7 wait to be killed, each with a child and a daemon; 0 and 8 score.
WAITS = """
lr = 1
if 1 <= lr <= 7:
    child()
    daemon()
    print("at work", flush=True)
    note(f"up {os.getpid()}")
    sleep()
print("fitness:", lr)
"""


def test_scripts_that_are_killed(driver, tree, notes, until, alive):
    """By each signal, with their group, or process by process. A child and a daemon that have nobody left go, too."""
    tree("train.py", WAITS)
    one = driver("run", "--project=p", "--num-workers=8", "--hp=lr=0:8", "train.py")
    until(lambda: notes.count("up") == 7, what=one.err)
    for number, name in enumerate(NAMES, 1):
        os.kill(*notes.of(f"p/{number + 1}", "up"), getattr(signal, name))
    (script,) = notes.of("p/7", "up")
    assert os.getpgid(script) == script != os.getpgid(one.pid)
    os.killpg(script, signal.SIGKILL)
    for pid in notes.processes("p/8"):
        os.kill(pid, signal.SIGKILL)
    assert one.wait() == 3, one.err
    for name, found in zip([*NAMES, "SIGKILL", "SIGKILL"], Project("p").experiments[1:8], strict=True):
        assert (found.status, found.exit_code, found.fitness) == ("failed", None, None)
        assert found.reason == f"killed by {name}: at work"
        line = rf"#{found.number}/9  failed  lr={found.number - 1}  \S+( s)?  \(killed by {name}: at work\)"
        assert re.search(line, one.err), one.err
    assert [(e.status, e.fitness) for e in Project("p").experiments[::8]] == [("completed", 0), ("completed", 8)]
    assert len(notes.processes()) == 3 * 7
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment


def test_a_script_whose_children_are_killed_decides_itself(driver, tree, notes, until):
    tree("train.py", "lr = 1\nchild()\ndaemon()\nnote('up')\nos.wait()\nprint('fitness:', lr)\n")
    one = driver("run", "--project=p", "--hp=lr=1", "train.py")
    until(lambda: notes.count("up"))
    for pid in notes.processes("p/1"):
        os.kill(pid, signal.SIGKILL)
    assert one.wait() == 0
    assert [e.status for e in Project("p").experiments] == ["completed"]


# 1 kills its process group, in which the driver is not; 2 its parent, which is the driver: the watchdog's work.
KILLS = """
lr = 1
daemon()
if lr == 1:
    os.killpg(0, signal.SIGKILL)
note("up")
if lr == 2 and open(os.environ["NOTES"]).read().count("up") == 1:
    os.kill(os.getppid(), signal.SIGKILL)
    sleep()
print("fitness:", lr)
"""


def test_a_script_that_kills_its_group_then_its_parent(driver, tree, notes, until, alive):
    tree("train.py", KILLS)
    one = driver("run", "--project=p", "--hp=lr=1:3", "train.py")
    assert one.wait() == -signal.SIGKILL
    assert [e.reason for e in Project("p").experiments][:1] == ["killed by SIGKILL"]
    until(lambda: not any(map(alive, notes.processes())))
    assert driver("resume", "p").wait() == 3
    assert [(e.fitness, e.attempt) for e in Project("p").experiments] == [(None, 1), (2, 1), (3, 1)]


LAUNCHER = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
IN_A_THREAD = """
import threading, studio
threading.Thread(target=lambda: studio.run("train.py", hyperparams={"lr": "1"}, project="p")).start()
raise SystemExit
"""


@pytest.mark.parametrize(
    ("instead", "reason"),
    [("", "exit code 3"), (IN_A_THREAD, "could not start: the exit code is lost: this process ignores SIGCHLD")],
    ids=["command", "thread"],
)
def test_a_launcher_that_ignores_sigchld(script, driver, instead, reason):
    """The kernel then forgets exit codes, and Python takes a forgotten one for 0."""
    script("train.py", "lr = 1\nraise SystemExit(3 * lr)\n")
    driver("run", "--project=p", "--hp=lr=1", "train.py", before=LAUNCHER + instead).wait()
    (only,) = Project("p").experiments
    assert (only.status, only.reason) == ("failed", reason)
