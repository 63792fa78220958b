"""Which experiments a view of the table shows, and in which order: the words of its address as rows.

?q=lr<1e-3&state=failed&sort=val_loss,-lr&brush=lr:1e-4:1e-2&brush=opt:in:adam     as static/view_state.js writes them
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import QueryParams

from studio.axes import is_number
from studio.experiment import Experiment
from studio.ui.query import as_number, parse_query
from studio.ui.table import Table

WORDS = ("q", "state", "status", "sort", "brush")  # of an address, that choose or order experiments
LIVE_FIRST = ("running", "queued")

Brush = Callable[[Any], bool]


@dataclass(frozen=True)
class View:
    query: str
    state: str  # empty: all
    sort: list[str]  # keys of columns, `-` before one turns it round
    brushes: list[tuple[str, Brush]]


def view_of(asked: QueryParams, table: Table) -> View:
    state = asked.get("status") or asked.get("state", "")
    known = {column.key for column in table.columns}
    keys = [_key(part, known) for part in asked.get("sort", "").split(",")]
    brushes = [brush for text in asked.getlist("brush") if (brush := _brush(text)) is not None]
    return View(asked.get("q", "").strip(), "" if state == "all" else state, [key for key in keys if key], brushes)


def in_view(
    experiments: Sequence[Experiment], table: Table, asked: QueryParams, words: dict[str, str]
) -> Sequence[Experiment]:
    """Those of the view in its order; all of them where the address asks for none. BadInput for a query that is none."""
    if not any(word in asked for word in WORDS):
        return experiments
    with table.lock:
        numbers = [table.lists["number"][at] for at in rows_of(table, view_of(asked, table), words)]
    known = {experiment.number: experiment for experiment in experiments}
    return [known[number] for number in numbers if number in known]


def _key(part: str, known: set[str]) -> str:
    """Scripts escape the parts of a list once more, links do not. Empty for what is no column."""
    for text in (part, unquote(part)):
        if text.removeprefix("-") in known:
            return text
    return ""


def _brush(text: str) -> tuple[str, Brush] | None:
    """`lr:1e-4:1e-2`, an end of which may be missing, or `opt:in:adam:sgd`; None for anything else."""
    name, *parts = map(unquote, text.split(":"))
    if parts[:1] == ["in"]:
        values = set(parts[1:])
        return name, lambda value: str(value) in values
    if len(parts) != 2:
        return None
    low, high = (as_number(part) if part else end for part, end in zip(parts, (-math.inf, math.inf), strict=True))
    if low is None or high is None:
        return None
    return name, lambda value: is_number(value) and low <= value <= high


def rows_of(table: Table, view: View, words: dict[str, str]) -> list[int]:
    """Rows that match, in their order. `words`: of the states, as people write them. BadInput for a query that is none."""
    with table.lock:
        chosen = [at for at, own in enumerate(table.lists["status"]) if not view.state or own == view.state]
        for key, holds in view.brushes:
            if any(column.key == key for column in table.columns):
                cells = cells_of(table, key)
                chosen = [at for at in chosen if cells[at] is not None and holds(cells[at])]
        if view.query:
            matches = parse_query(view.query, _query_columns(table, words), _texts(table, words))
            chosen = [at for at in chosen if matches(at)]
        return in_order(table, chosen, view.sort)


def in_order(table: Table, rows: list[int], keys: Sequence[str]) -> list[int]:
    """Missing last, whichever way it is sorted. Without keys the running ones come first, then the best."""
    if not keys:
        fitness, status = table.lists["fitness"], table.lists["status"]
        return sorted(
            rows, key=lambda at: (status[at] not in LIVE_FIRST, fitness[at] is None, -(fitness[at] or 0.0), at)
        )
    for key in reversed(keys):
        cells, turned = cells_of(table, key.removeprefix("-")), key.startswith("-")
        there = [at for at in rows if cells[at] is not None]
        there.sort(key=lambda at: order(cells[at]), reverse=turned)
        rows = there + [at for at in rows if cells[at] is None]
    return rows


def order(cell: Any) -> tuple[int, float, str]:
    """Numbers as numbers, before texts."""
    return (0, float(cell), "") if isinstance(cell, int | float) else (1, 0.0, str(cell))


def cells_of(table: Table, key: str) -> list[Any]:
    if key in table.values:
        return table.values[key]
    return table.measured if key.startswith("metric.") else table.lists[key]


def _query_columns(table: Table, words: dict[str, str]) -> dict[str, Callable[[int], Any]]:
    found: dict[str, Callable[[int], Any]] = {}
    for column in table.columns:
        for name in (column.label, column.key, column.label.lower()):
            found.setdefault(name, cells_of(table, column.key).__getitem__)
    found.setdefault("metric", table.measured.__getitem__)
    status = table.lists["status"]
    for name in ("state", "status"):
        found[name] = lambda at: words.get(status[at], status[at])
    for name in ("number", "#", "experiment"):
        found.setdefault(name, table.lists["number"].__getitem__)
    for name in ("time", "duration"):
        found[name] = lambda at: _duration(table, at)
    found.setdefault("exit", table.lists["exit_code"].__getitem__)
    for name in ("reason", "slot", "attempts", "failure", "fitness"):
        found.setdefault(name, table.lists[name].__getitem__)
    found.setdefault("step", table.step.__getitem__)
    return found


def _duration(table: Table, at: int) -> float | None:
    """Of one that runs: until now."""
    started: float | None = table.lists["started"][at]
    if table.lists["status"][at] == "running" and started is not None:
        return max(0.0, time.time() - started)
    duration: float | None = table.lists["duration"][at]
    return duration


def _texts(table: Table, words: dict[str, str]) -> Callable[[int], list[str]]:
    parameters = [table.values[column.key] for column in table.columns if column.kind == "param"]

    def texts(at: int) -> list[str]:
        status = table.lists["status"][at]
        own = [cells[at] for cells in parameters if isinstance(cells[at], str)]
        return [words.get(status, status), table.lists["reason"][at] or "", f"#{table.lists['number'][at]}", *own]

    return texts
