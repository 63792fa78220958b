"""All experiments of one project as columns in memory, updated incrementally.

studio.db --stat--> unchanged: nothing to read
          --else--> rows with new events, new attempts, or that were running --> columns, each with its version
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from studio.dashboard.columns import LISTS, Column, columns_of, key_of, name_of, round_8, table_value, value_column
from studio.dashboard.elapsed import earlier_seconds
from studio.experiment import NO_RESULT, UNFINISHED, Metric
from studio.host import Host
from studio.project.lock import is_locked
from studio.project.records import Row, Session, change_stamp, read_meta, read_rows, read_session, reading
from studio.ranking import rank_key
from studio.settings import parse_metric, sign_of

DIGITS = 18  # of a number in a URL: below 2**63
META = ("settings", "seed", "source", "environment")

Steps = Callable[[Metric, int, int], int | None]  # metric, number, attempt -> the last reported step


class ExperimentTable:
    """Table of one project, valid for one database file. Hold `lock` to read or update the columns."""

    def __init__(self, folder: Path, host: Host, steps: Steps = lambda metric, number, attempt: None):
        self.folder = folder
        self.lock = threading.RLock()
        self._host = host
        self._steps = steps
        self._session = secrets.token_hex(4)
        self._counter = 0
        self._signature: tuple[object, ...] = ()
        self._last_event = self._last_attempt = 0
        self.meta: dict[str, Any] = {}
        self.session: Session | None = None  # the latest
        self.at_work = False
        self.begun: float | None = None  # the latest session
        self.earlier: float | None = None  # working time of the sessions before it, in seconds
        self.metric = Metric("fitness")
        self.sign = 1.0
        self.columns: list[Column] = []
        self.lists: dict[str, list[Any]] = {name: [] for name in LISTS}
        self.values: dict[str, list[Any]] = {}
        self.measured: list[float | None] = []  # the metric, as the script logged it; None without a result
        self.step: list[int | None] = []
        self._columns = [*self.lists.values(), self.measured, self.step]
        self._cells_of: dict[str, list[Any]] = {}  # hyperparameter -> its list in `values`
        self._changed: list[int] = []  # the counter when a row last changed
        self.row_of: dict[int, int] = {}
        self._open: set[int] = set()  # rows that may change without a new line in the tables
        self._lanes: list[tuple[int, int]] = []  # slot -> row and attempt of its latest experiment
        self.best: int | None = None

    # --- keeping up -------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return f"{self._session}.{self._counter}"

    def refresh(self) -> bool:
        """Update the table; return whether anything is new. Raises StoreError if the record cannot be read."""
        with self.lock:
            signature = change_stamp(self.folder)
            if signature == self._signature:
                return False
            looked_again = signature[:-1] == self._signature[:-1]
            before = self._known()
            self._counter += 1
            self._read()
            self._signature = signature
            if looked_again and before == self._known() and self._counter not in self._changed:
                self._counter -= 1
                return False
            return True

    def _known(self) -> tuple[object, ...]:
        return self.meta, self.session, self.at_work, self._last_event, self._last_attempt

    def _read(self) -> None:
        self.at_work = is_locked(self.folder)
        with reading(self.folder) as connection:
            connection.execute("BEGIN")  # one consistent view for all queries
            self.meta = {key: read_meta(connection, key) for key in META}
            self.session = read_session(connection)
            self._read_settings()
            self._settle_session(connection)
            last = "SELECT COALESCE(MAX(id), 0), (SELECT COALESCE(MAX(rowid), 0) FROM attempts) FROM events"
            event, attempt = connection.execute(last).fetchone()
            self._read_fresh(connection)
            # set last: after an error the next update starts from the same position
            self._last_event, self._last_attempt = event, attempt

    def _read_fresh(self, connection: sqlite3.Connection) -> None:
        if not self.row_of:
            self._update_rows(read_rows(connection))
            return
        fresh = {self.lists["number"][row] for row in self._open}
        fresh |= _numbers(connection.execute("SELECT number FROM events WHERE id > ?", (self._last_event,)))
        fresh |= _numbers(connection.execute("SELECT number FROM attempts WHERE rowid > ?", (self._last_attempt,)))
        self._update_rows(read_rows(connection, fresh))

    def _settle_session(self, connection: sqlite3.Connection) -> None:
        """Set when the latest session started, and how long earlier ones have worked."""
        begun = None if self.session is None else self.session.begun
        if begun is None and self.at_work:  # a program's own loop: when it took the lock
            begun = (self.folder / "lock").stat().st_mtime
        if begun != self.begun or self.earlier is None or (begun is None and not self.at_work):
            self.begun, self.earlier = begun, earlier_seconds(connection, time.time() if begun is None else begun)

    def _read_settings(self) -> None:
        """Set metric and columns from the settings, once."""
        settings = self.meta["settings"] or {}
        if not self.columns and settings:
            self.metric = parse_metric(settings.get("metric"))
            self.sign = sign_of(settings.get("direction"), self.metric)
            self.columns = columns_of(settings, self.metric, self._host)
            self.values = {column.key: [] for column in self.columns if column.kind == "param"}
            self._cells_of = {name_of(key): cells for key, cells in self.values.items()}

    def _update_rows(self, found: Iterable[Row]) -> None:
        started: list[tuple[float, int]] = []
        for row in found:
            at = self.row_of.get(row.number)
            before = None if at is None or row.slot is not None else self._running_attempt(at)
            at = self._update_row(at, row)
            # the start is corrected when the attempt ends
            if row.slot is None and self._running_attempt(at) not in (None, before):
                started.append((self.lists["started"][at], at))
        for when, at in sorted(started):
            self._give_slot(at, when)
        fitness, numbers = self.lists["fitness"], self.lists["number"]
        self.best = min(self.rated(), key=lambda at: rank_key(fitness[at], numbers[at]), default=None)

    def _running_attempt(self, at: int) -> int | None:
        return None if self.lists["started"][at] is None else self.lists["attempts"][at]

    def _update_row(self, at: int | None, row: Row) -> int:
        status, reason = row.status, row.reason
        if status == "running" and not self.at_work:  # interrupted: it runs again on resume
            status, reason = "stopped", "interrupted"
        step = self._steps(self.metric, row.number, row.attempt) if status == "running" and row.attempt else None
        measured = None if status in NO_RESULT else round_8(row.metric)
        cells: tuple[Any, ...] = (
            row.number, status, row.fitness, _tenth(row.started), _tenth(row.finished),
            None if row.duration is None else round(row.duration, 2),
            row.slot, reason, row.failure, row.attempt or 0, row.exit_code, round_8(row.cost), measured, step,
        )  # fmt: skip
        if at is None:
            at = self._add(row, cells)
        else:
            if row.slot is None:
                cells = (*cells[:6], self.lists["slot"][at], *cells[7:])
            for column, cell in zip(self._columns, cells, strict=True):
                if column[at] != cell:
                    column[at] = cell
                    self._changed[at] = self._counter
        if status in UNFINISHED or row.status == "running":
            self._open.add(at)
        else:
            self._open.discard(at)
        return at

    def _add(self, row: Row, cells: Sequence[Any]) -> int:
        at = self.row_of[row.number] = len(self.row_of)
        values = json.loads(row.values)
        for name in [name for name in values if name not in self._cells_of]:  # a hyperparameter of a program's own loop
            self.columns.append(value_column(name))
            self.values[key_of(name)] = self._cells_of[name] = [None] * at
        for column, cell in zip(self._columns, cells, strict=True):
            column.append(cell)
        for name, column in self._cells_of.items():
            column.append(table_value(values.get(name)))
        self._changed.append(self._counter)
        return at

    def _give_slot(self, at: int, started: float) -> None:
        """Set the lowest slot that was free at the start, if the record has none: a program's own loop, or an old format.

        A start may be recorded before the end that freed its slot: if all slots seem busy, use the one that was free next.
        """
        ends = [self._left_slot(*last) for last in self._lanes]  # None: busy
        slots = 0 if self.session is None else self.session.slots or 0
        free = [lane for lane, end in enumerate(ends) if end is not None and end <= started + 0.1]
        ended = [lane for lane, end in enumerate(ends) if end is not None]
        if free:
            lane = free[0]
        elif ended and 0 < slots <= len(ends):
            lane = min(ended, key=lambda lane: ends[lane] or 0.0)
        else:
            lane = len(ends)
            self._lanes.append((at, 0))
        self._lanes[lane] = at, self.lists["attempts"][at]
        self.lists["slot"][at] = lane

    def _left_slot(self, at: int, attempt: int) -> float | None:
        """Return when an attempt left its slot; None while it runs. An interrupted one left it with the session."""
        if self.lists["attempts"][at] != attempt or self.lists["status"][at] != "running":
            return (
                self.lists["finished"][at]
                if self.lists["attempts"][at] == attempt and self.lists["finished"][at]
                else 0.0
            )
        return None

    # --- reading ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.row_of)

    def latest(self, number: int) -> tuple[int, bool] | None:
        """Return the latest attempt of experiment `number`, 0 for none yet, and whether it has ended. None: no such experiment."""
        with self.lock:
            at = self.row_of.get(number)
            return None if at is None else (self.lists["attempts"][at], self.lists["status"][at] not in UNFINISHED)

    def rated(self) -> list[int]:
        """Return the rows that have a rank: what was pruned is no candidate for the best, whatever its fitness."""
        both = zip(self.lists["status"], self.lists["fitness"], strict=True)
        return [at for at, (status, fitness) in enumerate(both) if status == "completed" and fitness is not None]

    def data(self, after: str = "") -> dict[str, Any]:
        """Return the table by columns, or the rows changed since a version: `layout=columns` of the API."""
        with self.lock:
            rows, complete = self.rows_after(after)
            measured = {self.metric.name: [self.measured[at] for at in rows]}
            lists = {name: [cells[at] for at in rows] for name, cells in self.lists.items()}
            lists["fitness"] = [round_8(value) for value in lists["fitness"]]
            return {
                "version": self.version,
                "complete": complete,
                "columns": [column.as_dict() for column in self.columns],
                "direction": "min" if self.sign < 0 else "max",
                **lists,
                "step": [self.step[at] for at in rows],
                "metric": measured,
                "values": {name: [cells[at] for at in rows] for name, cells in self.values.items()},
            }

    def rows_after(self, after: str) -> tuple[list[int], bool]:
        """Return the rows changed since version `after`, and whether that is the whole table."""
        session, _, counter = after.partition(".")
        seen = parse_index(counter)
        if session != self._session or seen is None:
            return list(range(len(self))), True
        return [at for at, changed in enumerate(self._changed) if changed > seen], False


def parse_index(text: str) -> int | None:
    """Return the integer of up to 18 digits in a part of a URL, else None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None


def _numbers(rows: Iterable[tuple[int | None]]) -> set[int]:
    return {number for (number,) in rows if number is not None}


def _tenth(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
