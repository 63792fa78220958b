"""What the strip above the table says: the best, how far the search is, how long still, and what failed for which reason."""

import heapq
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from studio.dashboard.elapsed import active, pauses_of
from studio.dashboard.experiment_table import Table
from studio.experiment import is_number
from studio.project.costs import cost_of_project
from studio.project.project import state_of
from studio.reporting.facts import by_cause
from studio.search.steering import refusals

FINISHED = ("completed", "failed", "pruned")
RECENT = 30  # experiments from whose ends the rate is taken
GROUPS = 6  # causes of failure that are told apart
COMMON = 0.4  # a range that so many of the others share explains nothing
COMPARED = 2000  # of those that went well
WIDE = 1e9  # whole numbers from here on have an exponent


def summary(table: Table) -> dict[str, Any]:
    """As /api/p/NAME/summary answers."""
    with table.lock:
        settings, session = table.meta["settings"] or {}, table.session
        counts = Counter(table.lists["status"])
        finished = sum(counts[status] for status in FINISHED)
        size = (session.size if session is not None else None) or settings.get("max_experiments")
        slots = (session.slots if session is not None else None) or settings.get("num_workers", 1)
        begun, ended = table.begun, _ended(table)
        rate = _rate(table, slots)
        now = state(table)
        return {
            "project": table.folder.name,
            "state": now,
            "metric": table.metric.name,
            "mode": table.metric.mode,
            "direction": "min" if table.sign < 0 else "max",
            "sign": table.sign,
            "best": _best(table),
            "counts": dict(counts),
            "total": len(table),
            "finished": finished,
            "size": size,
            "elapsed": _elapsed(table, ended),
            "left": _left(table, size, finished, rate),
            "rate": rate,
            "slots": slots,
            "busy": counts["running"],
            "cost": cost_of_project(table.folder),
            "optimizer": settings.get("optimizer"),
            "backend": settings.get("backend", "local"),
            "script": settings.get("script", ""),
            "arguments": settings.get("arguments", []),
            "seed": table.meta["seed"],
            "parameters": sum(column.kind == "param" for column in table.columns),
            "begun": begun,
            "ended": ended,
            "max_time": (session.max_time if session is not None else None),
            "failures": _failures(table),
            "refused": refusals(settings, session, now, counts),
        }


def state(table: Table) -> str:
    return state_of(table.at_work, table.meta["settings"], table.session)


def _best(table: Table) -> dict[str, Any] | None:
    if table.best is None:
        return None
    number = table.lists["number"][table.best]
    value = table.measured[table.best]
    return {
        "number": number,
        "value": table.lists["fitness"][table.best] if value is None else value,
        "values": {name: cells[table.best] for name, cells in table.values.items()},
        "ago": sum(status in FINISHED and n > number for n, status in zip(table.lists["number"], table.lists["status"], strict=True)),
    }  # fmt: skip


def _ended(table: Table) -> float | None:
    """When the last session ended, or fell silent; None while it is at work, and where nothing has run yet."""
    if table.at_work:
        return None
    at = table.session.ended if table.session is not None else None
    last = max((when for when in table.lists["finished"] if when is not None), default=table.begun)
    return at if at is not None and (table.begun is None or at >= table.begun) else last


def _elapsed(table: Table, ended: float | None) -> float | None:
    """Seconds that all sessions have worked; None where nothing has begun."""
    earlier = table.earlier or 0.0
    if table.begun is None:
        return round(earlier, 1) if len(table) else None
    until = time.time() if ended is None else max(ended, table.begun)
    return round(earlier + active(table.begun, until, pauses_of(table.session)), 1)


def _rate(table: Table, slots: int) -> float | None:
    """Experiments a minute, of late; None while it cannot be known, or nothing is at work. What failed at once says nothing
    of those that will not."""
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
    if not any(well for when, _, well in latest if when >= table.begun):  # as long as those of the last session took
        took = [duration for _, duration, well in heapq.nlargest(RECENT, (end for end in ended if end[2])) if duration]
        return round(60 * slots * len(took) / sum(took), 3) if took else None
    since, count = (table.begun, len(ends)) if len(ends) < RECENT else (ends[-1], RECENT - 1)  # ends since then
    passed = active(since, time.time(), pauses_of(table.session))
    return round(60 * count / passed, 3) if passed > 0 else None


def _left(table: Table, size: int | None, finished: int, rate: float | None) -> float | None:
    """Seconds until the budget of experiments or of time is spent. The time goes on in a pause, as for the driver."""
    session = table.session
    ways = []
    if size is not None and rate:
        ways.append(60 * max(0, size - finished) / rate)
    if table.at_work and session is not None and session.max_time:
        ways.append(max(0.0, session.begun + session.max_time - time.time()))
    return round(min(ways), 1) if ways else None


# --- failures ---------------------------------------------------------------------------------------------------------


def _failures(table: Table) -> list[dict[str, Any]]:
    """Failed experiments by cause, the most frequent first, each with the range that its experiments share."""
    three = zip(table.lists["number"], table.lists["reason"], table.lists["status"], strict=True)
    groups = by_cause((number, reason) for number, reason, status in three if status == "failed")
    return [
        {
            "reason": group.reason,
            "count": len(group.numbers),
            "numbers": group.numbers[:1000],
            "shared": _shared(table, [table.row_of[number] for number in group.numbers]),
        }
        for group in groups[:GROUPS]
    ]


def _shared(table: Table, rows: list[int]) -> str:
    """`width ≥ 896`: what is true of these rows and of few that went well; empty where nothing is."""
    well = [at for at, status in enumerate(table.lists["status"]) if status in ("completed", "pruned")]
    if len(rows) < 2 or len(well) < 2:
        return ""
    well = well[:: 1 + len(well) // COMPARED]
    found = []
    for name, cells in table.values.items():
        for text, holds in _claims(name, [cells[at] for at in rows]):
            found.append((sum(holds(cells[at]) for at in well) / len(well), text))
    share, text = min(found, default=(1.0, ""))
    return text if share <= COMMON else ""


def _claims(name: str, values: list[Any]) -> list[tuple[str, Callable[[Any], bool]]]:
    if all(is_number(value) for value in values):
        low, high = min(values), max(values)
        return [
            (f"{name} ≥ {_number(low)}", lambda value: is_number(value) and value >= low),
            (f"{name} ≤ {_number(high)}", lambda value: is_number(value) and value <= high),
        ]
    return [(f"{name} = {values[0]}", lambda value: value == values[0])] if len(set(map(repr, values))) == 1 else []


def _number(value: float) -> str:
    """Whole numbers in all their digits, as they were given."""
    return f"{value:.0f}" if value == round(value) and abs(value) < WIDE else f"{value:.3g}"
