"""The disk becomes full at each write in turn: nothing is recorded half, no experiment is to blame, and all goes on with space.

A small file system in memory is STUDIO_HOME; a file on it, the ballast, leaves as much room as a round wants.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from studio.project.paths import database
from studio.project.project import Project
from studio.system import files as disk_module

BLOCK = 4096
SEARCH = ("--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l", "--max-experiments=3", "train.py")
SCORES = """
lr = 0.1
print("fitness:", -((lr - 0.02) ** 2))
"""
# Fills the disk as long as there is a file FULL, which says how many bytes are to be left.
FILLS = """
import fcntl, os
lr = 0.1
place = os.environ["STUDIO_HOME"]
if os.path.exists(os.environ["FULL"]):
    with open(os.environ["FULL"]) as file:
        left = int(file.read())
    with open(os.path.join(place, "filled"), "ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two at once would fill it twice
        disk = os.statvfs(place)
        file.write(b"x" * max(0, disk.f_bavail * disk.f_frsize - left))
print("fitness:", -((lr - 0.02) ** 2))
"""


def _mount(folder, options):
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a file system of its own takes root: {done.stderr.strip()}")


class Disk:
    """A file system of `size` bytes that can be filled up to any number of free blocks."""

    def __init__(self, folder, options):
        _mount(folder, options)
        self.folder, self.ballast = folder, folder / "ballast"

    @property
    def free(self):
        return os.statvfs(self.folder).f_bavail * BLOCK

    def leave(self, blocks):
        with open(self.ballast, "ab") as file, contextlib.suppress(OSError):
            file.write(b"x" * max(0, self.free - blocks * BLOCK))
        assert self.free == blocks * BLOCK

    def make_room(self):
        for name in ("ballast", "filled"):
            (self.folder / name).unlink(missing_ok=True)

    def begin_again(self):
        subprocess.run(f"rm -rf {self.folder}/*", shell=True, check=True)


@pytest.fixture
def disk(home):
    """`disk(options)` mounts one as STUDIO_HOME."""
    mounted = []

    def make(options="size=4m,nr_inodes=2000"):
        one = Disk(home, options)
        mounted.append(one)
        return one

    yield make
    for one in mounted:
        subprocess.run(["umount", "-l", str(one.folder)], check=True)


def assert_plain(result):
    """One that went wrong says so in plain words."""
    assert "Traceback" not in result.err
    assert result.code in (0, 1, 2), result
    if result.code:
        said = result.err.lower()
        assert "space" in said or "disk" in said, result.err


def assert_whole(home, undisturbed):
    """As if nothing had been: each number once, and no attempt that failed."""
    experiments = Project("p").experiments
    assert [(e.number, e.values, e.fitness) for e in experiments] == undisturbed
    assert {e.status for e in experiments} == {"completed"}
    with contextlib.closing(sqlite3.connect(database(home / "projects" / "p"))) as connection:
        assert connection.execute("SELECT * FROM attempts WHERE status = 'failed'").fetchall() == []
        lines = connection.execute("SELECT kind, number FROM events").fetchall()
    assert sorted(lines) == sorted((kind, number) for kind in ("ask", "tell") for number in (1, 2, 3))


def go_on(command, home):
    """What a user types once there is space."""
    if database(home / "projects" / "p").exists():
        return command("resume", "p")
    return command("run", *SEARCH)


# How many blocks are left: a few in `make test`, each in `make test-long`.
LONG = bool(os.environ.get("STUDIO_TEST_LONG"))


def test_the_disk_is_full_before_it_begins_or_soon_after(command, disk, script, home, undisturbed, monkeypatch):
    """Without the guard that takes a disk with less than 1 MiB for full: each write meets the end of the disk itself."""
    monkeypatch.setattr(disk_module, "LOW_SPACE", 1)
    script("train.py", SCORES)
    small = disk()
    for blocks in range(0, 90, 1 if LONG else 18):
        small.leave(blocks)
        full = command("run", *SEARCH)
        assert_plain(full)
        small.make_room()
        if full.code:
            again = go_on(command, home)
            assert again.code == 0, (blocks, full, again)
        assert_whole(home, undisturbed(3))
        small.begin_again()


def test_the_disk_fills_up_while_an_experiment_runs(command, disk, script, home, undisturbed, monkeypatch, tmp_path):
    """The script fills it, and leaves room for the first few of the writes that follow."""
    monkeypatch.setattr(disk_module, "LOW_SPACE", 1)
    monkeypatch.setenv("FULL", str(tmp_path / "full"))
    script("train.py", FILLS)
    small = disk()
    for blocks in range(0, 40, 1 if LONG else 9):
        (tmp_path / "full").write_text(str(blocks * BLOCK))
        full = command("run", *SEARCH)
        assert_plain(full)
        (tmp_path / "full").unlink()
        small.make_room()
        if full.code:
            again = command("resume", "p")
            assert again.code == 0, (blocks, full, again)
        assert_whole(home, undisturbed(3))
        small.begin_again()


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_search_ends_in_order_before_the_disk_is_quite_full(
    command, disk, script, home, undisturbed, monkeypatch, tmp_path, workers
):
    monkeypatch.setenv("FULL", str(tmp_path / "full"))
    script("train.py", FILLS)
    small = disk()
    (tmp_path / "full").write_text(str(disk_module.LOW_SPACE // 2))
    full = command("run", f"--num-workers={workers}", *SEARCH)
    assert full.code == 1
    assert "studio: the disk is full: free some space; continue with: studio resume p" in full.err
    assert "Traceback" not in full.err
    assert Project("p").state == "disk"
    again = command("resume", "p")
    assert (again.code, Project("p").state) == (1, "disk")
    (tmp_path / "full").unlink()
    small.make_room()
    assert command("resume", "p").code == 0
    if workers == 1:
        assert_whole(home, undisturbed(3))
    assert [(e.number, e.status) for e in Project("p").experiments] == [(n, "completed") for n in (1, 2, 3)]


def test_no_inodes(command, disk, script, home, undisturbed):
    script("train.py", SCORES)
    small = disk()
    for left in range(0, 60, 1 if LONG else 14):
        folder = home / "many"
        folder.mkdir()
        for number in range(os.statvfs(home).f_favail - left):
            (folder / str(number)).touch()
        assert os.statvfs(home).f_favail == left
        full = command("run", *SEARCH)
        assert_plain(full)
        small.begin_again() if full.code == 0 else subprocess.run(["rm", "-r", str(folder)], check=True)
        if full.code:
            again = go_on(command, home)
            assert again.code == 0, (left, full, again)
            assert_whole(home, undisturbed(3))
            small.begin_again()


LIMITED = """
import resource, signal, sys
import studio.search.run  # numpy and the like are read, and compiled, without a limit
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from studio.cli import main
main()
"""


@pytest.mark.parametrize(
    "limit", [0, 1, BLOCK, 5 * BLOCK, 8 * BLOCK, 10 * BLOCK, 16 * BLOCK] if LONG else [0, 5 * BLOCK]
)
def test_files_may_not_grow_beyond_a_limit(home, script, undisturbed, limit, command):
    """`ulimit -f`: the write fails, or a signal would end the process."""
    script("train.py", SCORES)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "run", *SEARCH], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (1, 2), done.stderr
    again = go_on(command, home)
    assert again.code == 0, (done.stderr, again)
    assert_whole(home, undisturbed(3))


def test_on_a_full_disk_the_scripts_own_reason_stays(script, command, disk):
    script(
        "train.py",
        """
        import os
        lr = 1
        print("no room for weights", lr, flush=True)
        place = os.environ["STUDIO_HOME"]
        disk = os.statvfs(place)
        with open(place + "/filled", "wb") as file:
            file.write(bytes(disk.f_bavail * disk.f_frsize - 500_000))
        raise SystemExit(3)
        """,
    )
    disk()
    command("run", "--project=p", "--hp=lr=1", "train.py")
    (only,) = Project("p").experiments
    assert (only.status, only.reason) == ("stopped", "the disk was full: exit code 3: no room for weights 1")
