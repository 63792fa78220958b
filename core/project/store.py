"""The journal of a project: an append-only sequence of asks and tells in one SQLite database, with the attempts and the
sessions of drivers; `studio.project.formats` has the tables, `studio.project.records` reads them.

One driver writes (`Store.open`, which holds the project's lock), on one connection; readers open read-only and never
block it. A lock can be lost: on a network, or when its file is deleted while its holder is paused. So every opening
takes the next fencing number, and a commit of an earlier opening is refused.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from studio.errors import StoreError
from studio.experiment import Experiment, Metric, Outcome, Status, plain, storable
from studio.project.formats import migrate
from studio.project.lock import take_lock
from studio.project.paths import database
from studio.project.records import (
    RESTORE,
    Event,
    Session,
    checked_version,
    connect,
    plain_errors,
    read_events,
    read_experiment,
    read_experiments,
    read_meta,
    read_session,
)
from studio.system.files import inode_of, is_network_disk

_OF_OUTCOME = (
    *("started", "finished", "duration", "exit_code", "signal", "reason", "failure"),
    *("cost", "cpu", "memory"),
)
_LATEST_SESSION = "id = (SELECT MAX(id) FROM sessions)"


class Store:
    """The writer of a journal. Every method is durable when it returns, or when the outermost `transaction` around it ends."""

    def __init__(self, folder: Path, lock: IO[str]):
        self.folder = folder
        self._lock = lock
        self._depth = 0
        try:
            with plain_errors(folder):
                # A program may tell from its own threads: `Search` lets one of them in at a time.
                self._connection = connect(database(folder), check_same_thread=False)
                version = checked_version(self._connection, folder)  # before anything is changed
                # WAL needs memory that all its users share, which a network cannot give (sqlite.org/wal.html).
                self._connection.execute(f"PRAGMA journal_mode = {'DELETE' if is_network_disk(folder) else 'WAL'}")
                self._connection.execute("PRAGMA synchronous = FULL")
                migrate(self._connection, folder, version)
                self._fence = self._next_fence()
                self._file = inode_of(database(folder))
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, folder: Path, settings: dict[str, Any]) -> "Store":
        """Create a journal in `folder`, which must exist and have none."""
        store = cls(folder, take_lock(folder))
        try:
            store.set_meta("settings", settings)
            os.chmod(database(folder), 0o600)
        except BaseException:  # the disk is full: leave nothing behind
            store.close()
            database(folder).unlink()
            raise
        return store

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open the journal in `folder`. Raises ProjectError if another driver has it."""
        return cls(folder, take_lock(folder))

    def close(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()
        self._lock.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside together. Writes before an exception are kept: they happened.

        Raises StoreError if not all can be written: then none is kept.
        """
        self._is_in_transaction()  # raises before anything has to be undone where the journal was closed
        self._depth += 1
        try:
            if self._depth == 1:
                self._execute("BEGIN IMMEDIATE")
                self.check_fence()
            yield
        except StoreError:  # half of an outcome is useless
            self._roll_back()
            raise
        finally:
            self._depth -= 1
            if self._depth == 0 and self._is_in_transaction():
                self._commit()

    # --- the journal ------------------------------------------------------------------------------------------------

    def ask(self, number: int, values: dict[str, Any], point: Any, extra: dict[str, Any] | None = None) -> None:
        given = json.dumps({name: plain(value) for name, value in values.items()})
        self._event("ask", number, values=given, point=json.dumps(point), extra=json.dumps(extra) if extra else None)

    def tell(
        self, number: int, fitness: float | None, extras: dict[str, Any] | None = None, duration: float | None = None
    ) -> None:
        """Record a result. `extras`: told beside the fitness. `duration`: seconds since the ask, by a monotonic clock."""
        self._event("tell", number, fitness=fitness, extra=json.dumps(extras) if extras else None, duration=duration)

    def report(self, number: int, step: int, fitness: float, reports: int | None = None) -> None:
        """Record a report. `reports`: at a checkpoint of the pruner, how many the run has had."""
        count = {} if reports is None else {"reports": reports}
        self._event("report", number, fitness=fitness, extra=json.dumps({"step": step, **count}))

    def restart(self, seed: int) -> int:
        """Record that a new optimizer, told all results so far, takes over here. Return the event's id."""
        self._event("restart", None, point=json.dumps(seed))
        last = self.last_restart()
        assert last is not None
        return last.id

    def last_restart(self) -> Event | None:
        with plain_errors(self.folder):
            return next(read_events(self._connection, "WHERE kind = 'restart' ORDER BY id DESC LIMIT 1"), None)

    def events(self, *, after: int = 0, until: int = 2**62) -> Iterator[Event]:
        """Yield the events with ids after `after` and up to `until`, in order."""
        with plain_errors(self.folder):
            yield from read_events(self._connection, "WHERE id > ? AND id <= ? ORDER BY id", (after, until))

    def _event(self, kind: str, number: int | None, **columns: Any) -> None:
        row = (kind, number, *map(columns.get, ("values", "point", "fitness", "extra", "duration")), time.time())
        columns_of = 'kind, number, "values", point, fitness, extra, duration, at'
        self._write(f"INSERT INTO events ({columns_of}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    # --- attempts and state -----------------------------------------------------------------------------------------

    def attempt_queued(self, number: int, attempt: int) -> None:
        """Record a requested retry that waits for a slot."""
        self._write("INSERT INTO attempts (number, attempt, status) VALUES (?, ?, 'queued')", (number, attempt))

    def attempt_started(self, number: int, attempt: int, snapshot: str | None = None, slot: int | None = None) -> None:
        """Record a start. `snapshot`: name of its copy of the source. `slot`: from 0, the lowest that was free."""
        row = (number, attempt, "running", time.time(), snapshot, slot)
        columns = "number, attempt, status, started, snapshot, slot"
        self._write(f"INSERT OR REPLACE INTO attempts ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)

    def attempt_metric(self, number: int, attempt: int, value: float | None) -> None:
        self._write("UPDATE attempts SET metric = ? WHERE number = ? AND attempt = ?", (value, number, attempt))

    def attempt_ended(self, outcome: Outcome, status: Status, metric: float | None) -> None:
        row = {"number": outcome.number, "attempt": outcome.attempt, "status": status, "metric": metric}
        row |= {name: getattr(outcome, name) for name in _OF_OUTCOME} | {"reason": storable(outcome.reason)}
        marks, updates = ", ".join("?" * len(row)), ", ".join(f"{name} = excluded.{name}" for name in row)
        self._write(
            f"INSERT INTO attempts ({', '.join(row)}) VALUES ({marks}) ON CONFLICT (number, attempt) DO UPDATE SET {updates}",
            tuple(row.values()),
        )

    def experiments(self, metric: Metric) -> Iterator[Experiment]:
        with plain_errors(self.folder):
            yield from read_experiments(self._connection, self.folder, metric)

    def experiment(self, number: int, metric: Metric) -> Experiment:
        with plain_errors(self.folder):
            found = read_experiment(self._connection, self.folder, metric, number)
        if found is None:
            raise StoreError(f"{database(self.folder)} has no experiment {number}")
        return found

    def failures(self, number: int, failure: str) -> int:
        """Return how many attempts of experiment `number` failed with that class."""
        query = "SELECT number FROM attempts WHERE number = ? AND failure = ? AND status = 'failed'"
        return len(self._select(query, number, failure))

    def begin_session(
        self,
        slots: int | None = None,
        size: int | None = None,
        max_time: float | None = None,
        begun: float | None = None,
    ) -> None:
        """Record that a driver, or a program's own loop, begins. The previous session stays as it ended."""
        row = (time.time() if begun is None else begun, slots, size, max_time)
        self._write("INSERT INTO sessions (begun, slots, size, max_time) VALUES (?, ?, ?, ?)", row)

    def change_session(
        self, size: int | None, max_time: float | None, pauses: Sequence[Sequence[float | None]] = ()
    ) -> None:
        """Record changed limits. `pauses`: [from, until or None] each."""
        row = (size, max_time, json.dumps(pauses))
        self._write(f"UPDATE sessions SET size = ?, max_time = ?, pauses = ? WHERE {_LATEST_SESSION}", row)

    def end_session(self, state: str, at: float | None = None) -> None:
        """Record the end of a session. `state`: why it ended. A session without one was killed, or still runs."""
        row = (state, time.time() if at is None else at)
        self._write(f"UPDATE sessions SET state = ?, ended = ? WHERE {_LATEST_SESSION}", row)

    def session(self) -> Session | None:
        """Return the latest session; None if there is none."""
        with plain_errors(self.folder):
            return read_session(self._connection)

    def set_meta(self, key: str, value: Any) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def meta(self, key: str) -> Any:
        with plain_errors(self.folder):
            return read_meta(self._connection, key)

    def last_event(self) -> int:
        """Return the id of the last line of the journal; 0 where it is empty."""
        return int(self._select("SELECT COALESCE(MAX(id), 0) AS last FROM events")[0]["last"])

    def copy_to(self, path: Path) -> None:
        """Write all that is committed into a new database, for this user's eyes only. StoreError where it is damaged."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous = FULL")
            self._connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            (complaint,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if complaint != "ok":
            raise StoreError(
                f"{database(self.folder)} is damaged: {complaint}{RESTORE.format(project=self.folder.name)}"
            )

    def _select(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with plain_errors(self.folder):
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    # --- SQLite -----------------------------------------------------------------------------------------------------

    def _next_fence(self) -> int:
        self._connection.execute("BEGIN IMMEDIATE")
        fence = (read_meta(self._connection, "fence") or 0) + 1
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('fence', ?)", (json.dumps(fence),))
        self._connection.execute("COMMIT")
        return int(fence)

    def check_fence(self) -> None:
        """Raise StoreError if a later driver has the project, or the database is gone."""
        found = inode_of(database(self.folder))
        if found == (0, 0):
            raise StoreError(f"{database(self.folder)} is missing{RESTORE.format(project=self.folder.name)}")
        if self.meta("fence") != self._fence or found != self._file:
            name = self.folder.name
            raise StoreError(f"another process runs project {name!r} now; later results of this one were not recorded")

    def _write(self, statement: str, row: Sequence[Any]) -> None:
        with self.transaction():
            self._execute(statement, row)

    def _commit(self) -> None:
        try:
            self._execute("COMMIT")
        except StoreError:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._is_in_transaction():  # a full disk has ended it already
            self._execute("ROLLBACK")

    def _is_in_transaction(self) -> bool:
        with plain_errors(self.folder):
            return self._connection.in_transaction

    def _execute(self, statement: str, row: Sequence[Any] = ()) -> None:
        with plain_errors(self.folder):
            self._connection.execute(statement, row)
