"""What the strip above the table says: the best, how far the search is, how long still, and what failed for which reason."""

import heapq
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from studio.axes import is_number
from studio.ui.table import Table

FINISHED = ("completed", "failed", "pruned")
RECENT = 30  # experiments from whose ends the rate is taken
GROUPS = 6  # causes of failure that are told apart
COMMON = 0.4  # a range that so many of the others share explains nothing
COMPARED = 2000  # of those that went well
_PARTICULAR = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")  # what makes two texts of one cause differ


def summary(table: Table) -> dict[str, Any]:
    """As /api/p/NAME/summary answers."""
    with table.lock:
        settings, session = table.meta["settings"] or {}, table.meta["session"] or {}
        counts = Counter(table.lists["status"])
        finished = sum(counts[status] for status in FINISHED)
        size = session.get("size") or settings.get("max_experiments")
        begun, ended = _span(table)
        rate = _rate(table)
        return {
            "project": table.folder.name,
            "state": state_of(table),
            "metric": table.metric.name,
            "mode": table.metric.mode,
            "direction": "min" if table.sign < 0 else "max",
            "sign": table.sign,
            "best": _best(table),
            "counts": dict(counts),
            "total": len(table),
            "finished": finished,
            "size": size,
            "elapsed": None if begun is None else round((ended or time.time()) - begun, 1),
            "left": _left(table, size, finished, rate),
            "rate": rate,
            "slots": session.get("slots") or settings.get("num_workers", 1),
            "busy": counts["running"],
            "cost": sum(cost for cost in table.lists["cost"] if cost is not None) or None,
            "optimizer": settings.get("optimizer"),
            "backend": settings.get("backend", "local"),
            "script": settings.get("script", ""),
            "arguments": settings.get("arguments", []),
            "seed": table.meta["seed"],
            "parameters": sum(column.kind == "param" for column in table.columns),
            "begun": begun,
            "ended": ended,
            "max_time": session.get("max_time"),
            "failures": _failures(table),
        }


def state_of(table: Table) -> str:
    """`running`, `paused`, or how the last session ended."""
    if table.at_work:
        return "paused" if (table.meta["session"] or {}).get("paused") else "running"
    return str((table.meta["state"] or {}).get("state", "begun"))


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


def _span(table: Table) -> tuple[float | None, float | None]:
    """When the last session began, and ended."""
    session, state = table.meta["session"] or {}, table.meta["state"] or {}
    started = [when for when in table.lists["started"] if when is not None]
    begun = session.get("begun") or min(started, default=None)
    if table.at_work:
        return begun, None
    finished = [when for when in table.lists["finished"] if when is not None]
    last = max(finished, default=begun)
    at = state.get("at")
    return begun, at if at is not None and (begun is None or at >= begun) else last


def _rate(table: Table) -> float | None:
    """Experiments a minute, of late; None while it cannot be known, or nothing is at work."""
    if not table.at_work:
        return None
    begun = (table.meta["session"] or {}).get("begun", 0.0)
    both = zip(table.lists["finished"], table.lists["status"], strict=True)
    ends = heapq.nlargest(RECENT, (w for w, status in both if w is not None and status in FINISHED and w >= begun))
    if not ends:
        return None
    since = begun if begun and len(ends) < RECENT else ends[-1]
    passed = time.time() - since
    return round(60 * len(ends) / passed, 3) if passed > 0 else None


def _left(table: Table, size: int | None, finished: int, rate: float | None) -> float | None:
    """Seconds until the budget of experiments or of time is spent."""
    session = table.meta["session"] or {}
    ways = []
    if size is not None and rate:
        ways.append(60 * max(0, size - finished) / rate)
    if table.at_work and session.get("max_time") and session.get("begun"):
        ways.append(max(0.0, session["begun"] + session["max_time"] - time.time()))
    return round(min(ways), 1) if ways else None


# --- failures ---------------------------------------------------------------------------------------------------------


def _failures(table: Table) -> list[dict[str, Any]]:
    """Failed experiments by cause, the most frequent first, each with the range that its experiments share."""
    groups: dict[str, list[int]] = {}
    for at, status in enumerate(table.lists["status"]):
        if status == "failed":
            groups.setdefault(_PARTICULAR.sub("#", table.lists["reason"][at]), []).append(at)
    largest = sorted(groups.values(), key=lambda rows: (-len(rows), rows[0]))[:GROUPS]
    return [
        {
            "reason": table.lists["reason"][rows[0]],
            "count": len(rows),
            "numbers": [table.lists["number"][at] for at in rows[:1000]],
            "shared": _shared(table, rows),
        }
        for rows in largest
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
            (f"{name} ≥ {low:.3g}", lambda value: is_number(value) and value >= low),
            (f"{name} ≤ {high:.3g}", lambda value: is_number(value) and value <= high),
        ]
    return [(f"{name} = {values[0]}", lambda value: value == values[0])] if len(set(map(repr, values))) == 1 else []
