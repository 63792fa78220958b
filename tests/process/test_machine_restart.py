"""A restart of the machine: process ids that were in use now belong to others, and none of these is ever signalled.

Studio stores no id that it acts upon. It finds its processes by a mark in their environment, which dies with them.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from studio.project.project import Project
from studio.system.processes import processes_of

LASTING = """
lr = 1
child()
daemon()
note(f"up {os.getpid()}")
while not os.path.exists(os.environ["NOTES"] + "-go"):
    time.sleep(0.01)
print("fitness:", lr)
"""
SEARCH = ("run", "--project=p", "--num-workers=2", "--hp=lr=1:3", "train.py")
linux = pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks for processes in /proc")


@pytest.fixture
def lasting(tree):
    """A script with a tree of three processes that lasts until it is let go."""
    return tree("train.py", LASTING)


@pytest.fixture
def go(notes):
    return notes.path.with_name("notes-go").touch


def texts_of(home):
    """All that is in STUDIO_HOME, as text: path -> contents. Databases row by row."""
    for path in home.rglob("*"):
        if path.name.startswith("studio.db-") or not path.is_file():
            continue
        if path.name == "studio.db":
            with closing(sqlite3.connect(path)) as connection:
                yield path, "\n".join(connection.iterdump())
        else:
            yield path, path.read_bytes().decode(errors="replace")


@linux
def test_no_id_of_a_process_is_in_studio_home(driver, lasting, notes, until, home, go, everything):
    """But the driver's in its lock, which is for the eye: a lock is the kernel's."""
    one = driver(*SEARCH, cold=True)
    until(lambda: notes.count("up") == 2)
    ids = {*everything(), *notes.processes()}
    assert len(ids) == 8  # the driver, its watchdog, and two trees of three
    one.kill()
    until(lambda: not list(processes_of(str(home))))
    found = {
        (path.name, int(number))
        for path, text in texts_of(home)
        for number in re.findall(r"(?<![\w.])\d+(?![\w.])", text)
        if int(number) in ids
    }
    assert found == {("lock", one.pid)}
    go()
    assert driver("resume", "p").wait() == 0


@linux
def test_what_bears_a_similar_mark_is_left_alone(driver, lasting, notes, until, home, go, stranger, alive):
    """Of another home, another project, or none; nothing of that is below this project's folder."""
    project = home / "projects" / "p"
    similar = [
        f"|0123456789abcdef={home}2/projects/p/1/1|",  # a home whose name begins with this one's
        f"|0123456789abcdef=/elsewhere{project}/1/1|",
        f"|0123456789abcdef={home}/projects/p2/1/1|",
        f"|0123456789abcdef={home}/projects|",
        f"|0123456789abcdef={home}/projects/p.old/1/1|",
        f"{project}/1/1",
        f"|={project}/1/1|",
        f"|not-hex={project}/1/1|",
        "",
    ]
    environments = [
        {"STUDIO_HOME": str(home), "STUDIO_FOLDER": f"{project}/1/1", "STUDIO_MARKS": text} for text in similar
    ]
    environments.append({"STUDIO_HOME": "/", "MARKS": f"|0123456789abcdef={project}/1/1|"})
    others = [subprocess.Popen(["sleep", "60"], env=env, start_new_session=True) for env in environments]
    try:
        one = driver(*SEARCH)
        until(lambda: notes.count("up") == 2)
        one.kill()
        until(lambda: not any(map(alive, notes.processes())))
        go()
        assert driver("resume", "p").wait() == 0
        assert driver("stop", "p").wait() == 0
        assert [other.poll() for other in others] == [None] * len(others)
    finally:
        for other in others:
            other.kill()
            other.wait()


# --- a restart ----------------------------------------------------------------------------------------------------------

# Runs as process 1 of its own small machine. All is killed, as a power cut does; then each id that was in use is given
# to a stranger, which the kernel does for who writes the last one, and the search is resumed.
RESTART = """
import json, os, signal, subprocess, sys, time

studio, notes, out = sys.argv[1:4]
driver = subprocess.Popen([studio, *sys.argv[4:]], stdout=subprocess.DEVNULL, stderr=open(out, "w"))
deadline = time.monotonic() + 60
while not os.path.exists(notes) or open(notes).read().count(" up ") < 2:
    assert time.monotonic() < deadline, open(out).read()
    time.sleep(0.01)
ids = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) > 1]
for pid in ids:
    os.kill(pid, signal.SIGSTOP)  # none sees the others die
for pid in ids:
    os.kill(pid, signal.SIGKILL)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
driver.returncode = -9
strangers = []
for pid in sorted(ids):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(pid - 1))
    strangers.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
open(notes + "-go", "w").close()
codes = []
for arguments in (["stop", "p"], ["resume", "p"], ["stop", "p"], ["retry", "p", "1"]):
    codes.append(subprocess.run([studio, *arguments], stdout=subprocess.DEVNULL, stderr=open(out, "a")).returncode)
print(json.dumps({
    "ids": sorted(ids),
    "strangers": [one.pid for one in strangers],
    "ended": [one.poll() for one in strangers],
    "codes": codes,
}))
"""


def _own_machine():
    """Why there can be no small machine of its own, or an empty text."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return "needs a namespace of process ids (unshare, of Linux)"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", "echo 100 > /proc/sys/kernel/ns_last_pid"]
    done = subprocess.run(command, capture_output=True, check=False)
    return "" if done.returncode == 0 else "needs root, to make a namespace of process ids and to choose the next id"


def test_after_a_restart_the_old_ids_belong_to_others(lasting, notes, home, tmp_path):
    if reason := _own_machine():
        pytest.skip(reason)
    studio = os.path.join(os.path.dirname(sys.executable), "studio")
    machine = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", RESTART]
    done = subprocess.run(
        [*machine, studio, str(notes.path), str(tmp_path / "err"), *SEARCH],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["ids"]) == 8
    assert result["strangers"] == result["ids"]
    assert set(notes.processes()) & set(result["ids"])
    assert result["ended"] == [None] * 8
    assert result["codes"] == [0, 0, 0, 0], (tmp_path / "err").read_text()
    assert [(e.status, e.attempt, e.fitness) for e in Project("p").experiments] == [
        ("completed", 2, 1),
        ("completed", 1, 2),
        ("completed", 1, 3),
    ]
