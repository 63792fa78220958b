"""All projects in a line each, without reading all their experiments: SQLite counts, and only where a file has changed."""

import json
import secrets
import sqlite3
import threading
from pathlib import Path
from typing import Any

from studio.dashboard.columns import shown
from studio.dashboard.experiment_table import whole
from studio.errors import StudioError
from studio.project.costs import cost_of_project
from studio.project.lock import is_locked
from studio.project.paths import project_folder, project_names
from studio.project.project import state_of
from studio.project.records import look, read_rows, read_session
from studio.project.store import read_meta, reading
from studio.settings import parse_direction, parse_metric

_COUNTS = """
SELECT status, COUNT(*) FROM attempts AS a
WHERE attempt = (SELECT MAX(attempt) FROM attempts WHERE number = a.number) GROUP BY status
"""
_JOURNAL = """
SELECT CASE WHEN told.id IS NULL THEN 'queued' WHEN told.fitness IS NULL THEN 'failed' ELSE 'completed' END AS status, COUNT(*)
FROM events AS asked
LEFT JOIN events AS told ON told.id = (SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = asked.number)
WHERE asked.kind = 'ask' AND NOT EXISTS (SELECT 1 FROM attempts WHERE number = asked.number) GROUP BY 1
"""
_BEST = "SELECT number, fitness FROM events WHERE kind = 'tell' AND fitness IS NOT NULL ORDER BY fitness DESC, number"


class Overview:
    """The list of projects, kept up to date by the state of their files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session = secrets.token_hex(4)
        self._counter = 0
        self._known: dict[str, tuple[object, dict[str, Any], int]] = {}  # name -> signature, line, when it changed
        self._gone: dict[str, int] = {}

    @property
    def version(self) -> str:
        return f"{self._session}.{self._counter}"

    def refresh(self) -> bool:
        with self._lock:
            names = project_names()
            signatures = {name: look(project_folder(name)) for name in names}
            fresh = [name for name in names if name not in self._known or self._known[name][0] != signatures[name]]
            gone = self._known.keys() - set(names)
            if not fresh and not gone:
                return False
            self._counter += 1
            for name in gone:
                del self._known[name]
                self._gone[name] = self._counter
            for name in fresh:
                self._known[name] = signatures[name], line_of(project_folder(name)), self._counter
                self._gone.pop(name, None)
            return True

    def data(self, after: str = "") -> dict[str, Any]:
        """As /api/projects and the stream have it: all lines, or those that changed since that version."""
        with self._lock:
            session, _, counter = after.partition(".")
            seen = whole(counter)
            since = seen if seen is not None and session == self._session else -1
            return {
                "version": self.version,
                "whole": since < 0,
                "projects": [line for _, line, changed in self._known.values() if changed > since],
                "gone": [name for name, changed in self._gone.items() if changed > since >= 0],
            }


def line_of(folder: Path) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": folder.name, "state": "damaged", "metric": "", "mode": "", "direction": "max", "best": None,
        "best_number": None, "values": {}, "counts": {}, "total": 0, "finished": 0, "size": None, "begun": None,
        "changed": None, "optimizer": "", "script": "", "cost": None, "problem": "",
    }  # fmt: skip
    try:
        with reading(folder) as connection:
            connection.execute("BEGIN")
            return line | _read(connection, folder) | {"cost": cost_of_project(folder)}
    except StudioError as error:  # it is shown as what it is, and hurts no other
        return {**line, "state": "running"} if is_locked(folder) else {**line, "problem": str(error)}


def _read(connection: sqlite3.Connection, folder: Path) -> dict[str, Any]:
    settings = read_meta(connection, "settings") or {}
    session = read_session(connection)
    metric = parse_metric(settings.get("metric"))
    at_work = is_locked(folder)
    counts: dict[str, int] = {}
    for query in (_COUNTS, _JOURNAL):
        for status, count in connection.execute(query):
            status = "stopped" if status == "running" and not at_work else status
            counts[status] = counts.get(status, 0) + count
    best = _best(connection)
    first = connection.execute("SELECT at FROM events ORDER BY id LIMIT 1").fetchone()
    last = connection.execute("SELECT at FROM events ORDER BY id DESC LIMIT 1").fetchone()
    return {
        "state": state_of(at_work, settings, session),
        "metric": metric.name,
        "mode": metric.mode,
        "direction": "min" if parse_direction(settings.get("direction"), metric) < 0 else "max",
        **best,
        "counts": counts,
        "total": sum(counts.values()),
        "finished": sum(counts.get(status, 0) for status in ("completed", "failed", "pruned")),
        "size": (session.size if session is not None else None) or settings.get("max_experiments"),
        "begun": first and first[0],
        "changed": max(
            filter(None, [last and last[0], (session.ended if session is not None else None)]), default=None
        ),
        "optimizer": settings.get("optimizer", ""),
        "script": settings.get("script", ""),
    }


def _best(connection: sqlite3.Connection) -> dict[str, Any]:
    for number, fitness in connection.execute(_BEST):  # a retry may have taken a fitness back: then the next one
        row = next(read_rows(connection, "AND asked.number = ?", (number,)), None)
        if row is not None and row.fitness == fitness:
            values = {name: shown(value) for name, value in json.loads(row.values).items()}
            return {"best": fitness if row.metric is None else row.metric, "best_number": number, "values": values}
    return {"best": None, "best_number": None, "values": {}}
