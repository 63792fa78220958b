"""The database is held by others, write-protected, damaged, cut off, foreign, from the future, without its log, or gone.

Each time there is one line that says what to do, nothing is recorded half, and the search goes on once that was done, as
if nothing had been.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from studio.project import records as records_module
from studio.project.formats import VERSION
from studio.project.paths import backup, database
from studio.project.project import Project

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
BUDGET = 4
SEARCH = (
    "run",
    "--project=p",
    "--optimizer=cma",
    "--seed=1",
    "--hp=lr=1e-4:1:l",
    f"--max-experiments={BUDGET}",
    "train.py",
)
SCORES = """
lr = 0.1
note("begins")
print("fitness:", -((lr - 0.02) ** 2))
"""
# Lets another program take the database while experiment 2 runs.
MEETS = """
lr = 0.1
note("begins")
if os.environ["STUDIO_EXPERIMENT"] == "p/2":
    note(f"ready {os.getpid()}")
    while not os.path.exists(os.environ["NOTES"] + "-go"):
        time.sleep(0.005)
print("fitness:", -((lr - 0.02) ** 2))
"""
# Another program: holds the database argv[1] until its standard input ends.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("holds it", flush=True)
sys.stdin.read()
"""
# Another program: waits for experiment 2, takes the database argv[1], and lets the experiment end.
LURKER = """
import os, sqlite3, sys, time
database, notes = sys.argv[1:]
while not os.path.exists(notes) or "p/2 ready" not in open(notes).read():
    time.sleep(0.01)
connection = sqlite3.connect(database, isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
open(notes + "-go", "w").close()
sys.stdin.read()
"""


@pytest.fixture
def folder(home):
    return home / "projects" / "p"


@pytest.fixture
def scores(tree):
    """The script of the search."""
    tree("train.py", SCORES)


@pytest.fixture
def begun(scores, command):
    """A project `p` with two experiments of the search; what `runs list --json` prints of it."""
    assert command(*SEARCH[:-2], "--max-experiments=2", "train.py").code == 0
    return command("runs", "list", "p", "--json").out


@pytest.fixture
def hold(folder):
    """`with hold(statement, …)`: another process holds the database meanwhile."""

    @contextlib.contextmanager
    def held(*statements):
        quiet = {name: value for name, value in os.environ.items() if name != "STUDIO_HOME"}
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(database(folder)), *statements],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=quiet,
        ) as process:
            try:
                assert process.stdout.readline() == "holds it\n"
                yield
            finally:
                process.kill()

    return held


def lines(folder):
    """All lines of the journal."""
    with contextlib.closing(sqlite3.connect(database(folder))) as connection:
        return connection.execute("SELECT kind, number FROM events ORDER BY id").fetchall()


def assert_said(result, *words):
    """It failed, in one last line that has those words, without a traceback."""
    last = result.err.rstrip("\n").rpartition("\n")[2]
    assert result.code == 1, result
    assert "Traceback" not in result.err
    assert last.startswith("studio: "), result.err
    for word in words:
        assert word in last


def assert_goes_on(command, record, notes, undisturbed, cut_off=None):
    """`studio resume` makes of it what an undisturbed search is; each script ran once, but for one that may be `cut_off`."""
    again = command("resume", "p", f"--max-experiments={BUDGET}")
    assert again.code == 0, again
    assert record("p") == undisturbed(BUDGET)
    assert {(e.status, e.attempt) for e in Project("p").experiments} == {("completed", 1)}
    begun = [notes.of(f"p/{number}").count("begins") for number in range(1, BUDGET + 1)]
    assert begun in ([1] * BUDGET, [1 + (number == cut_off) for number in range(1, BUDGET + 1)])


# --- held by another program ------------------------------------------------------------------------------------------


def test_a_driver_waits_for_a_program_that_holds_the_database(
    driver, tree, command, notes, hold, record, undisturbed, until, alive
):
    tree("train.py", MEETS)
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    with hold("BEGIN EXCLUSIVE"):
        Path(f"{notes.path}-go").touch()
        until(lambda: not any(map(alive, notes.of("p/2", "ready"))))
        listed = command("runs", "list", "p", "--json")  # the log lets readers see what was before
        assert [(e["status"], e["fitness"] is None) for e in json.loads(listed.out)] == [
            ("completed", False),
            ("running", True),
        ]
        assert (one.running, list(one.shown)) == (True, [1])
    assert one.wait() == 0, one.err
    assert record("p") == undisturbed(BUDGET)


def test_a_program_that_takes_it_in_mid_search_ends_it(tree, command, notes, folder, record, undisturbed, monkeypatch):
    """What ran then is ended if it has not ended yet, and runs again."""
    monkeypatch.setattr(records_module, "BUSY_WAIT", 0.2)
    tree("train.py", MEETS)
    quiet = {name: value for name, value in os.environ.items() if name != "STUDIO_HOME"}
    lurks = [sys.executable, "-c", LURKER, str(database(folder)), str(notes.path)]
    with subprocess.Popen(lurks, stdin=subprocess.PIPE, env=quiet) as process:
        try:
            locked = command(*SEARCH)
        finally:
            process.kill()
    assert_said(locked, "database is locked; another program uses it", "studio resume p")
    assert lines(folder) == [("ask", 1), ("tell", 1), ("ask", 2)]
    assert [e.status for e in Project("p").experiments] == ["completed", "stopped"]
    assert_goes_on(command, record, notes, undisturbed, cut_off=2)


def test_a_program_that_shuts_out_readers_is_named(begun, command, hold, monkeypatch, record, notes, undisturbed):
    monkeypatch.setattr(records_module, "BUSY_WAIT", 0.2)
    with hold("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
        for arguments in (("resume", "p"), ("runs", "list", "p"), ("rm", "p")):
            assert_said(command(*arguments), "database is locked; another program uses it")
        findings = json.loads(command("doctor", "p", "--json").out)
        (locked,) = [finding for finding in findings if "locked" in finding["text"]]
        assert locked["mend"].startswith("another program uses it: end that program")
    assert_goes_on(command, record, notes, undisturbed)


# --- not to be written ------------------------------------------------------------------------------------------------


PROTECTED = {
    "unreadable file": (lambda folder: [database(folder)], 0o000, "make the folder and its files accessible"),
    "folder": (lambda folder: [folder], 0o500, "make the folder and its files writable"),
    "lock": (lambda folder: [folder / "lock"], 0o400, "cannot lock project 'p'"),
}


@pytest.mark.parametrize("what", PROTECTED)
def test_files_without_permission_are_named(what, begun, command, humble, folder, record, notes, undisturbed):
    paths, mode, words = PROTECTED[what]
    before = lines(folder)
    modes = {path: path.stat().st_mode for path in paths(folder)}
    for path in modes:
        path.chmod(mode)
    refused, listed = humble("resume", "p", "--max-experiments=4"), humble("runs", "list", "p", "--json")
    assert (refused.wait(), listed.wait()) == (1, 1 if what == "unreadable file" else 0)
    for path, was in modes.items():
        path.chmod(was)
    assert_said(refused, words)
    if what == "unreadable file":
        assert_said(listed, words)
    else:
        assert listed.out == begun
    assert lines(folder) == before
    assert_goes_on(command, record, notes, undisturbed)


@pytest.fixture
def disk(home):
    """STUDIO_HOME is a file system of its own; `disk("ro")` mounts it again so."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(home)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own takes root: {done.stderr.strip()}")
    yield lambda how: subprocess.run(["mount", "-o", f"remount,{how}", str(home)], check=True)
    subprocess.run(["umount", "-l", str(home)], check=True)


def test_a_disk_that_is_mounted_read_only(disk, begun, command, folder, record, notes, undisturbed):
    before = lines(folder)
    disk("ro")
    assert_said(
        command("resume", "p", "--max-experiments=4"),
        "cannot lock project 'p'",
        "its disk must be writable",
    )
    assert command("runs", "list", "p", "--json").out == begun
    sick = command("doctor", "p")
    assert sick.code == 1
    assert "fix: set STUDIO_HOME to a folder that you can write to" in sick.out
    assert "ok  p: the record is complete: 2 outcomes" in sick.out
    disk("rw")
    assert lines(folder) == before
    assert_goes_on(command, record, notes, undisturbed)


# --- damaged ----------------------------------------------------------------------------------------------------------

RESTORE = "studio doctor p --restore"
PAGE = 4096


TWO = """
from studio import Optimizer


class Two(Optimizer):
    name = "two"

    def __init__(self, space, *, seed):
        self.space, self.asked = space, 0

    def ask(self):
        self.asked += 1
        return self.space.suggestion([self.asked % 2])

    def tell(self, suggestion, fitness):
        pass
"""


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Where a project of 150 experiments is kept, whose optimizer knows two values: the others are answered from the record."""
    return tmp_path_factory.mktemp("large")


@pytest.fixture
def many(large, script, command, home, workdir, listed):
    """A project `p` whose database has dozens of pages; what `runs list --json` prints of it."""
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    (large / "two.py").write_text(TWO)
    search = (
        "run",
        "--project=p",
        f"--optimizer={large / 'two.py'}",
        "--seed=1",
        "--quiet",
        "--hp=lr=1:2",
        "--max-experiments=150",
    )
    if not (large / "projects").exists():
        assert command(*search, "train.py").code == 0
        (large / "list.json").write_text(listed())
        shutil.copytree(home / "projects", large / "projects")
    shutil.copytree(large / "projects", home / "projects", dirs_exist_ok=True)
    return (large / "list.json").read_text()


@pytest.fixture
def listed(command, home):
    """What `runs list p --json` prints, wherever the project is kept."""
    return lambda: command("runs", "list", "p", "--json").out.replace(str(home), "HOME")


def overwrite(path, place, what):
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(what)


def foreign(path, version=0):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"CREATE TABLE tracks (title TEXT); PRAGMA user_version = {version};")


def with_statement(statement):
    def spoil(path):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(statement)

    return spoil


DAMAGES = {
    "pages in the middle": lambda path: overwrite(path, 5 * PAGE, b"\xa5" * (path.stat().st_size - 8 * PAGE)),
    "another program's": lambda path: foreign(path, VERSION),
    "empty": lambda path: os.truncate(path, 0),
    "cut off in half": lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
    "missing": Path.unlink,
    "without a table": with_statement("DROP TABLE events"),
    "with text that is no JSON": with_statement("""UPDATE events SET "values" = '{"lr": 0.1' WHERE number = 7"""),
    "with a line that Studio never wrote": with_statement(
        "PRAGMA ignore_check_constraints = ON; UPDATE events SET fitness = 'good' WHERE id = 8"
    ),
    "with a time that no clock shows": with_statement("UPDATE attempts SET started = 1e12 WHERE number = 7"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_backup_takes_the_place_of_a_damaged_database(damage, many, listed, command, folder):
    DAMAGES[damage](database(folder))
    resumed = command("resume", "p", "--max-experiments=152")
    assert_said(resumed, str(database(folder)), RESTORE)
    assert RESTORE in command("runs", "list", "p").err
    sick = command("doctor", "p")
    assert sick.code == 1
    assert f"fix: {RESTORE}" in sick.out
    assert "its backup of just now has 150 outcomes" in sick.out
    mended = command(*RESTORE.split()[1:])
    assert mended.code == 0, mended
    assert mended.err.startswith(
        "studio: restored the backup of p from just now, with 150 outcomes; continue with studio resume p"
    )
    assert command("doctor", "p").code == 0
    assert listed() == many
    assert command("resume", "p", "--max-experiments=152").code == 0
    assert [e.status for e in Project("p").experiments] == ["completed"] * 152


@pytest.mark.parametrize("seed", range(60 if LONG else 1))
def test_wherever_the_damage_is_there_is_one_line_and_no_crash(seed, many, listed, command, folder):
    """Random bytes in random places: Studio reads it all the same, or says so; its backup brings all back."""
    draw = random.Random(seed)
    whole = database(folder).read_bytes()
    for _ in range(10):
        database(folder).write_bytes(whole)
        overwrite(database(folder), draw.randrange(len(whole) - 200), draw.randbytes(draw.choice([1, 8, 200])))
        for arguments in (("runs", "list", "p", "--json"), ("resume", "p"), ("doctor", "p")):
            result = command(*arguments)
            assert "Traceback" not in result.err
            assert result.code in (0, 1), result
        for path in folder.glob("studio.db*"):
            if path != backup(folder):
                path.unlink()
    assert command("doctor", "p", "--restore").code == 0
    assert listed() == many


RESTORING = [
    ("after", "shutil:copyfile", 1),
    ("after", "os:replace", 2),
    *(
        pytest.param(moment, marks=pytest.mark.slow)
        for moment in [
            ("before", "studio.project.backup:examine_backup", 1),
            ("after", "studio.project.backup:_check_gain", 1),
            *((when, "os:replace", count) for count in (1, 3) for when in ("before", "after")),
        ]
    ),
]


@pytest.mark.parametrize(
    "moment", RESTORING, ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]} {moment[2]}"
)
def test_a_restore_that_is_killed_is_done_again(
    moment, driver, tree, command, notes, folder, record, undisturbed, until
):
    """Whenever that was, the doctor knows what is next, and nothing is lost."""
    tree("train.py", MEETS)
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    assert one.kill() == -signal.SIGKILL
    for path in (database(folder), Path(f"{database(folder)}-wal")):
        overwrite(path, 0, b"damaged!")
    Path(f"{notes.path}-go").touch()
    assert driver("doctor", "p", "--restore", dies=moment).wait() == -signal.SIGKILL
    sick = command("doctor", "p")
    if sick.code:
        assert f"fix: {RESTORE}" in sick.out
        assert_said(command("resume", "p"), RESTORE)
        assert command("doctor", "p", "--restore").code == 0
    assert command("doctor", "p").code == 0
    assert command("resume", "p").code == 0
    assert record("p") == undisturbed(BUDGET)
    assert notes.of("p/1").count("begins") == 1


# --- its log, or all of it, is gone -----------------------------------------------------------------------------------


def test_a_log_that_was_lost_takes_outcomes_with_it_and_their_folders_have_them(
    driver, tree, command, notes, folder, record, undisturbed, until
):
    """After a kill -9 the last outcomes stand in the write-ahead log alone."""
    tree("train.py", MEETS)
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    assert (one.kill(), list(one.shown)) == (-signal.SIGKILL, [1])
    Path(f"{database(folder)}-wal").unlink()
    Path(f"{notes.path}-go").touch()
    notes.path.unlink()
    assert_said(command("resume", "p"), RESTORE)
    sick = command("doctor", "p")
    assert (sick.code, f"fix: {RESTORE}" in sick.out) == (1, True)
    assert command("doctor", "p", "--restore").code == 0
    assert command("resume", "p").code == 0
    assert record("p") == undisturbed(BUDGET)
    assert notes.of("p/1") == []


@pytest.mark.parametrize("outcomes", [2, 3])
def test_a_database_that_is_older_than_its_backup_is_refused(
    begun, command, folder, record, notes, undisturbed, outcomes, tmp_path
):
    """Put back in the place of the database, it would lose what came after it."""
    if outcomes == 3:  # the project went on since
        shutil.copy(database(folder), tmp_path / "backup")
        assert command("resume", "p", "--max-experiments=3").code == 0
        shutil.copy(tmp_path / "backup", database(folder))
    else:
        with_statement(f"DELETE FROM events WHERE number > {outcomes - 1}")(database(folder))
    assert_said(command("resume", "p"), "older than its backup", RESTORE)
    sick = command("doctor", "p")
    assert (sick.code, f"fix: {RESTORE}" in sick.out) == (1, True)
    assert command("doctor", "p", "--restore").code == 0
    assert command("doctor", "p").code == 0
    assert_goes_on(command, record, notes, undisturbed)


@pytest.mark.parametrize("files", ["studio.db*", pytest.param("studio.db", marks=pytest.mark.slow)])
def test_a_database_that_is_deleted_under_a_driver(
    driver, tree, command, notes, folder, record, undisturbed, until, everything, files
):
    tree("train.py", MEETS)
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    for path in folder.glob(files):
        if path != backup(folder):
            path.unlink()
    Path(f"{notes.path}-go").touch()
    assert one.wait() == 1
    assert_said(one, "studio.db is missing", RESTORE)
    assert list(one.shown) == [1]
    until(lambda: not everything())
    assert_said(command("resume", "p"), RESTORE)
    assert command("doctor", "p", "--restore").code == 0
    assert_goes_on(command, record, notes, undisturbed, cut_off=2)


def test_a_project_that_is_deleted_under_a_driver(driver, tree, command, notes, folder, undisturbed, until, everything):
    tree("train.py", MEETS)
    one = driver(*SEARCH)
    until(lambda: notes.count("ready"))
    shutil.rmtree(folder)
    Path(f"{notes.path}-go").touch()
    assert one.wait() == 1
    assert_said(one, "studio.db is missing")
    until(lambda: not everything())
    assert not list(folder.glob("*"))
