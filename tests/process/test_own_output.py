"""Where the output of `studio` itself goes: to one who stops reading, or into a file of the working folder."""

import os
import shlex
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


def test_a_closed_pipe_ends_no_search(home, go, driver):
    """As after `studio run … 2>&1 | head -1`."""
    reading, writing = os.pipe()
    search = driver(*OPTIONS, streams=(os.devnull, *[f"/proc/{os.getpid()}/fd/{writing}"] * 2))
    with open(reading) as shown:
        assert shown.readline() == "project p: 3 experiments\n"
    os.close(writing)
    go()
    search.wait()
    assert Project("p").state == "done"
    assert [e.status for e in Project("p").experiments] == ["completed"] * 3


@pytest.mark.parametrize(
    ("redirections", "code", "errors"),
    [
        ("<&- >&- 2>&-", 0, ""),
        ("<&- >&-", 0, "best: p/3"),
    ],
)
def test_closed_streams(home, script, nothing_stays, redirections, code, errors):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    command = f"exec {shlex.join([str(Path(sys.executable).with_name('studio')), *OPTIONS])} {redirections}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, errors in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert [e.status for e in Project("p").experiments] == ["completed"] * 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("errors", ["a file", "/dev/full"])
def test_full_streams(script, driver, tmp_path, errors):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    errors = tmp_path / "errors" if errors == "a file" else Path(errors)
    assert driver(*OPTIONS, streams=(os.devnull, "/dev/full", errors)).wait() == 1
    if errors.is_file():
        assert errors.read_text().endswith("studio: cannot write to standard output: No space left on device\n")
        assert "Traceback" not in errors.read_text()
    assert [e.status for e in Project("p").experiments] == ["completed"] * 3


def test_own_output_is_no_source(home, go, driver, notes, until, command):
    """`studio run … > log.txt`, and `nohup studio run … &`: these files are no source, and a resume finds them larger."""
    Path("nohup.out").write_text("of an earlier command\n")
    search = driver(*OPTIONS, streams=(os.devnull, os.path.abspath("log.txt"), os.path.abspath("nohup.out")))
    until(lambda: notes.count("up"))
    search.kill()
    assert "project p: 3 experiments" in Path("nohup.out").read_text()
    Path("log.txt").write_text("more of it\n")
    go()
    resumed = command("resume", "p")
    assert resumed.code == 0, resumed.err
    for experiment in Project("p").experiments:
        listed = Path(experiment.folder, "output.log").read_text().split()[2:]
        assert listed == ["train.py"]


def test_a_resume_into_a_file_that_was_part_of_the_source(command, script, driver):
    """Empty when the search began, it is the resume's own output now."""
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    Path("log.txt").write_text("of an earlier command\n")
    assert command("run", "--quiet", "--project=p", "--hp=lr=1,2", "--max-experiments=1", "train.py").code == 0
    os.truncate("log.txt", 0)
    log = os.path.abspath("log.txt")
    assert driver("resume", "p", "--max-experiments=2", streams=(os.devnull, log, log)).wait() == 0
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2
