"""The journal: what is written is there, once, for one writer and many readers."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.errors import ProjectError, StoreError
from studio.experiment import FITNESS, Metric, Outcome
from studio.project import lock, records
from studio.project.formats import VERSION
from studio.project.lock import is_locked
from studio.project.paths import database
from studio.project.records import Event, iso, read_events, read_experiments, read_meta, reading
from studio.project.store import Store

LOSS = Metric("loss", "min")

# Opens the journal in argv[1], writes what the format says, says so and waits.
HOLDER = """
import sys, time
from pathlib import Path
from studio.project.store import Store
store = Store.open(Path(sys.argv[1]))
store.ask(2, {"x": 2}, None)
with store.transaction():
    store.tell(2, 0.5)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "digits"
    folder.mkdir()
    made = Store.create(folder, {"script": "train.py"})
    yield made
    made.close()


def lines(events: Iterator[Event]) -> list[tuple[object, ...]]:
    return [(event.kind, event.number, event.values, event.point, event.fitness, event.extra) for event in events]


def test_the_journal_gives_back_what_was_written_in_order(store: Store) -> None:
    store.ask(1, {"lr": 0.1, "sizes": np.array([1.5, 2.5]), "name": "adam", "none": None}, [0.1, 1 / 3])
    store.ask(2, {"lr": 3}, {"any": ["json", None]})
    store.report(2, 7, 0.25)
    store.tell(2, 0.5, {"cost": 2.0})
    store.restart(2**31 - 1)
    store.tell(1, None)
    store.tell(2, 0.1)
    written = lines(store.events())
    assert written == [
        ("ask", 1, {"lr": 0.1, "sizes": [1.5, 2.5], "name": "adam", "none": None}, [0.1, 1 / 3], None, {}),
        ("ask", 2, {"lr": 3}, {"any": ["json", None]}, None, {}),
        ("report", 2, None, None, 0.25, {"step": 7}),
        ("tell", 2, None, None, 0.5, {"cost": 2.0}),
        ("restart", None, None, 2**31 - 1, None, {}),
        ("tell", 1, None, None, None, {}),
        ("tell", 2, None, None, 0.1, {}),
    ]
    store.close()
    with contextlib.closing(Store.open(store.folder)) as again, reading(store.folder) as connection:
        assert lines(again.events()) == lines(read_events(connection)) == written


@pytest.mark.parametrize("point", [0, 0.0, "", [], {}, False, None])
def test_a_point_that_is_false_comes_back_as_it_was(store: Store, point: object) -> None:
    store.ask(1, {}, point)
    (event,) = store.events()
    assert (event.values, event.point) == ({}, point)
    assert type(event.point) is type(point)


def test_a_number_is_asked_once(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    with pytest.raises(StoreError, match=r"studio\.db: UNIQUE"):
        store.ask(1, {"x": 2}, None)
    assert [event.values for event in store.events()] == [{"x": 1}]


def test_a_damaged_line_is_named(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    store.ask(2, {"x": 2}, None)
    with contextlib.closing(sqlite3.connect(database(store.folder))) as connection, connection:
        connection.execute("UPDATE events SET at = 'noon' WHERE number = 2")
    with pytest.raises(StoreError, match="line 2 of the journal is damaged"):
        list(store.events())


def test_a_transaction_is_one_commit_and_is_seen_whole(store: Store) -> None:
    with reading(store.folder) as reader:

        def seen() -> tuple[int, int]:
            commits = reader.execute("PRAGMA data_version").fetchone()[0]
            return commits, len(list(read_events(reader)))

        before, _ = seen()
        with store.transaction():
            store.ask(1, {"x": 1}, None)
            with store.transaction():
                store.tell(1, 1.0)
            store.attempt_started(2, 1)
            store.ask(2, {"x": 2}, None)
            assert seen() == (before, 0)
        assert seen() == (before + 1, 3)


def test_what_was_written_before_an_exception_is_kept(store: Store) -> None:
    with contextlib.suppress(KeyError), store.transaction():
        store.ask(1, {"x": 1}, None)
        raise KeyError
    store.tell(1, 2.0)
    with reading(store.folder) as connection:
        assert [event.kind for event in read_events(connection)] == ["ask", "tell"]


# --- experiments ------------------------------------------------------------------------------------------------------


def outcome(number: int, attempt: int = 1, **changes: object) -> Outcome:
    return Outcome(**{**vars(Outcome(number, attempt, 0, None, "", 10.0, 12.5, 2.25)), **changes})


def test_experiments_join_the_journal_with_the_latest_attempt(store: Store) -> None:
    for number in (1, 2, 3, 4):
        store.ask(number, {"x": number}, None)
    store.attempt_started(1, 1)
    store.attempt_ended(outcome(1), "completed", 0.5)
    store.tell(1, -0.5)
    store.attempt_started(2, 1)
    store.attempt_ended(outcome(2, exit_code=None, signal="SIGKILL", reason="killed by SIGKILL"), "failed", None)
    store.tell(2, None)
    store.attempt_started(3, 1)
    store.attempt_metric(3, 1, 0.75)
    one, two, three, four = store.experiments(LOSS)
    assert (one.status, one.fitness, one.metric) == ("completed", -0.5, {"name": "loss", "mode": "min", "value": 0.5})
    assert (one.started, one.finished, one.duration, one.exit_code) == (
        "1970-01-01T00:00:10.000Z",
        "1970-01-01T00:00:12.500Z",
        2.25,
        0,
    )
    assert (one.key, one.folder) == ("digits/1", str(store.folder / "1" / "1"))
    assert (two.status, two.fitness, two.metric, two.reason) == ("failed", None, None, "killed by SIGKILL")
    assert (three.status, three.fitness, three.finished, three.metric and three.metric["value"]) == (
        "running",
        None,
        None,
        0.75,
    )
    assert (four.status, four.finished, four.folder) == ("queued", None, None)


def test_what_waits_for_a_slot_has_not_started(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    assert store.experiment(1, FITNESS).started is None


def test_the_last_tell_and_the_last_attempt_count(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    for attempt, value in ((1, None), (2, 3.0), (10, 1.0)):
        store.attempt_started(1, attempt)
        store.attempt_ended(outcome(1, attempt), "failed" if value is None else "completed", value)
        store.tell(1, value)
    (experiment,) = store.experiments(FITNESS)
    assert (experiment.attempt, experiment.fitness, experiment.status) == (10, 1.0, "completed")
    assert store.experiment(1, FITNESS) == experiment


def test_a_loop_of_a_program_has_experiments_without_attempts(store: Store) -> None:
    for number in (1, 2, 3):
        store.ask(number, {"x": number}, None)
    store.tell(1, 1.0)
    store.tell(2, None)
    assert [(e.status, e.fitness, e.folder) for e in store.experiments(FITNESS)] == [
        ("completed", 1.0, None),
        ("failed", None, None),
        ("queued", None, None),
    ]


def test_an_experiment_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no experiment 7"):
        store.experiment(7, FITNESS)


def test_ten_thousand_experiments_are_read_at_once(store: Store) -> None:
    with store.transaction():
        for number in range(1, 10_001):
            store.ask(number, {"x": number}, None)
            store.tell(number, float(number))
    with reading(store.folder) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = 5")
        assert "events_of" in str(plan.fetchall())
        assert sum(e.fitness or 0 for e in read_experiments(connection, store.folder, FITNESS)) == 50_005_000


def test_times_are_utc() -> None:
    assert (iso(None), iso(0.0), iso(1e9 + 0.1236)) == (None, "1970-01-01T00:00:00.000Z", "2001-09-09T01:46:40.123Z")


# --- settings and state -----------------------------------------------------------------------------------------------


def test_meta_is_json_and_the_last_word_counts(store: Store) -> None:
    assert store.meta("settings") == {"script": "train.py"}
    assert store.meta("nothing") is None
    store.set_meta("source", {"folder": "here"})
    store.set_meta("source", {"folder": "there", "at": [1, None]})
    with reading(store.folder) as connection:
        assert read_meta(connection, "source") == {"folder": "there", "at": [1, None]}


def test_the_database_is_for_its_owner_alone(store: Store) -> None:
    assert database(store.folder).stat().st_mode & 0o077 == 0


def test_a_journal_that_was_closed_is_not_written(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    store.close()
    with pytest.raises(StoreError, match="this search of project 'digits' was closed"):
        store.tell(1, 1.0)


def test_commits_are_durable(store: Store) -> None:
    connection = store._connection
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


# --- versions ---------------------------------------------------------------------------------------------------------


def set_version(folder: Path, version: int) -> None:
    with contextlib.closing(sqlite3.connect(database(folder))) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def get_version(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(database(folder))) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return version


def test_a_newer_format_is_refused_and_left_alone(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    store.close()
    set_version(store.folder, VERSION + 1)
    with pytest.raises(StoreError, match=f"newer Studio \\(format {VERSION + 1}, this one knows {VERSION}\\)"):
        Store.open(store.folder)
    with pytest.raises(StoreError, match="newer Studio"), reading(store.folder):
        pass
    assert get_version(store.folder) == VERSION + 1


def test_a_journal_that_was_refused_is_let_go(store: Store) -> None:
    store.close()
    set_version(store.folder, VERSION + 1)
    with pytest.raises(StoreError) as caught:
        Store.open(store.folder)
    assert "newer" in str(caught.value)
    assert not is_locked(store.folder)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    database(tmp_path).write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match=r"studio\.db: file is not a database"), reading(tmp_path) as connection:
        list(read_events(connection))


# --- one writer, many readers -----------------------------------------------------------------------------------------


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the journal open, in mid-transaction."""
    store.ask(1, {"x": 1}, None)
    store.close()
    command = [sys.executable, "-c", HOLDER, str(store.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_the_first_one_is(store: Store, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ProjectError, match=rf"'digits' is being run by process {holder.pid} on .*studio stop digits"):
        Store.open(store.folder)
    assert is_locked(store.folder)


def test_the_project_is_free_when_its_holder_was_killed(store: Store, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_locked(store.folder)
    with contextlib.closing(Store.open(store.folder)) as again:
        assert [(event.kind, event.number) for event in again.events()] == [("ask", 1), ("ask", 2)]
        again.tell(1, 1.0)


def test_readers_read_while_a_writer_writes(store: Store, holder: subprocess.Popen[str]) -> None:
    with reading(store.folder) as one, reading(store.folder) as two:
        for connection in (one, two):
            assert [(event.kind, event.number) for event in read_events(connection)] == [("ask", 1), ("ask", 2)]


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="readonly"), reading(store.folder) as connection:
        connection.execute("DELETE FROM events")


def test_a_log_on_a_disk_that_became_read_only_is_read_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "is_read_only", lambda folder: True)
    store.ask(1, {"x": 1}, None)
    with reading(store.folder) as connection:
        assert [event.number for event in read_events(connection)] == [1]


def test_looking_at_the_lock_makes_no_file_and_takes_no_lock(tmp_path: Path, store: Store) -> None:
    assert not is_locked(tmp_path)
    assert not (tmp_path / "lock").exists()
    assert is_locked(store.folder)
    store.close()
    assert not is_locked(store.folder)
    Store.open(store.folder).close()


def test_the_lock_in_one_process_counts_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK_WAIT", 0.0)
    with pytest.raises(ProjectError, match="is being run by process"):
        Store.open(store.folder)


def test_a_reason_that_is_no_text_is_kept_as_far_as_it_is(store: Store) -> None:
    store.ask(1, {"x": 1}, None)
    store.attempt_ended(outcome(1, reason="tag was not kept: \udcff"), "completed", None)
    (one,) = store.experiments(LOSS)
    assert one.reason == "tag was not kept: ?"
