"""Where the output of `studio` itself goes: to one who stops reading, or into a file of the working folder."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.project.project import Project

OPTIONS = ("run", "--project=p", "--hp=lr=1:3", "train.py")
WAITS = """
lr = 1
note("up")
while not os.path.exists(os.environ["NOTES"] + "-go"):
    time.sleep(0.005)
print("fitness:", lr, *sorted(os.listdir(".")))
"""


@pytest.fixture
def go(notes, tree):
    """`go()` lets the experiments end, which wait for that."""
    tree("train.py", WAITS)
    return Path(f"{notes.path}-go").touch


@pytest.fixture
def studio_to(nothing_stays):
    """`studio_to(stdout, stderr, "run", "train.py")`: the command with its output there."""
    started = []

    def start(stdout, stderr, *arguments):
        command = [Path(sys.executable).with_name("studio"), *arguments]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_closed_pipe_ends_no_search(home, go, studio_to):
    """As after `studio run … 2>&1 | head -1`."""
    reading, writing = os.pipe()
    search = studio_to(writing, subprocess.STDOUT, *OPTIONS)
    os.close(writing)
    with open(reading) as shown:
        assert shown.readline() == "project p: 3 experiments\n"
    go()
    search.wait(60)
    assert Project("p").state == "done"
    assert [e.status for e in Project("p").experiments] == ["completed"] * 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirections", "code", "errors"),
    [
        ("<&- >&- 2>&-", 0, ""),
        ("<&- >&-", 0, "best: p/3"),
        (">/dev/full", 1, "studio: cannot write to standard output: No space left on device\n"),
        (">/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_closed_and_full_streams(home, script, nothing_stays, redirections, code, errors):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    command = f"exec {shlex.join([str(Path(sys.executable).with_name('studio')), *OPTIONS])} {redirections}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, errors in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert [e.status for e in Project("p").experiments] == ["completed"] * 3


def test_own_output_is_no_source(home, go, studio_to, notes, until, command):
    """`studio run … > log.txt`, and `nohup studio run … &`: these files are no source, and a resume finds them larger."""
    Path("nohup.out").write_text("of an earlier command\n")
    with open("log.txt", "wb") as log, open("nohup.out", "ab") as nohup:
        search = studio_to(log, nohup, *OPTIONS)
    until(lambda: notes.count("up"))
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    assert "project p: 3 experiments" in Path("nohup.out").read_text()
    Path("log.txt").write_text("more of it\n")
    go()
    resumed = command("resume", "p")
    assert resumed.code == 0, resumed.err
    for experiment in Project("p").experiments:
        listed = Path(experiment.folder, "output.log").read_text().split()[2:]
        assert listed == ["train.py"]


def test_a_resume_into_a_file_that_was_part_of_the_source(command, script, studio_to):
    """Empty when the search began, it is the resume's own output now."""
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    Path("log.txt").write_text("of an earlier command\n")
    assert command("run", "--quiet", "--project=p", "--hp=lr=1,2", "--max-experiments=1", "train.py").code == 0
    with open("log.txt", "wb") as log:
        assert studio_to(log, subprocess.STDOUT, "resume", "p", "--max-experiments=2").wait(60) == 0
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2
