"""Summary of a project, for `studio runs list`, `Project.summary`, the API and the dashboard's list.

SQLite does the counting, so that a project of 10,000 experiments takes milliseconds.
"""

import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from studio.experiment import FINISHED, Experiment, Metric
from studio.format import STATUSES
from studio.project.lock import is_locked
from studio.project.paths import database
from studio.project.records import Session, cost_of_project, iso, read_experiment, read_meta, read_session, reading
from studio.settings import parse_metric, script_of, sign_of


class State(NamedTuple):
    """The words for a state of a search: its title in a list and, if a search can end in it, what the terminal says then."""

    title: str
    ending: str = ""


STATES = {
    "running": State("Live"),
    "paused": State("Paused"),
    "incomplete": State("Program exited"),
    "done": State("Done"),
    "time": State("Time limit reached", "time limit reached"),
    "target": State("Done: target reached", "target reached"),
    "patience": State("Done: no more gain", "no more gain"),
    "exhausted": State("Nothing left to try", "the optimizer only repeats values that were tried before"),
    "failures": State("Stopped: too many failures", "ended because of failures"),
    "disk": State("Stopped: the disk is full", "the disk is full: free some space"),
    "no-room": State(
        "Stopped: no process was free",
        "this computer had no free process, file descriptor or memory: raise `ulimit -u` and `ulimit -n`, or use fewer --num-workers",
    ),
    "cost": State("Stopped: cost limit", "cost limit reached"),
    "stopped": State("Stopped", "stopped"),
    "interrupted": State("Interrupted", "interrupted"),
    "failed": State("Crashed", "the search ended with an error"),
    "damaged": State("Damaged"),
}
RISES = 40  # improvements that `improvements` returns
_COUNTS = """
SELECT status, COUNT(*) FROM attempts AS a
WHERE attempt = (SELECT MAX(attempt) FROM attempts WHERE number = a.number) GROUP BY status
"""
_JOURNAL = """
SELECT CASE WHEN told.id IS NULL THEN 'queued' WHEN told.fitness IS NULL THEN 'failed'
       WHEN told.extra ->> 'pruned' THEN 'pruned' ELSE 'completed' END AS status, COUNT(*)
FROM events AS asked
LEFT JOIN events AS told ON told.id = (SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = asked.number)
WHERE asked.kind = 'ask' AND NOT EXISTS (SELECT 1 FROM attempts WHERE number = asked.number) GROUP BY 1
"""
_FIRST = "SELECT COALESCE((SELECT MIN(started) FROM attempts), (SELECT MIN(at) FROM events))"
_LAST = "SELECT at FROM events ORDER BY id DESC LIMIT 1"
# the order of `rank_key`
_BEST = "SELECT number, fitness FROM events WHERE kind = 'tell' AND fitness IS NOT NULL ORDER BY fitness DESC, number LIMIT ?"
_RESULTS = """
SELECT told.fitness FROM events AS told
LEFT JOIN attempts AS a ON a.number = told.number AND a.attempt = (SELECT MAX(attempt) FROM attempts WHERE number = told.number)
WHERE told.kind = 'tell' AND told.fitness IS NOT NULL AND told.extra ->> 'pruned' IS NULL
AND COALESCE(a.status, 'completed') = 'completed'
AND told.id = (SELECT MAX(id) FROM events WHERE kind = 'tell' AND number = told.number) ORDER BY told.id
"""  # in the order in which they came; a fitness that a retry took back, or of what was ended early, is none


@dataclass(frozen=True)
class ProjectSummary:
    """Summary of one project. Times are ISO 8601 UTC; `as_dict` has the keys of `studio runs list --json`.

    experiments  number of experiments; `finished`: how many of them have ended
    folder       where the script lies, which the search was begun in
    planned      number of experiments that the search will run, None without a limit
    metric       name, mode and direction, which is `min` or `max`
    best         the experiment with the largest fitness, the first of equals
    recommended  where results are noisy: the best by the mean of the optimizer's model, when the search last ended
    cost         dollars, None without cloud machines or known prices
    problem      why the record cannot be read, else empty
    """

    project: str
    state: str
    experiments: int = 0
    finished: int = 0
    planned: int | None = None
    counts: dict[str, int] | None = None
    metric: dict[str, str] | None = None
    best: Experiment | None = None
    recommended: Experiment | None = None
    optimizer: str | None = None
    script: str | None = None
    folder: str | None = None
    seed: int | None = None
    started: str | None = None
    changed: str | None = None
    cost: float | None = None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        found = {name: one and one.as_dict() for name, one in (("best", self.best), ("recommended", self.recommended))}
        return asdict(self) | found | {"counts": self.counts or {}, "state_text": self.state_text}

    @property
    def state_text(self) -> str:
        return state_text(self.state, self.counts or {})


def summarize(folder: Path) -> ProjectSummary:
    """Return the summary of the project in `folder`. Raises StoreError if its record cannot be read."""
    at_work = is_locked(folder)
    with reading(folder) as connection:
        connection.execute("BEGIN")  # one consistent view for all queries
        settings, session = read_meta(connection, "settings") or {}, read_session(connection)
        metric = parse_metric(settings.get("metric"))
        counts, recommended = _counts(connection, at_work), read_meta(connection, "recommended")
        (last,) = connection.execute(_LAST).fetchone() or (None,)
        sign = sign_of(settings.get("direction"), metric)
        return ProjectSummary(
            project=folder.name,
            state=state_of(at_work, settings, session),
            experiments=sum(counts.values()),
            finished=sum(counts.get(status, 0) for status in FINISHED),
            planned=(session.size if session else None) or settings.get("max_experiments"),
            counts=counts,
            metric={"name": metric.name, "mode": metric.mode, "direction": "min" if sign < 0 else "max"},
            best=read_best(connection, folder, metric),
            recommended=read_experiment(connection, folder, metric, recommended) if recommended else None,
            optimizer=settings.get("optimizer"),
            script=script_of([settings["script"], *settings.get("arguments", [])]) if settings.get("script") else None,
            folder=(read_meta(connection, "source") or {}).get("folder"),
            seed=read_meta(connection, "seed"),
            started=iso(_begun(connection, folder, session)),
            changed=iso(max((at for at in (last, session and session.ended) if at), default=None)),
            cost=cost_of_project(folder),
        )


def begun(folder: Path) -> float:
    """Return when the search of the project in `folder` was begun, in seconds since the epoch."""
    with reading(folder) as connection:
        return _begun(connection, folder, read_session(connection))


def _begun(connection: sqlite3.Connection, folder: Path, session: Session | None) -> float:
    first: float | None = connection.execute(_FIRST).fetchone()[0]
    return first if first is not None else session.begun if session else database(folder).stat().st_mtime


def improvements(folder: Path) -> list[tuple[int, float]]:
    """Return (number of results so far, best fitness so far) for each improvement, the last `RISES` of them."""
    rises: list[tuple[int, float]] = []
    count = 0
    with reading(folder) as connection:
        for (fitness,) in connection.execute(_RESULTS):
            count += 1
            if not rises or fitness > rises[-1][1]:
                rises.append((count, fitness))
    return [*rises[-RISES:], (count, rises[-1][1])] if rises else []


def state_of(at_work: bool, settings: dict[str, Any] | None, session: Session | None) -> str:
    """Return the state of a project, by its settings and its latest session."""
    if at_work:
        return "paused" if session is not None and session.paused else "running"
    if session is not None and session.state:
        return session.state
    return "interrupted" if (settings or {}).get("script") else "incomplete"


def state_text(state: str, counts: dict[str, int]) -> str:
    """Return the state in words: a search without any result, or without any experiment, is not `Done`."""
    if state == "done" and not counts:
        return "Nothing ran"
    if state == "done" and counts.get("failed") and not any(counts.get(each) for each in ("completed", "pruned")):
        return "All failed"
    return STATES[state].title if state in STATES else state


def _counts(connection: sqlite3.Connection, at_work: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for query in (_COUNTS, _JOURNAL):
        for status, count in connection.execute(query):
            status = "stopped" if status == "running" and not at_work else status
            found[status] = found.get(status, 0) + count
    return {status: found[status] for status in STATUSES if status in found}


def read_best(connection: sqlite3.Connection, folder: Path, metric: Metric) -> Experiment | None:
    """Return the first of `ranked`, for which few experiments are read."""
    for most in (1, -1):  # a retry may have withdrawn a fitness: then the next one of all
        for number, fitness in connection.execute(_BEST, (most,)):
            found = read_experiment(connection, folder, metric, number)
            if found is not None and found.fitness == fitness:
                return found
    return None
