"""`studio doctor`: each thing that may be wrong is found, and what it says to do is done here word for word; then all is well."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import studio
from studio.project import doctor as doctor_module
from studio.project import inbox as requests
from studio.project.lock import take_lock
from studio.project.paths import backup, database
from studio.project.store import Store
from studio.system.files import LOW_SPACE
from studio.system.processes import MARK_VARIABLE, processes_of


@pytest.fixture
def project(script: Callable[..., Path], command: Callable[..., Any], home: Path) -> Path:
    """A project `p` with three outcomes, one of them a failure, at rest."""
    script("train.py", "lr = 1\nassert lr != 2\nprint('fitness:', lr)\n")
    assert command("run", "--project=p", "--quiet", "--hp=lr=1,2,3", "train.py").code == 3
    return home / "projects" / "p"


@pytest.fixture
def findings(command: Callable[..., Any]) -> Callable[..., list[dict[str, str]]]:
    """`findings("p")`: what is wrong, as JSON has it."""

    def wrong(*arguments: str) -> list[dict[str, str]]:
        result = command("doctor", "--json", *arguments)
        found = json.loads(result.out)
        bad = [finding for finding in found if finding["mend"]]
        assert result.code == (1 if bad else 0)
        return bad

    return wrong


@pytest.fixture
def follow(command: Callable[..., Any]) -> Callable[[str], None]:
    """Do what a mend says."""

    def do(mend: str) -> None:
        steps = re.fullmatch(r"remove (\S+)(?:: the next (studio resume p) makes a new one)?", mend)
        if steps:
            path = Path(steps[1])
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        typed = steps[2] if steps else mend
        if typed:
            program, *arguments = shlex.split(typed)
            assert program == "studio", mend
            result = command(*arguments)
            assert result.code in (0, 3), result  # 3: an experiment of the project failed

    return do


def damage(folder: Path) -> None:
    database(folder).write_bytes(b"no database" * 1000)


def cut_off(folder: Path) -> None:
    """Leave a project as a kill -9 does while the project is made."""
    shutil.rmtree(folder)
    folder.mkdir()
    Store(folder, take_lock(folder)).close()


def put_back(folder: Path) -> None:
    """A database of an earlier day."""
    with sqlite3.connect(database(folder)) as connection:
        connection.execute("DELETE FROM events WHERE number = 3")
    connection.close()


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "damaged": (damage, r"studio\.db: file is not a database", r"studio doctor p --restore"),
    "missing": (lambda folder: database(folder).unlink(), r"studio\.db is missing", r"studio doctor p --restore"),
    "cut off": (cut_off, r"it was not completely created", r"remove \S+/projects/p"),
    "older": (put_back, r"is older than its backup, which has more outcomes: 3", r"studio doctor p --restore"),
    "backup damaged": (
        lambda folder: backup(folder).write_bytes(b"no database" * 1000),
        r"the backup \S+/p/studio\.db\.backup cannot be read: .*not a database",
        r"remove \S+/p/studio\.db\.backup: .*",
    ),
    "retry waits": (
        lambda folder: requests.post(folder, requests.Request("retry", [2])),
        r"a retry waits for a driver",
        r"studio resume p",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_found_and_the_mend_mends_it(
    fault: str,
    project: Path,
    findings: Callable[..., list[dict[str, str]]],
    follow: Callable[[str], None],
    command: Any,
) -> None:
    listed = command("runs", "list", "p", "--json").out
    assert findings() == findings("p") == []
    make, text, mend = FAULTS[fault]
    make(project)
    (wrong,) = findings("p")
    assert wrong["about"] == "p"
    assert re.search(text, wrong["text"])
    assert re.fullmatch(mend, wrong["mend"])
    follow(wrong["mend"])
    assert findings() == []
    if fault == "cut off":
        assert not project.exists()
    elif fault != "retry waits":
        assert command("runs", "list", "p", "--json").out == listed


def test_a_damaged_database_with_a_damaged_backup_keeps_the_outcomes_of_runs(
    project: Path, findings: Callable[..., list[dict[str, str]]], command: Any
) -> None:
    damage(project)
    backup(project).write_text("no database")
    (wrong,) = findings("p")
    assert wrong["mend"] == (
        f"a search cannot continue without its settings; save what you need of {project}, such as */*/outcome.json, "
        f"and remove {project}"
    )
    before = database(project).read_bytes()
    refused = command("doctor", "p", "--restore")
    assert (refused.code, "studio.db.backup cannot be read" in refused.err) == (2, True)
    assert database(project).read_bytes() == before


def test_a_loop_of_a_program_has_no_backup_and_is_well(
    home: Path, findings: Callable[..., list[dict[str, str]]], follow: Callable[[str], None]
) -> None:
    search = studio.Search({"x": "0:1"}, optimizer="random", seed=1, max_experiments=3, project="loop")
    for suggestion in search:
        search.tell(suggestion, 1.0)
    search._journal.close()  # type: ignore[union-attr]
    assert findings("loop") == []
    damage(home / "projects" / "loop")
    (wrong,) = findings("loop")
    assert wrong["mend"] == f"remove {home / 'projects' / 'loop'}"
    follow(wrong["mend"])
    assert findings() == []


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def strays(project: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that a script of `p` left, and nobody ended."""
    environment = {"PATH": os.environ["PATH"], MARK_VARIABLE: f"|0123abc={project / '1' / '1'}|"}
    started = [subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True) for _ in range(2)]
    while len(list(processes_of(str(project)))) < 2:
        pass
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("way", ["resume", "kill"])
def test_processes_without_a_driver(
    way: str, strays: list[subprocess.Popen[bytes]], findings: Callable[..., list[dict[str, str]]], command: Any
) -> None:
    pids = sorted(process.pid for process in strays)
    (wrong,) = findings("p")
    assert wrong["text"].startswith("2 of its processes run without a driver: ")
    assert sorted(map(int, re.findall(r"\d+", wrong["mend"]))) == pids
    resume, kill = wrong["mend"].split(" ends them, or: ")
    if way == "resume":
        assert command(*resume.split()[1:]).code == 3
    else:
        subprocess.run(kill, shell=True, check=True)
    assert [process.wait(60) < 0 for process in strays] == [True, True]
    assert findings("p") == []


# --- the home ---------------------------------------------------------------------------------------------------------


def test_a_home_that_takes_no_files(
    home: Path, tmp_path: Path, findings: Callable[..., list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file")
    (wrong,) = findings()
    assert (wrong["about"], wrong["mend"]) == ("home", "set STUDIO_HOME to a folder that you can write to")
    assert f"cannot write to {home}" in wrong["text"]
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "elsewhere"))
    assert findings() == []


def test_a_home_whose_disk_is_full(home: Path, findings: Callable[..., list[dict[str, str]]]) -> None:
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own takes root: {done.stderr.strip()}")
    try:
        (home / "ballast").write_bytes(b"x" * (LOW_SPACE + 100_000))
        (wrong,) = findings()
        assert wrong["text"].startswith(f"the disk of {home} is full: ")
        assert wrong["mend"] == "free some space"
        (home / "ballast").unlink()
        assert findings() == []
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_what_is_well_is_said_too(project: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = command("doctor").out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["ok  home", "ok  sqlite", "ok  p"]
    assert lines[2] == "ok  p: the record is complete: 3 outcomes"
    assert command("doctor", "p", "--json").out.startswith('[\n  {\n    "about": "home",\n    "text": ')
    for fixed, note in (((0,), False), ((9,), True)):
        monkeypatch.setattr(doctor_module, "WAL_RESET_FIXED", fixed)
        assert ("has a defect that needs two writers, and a project has one" in command("doctor").out) == note


def test_every_project_is_looked_at(project: Path, findings: Callable[..., list[dict[str, str]]]) -> None:
    for name in ("a", "z"):
        shutil.copytree(project, project.with_name(name))
        damage(project.with_name(name))
    (project.parent / "a-file").write_text("no project")
    assert [finding["about"] for finding in findings()] == ["a", "z"]
    assert findings("p") == []


def test_a_project_that_is_not_there(project: Path, command: Any) -> None:
    for arguments in (["q"], ["q", "--restore"]):
        result = command("doctor", *arguments)
        assert (result.code, result.err.startswith("studio: there is no project 'q' in ")) == (2, True)
    result = command("doctor", "../p")
    assert (result.code, "is not a project name" in result.err) == (2, True)


def test_a_restore_is_of_one_project(project: Path, command: Any) -> None:
    result = command("doctor", "--restore")
    assert (result.code, result.err) == (
        2,
        "studio: --restore needs the name of a project: studio doctor PROJECT --restore\n",
    )


def test_a_record_that_is_well_and_knows_more_stays(project: Path, command: Any) -> None:
    shutil.copy(backup(project), project / "early")
    assert command("retry", "p").code == 3
    shutil.copy(project / "early", backup(project))
    refused = command("doctor", "p", "--restore")
    assert refused.code == 2
    assert "is complete, and its backup lacks 1 outcome: it was not restored" in refused.err
