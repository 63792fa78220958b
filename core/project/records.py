"""The record as read: the journal, its experiments with their latest attempts, attempts and sessions.

Readers open the database read-only and never block its driver. A backend that costs money writes beside the runs, so that
no plugin is needed to read it:

projects/P/cost.json           {"dollars": cost of all machines of the search at the last check}
projects/P/7/1/machine.json    {"machine": name of the machine of that attempt, ...}
"""

import contextlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

from studio.errors import StoreError
from studio.experiment import Experiment, Failure, Metric, Status
from studio.project.formats import VERSION, show_as_latest
from studio.project.lock import is_locked
from studio.project.paths import attempt_path, backup, database
from studio.system.files import is_read_only, open_regular

OF_PROJECT, OF_ATTEMPT = "cost.json", "machine.json"
BUSY_WAIT = 30.0  # seconds to wait for another program that holds the database
LOOK_AGAIN = (0.5, 2.0, 8.0, 32.0)  # seconds after the latest change, however long the disk takes


def connect(path: Path | str, **options: Any) -> sqlite3.Connection:
    """Open a connection that waits for other programs, and without transactions of its own."""
    return sqlite3.connect(path, isolation_level=None, timeout=BUSY_WAIT, **options)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection to the journal in `folder`."""
    with plain_errors(folder):
        if not database(folder).exists():
            raise StoreError(f"{database(folder)} is missing{RESTORE.format(project=folder.name)}")
        # readers cannot share a log there
        frozen = is_read_only(folder) and not Path(f"{database(folder)}-wal").exists()
        uri = f"{database(folder).as_uri()}?mode=ro{'&immutable=1' if frozen else ''}"
        with contextlib.closing(connect(uri, uri=True)) as connection:
            show_as_latest(connection, checked_version(connection, folder))
            yield connection


def checked_version(connection: sqlite3.Connection, folder: Path) -> int:
    """Return the version of the record's format. StoreError for a newer one, or one that Studio never wrote."""
    begun = connection.execute("SELECT 1 FROM sqlite_master").fetchone() or backup(folder).is_file()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < 0 or (version == 0 and begun):
        raise StoreError(f"{database(folder)} is no whole record{RESTORE.format(project=folder.name)}")
    if version > VERSION:
        raise StoreError(
            f"{database(folder)} was written by a newer Studio (format {version}, this one knows {VERSION}); upgrade Studio"
        )
    return version


def read_meta(connection: sqlite3.Connection, key: str) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return json.loads(row[0]) if row else None


@contextlib.contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite into StoreError, with what to do about them."""
    try:
        yield
    except sqlite3.ProgrammingError:  # the connection is closed
        raise StoreError(
            f"this search of project {folder.name!r} was closed, or a later one in this program continues it;"
            f" make a new studio.Search(project={folder.name!r}, …)"
        ) from None
    except (sqlite3.Error, ValueError, OverflowError) as error:  # invalid JSON, UTF-8 or time: damaged
        name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
        advice = next((text for prefix, text in _ADVICE.items() if name.startswith(prefix)), "")
        raise StoreError(f"{database(folder)}: {error}{advice.format(project=folder.name)}") from error


RESTORE = "; put its backup in its place: studio doctor {project} --restore"
_ADVICE = {  # by the names of https://www.sqlite.org/rescode.html
    "SQLITE_FULL": "; free some space, then: studio resume {project}",
    "SQLITE_IOERR": "; check whether the disk is full or gone, then: studio resume {project}",
    "SQLITE_BUSY": "; another program uses it: end that program, then: studio resume {project}",
    "SQLITE_READONLY": "; make the folder and its files writable, then: studio resume {project}",
    "SQLITE_CANTOPEN": "; make the folder and its files accessible, then: studio resume {project}",
    **dict.fromkeys(["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"], RESTORE),  # the last: a table is missing
}


def is_complete(folder: Path) -> bool:
    """Return whether the project was completely created."""
    with reading(folder) as connection:
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
        return made is not None and read_meta(connection, "settings") is not None


# --- the journal ---
# types of an event's columns
_COLUMNS = (
    int,
    str,
    int | None,
    str | None,
    str | None,
    float | None,
    str | None,
    float,
)


@dataclass(frozen=True)
class Event:
    """A line of the journal. `values` and `point` are decoded JSON."""

    id: int
    kind: str
    number: int | None
    values: dict[str, Any] | None
    point: Any
    fitness: float | None
    extra: dict[str, Any]
    at: float

    @property
    def experiment(self) -> int:
        """The number, for the kinds of event that have one."""
        assert self.number is not None
        return self.number


def read_events(
    connection: sqlite3.Connection, which: str = "ORDER BY id", arguments: tuple[int, ...] = ()
) -> Iterator[Event]:
    query = f'SELECT id, kind, number, "values", point, fitness, extra, at FROM events {which}'
    for row in connection.execute(query, arguments):
        if not all(map(isinstance, row, _COLUMNS)) or row[1] not in ("ask", "report", "tell", "restart"):
            raise sqlite3.DatabaseError(f"line {row[0]} of the journal is damaged")
        id_, kind, number, values, point, fitness, extra, at = row
        values, point, extra = values and json.loads(values), point and json.loads(point), json.loads(extra or "{}")
        yield Event(id_, kind, number, values, point, fitness, extra, at)


# --- experiments and attempts ---
_QUERY = """
SELECT asked.number, asked."values" AS given, asked.at AS asked_at, told.id IS NOT NULL AS told, told.fitness, told.at AS told_at,
       told.extra ->> 'pruned' AS pruned,
       told.duration AS told_after, a.snapshot, a.slot, a.cpu, a.memory,
       CASE WHEN a.attempt > 1 THEN (SELECT SUM(cost) FROM attempts WHERE number = asked.number) ELSE a.cost END AS cost,
       a.attempt, a.status, a.started, a.finished, a.duration, a.exit_code, a.reason, a.failure, a.metric
FROM events AS asked
LEFT JOIN events AS told ON told.id = (SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = asked.number)
LEFT JOIN attempts AS a ON a.number = asked.number AND a.attempt = (SELECT MAX(attempt) FROM attempts WHERE number = asked.number)
WHERE asked.kind = 'ask'
"""
_CHOSEN = "AND asked.number IN (SELECT value FROM json_each(?))"


class Row(NamedTuple):
    """An experiment with its latest attempt as in the tables, times in seconds since the epoch.

    cost    dollars of all attempts together
    slot    from 0
    cpu     seconds
    memory  bytes, peak of one process
    """

    number: int
    values: str  # JSON
    status: Status
    fitness: float | None
    metric: float | None
    started: float | None
    finished: float | None
    duration: float | None
    exit_code: int | None
    reason: str
    failure: Failure
    attempt: int | None
    snapshot: str | None = None  # the name of a folder in the project
    slot: int | None = None
    cost: float | None = None
    cpu: float | None = None
    memory: int | None = None


_SHARED: dict[str, Status] = {status: status for status in get_args(Status)}  # one text for all experiments


def read_rows(connection: sqlite3.Connection, chosen: Iterable[int] | None = None) -> Iterator[Row]:
    """Yield experiments, all or those with the `chosen` numbers, in order of number."""
    which, given = ("", ()) if chosen is None else (_CHOSEN, (json.dumps(list(chosen)),))
    for row in connection.execute(f"{_QUERY} {which} ORDER BY asked.number", given):
        (
            number,
            values,
            asked_at,
            told,
            fitness,
            told_at,
            pruned,
            told_after,
            snapshot,
            slot,
            cpu,
            memory,
            cost,
            *rest,
        ) = row
        attempt, status, *of_attempt = rest
        if not isinstance(fitness, float | None):
            raise sqlite3.DatabaseError(f"the fitness of experiment {number} is damaged")
        if attempt is None:  # a program's own loop has a journal only
            status = _journal_status(bool(told), fitness, bool(pruned))
            of_attempt = [told_at and asked_at, told_at, told_after, None, None, None, fitness]
        started, finished, duration, exit_code, reason, failure, value = of_attempt
        status = _SHARED.get(status, status)
        fitness = fitness if status == "completed" else None
        when = (started, finished, duration)
        how: tuple[Any, ...] = (exit_code, reason or "", failure or "", attempt, snapshot, slot, cost, cpu, memory)
        yield Row._make((number, values, status, fitness, value, *when, *how))


def read_experiments(
    connection: sqlite3.Connection, folder: Path, metric: Metric, chosen: Iterable[int] | None = None
) -> Iterator[Experiment]:
    """Yield experiments of the project in `folder`, all or the `chosen` ones, in order of number."""
    for row in read_rows(connection, chosen):
        yield _experiment(row, folder, metric)


def read_experiment(connection: sqlite3.Connection, folder: Path, metric: Metric, number: int) -> Experiment | None:
    return next(read_experiments(connection, folder, metric, (number,)), None)


def _experiment(row: Row, folder: Path, metric: Metric) -> Experiment:
    return Experiment(
        project=folder.name,
        number=row.number,
        status=row.status,
        values=json.loads(row.values),
        fitness=row.fitness,
        metric=None if row.metric is None else {"name": metric.name, "mode": metric.mode, "value": row.metric},
        started=iso(row.started),
        finished=iso(row.finished),
        duration=row.duration,
        exit_code=row.exit_code,
        reason=row.reason,
        failure=row.failure,
        attempt=row.attempt or 1,
        folder=attempt_path(folder, row.number, row.attempt) if row.attempt else None,
        snapshot=row.snapshot,
        slot=row.slot,
        cost=row.cost,
        cpu=row.cpu,
        memory=row.memory,
    )


def read_attempts(connection: sqlite3.Connection, number: int) -> list[dict[str, Any]]:
    """Return all attempts of experiment `number`, JSON-able, in order."""
    columns = (
        "attempt",
        "status",
        "started",
        "finished",
        "duration",
        "exit_code",
        "signal",
        "reason",
        "failure",
        "metric",
        "snapshot",
        "slot",
        "cost",
        "cpu",
        "memory",
    )
    query = f"SELECT {', '.join(columns)} FROM attempts WHERE number = ? ORDER BY attempt"
    rows = [dict(zip(columns, row, strict=True)) for row in connection.execute(query, (number,))]
    return [{**row, "started": iso(row["started"]), "finished": iso(row["finished"])} for row in rows]


def read_snapshot(folder: Path, number: int, attempt: int) -> str | None:
    """Return the name of the source copy that an attempt used; None if it is not recorded."""
    with reading(folder) as connection:
        query = "SELECT snapshot FROM attempts WHERE number = ? AND attempt = ?"
        row = connection.execute(query, (number, attempt)).fetchone()
        return row and row[0]


@dataclass(frozen=True)
class Session:
    """The time of one driver on a project, in seconds since the epoch.

    ended, state  when and why it ended; None while it runs, and if it was killed
    slots         experiments at a time; None for a program's own loop
    size          limit on the number of experiments, and `max_time` in seconds; None without a limit
    pauses        (from, until) of each; `until` is None while paused
    """

    begun: float
    ended: float | None = None
    state: str | None = None
    slots: int | None = None
    size: int | None = None
    max_time: float | None = None
    pauses: Sequence[tuple[float, float | None]] = ()

    @property
    def paused(self) -> bool:
        return bool(self.pauses) and self.pauses[-1][1] is None


_LATEST = "SELECT begun, ended, state, slots, size, max_time, pauses FROM sessions ORDER BY id DESC LIMIT 1"


def read_session(connection: sqlite3.Connection) -> Session | None:
    """Return the latest session; None if there is none."""
    row = connection.execute(_LATEST).fetchone()
    if row is None:
        return None
    begun, ended, state, slots, size, max_time, pauses = row
    spans = tuple((since, until) for since, until in json.loads(pauses))
    return Session(begun, ended, state, slots, size, max_time, spans)


def _journal_status(told: bool, fitness: float | None, pruned: bool) -> Status:
    if not told:
        return "queued"
    return "failed" if fitness is None else "pruned" if pruned else "completed"


def iso(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC; None for None."""
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def change_stamp(folder: Path) -> tuple[object, ...]:
    """Return a value that changes with the record of the project in `folder` or its cost; takes a few system calls.

    It changes once more some times after a change: SQLite writes a commit into its log before readers can see it, with a
    sync of the disk between, so whoever read at once may have read the state before it.
    """
    found: list[object] = []
    latest = 0.0
    for path in (database(folder), folder / f"{database(folder).name}-wal", folder / OF_PROJECT):
        try:
            stat = path.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            latest = max(latest, stat.st_mtime)
    age = time.time() - latest
    return (*found, is_locked(folder), sum(age > seconds for seconds in LOOK_AGAIN))


def cost_of_project(folder: Path) -> float | None:
    """Return the cost in dollars; None without machines, or if a price is not known."""
    return _dollars(folder / OF_PROJECT)


def _dollars(file: Path) -> float | None:
    try:
        with open(open_regular(file, os.O_RDONLY), encoding="utf-8") as opened:  # a script may have put a pipe there
            dollars = json.load(opened)["dollars"]
        return float(dollars) if dollars is not None and math.isfinite(dollars) else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
