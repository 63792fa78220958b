"""A record of an earlier format is read as it is, and brought to today's by the next driver. `tests/data/format1` was written
by the version before format 2: five experiments in two sessions, three of them in two attempts, files changed in between."""

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from studio.experiment import FITNESS, Experiment
from studio.project.formats import VERSION
from studio.project.project import Project
from studio.project.records import Session, read_attempts, read_experiments, read_session, reading
from studio.project.store import Store

DATA = Path(__file__).parents[2] / "data" / "format1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path))
    folder = tmp_path / "projects" / "before"
    shutil.copytree(DATA, folder)
    return folder


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "studio.db")) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def experiments(folder: Path) -> list[Experiment]:
    with reading(folder) as connection:
        return list(read_experiments(connection, folder, FITNESS))


def latest(folder: Path) -> Session | None:
    with reading(folder) as connection:
        return read_session(connection)


def test_an_earlier_format_is_read_as_it_is(folder: Path) -> None:
    found = experiments(folder)
    assert [(e.number, e.status, e.attempt) for e in found] == [
        (1, "completed", 2),
        (2, "completed", 1),
        (3, "completed", 1),
        (4, "completed", 2),
        (5, "completed", 2),
    ]
    assert all((e.snapshot, e.slot, e.cost, e.cpu, e.memory) == (None,) * 5 for e in found)
    session = latest(folder)
    assert session is not None
    assert (session.state, session.slots, session.size, session.max_time, session.pauses) == ("done", 2, 5, None, ())
    assert session.ended is not None
    assert 0 < session.ended - session.begun < 10
    assert Project("before").state == "done"
    assert version_of(folder) == 1  # nobody who reads writes


def test_the_next_driver_brings_it_to_the_latest_format(folder: Path) -> None:
    before, session = experiments(folder), latest(folder)
    store = Store.open(folder)
    store.close()
    assert version_of(folder) == VERSION
    assert experiments(folder) == before
    assert latest(folder) == session
    again = Store.open(folder)
    again.begin_session(4, 6)
    again.ask(6, {"lr": 0.1}, [0.5])
    again.attempt_started(6, 1, "source-2", 3)
    again.close()
    last = experiments(folder)[-1]
    assert (last.number, last.snapshot, last.slot) == (6, "source-2", 3)
    again_session = latest(folder)
    assert again_session is not None
    assert (again_session.state, again_session.slots) == (None, 4)


def test_what_stood_beside_the_runs_becomes_columns(folder: Path) -> None:
    first, second = sorted(e.started or "" for e in experiments(folder))[0::4]
    assert first < second
    (folder / "source").mkdir()
    for number, attempt, used in [(1, 1, {"cpu": 0.5, "memory": 10_000}), (1, 2, {"cpu": 1}), (2, 1, {"cpu": "x"})]:
        run = folder / str(number) / str(attempt)
        run.mkdir(parents=True)
        (run / "usage.json").write_text(json.dumps(used))
        (run / "machine.json").write_text(json.dumps({"dollars": attempt / 4}))
    (folder / "3" / "1").mkdir(parents=True)
    (folder / "3" / "1" / "usage.json").write_text("[" * 60_000)
    os.mkfifo(folder / "3" / "1" / "machine.json")
    Store.open(folder).close()
    found = {e.number: e for e in experiments(folder)}
    assert [(found[n].cost, found[n].cpu, found[n].memory) for n in (1, 2, 3)] == [
        (0.75, 1.0, None),  # the cost is that of both attempts
        (0.25, None, None),
        (None, None, None),
    ]
    with reading(folder) as connection:
        assert [(a["cpu"], a["memory"]) for a in read_attempts(connection, 1)] == [(0.5, 10_000), (1.0, None)]
    assert {e.snapshot for e in found.values()} == {"source"}


def test_a_migration_that_breaks_off_leaves_the_earlier_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studio.project.formats._numbers_in", breaks)
    with pytest.raises(KeyboardInterrupt):
        Store.open(folder)
    assert version_of(folder) == 1
    monkeypatch.undo()
    monkeypatch.setenv("STUDIO_HOME", str(folder.parents[1]))
    before = experiments(folder)
    Store.open(folder).close()
    assert experiments(folder) == before


def test_sessions_are_rows(folder: Path) -> None:
    store = Store.open(folder)
    begun = time.time()
    store.begin_session(2, 10, 60.0)
    store.change_session(12, 90.0, [[begun, begun + 1], [begun + 2, None]])
    assert (session := store.session()) is not None
    assert (session.slots, session.size, session.max_time, session.paused) == (2, 12, 90.0, True)
    assert Project("before").state == "paused"
    store.end_session("stopped")
    store.close()
    assert Project("before").state == "stopped"
    with reading(folder) as connection:
        states = connection.execute("SELECT state FROM sessions ORDER BY id").fetchall()
    assert states == [("done",), ("stopped",)]


def test_a_session_without_an_end_was_interrupted(folder: Path) -> None:
    store = Store.open(folder)
    store.begin_session(2, 10)
    store.close()
    assert Project("before").state == "interrupted"
