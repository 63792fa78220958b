"""The first rows of a project's table, rendered by the server: what static/table.js would render, so that it can adopt them."""

import heapq
import json
import math
from collections import Counter
from typing import Any

from studio import format as text
from studio.dashboard.columns import Column, column_form, place_class
from studio.dashboard.experiment_table import ExperimentTable
from studio.experiment import NO_RESULT

FIRST_ROWS = 40
LONGEST_NAME = 18  # characters on a card


def first_rows(table: ExperimentTable) -> dict[str, Any]:
    """Return head and cells of the first rows in the default order, as static/table.js would render them."""
    with table.lock:
        lists, status = table.lists, table.lists["status"]
        parameters = [column for column in table.columns if column.kind == "param"]
        choice = next((column for column in parameters if column.choices is not None), None)
        number = next((column for column in parameters if column is not choice), None)
        rest = ["duration", *(["slot"] if any(slot is not None for slot in lists["slot"]) else [])]
        rest += ["cost"] if any(lists["cost"]) else []
        width = _bar_width(table)
        places, wide = column_form(table.measured)
        forms = {
            column.key: column_form(table.values[column.key])[0] for column in parameters if column.choices is None
        }
        rows = []
        for at in _default_order(table, FIRST_ROWS):
            failed = status[at] in NO_RESULT
            rows.append(
                {
                    "number": lists["number"][at],
                    "status": status[at],
                    "value": None if failed else table.measured[at],
                    "reason": (lists["reason"][at] or status[at]) if failed else "",
                    "step": table.step[at],
                    "bar": width(at) if status[at] == "completed" and table.measured[at] is not None else None,
                    "best": at == table.best,
                    "place": "" if failed else f"w{wide}" + place_class(text.number(table.measured[at]), places),
                    "cells": [
                        _parameter_cell(table, column, at, number, choice, forms.get(column.key, 0))
                        for column in parameters
                    ],
                    "rest": [(key, lists[key][at]) for key in rest],
                    "started": lists["started"][at],
                    "duration": lists["duration"][at],
                }
            )
        heads = [(_class(column, number, choice), column.label) for column in parameters]
        return {"metric": table.metric.name, "parameters": heads, "rest": rest, "rows": rows}


def _default_order(table: ExperimentTable, count: int) -> list[int]:
    """Return the first `count` rows: running ones, then the best first, last by cause those without a result."""
    status, number, reason = table.lists["status"], table.lists["number"], table.lists["reason"]
    causes = Counter(reason[at] for at in range(len(table)) if status[at] in NO_RESULT)
    place = {cause: at for at, (cause, _) in enumerate(causes.most_common())}  # the most frequent first

    def key(at: int) -> tuple[bool, bool, float, int, int]:
        value = table.measured[at]
        without = status[at] in NO_RESULT
        none = value is None or without
        running = status[at] == "running"
        worth = 0.0 if running or none else -table.sign * (value or 0.0)
        return not running, not running and none, worth, place[reason[at]] if without else 0, number[at]

    return heapq.nsmallest(count, range(len(table)), key)


def _class(column: Column, number: Column | None, choice: Column | None) -> str:
    place = " p1" if column is number else " p2" if column is choice else ""
    return ("num" if column.choices is None else "cat") + place


def _parameter_cell(
    table: ExperimentTable, column: Column, at: int, number: Column | None, choice: Column | None, places: int
) -> dict[str, Any]:
    value = table.values[column.key][at]
    kind = _class(column, number, choice)
    found = {"key": column.key, "class": kind, "text": "", "exact": "", "dot": 0}
    found["name"] = middle(column.label, LONGEST_NAME) if column is number else ""
    if value is None:
        return found
    if column.choices is None:
        shown = text.short(value)
        return {**found, "text": shown, "exact": exact(value), "class": kind + place_class(shown, places)}
    choices = [str(each) for each in column.choices]
    place = choices.index(str(value)) if str(value) in choices else 0
    return {**found, "text": middle(str(value), 24), "exact": exact(value), "dot": 1 + place % 8}


def _bar_width(table: ExperimentTable) -> Any:
    """Return a function from row to pixels of its bar: full for the best, short for the worst third."""
    fitness = table.lists["fitness"]
    ranked = sorted((fitness[at] for at in table.rated()), reverse=True)
    if not ranked:
        return lambda at: 48
    best, poor = ranked[0], ranked[math.floor(0.7 * (len(ranked) - 1))]
    if best == poor:
        return lambda at: 48
    ratio = best / poor if poor else math.inf
    scaled = (lambda value: math.log(abs(value))) if ratio > 1000 or 0 < ratio < 0.001 else float
    if scaled is not float and not all((best, poor)):
        scaled = float

    def width(at: int) -> int:
        own = fitness[at] if fitness[at] is not None else poor
        if scaled is not float and not own:
            return 4
        part = (scaled(own) - scaled(poor)) / (scaled(best) - scaled(poor))
        return math.floor(4 + 44 * min(1.0, max(0.0, part)) + 0.5)

    return width


def exact(value: Any) -> str:
    """Return `value` with all its digits."""
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list) else str(value)


def middle(name: str, most: int) -> str:
    """Return a long text without its middle, like `middle` of static/format.js: generated names differ at their ends."""
    end = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - end]}…{name[len(name) - end :]}"
