"""The format of the record: its tables, migration from earlier formats, and reading of files in an earlier format.

events    ask(number, values, point) · tell(number, fitness) · all that the optimizer saw, in order; also
          report(number, step, fitness), for optimizers that take reports, and restart(seed)
attempts  one row per run of a script: status, times, exit code, reason, metric, snapshot, slot; dollars, CPU seconds
          and peak memory in bytes
sessions  one row per driver: begin, end, final state, slots, limits, pauses
meta      the settings of the search and other single values, as JSON
"""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.project.paths import FIRST_SNAPSHOT, attempt_folder
from studio.system.files import open_regular

VERSION = 2

_FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('ask', 'report', 'tell', 'restart')), number INTEGER,
    "values" TEXT, point TEXT, fitness REAL, extra TEXT, at REAL NOT NULL, duration REAL);
CREATE UNIQUE INDEX one_ask ON events (number) WHERE kind = 'ask';
CREATE INDEX events_of ON events (number, kind);
CREATE TABLE attempts (
    number INTEGER NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, started REAL, finished REAL, duration REAL,
    exit_code INTEGER, signal TEXT, reason TEXT NOT NULL DEFAULT '', failure TEXT NOT NULL DEFAULT '', metric REAL,
    PRIMARY KEY (number, attempt));
"""
_FORMAT_2 = """
ALTER TABLE attempts ADD COLUMN snapshot TEXT;
ALTER TABLE attempts ADD COLUMN slot INTEGER;
ALTER TABLE attempts ADD COLUMN cost REAL;
ALTER TABLE attempts ADD COLUMN cpu REAL;
ALTER TABLE attempts ADD COLUMN memory INTEGER;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, begun REAL NOT NULL, ended REAL, state TEXT, slots INTEGER, size INTEGER, max_time REAL,
    pauses TEXT NOT NULL DEFAULT '[]');
"""
_SESSION_OF_FORMAT_1 = """
SELECT COALESCE(session.value ->> 'begun', state.value ->> 'at') AS begun, state.value ->> 'at' AS ended,
       state.value ->> 'state' AS state, session.value ->> 'slots' AS slots, session.value ->> 'size' AS size,
       session.value ->> 'max_time' AS max_time, COALESCE(session.value -> 'pauses', '[]') AS pauses
FROM (SELECT 1) LEFT JOIN main.meta AS session ON session.key = 'session' LEFT JOIN main.meta AS state ON state.key = 'state'
WHERE COALESCE(session.value ->> 'begun', state.value ->> 'at') IS NOT NULL
"""
# Temporary views hide tables of the same name: a reader, which cannot write, finds the present columns.
_VIEWS_OF_FORMAT_1 = f"""
CREATE TEMP VIEW attempts AS SELECT rowid AS rowid, *, NULL AS snapshot, NULL AS slot, NULL AS cost, NULL AS cpu, NULL AS memory
FROM main.attempts;
CREATE TEMP VIEW sessions AS SELECT 1 AS id, * FROM ({_SESSION_OF_FORMAT_1});
"""


def migrate(connection: sqlite3.Connection, folder: Path, version: int) -> None:
    """Migrate the record from `version` (0: an empty file) to `VERSION`, each step whole or not at all."""
    for reached in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _STEPS[reached](connection, folder)
            connection.execute(f"PRAGMA user_version = {reached + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def show_as_latest(connection: sqlite3.Connection, version: int) -> None:
    """Let a reader's connection see a file of an earlier version with the tables of `VERSION`."""
    if version == 1:
        connection.executescript(_VIEWS_OF_FORMAT_1)


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in filter(str.strip, script.split(";")):  # executescript would commit first
        connection.execute(statement)


def _create(connection: sqlite3.Connection, folder: Path) -> None:
    _run(connection, _FORMAT_1)


def _to_format_2(connection: sqlite3.Connection, folder: Path) -> None:
    """Move the contents of files beside the runs, and of some meta keys, into columns and a row of `sessions`.

    The snapshot of an attempt was not recorded: it is the latest one taken before the attempt started.
    """
    _run(connection, _FORMAT_2)
    columns = "begun, ended, state, slots, size, max_time, pauses"
    connection.execute(f"INSERT INTO sessions ({columns}) {_SESSION_OF_FORMAT_1}")
    connection.execute("DELETE FROM meta WHERE key IN ('session', 'state')")
    snapshots = sorted((path.stat().st_ctime, path.name) for path in folder.glob(f"{FIRST_SNAPSHOT}*") if path.is_dir())
    for number, attempt, started in connection.execute("SELECT number, attempt, started FROM attempts").fetchall():
        taken = [name for when, name in snapshots if started is not None and when <= started]
        of_attempt = attempt_folder(folder, number, attempt)
        usage = _numbers_in(of_attempt / "usage.json")
        connection.execute(
            "UPDATE attempts SET snapshot = ?, cost = ?, cpu = ?, memory = ? WHERE number = ? AND attempt = ?",
            (
                taken[-1] if taken else snapshots[0][1] if snapshots and started is not None else None,
                _numbers_in(of_attempt / "machine.json").get("dollars"),
                usage.get("cpu"),
                None if usage.get("memory") is None else int(usage["memory"]),
                number,
                attempt,
            ),
        )


def _numbers_in(path: Path) -> dict[str, float]:
    """Return the numbers in a JSON file that a script may have replaced; empty if it is invalid."""
    try:
        with open(open_regular(path, os.O_RDONLY), encoding="utf-8") as file:
            data = json.load(file)
        return {key: float(data[key]) for key in data if type(data[key]) in (int, float) and 0 <= data[key] < 2**62}
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


_STEPS: tuple[Callable[[sqlite3.Connection, Path], Any], ...] = (_create, _to_format_2)
