"""STUDIO_HOME on a network file system: the record does without a write-ahead log, says so, and is as safe.

A log needs memory that all its users share, which such file systems do not have (https://www.sqlite.org/wal.html). None is
mounted here. The kernel's table of mounts is read from a file that has one in the place of STUDIO_HOME: all else is real.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from studio.project import doctor as doctor_module
from studio.project import records as records_module
from studio.project import store as store_module
from studio.project.paths import database
from studio.project.store import Store
from studio.system.files import is_network_disk

SEARCH = ("run", "--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l", "--max-experiments=4", "train.py")
# Looks for a log or its memory beside the database, and can be made to wait.
LOOKS = """
lr = 0.1
beside = os.listdir(os.path.join(os.environ["STUDIO_FOLDER"], "../.."))
note("log" if {"studio.db-wal", "studio.db-shm"} & set(beside) else "none")
if os.environ["STUDIO_EXPERIMENT"] == "p/3":
    note(f"ready {os.getpid()}")
    while not os.path.exists(os.environ["NOTES"] + "-go"):
        time.sleep(0.005)
print("fitness:", -((lr - 0.02) ** 2))
"""
# What a driver executes before it begins: {!r} is a table of mounts.
FAR = """
import functools
from studio.system import files as disk
from studio.project import doctor, store
store.is_network_disk = doctor.is_network_disk = functools.partial(disk.is_network_disk, mounts={!r})
"""
READER = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT * FROM events").fetchall()
print("reads", flush=True)
sys.stdin.read()
"""
# A driver that is killed in the midst of a commit that is larger than its memory for pages.
DIES = """
import os, signal, sys
from pathlib import Path
from studio.project import store
store.is_network_disk = lambda folder: True
one = store.Store.open(Path(sys.argv[1]))
one._connection.execute("PRAGMA cache_size = 2")
with one.transaction():
    for number in range(2, 500):
        one.ask(number, {"x": "y" * 500}, None)
    os.kill(os.getpid(), signal.SIGKILL)
"""

# What /proc/self/mounts says elsewhere: an NFS home, an automounter, a share with a blank in its name, a container.
TABLE = """\
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
/dev/nvme0n1p2 / ext4 rw,relatime,errors=remount-ro 0 0
systemd-1 /proc/sys/fs/binfmt_misc autofs rw,relatime,fd=29,pgrp=1,timeout=0,minproto=5,maxproto=5,direct 0 0
nfsd /proc/fs/nfsd nfsd rw,relatime 0 0
auto.home /home autofs rw,relatime,fd=6,pgrp=1041,timeout=600,minproto=5,maxproto=5,indirect 0 0
nas.example.org:/export/home/ada /home/ada nfs4 rw,nosuid,relatime,vers=4.2,rsize=1048576,hard,proto=tcp,timeo=600 0 0
tmpfs /home/ada/ram tmpfs rw,nosuid,nodev,size=1048576k 0 0
/dev/sdb1 /home/adam xfs rw,relatime,attr2,inode64,logbufs=8,noquota 0 0
nas:/old /mnt/old nfs rw,relatime,vers=3,hard,proto=tcp,mountvers=3,mountport=20048,local_lock=none 0 0
//nas/team\\040share /mnt/team\\040share cifs rw,relatime,vers=3.1.1,cache=strict,username=ada,uid=1000 0 0
192.168.7.3@tcp:/scratch /scratch lustre rw,flock,lazystatfs 0 0
ada@host:/data /mnt/ssh fuse.sshfs rw,nosuid,nodev,relatime,user_id=1000,group_id=1000 0 0
/dev/sdc1 /mnt/usb fuseblk rw,nosuid,nodev,relatime,user_id=0,group_id=0,allow_other,blksize=4096 0 0
mergerfs /mnt/pool fuse.mergerfs rw,relatime,user_id=0,group_id=0,allow_other 0 0
C:\\134 /mnt/c 9p rw,noatime,dirsync,aname=drvfs;path=C:\\134;uid=1000;gid=1000,mmap,access=client,trans=fd 0 0
nas:/twice /mnt/twice nfs4 rw,relatime,vers=4.2 0 0
/dev/sdd1 /mnt/twice ext4 rw,relatime 0 0
overlay /var/lib/docker/overlay2/5f/merged overlay rw,relatime,lowerdir=/l/A,upperdir=/u,workdir=/w 0 0
"""


@pytest.mark.parametrize(
    ("path", "network"),
    {
        "/home/ada/.studioml": True,
        "/home/ada": True,
        "/home/ada/ram/studio": False,  # a local disk within
        "/home/adam/.studioml": False,  # another name that begins so
        "/home/eve": False,  # the automounter has not been there
        "/mnt/old/studio": True,
        "/mnt/team share/studio": True,
        "/mnt/team": False,
        "/scratch/ada": True,
        "/mnt/ssh/x/y": True,
        "/mnt/usb/studio": False,
        "/mnt/pool/studio": False,
        "/mnt/c/Users/ada": True,
        "/mnt/twice/studio": False,  # the later one is seen
        "/var/lib/docker/overlay2/5f/merged/root": False,
        "/root/.studioml": False,
        "/": False,
    }.items(),
)
def test_the_table_of_mounts_says_what_is_on_a_network(path, network, tmp_path):
    (tmp_path / "mounts").write_text(TABLE)
    assert is_network_disk(Path(path), str(tmp_path / "mounts")) is network


@pytest.mark.parametrize(
    "kind", ["9p", "nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "beegfs", "virtiofs", "fuse.sshfs"]
)
def test_a_root_on_a_network(kind, tmp_path):
    """Of a machine without a disk, or a container."""
    (tmp_path / "mounts").write_text(f"root / {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    assert is_network_disk(tmp_path, str(tmp_path / "mounts"))


@pytest.mark.parametrize("table", [b"", b"\n\n", b"nonsense\n", b"a b\n", b"\xff\xfe \xff nfs4 rw 0 0\n"])
def test_a_table_that_says_nothing(table, tmp_path):
    (tmp_path / "mounts").write_bytes(table)
    assert not is_network_disk(tmp_path, str(tmp_path / "mounts"))
    assert not is_network_disk(tmp_path, str(tmp_path / "none"))


def test_a_link_into_the_network_counts_as_its_target(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    (tmp_path / "mounts").write_text(f"/dev/vda / ext4 rw 0 0\nnas:/x {tmp_path.resolve()}/far nfs4 rw 0 0\n")
    assert is_network_disk(tmp_path / "near" / "studio", str(tmp_path / "mounts"))
    assert not is_network_disk(tmp_path / "else", str(tmp_path / "mounts"))


# --- a search there ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(home):
    return home / "projects" / "p"


@pytest.fixture
def mounts(home, tmp_path):
    """A table of mounts with NFS in the place of STUDIO_HOME."""
    path = tmp_path / "mounts"
    name = str(home.resolve()).replace(" ", "\\040")
    path.write_text(TABLE + f"nas.example.org:/export/studio {name} nfs4 rw,relatime,vers=4.2,hard,proto=tcp 0 0\n")
    return str(path)


@pytest.fixture
def far(mounts, monkeypatch):
    """The commands of this process see that table."""
    for module in (store_module, doctor_module):
        monkeypatch.setattr(module, "is_network_disk", partial(is_network_disk, mounts=mounts))


@pytest.fixture
def looks(tree, notes):
    """The script of the search, which may go on."""
    tree("train.py", LOOKS)
    Path(f"{notes.path}-go").touch()


@pytest.fixture
def reader(folder):
    """`with reader():` another program reads the record meanwhile, and takes its time."""

    @contextlib.contextmanager
    def reads():
        quiet = {name: value for name, value in os.environ.items() if name != "STUDIO_HOME"}
        command = [sys.executable, "-c", READER, str(database(folder))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet) as process:
            try:
                assert process.stdout.readline() == "reads\n"
                yield
            finally:
                process.kill()

    return reads


def journal_mode(folder):
    with contextlib.closing(sqlite3.connect(database(folder))) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_a_search_is_the_same_without_a_log_and_the_doctor_says_so(
    far, looks, undisturbed, command, notes, folder, record
):
    assert command(*SEARCH).code == 0
    assert record("p") == undisturbed(4)
    assert [line[1] for line in notes.lines if line[1] in ("log", "none")] == ["none"] * 4
    assert journal_mode(folder) == "delete"
    assert sorted(path.name for path in folder.glob("studio.db*")) == ["studio.db", "studio.db.backup"]
    well = command("doctor", "p")
    assert well.code == 0
    assert (
        "ok  home: on a network: databases are used without a write-ahead log, which is slower and as safe" in well.out
    )
    assert command("resume", "p", "--max-experiments=5").code == 0


def test_a_commit_cut_off_on_a_network_is_rolled_back(far, tmp_path):
    """kill -9 while the pages are being written: the next one finds the journal of SQLite, and takes them back."""
    folder = tmp_path / "p"
    folder.mkdir()
    with contextlib.closing(Store.create(folder, {"script": "train.py"})) as store:
        store.ask(1, {"x": 1}, None)
    done = subprocess.run([sys.executable, "-c", DIES, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Path(f"{database(folder)}-journal").stat().st_size > 0
    with contextlib.closing(Store.open(folder)) as again:
        assert [event.number for event in again.events()] == [1]
        again.ask(2, {"x": 2}, None)
    assert not Path(f"{database(folder)}-journal").exists()


def test_without_a_log_a_reader_that_takes_its_time_is_waited_for(
    far, driver, mounts, looks, undisturbed, notes, folder, record, until, reader, alive
):
    go = Path(f"{notes.path}-go")
    go.unlink()
    one = driver(*SEARCH, before=FAR.format(mounts))
    until(lambda: notes.count("ready"))
    with reader():
        go.touch()
        until(lambda: not any(map(alive, notes.of("p/3", "ready"))))
        assert one.running
    assert one.wait() == 0, one.err
    assert record("p") == undisturbed(4)


# --- one that moved ---------------------------------------------------------------------------------------------------


def test_a_project_that_came_from_a_local_disk_with_its_log(
    looks, undisturbed, driver, command, notes, folder, record, until, request, reader, monkeypatch
):
    """Its last outcomes are in the log, which goes into the database first. A reader that is in the way is named."""
    go = Path(f"{notes.path}-go")
    go.unlink()
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    assert one.kill() == -signal.SIGKILL
    assert Path(f"{database(folder)}-wal").stat().st_size > 0
    go.touch()
    notes.path.unlink()
    request.getfixturevalue("far")
    with monkeypatch.context() as patch, reader():
        patch.setattr(records_module, "BUSY_WAIT", 0.2)
        locked = command("resume", "p")
        assert (locked.code, "database is locked; another program uses it" in locked.err) == (1, True)
    assert command("resume", "p").code == 0
    assert record("p") == undisturbed(4)
    assert (journal_mode(folder), notes.count("log")) == ("delete", 0)
    assert sorted(path.name for path in folder.glob("studio.db*")) == ["studio.db", "studio.db.backup"]


def test_a_project_that_came_from_a_network_gets_its_log(
    looks, undisturbed, command, notes, folder, record, request, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "is_network_disk", lambda folder: True)
        assert command(*SEARCH[:-2], "--max-experiments=2", "train.py").code == 0
        assert (journal_mode(folder), notes.count("log")) == ("delete", 0)
    assert command("resume", "p", "--max-experiments=4").code == 0
    assert record("p") == undisturbed(4)
    assert (journal_mode(folder), notes.count("log")) == ("wal", 2)
