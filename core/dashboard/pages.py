"""The pages as HTML, whole without JavaScript: tables of 200 rows, sorted and filtered by links. Everything is escaped."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import QueryParams

from studio import format as shown
from studio.dashboard.columns import Column
from studio.dashboard.experiment_table import Table
from studio.dashboard.view import cells_of, order, rows_of, sort_keys

ROWS = 200  # on a page
PROJECTS = 100  # on a page
STATES = {
    "running": "Live",
    "paused": "Paused",
    "incomplete": "Program ended",
    "done": "Done",
    "time": "Time is over",
    "exhausted": "Nothing new to try",
    "failures": "Ended by failures",
    "disk": "Ended: the disk is full",
    "cost": "Ended: cost limit",
    "stopped": "Stopped",
    "interrupted": "Interrupted",
    "failed": "Broke off",
    "damaged": "Damaged",
}


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("studio.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "short": shown.short, "number": shown.number, "exact": exact, "about": shown.about, "age": shown.age, "timestamp": timestamp,
        "size": shown.byte_size, "plain": shown.without_colours, "last_lines": last_lines, "ending": ending, "money": shown.money,
        "duration": shown.duration, "legend": legend, "counted": shown.counted, "lacking": lacking, "direction": shown.direction,
    }  # fmt: skip
    made.globals |= {"statuses": shown.STATUSES, "states": STATES}
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made


# --- words ------------------------------------------------------------------------------------------------------------


def exact(value: Any) -> str:
    """Return `value` in all its digits."""
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list) else str(value)


def timestamp(when: float | None) -> str:
    return "" if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def last_lines(text: str, count: int) -> str:
    return "\n".join(text.rstrip("\n").split("\n")[-count:])


def ending(summary: Mapping[str, Any]) -> str:
    """`about 16 min left`, `Done in 58 min`"""
    if summary["state"] == "running":
        return "" if summary["left"] is None else f"about {shown.about(summary['left'])} left"
    done = f" in {shown.about(summary['elapsed'])}" if summary["elapsed"] and summary["state"] == "done" else ""
    return f"{STATES.get(summary['state'], summary['state'])}{done}"


def lacking(summary: Mapping[str, Any]) -> str:
    """What stands in the place of the best where there is none, as `lacking` of static/strip.js."""
    failed = summary["counts"].get("failed", 0)
    if summary["state"] in ("running", "paused") or not failed or failed < summary["total"]:
        return "No result yet"
    return f"No result: {f'all {failed}' if failed > 1 else 'it'} failed"


def legend(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The states that the strip names, each with its count. What a live search has yet to ask for counts as queued."""
    counts = dict(summary["counts"])
    if summary["state"] in ("running", "paused"):
        counts["queued"] = counts.get("queued", 0) + max(0, (summary["size"] or 0) - summary["total"])
    return [(name, counts.get(name, 0)) for name in shown.STATUSES if counts.get(name) or name == "completed"]


# --- the table of experiments -----------------------------------------------------------------------------------------


def experiment_table(table: Table, asked: QueryParams, page: int, link: Callable[..., str]) -> dict[str, Any]:
    """What the template of a project shows of its experiments: those in the state that the address asks for, sorted."""
    with table.lock:
        state, sort = asked.get("state", "").removeprefix("all"), sort_keys(asked.get("sort", ""), table)
        rows = rows_of(table, state, sort)
        columns = [(column, cells_of(table, column.key)) for column in _visible(table)]
        pages = max(1, math.ceil(len(rows) / ROWS))
        page = min(max(1, page), pages)
        found = [_row(table, columns, at) for at in rows[(page - 1) * ROWS : page * ROWS]]
        best_first = f"metric.{table.metric.name}" if table.sign < 0 else f"-metric.{table.metric.name}"
        return {
            "columns": [_head(column, sort or [best_first], link) for column, _ in columns],
            "rows": found,
            "page": page,
            "pages": pages,
            "previous": link(page=page - 1) if page > 1 else "",
            "next": link(page=page + 1) if page < pages else "",
            "chips": _chips(table, state, link),
        }


def _visible(table: Table) -> list[Column]:
    by_key = {column.key: column for column in table.columns}
    metric = [column for column in table.columns if column.kind == "metric"]
    parameters = [column for column in table.columns if column.kind == "param"]
    rest = [by_key[key] for key in ("duration", "slot") if key in by_key]
    return [by_key["number"], *metric, *parameters, *rest] if "number" in by_key else [*metric, *parameters]


def _head(column: Column, sort: Sequence[str], link: Callable[..., str]) -> dict[str, Any]:
    first = sort[0] if sort else ""
    aria = "" if first.lstrip("-") != column.key else "descending" if first.startswith("-") else "ascending"
    turned = f"-{column.key}" if aria == "ascending" else column.key
    return {
        "key": column.key,
        "label": column.label,
        "class": _class(column),
        "aria": aria,
        "link": link(sort=turned, page=None),
    }


def _class(column: Column) -> str:
    if column.kind == "metric":
        return "m"
    if column.key == "number":
        return "n"
    return (
        "num" if column.kind == "param" and column.choices is None else "t num" if column.key == "duration" else "cat"
    )


def _row(table: Table, columns: Sequence[tuple[Column, list[Any]]], at: int) -> dict[str, Any]:
    number, status = table.lists["number"][at], table.lists["status"][at]
    cells = []
    for column, column_cells in columns:
        value = column_cells[at]
        reason = table.lists["reason"][at] if column.kind == "metric" and value is None else ""
        text = (
            shown.duration(value)
            if column.key == "duration"
            else shown.number(value)
            if column.kind == "metric"
            else f"slot {value}"
            if column.key == "slot" and value is not None
            else shown.short(value)
        )
        cells.append({"key": column.key, "class": _class(column), "text": text, "reason": reason})
    return {"number": number, "status": status, "cells": cells, "best": at == table.best}


def _chips(table: Table, state: str, link: Callable[..., str]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for own in table.lists["status"]:
        counts[own] = counts.get(own, 0) + 1
    chips = [{"label": "All", "count": len(table), "link": link(state=None, page=None), "on": not state}]
    for name in shown.STATUSES:
        if name in counts:
            on = state == name
            way = link(state=name, page=None)
            chips.append({"label": name.capitalize(), "count": counts[name], "link": way, "on": on})
    return chips


# --- the list of projects ---------------------------------------------------------------------------------------------

PROJECT_COLUMNS = {
    "name": "Project", "state": "State", "metric": "Metric", "best": "Best", "values": "Best values", "finished": "Finished",
    "counts": "Experiments", "cost": "Cost", "changed": "Last news",
}  # fmt: skip


def project_table(
    lines: Sequence[Mapping[str, Any]], sort: str, query: str, page: int, link: Callable[..., str]
) -> dict[str, Any]:
    """What the template of the list shows: the projects with `query` in name, script or optimizer, the newest first."""
    keys = {
        key: label for key, label in PROJECT_COLUMNS.items() if key != "cost" or any(line["cost"] for line in lines)
    }
    words = query.lower().split()
    found = [line for line in lines if all(word in _text_of(line) for word in words)]
    key, turned = sort.lstrip("-"), sort.startswith("-")
    if key not in keys:
        key, turned = "changed", True
    cell = (
        (lambda line: line["total"])
        if key == "counts"
        else (lambda line: str(line[key]) if key == "values" else line[key])
    )
    there = sorted(
        (line for line in found if cell(line) is not None), key=lambda line: order(cell(line)), reverse=turned
    )
    columns = []
    for name, label in keys.items():
        aria = "" if name != key else "descending" if turned else "ascending"
        kind = "num" if name in ("best", "cost", "changed") else ""
        columns.append(
            {
                "key": name,
                "label": label,
                "class": kind,
                "aria": aria,
                "link": link(sort=f"-{name}" if aria == "ascending" else name, page=None),
            }
        )
    rows = there + [line for line in found if cell(line) is None]
    pages = max(1, math.ceil(len(rows) / PROJECTS))
    page = min(max(1, page), pages)
    return {
        "projects": rows[(page - 1) * PROJECTS : page * PROJECTS],
        "columns": columns,
        "query": query,
        "total": len(rows),
        "page": page,
        "pages": pages,
        "previous": link(page=page - 1) if page > 1 else "",
        "next": link(page=page + 1) if page < pages else "",
        "costs": "cost" in keys,
    }


def _text_of(line: Mapping[str, Any]) -> str:
    return f"{line['name']} {line['script']} {line['optimizer']} {line['metric']} {line['state']}".lower()


def linker(given: QueryParams) -> Callable[..., str]:
    """`link(sort="lr", page=None)`: the same page with other words in its address. Of some there may be several."""

    def link(**changes: Any) -> str:
        kept = [(name, value) for name, value in given.multi_items() if name not in changes]
        return f"?{urlencode([pair for pair in (*kept, *changes.items()) if pair[1] not in (None, '')])}"

    return link
