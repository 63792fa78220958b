"""Experiments as the record has them: the journal joined with the latest attempts."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studio.experiment import Experiment, Metric, Status
from studio.home import attempt_folder

_QUERY = """
SELECT asked.number, asked."values", asked.at, told.id IS NOT NULL, told.fitness, told.at, told.duration,
       a.attempt, a.status, a.started, a.finished, a.duration, a.exit_code, a.reason, a.failure, a.metric
FROM events AS asked
LEFT JOIN events AS told ON told.id = (SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = asked.number)
LEFT JOIN attempts AS a ON a.number = asked.number AND a.attempt = (SELECT MAX(attempt) FROM attempts WHERE number = asked.number)
WHERE asked.kind = 'ask'
"""


def read_experiments(connection: sqlite3.Connection, folder: Path, metric: Metric) -> Iterator[Experiment]:
    """All experiments of the project in `folder`, in order of number."""
    for row in connection.execute(f"{_QUERY} ORDER BY asked.number"):
        yield _experiment(row, folder, metric)


def read_experiment(connection: sqlite3.Connection, folder: Path, metric: Metric, number: int) -> Experiment | None:
    row = connection.execute(f"{_QUERY} AND asked.number = ?", (number,)).fetchone()
    return row and _experiment(row, folder, metric)


def _experiment(row: tuple[Any, ...], folder: Path, metric: Metric) -> Experiment:
    (
        number,
        values,
        asked_at,
        told,
        fitness,
        told_at,
        told_after,
        attempt,
        status,
        started,
        finished,
        duration,
        exit_code,
        reason,
        failure,
        value,
    ) = row
    if not isinstance(fitness, float | None):
        raise sqlite3.DatabaseError(f"the fitness of experiment {number} is damaged")
    if attempt is None:  # a program's own loop: there is a journal and nothing else
        status = _journal_status(bool(told), fitness)
        started, finished, duration, value = told_at and asked_at, told_at, told_after, fitness
    return Experiment(
        project=folder.name,
        number=number,
        status=status,
        values=json.loads(values),
        fitness=fitness if status == "completed" else None,
        metric=None if value is None else {"name": metric.name, "mode": metric.mode, "value": value},
        started=iso(started),
        finished=iso(finished),
        duration=duration,
        exit_code=exit_code,
        reason=reason or "",
        failure=failure or "",
        attempt=attempt or 1,
        folder=str(attempt_folder(folder, number, attempt)) if attempt else None,
    )


def read_attempts(connection: sqlite3.Connection, number: int) -> list[dict[str, Any]]:
    """All attempts of experiment `number`, JSON-able, in order."""
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
    )
    query = f"SELECT {', '.join(columns)} FROM attempts WHERE number = ? ORDER BY attempt"
    rows = [dict(zip(columns, row, strict=True)) for row in connection.execute(query, (number,))]
    return [{**row, "started": iso(row["started"]), "finished": iso(row["finished"])} for row in rows]


def _journal_status(told: bool, fitness: float | None) -> Status:
    if not told:
        return "queued"
    return "failed" if fitness is None else "completed"


def iso(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
