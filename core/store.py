"""The journal of a project: an append-only sequence of asks and tells in one SQLite database, beside it the attempts.

    events    ask(number, values, point) · tell(number, fitness) · what the optimizer saw, in order; also
              report(number, step, fitness), for optimizers that take reports, and restart(seed)
    attempts  one row a run of a script: status, times, exit code, reason, metric value
    meta      the settings of the search and the state of its driver, as JSON

One driver writes (`Store.open`, which holds the project's lock); readers open read-only and never block it.
"""

import contextlib
import fcntl
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from studio.errors import ProjectError, StoreError
from studio.experiment import Experiment, Metric, Outcome, Status, plain
from studio.home import database
from studio.records import read_experiment, read_experiments

VERSION = 1
LOCK_WAIT = 1.0  # seconds: a reader that looks whether the lock is free holds it for a moment

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('ask', 'report', 'tell', 'restart')), number INTEGER,
    "values" TEXT, point TEXT, fitness REAL, extra TEXT, at REAL NOT NULL);
CREATE UNIQUE INDEX one_ask ON events (number) WHERE kind = 'ask';
CREATE INDEX tells ON events (number) WHERE kind = 'tell';
CREATE TABLE attempts (
    number INTEGER NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, started REAL, finished REAL, duration REAL,
    exit_code INTEGER, signal TEXT, reason TEXT NOT NULL DEFAULT '', metric REAL, PRIMARY KEY (number, attempt));
"""
# Version n is reached from n - 1 by the n-th script; a new version appends one.
MIGRATIONS = (_SCHEMA,)


@dataclass(frozen=True)
class Event:
    """One line of the journal. `values` and `point` are as JSON has them."""

    kind: str
    number: int | None
    values: dict[str, Any] | None
    point: Any
    fitness: float | None
    extra: dict[str, Any]
    at: float

    @property
    def experiment(self) -> int:
        """The number, for the kinds that have one."""
        assert self.number is not None
        return self.number


class Store:
    """The writing end. Every method is durable when it returns, or when the outermost `transaction` around it ends."""

    def __init__(self, folder: Path, lock: IO[str]):
        self.folder = folder
        self._lock = lock
        self._depth = 0
        try:
            with _plain_errors(folder):
                self._connection = sqlite3.connect(database(folder), isolation_level=None, timeout=30)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._migrate()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, folder: Path, settings: dict[str, Any]) -> "Store":
        """A new journal in `folder`, which must exist and hold none."""
        store = cls(folder, take_lock(folder))
        store.set_meta("settings", settings)
        os.chmod(database(folder), 0o600)
        return store

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """The journal in `folder`. StoreError where another driver has it."""
        return cls(folder, take_lock(folder))

    def close(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()
        self._lock.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are one commit. What was written before an exception is kept: it happened."""
        if self._depth == 0:
            self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._execute("COMMIT")

    # --- the journal ------------------------------------------------------------------------------------------------

    def ask(self, number: int, values: dict[str, Any], point: Any) -> None:
        values = {name: plain(value) for name, value in values.items()}
        self._event("ask", number, values=json.dumps(values), point=json.dumps(point))

    def tell(self, number: int, fitness: float | None, extras: dict[str, Any] | None = None) -> None:
        """`extras`: what was told beside the fitness."""
        self._event("tell", number, fitness=fitness, extra=json.dumps(extras) if extras else None)

    def report(self, number: int, step: int, fitness: float) -> None:
        self._event("report", number, fitness=fitness, extra=json.dumps({"step": step}))

    def restart(self, seed: int) -> None:
        """From here on a fresh optimizer is at work, which was told all that is known."""
        self._event("restart", None, point=json.dumps(seed))

    def events(self) -> Iterator[Event]:
        return read_events(self._connection)

    def _event(self, kind: str, number: int | None, **columns: Any) -> None:
        row = (kind, number, *map(columns.get, ("values", "point", "fitness", "extra")), time.time())
        self._write(
            'INSERT INTO events (kind, number, "values", point, fitness, extra, at) VALUES (?, ?, ?, ?, ?, ?, ?)', row
        )

    # --- attempts and state -----------------------------------------------------------------------------------------

    def attempt_queued(self, number: int, attempt: int) -> None:
        """A retry that was asked for and waits for a slot."""
        self._write("INSERT INTO attempts (number, attempt, status) VALUES (?, ?, 'queued')", (number, attempt))

    def attempt_started(self, number: int, attempt: int) -> None:
        row = (number, attempt, time.time())
        self._write(
            "INSERT OR REPLACE INTO attempts (number, attempt, status, started) VALUES (?, ?, 'running', ?)", row
        )

    def attempt_metric(self, number: int, attempt: int, value: float | None) -> None:
        self._write("UPDATE attempts SET metric = ? WHERE number = ? AND attempt = ?", (value, number, attempt))

    def attempt_ended(self, outcome: Outcome, status: Status, metric: float | None) -> None:
        when = (outcome.started, outcome.finished, outcome.duration)
        how = (outcome.exit_code, outcome.signal, outcome.reason, metric)
        self._write(
            "INSERT OR REPLACE INTO attempts (number, attempt, status, started, finished, duration, exit_code, signal,"
            " reason, metric) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (outcome.number, outcome.attempt, status, *when, *how),
        )

    def experiments(self, metric: Metric) -> Iterator[Experiment]:
        yield from read_experiments(self._connection, self.folder, metric)

    def experiment(self, number: int, metric: Metric) -> Experiment:
        found = read_experiment(self._connection, self.folder, metric, number)
        if found is None:
            raise StoreError(f"{database(self.folder)} has no experiment {number}")
        return found

    def set_meta(self, key: str, value: Any) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def meta(self, key: str) -> Any:
        return read_meta(self._connection, key)

    # --- SQLite -----------------------------------------------------------------------------------------------------

    def _migrate(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{database(self.folder)} was written by a newer Studio (format {version}, this one knows {VERSION})"
            )
        for reached in range(version, VERSION):
            script = f"BEGIN IMMEDIATE; {MIGRATIONS[reached]} PRAGMA user_version = {reached + 1}; COMMIT;"
            self._connection.executescript(script)

    def _write(self, statement: str, row: tuple[Any, ...]) -> None:
        with self.transaction():
            self._execute(statement, row)

    def _execute(self, statement: str, row: tuple[Any, ...] = ()) -> None:
        with _plain_errors(self.folder):
            self._connection.execute(statement, row)


# --- reading ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to the journal in `folder`."""
    with _plain_errors(folder):
        connection = sqlite3.connect(f"{database(folder).as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=30)
        try:
            yield connection
        finally:
            connection.close()


def read_meta(connection: sqlite3.Connection, key: str) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return json.loads(row[0]) if row else None


def read_events(connection: sqlite3.Connection) -> Iterator[Event]:
    rows = connection.execute('SELECT kind, number, "values", point, fitness, extra, at FROM events ORDER BY id')
    for kind, number, values, point, fitness, extra, at in rows:
        yield Event(
            kind,
            number,
            values and json.loads(values),
            point and json.loads(point),
            fitness,
            json.loads(extra or "{}"),
            at,
        )


@contextlib.contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{database(folder)}: {error}") from error


# --- the lock ---------------------------------------------------------------------------------------------------------


def take_lock(folder: Path) -> IO[str]:
    """The project's lock, held as long as the file is open: the kernel gives it back when its holder dies."""
    lock = open(folder / "lock", "a+")  # noqa: SIM115 - it stays open
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                lock.close()
                raise ProjectError(
                    f"project {folder.name!r} is being run by {holder}; `studio stop {folder.name}` ends it"
                ) from None
            time.sleep(0.02)
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    return lock


def whole(folder: Path) -> bool:
    """Whether the project was made to its end."""
    with reading(folder) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()) and (
            read_meta(connection, "settings") is not None
        )


def is_locked(folder: Path) -> bool:
    """Whether a driver is at work on the project."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
