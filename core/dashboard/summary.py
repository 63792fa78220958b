"""Summary of a project for the dashboard: progress, rate, time left, failures, and possible actions."""

import heapq
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from studio.dashboard.elapsed import pauses_of, seconds_outside
from studio.dashboard.experiment_table import ExperimentTable
from studio.experiment import FINISHED
from studio.project.records import iso
from studio.project.summary import ProjectSummary
from studio.reporting.facts import by_cause
from studio.search.send_requests import unavailable_actions

RECENT = 30  # experiments used for the rate
GROUPS = 6  # causes of failure
NUMBERS = 1000  # experiments listed for a cause


@dataclass(frozen=True)
class Counted:
    """Data from all experiments, kept for all pages as long as the table has the same version."""

    statuses: Counter[str]
    since_best: int
    ended: float | None
    failures: list[dict[str, Any]]


def counted(table: ExperimentTable, summary: ProjectSummary) -> Counted:
    best = summary.best.number if summary.best else 0
    with table.lock:
        both = zip(table.lists["number"], table.lists["status"], strict=True)
        since = sum(status in FINISHED and number > best for number, status in both)
        return Counted(Counter(table.lists["status"]), since, _ended(table), _failures(table))


def live_summary(table: ExperimentTable, summary: ProjectSummary, known: Counted) -> dict[str, Any]:
    """Return the answer of /api/projects/NAME: the keys of `summary`, and data of the present session."""
    with table.lock:
        settings, session = table.meta["settings"] or {}, table.session
        counts, ended = known.statuses, known.ended
        finished = sum(counts[status] for status in FINISHED)
        slots = (session.slots if session else None) or settings.get("num_workers", 1)
        rate = _rate(table, slots)
        refused = unavailable_actions(settings, session, summary.state, counts)
        return {
            **summary.as_dict(),
            "experiments_since_best": known.since_best,
            "elapsed": _elapsed(table, ended),
            "seconds_left": _left(table, summary.planned, finished, rate),
            "rate": rate,
            "slots": slots,
            "running": counts["running"],
            "backend": settings.get("backend", "local"),
            "arguments": settings.get("arguments", []),
            "hyperparameters": sum(column.kind == "param" for column in table.columns),
            "ended": iso(ended),
            "max_time": session.max_time if session else None,
            "failures": known.failures,
            "actions": {action: why or None for action, why in refused.items()},
        }


def _ended(table: ExperimentTable) -> float | None:
    """Return when the last session ended, or its last sign of life; None while it runs, and if nothing has run yet."""
    if table.at_work:
        return None
    at = table.session.ended if table.session else None
    last = max((when for when in table.lists["finished"] if when is not None), default=table.begun)
    return at if at is not None and (table.begun is None or at >= table.begun) else last


def _elapsed(table: ExperimentTable, ended: float | None) -> float | None:
    """Return the working time of all sessions in seconds; None if nothing has started."""
    earlier = table.earlier or 0.0
    if table.begun is None:
        return round(earlier, 1) if len(table) else None
    until = time.time() if ended is None else max(ended, table.begun)
    return round(earlier + seconds_outside(table.begun, until, pauses_of(table.session)), 1)


def _rate(table: ExperimentTable, slots: int) -> float | None:
    """Return the recent completion rate per minute, None if unknown. Immediate failures do not count."""
    if not table.at_work or table.begun is None:
        return None
    ended = [
        (when, duration, status != "failed")
        for when, duration, status in zip(
            table.lists["finished"], table.lists["duration"], table.lists["status"], strict=True
        )
        if when is not None and status in FINISHED
    ]
    latest = heapq.nlargest(RECENT, ended, key=lambda end: end[0])
    ends = [when for when, _, _ in latest if when >= table.begun]
    if not any(
        well for when, _, well in latest if when >= table.begun
    ):  # estimate from the durations of earlier sessions
        took = [duration for _, duration, well in heapq.nlargest(RECENT, (end for end in ended if end[2])) if duration]
        return round(60 * slots * len(took) / sum(took), 3) if took else None
    since, count = (table.begun, len(ends)) if len(ends) < RECENT else (ends[-1], RECENT - 1)  # ends since then
    passed = seconds_outside(since, time.time(), pauses_of(table.session))
    return round(60 * count / passed, 3) if passed > 0 else None


def _left(table: ExperimentTable, planned: int | None, finished: int, rate: float | None) -> float | None:
    """Return the seconds until the budget of experiments or time is spent. Time also passes during a pause, as for the driver."""
    session = table.session
    ways = []
    if planned is not None and rate:
        ways.append(60 * max(0, planned - finished) / rate)
    if table.at_work and session is not None and session.max_time:
        ways.append(max(0.0, session.begun + session.max_time - time.time()))
    return round(min(ways), 1) if ways else None


def _failures(table: ExperimentTable) -> list[dict[str, Any]]:
    """Return failed experiments by cause, the most frequent first."""
    three = zip(table.lists["number"], table.lists["reason"], table.lists["status"], strict=True)
    groups = by_cause((number, reason) for number, reason, status in three if status == "failed")
    return [
        {"reason": group.reason, "count": len(group.numbers), "experiments": group.numbers[:NUMBERS]}
        for group in groups[:GROUPS]
    ]
