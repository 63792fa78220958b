"""Handlers of the HTML pages, of their parts, and of the stream that updates a project's page.

The server renders the strip, the failures, the cards and the first rows of the table in their final form; the scripts of
the page adopt them, and render the rest of the table, the charts and the dialogs. Everything is escaped.
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from studio import format as text
from studio.dashboard.access import Secrets, without_port
from studio.dashboard.api import Api, no_experiment
from studio.dashboard.experiment_table import parse_index
from studio.dashboard.first_rows import exact, middle
from studio.dashboard.http import Json, is_here, numbers
from studio.dashboard.open_projects import OpenProject, OpenProjects
from studio.dashboard.project_list import ProjectList
from studio.errors import BadInput
from studio.experiment import NO_RESULT, UNFINISHED
from studio.format import finite
from studio.project.summary import ProjectSummary
from studio.ranking import rank_key

PROJECTS = 100  # on a page
COMPARED = 5
OTHER_VIEW = ("q", "state", "sort", "brush", "hide", "show")  # URL parameters that change the first rows
_EXIT_CODE = re.compile(r"^exit code \d+: ")
PROJECT_COLUMNS = {
    "project": "Project", "state": "State", "best": "Best", "values": "Best values", "progress": "Progress",
    "finished": "Finished", "cost": "Cost", "changed": "Last change",
}  # fmt: skip


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("studio.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "short": text.short, "number": text.number, "about": text.about, "size": text.byte_size, "money": text.money,
        "duration": text.duration, "counted": text.counted, "direction": _direction, "plain": text.without_colours,
        "exact": exact, "last_lines": _last_lines, "seconds": _seconds, "taken": _taken, "age": lambda when: text.age(_seconds(when)),
        "timestamp": _timestamp, "time_text": time_text, "no_result_text": no_result_text, "legend": legend, "bar": bar,
        "cause": cause, "spark": spark, "middle": middle, "before_end": text.before_end, "signed": _signed,
    }  # fmt: skip
    made.globals |= {"statuses": text.STATUSES, "no_result": NO_RESULT}
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made


# --- texts ------------------------------------------------------------------------------------------------------------


def _signed(difference: float) -> str:
    """Return a difference with its sign, `+0.02`."""
    return text.number(difference) if difference < 0 or difference != difference else f"+{text.number(difference)}"


def _direction(direction: str) -> str:
    return text.direction(-1.0 if direction == "min" else 1.0)


def _last_lines(log: str, count: int) -> str:
    return "\n".join(log.rstrip("\n").split("\n")[-count:])


def _seconds(when: str | float | None) -> float | None:
    """Return an ISO 8601 time as seconds since the epoch."""
    return datetime.fromisoformat(when).timestamp() if isinstance(when, str) else when


def _taken(experiment: Mapping[str, Any]) -> float | None:
    """Return the seconds that an experiment took, or has taken so far."""
    started, taken = _seconds(experiment["started"]), experiment["duration"]
    return max(0.0, time.time() - started) if experiment["status"] == "running" and started is not None else taken


def _timestamp(when: str | None) -> str:
    return "" if when is None else datetime.fromisoformat(when).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def cause(reason: str) -> str:
    """Return the reason of a failure without its exit code, which adds nothing."""
    return _EXIT_CODE.sub("", reason)


def time_text(summary: Mapping[str, Any]) -> str:
    """Return `about 16 min left`, `Done in 58 min` or the state."""
    if summary["state"] == "running":
        return "" if summary["seconds_left"] is None else f"about {text.about(summary['seconds_left'])} left"
    words: str = summary["state_text"]
    return f"{words} in {text.about(summary['elapsed'])}" if summary["elapsed"] and words == "Done" else words


def no_result_text(summary: Mapping[str, Any]) -> str:
    """Return the text in place of the best if there is none."""
    failed = summary["counts"].get("failed", 0)
    if summary["state"] in ("running", "paused") or not failed or failed < summary["experiments"]:
        return "No result yet"
    return f"No result: {f'all {failed}' if failed > 1 else 'it'} failed"


def legend(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the states in the strip with their counts. Experiments that a live search has yet to ask count as queued."""
    counts = dict(summary["counts"])
    if summary["state"] in ("running", "paused"):
        counts["queued"] = counts.get("queued", 0) + max(0, (summary["planned"] or 0) - summary["experiments"])
    return [(name, counts.get(name, 0)) for name in text.STATUSES if counts.get(name) or name == "completed"]


def bar(summary: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return the parts of the progress bar: status, begin and width, in percent."""
    size = max(summary["planned"] or 0, summary["experiments"], 1)
    parts, at = [], 0.0
    for status in text.STATUSES:
        if status != "queued" and (count := summary["counts"].get(status)):
            parts.append((status, round(at, 3), round(100 * count / size, 3)))
            at += 100 * count / size
    return parts


def spark(rises: Sequence[tuple[int, float]], sign: float) -> str:
    """Return the SVG path of the best so far over the results, in values of the metric."""
    width, height = 96, 20
    if len(rises) < 2:
        return ""
    values = [sign * value for _, value in rises]
    low, high, last = min(values), max(values), rises[-1][0]

    def y(value: float) -> float:
        return round(2 + (height - 4) * (high - value) / ((high - low) or 1), 1)

    steps = [(round(2 + (width - 4) * at / last, 1), y(value)) for (at, _), value in zip(rises, values, strict=True)]
    return f"M{steps[0][0]} {steps[0][1]}" + "".join(f"H{x}V{y}" for x, y in steps[1:])


# --- the list of projects ---------------------------------------------------------------------------------------------


def project_table(
    lines: Sequence[tuple[ProjectSummary, list[tuple[int, float]]]], sort: str, query: str, page: int, link: Any
) -> dict[str, Any]:
    """Return the data of the list: projects with all words of `query` in name, script, optimizer, metric or state."""
    costs = any(summary.cost for summary, _ in lines)
    keys = {key: label for key, label in PROJECT_COLUMNS.items() if key != "cost" or costs}
    words = query.lower().split()
    found = [line for line in lines if all(word in _searched(line[0]) for word in words)]
    key, turned = sort.lstrip("-"), sort.startswith("-")
    if key not in keys:
        key, turned = "changed", True
    there = [line for line in found if _sorted_by(line[0], key) is not None]
    there.sort(key=lambda line: _sorted_by(line[0], key), reverse=turned)
    rows = there + [line for line in found if _sorted_by(line[0], key) is None]
    pages = max(1, math.ceil(len(rows) / PROJECTS))
    page = min(max(1, page), pages)
    columns = []
    for name, label in keys.items():
        aria = "" if name != key else "descending" if turned else "ascending"
        where = link(sort=f"-{name}" if aria == "ascending" else name, page=None)
        kind = "num" if name in ("best", "cost", "changed") else ""
        columns.append({"key": name, "label": label, "class": kind, "aria": aria, "link": where})
    return {
        "projects": [
            {**summary.as_dict(), "spark": spark(rises, -1.0 if (summary.metric or {}).get("direction") == "min" else 1.0)}
            for summary, rises in rows[(page - 1) * PROJECTS : page * PROJECTS]
        ],
        "columns": columns, "query": query, "total": len(rows), "all": len(lines), "page": page, "pages": pages,
        "previous": link(page=page - 1) if page > 1 else "", "next": link(page=page + 1) if page < pages else "",
        "costs": costs,
    }  # fmt: skip


def _searched(summary: ProjectSummary) -> str:
    words = (summary.project, summary.script, summary.optimizer, (summary.metric or {}).get("name"), summary.state_text)
    return " ".join(word for word in words if word).lower()


def _sorted_by(summary: ProjectSummary, key: str) -> Any:
    best = summary.best
    if key == "best":
        return None if best is None else best.metric["value"] if best.metric else best.fitness
    if key == "values":
        return None if best is None else str(best.values)
    if key == "progress":
        return summary.experiments
    return summary.state_text if key == "state" else getattr(summary, key)


# --- handlers ---------------------------------------------------------------------------------------------------------


class Pages:
    """The handlers. `files` returns the address of scripts and styles, which names their version."""

    def __init__(
        self, projects: OpenProjects, project_list: ProjectList, api: Api, secrets: Secrets, files: Callable[[], str]
    ):
        self._projects = projects
        self._list = project_list
        self._api = api
        self._secrets = secrets
        self._templates = environment()
        self._templates.globals["files"] = files

    def projects(self, request: Request) -> Response:
        self._list.refresh()
        version, lines = self._list.version, self._list.lines()
        asked = request.query_params

        def link(**changes: Any) -> str:
            kept = [(name, value) for name, value in asked.multi_items() if name not in changes]
            return f"?{urlencode([pair for pair in (*kept, *changes.items()) if pair[1] not in (None, '')])}"

        page = parse_index(asked.get("page", "")) or 1
        found = project_table(lines, asked.get("sort", ""), asked.get("q", ""), page, link)
        return self._page("projects.html", {"page": "projects", "version": version}, **found)

    def project(self, request: Request) -> Response:
        project = self._open(request)
        with project.table.lock:
            version, table = project.table.version, project.first_rows()
        summary = project.summary()
        own = any(name in request.query_params for name in OTHER_VIEW)
        number = parse_index(request.query_params.get("e", "")) or (summary["best"] or {}).get("number")
        one = project.details.of(project.table, number, quick=True) if number else None
        data = self._data("project", project, summary, version)
        parts: dict[str, Any] = {
            "table": {**table, "rows": [] if own else table["rows"]},
            "it": one,
            "here": is_here(request),
        }
        return self._page("project.html", data, project=project.folder.name, summary=summary, **parts)

    def card(self, request: Request) -> Response:
        """Return the card of one experiment for the inspector."""
        project = self._open(request)
        found = self._api.detail(project, request.path_params["number"])
        html = self._parts().card(project.folder.name, project.summary(), found)
        return Json({"html": str(html), "experiment": found})

    def experiment(self, request: Request) -> Response:
        project, number = self._open(request), request.path_params["number"]
        with project.table.lock:
            version = project.table.version
        found = self._api.detail(project, number)  # read after the version, from which the page continues
        summary = project.summary()
        data = {**self._data("experiment", project, summary, version), "number": number, "experiment": found}
        curve = project.curves.points(
            project.table.metric, number, found["attempt"], ended=found["status"] not in UNFINISHED, most=1000
        )
        best = (summary["best"] or {}).get("number")
        near = {"previous": number - 1 if number - 1 in project.table.row_of else None,
                "next": number + 1 if number + 1 in project.table.row_of else None, "best": best if best != number else None}  # fmt: skip
        return self._page(
            "experiment.html", data, project=project.folder.name, summary=summary, it=found, curve=curve, near=near
        )

    def compare(self, request: Request) -> Response:
        project = self._open(request)
        given = numbers(request, "e")
        chosen = [number for number in given if number in project.table.row_of]
        if missing := [number for number in given if number not in project.table.row_of]:
            raise no_experiment(project.table, missing[0])
        if len(chosen) < 2:
            raise HTTPException(404, "name two to five experiments to compare: compare?e=1,2")
        if len(chosen) > COMPARED:
            raise HTTPException(
                404, f"{len(chosen)} experiments are named; at most {COMPARED} can be compared side by side"
            )
        found = [self._api.detail(project, number) for number in chosen]
        found.sort(key=lambda each: (each["rank"] is None, rank_key(each["fitness"] or 0.0, each["number"])))
        names = list(dict.fromkeys(name for each in found for name in each["values"]))
        with project.table.lock:
            version = project.table.version
        summary = project.summary()
        rows = [_compared(name, [each["values"].get(name) for each in found]) for name in names]
        curves = [
            project.curves.points(
                project.table.metric, each["number"], each["attempt"], ended=each["status"] not in UNFINISHED, most=1000
            )
            for each in found
        ]
        data = {**self._data("compare", project, summary, version), "numbers": [each["number"] for each in found]}
        parts: dict[str, Any] = {
            "different": [row for row in rows if row["different"]],
            "equal": [row for row in rows if not row["different"]],
            "results": compared_results(found, curves, project.table.metric.mode),
        }
        return self._page(
            "compare.html", data, project=project.folder.name, summary=summary, experiments=found, **parts
        )

    def tensorboard(self, request: Request) -> Response:
        """Start TensorBoard, and return its address under this machine's other name.

        A browser sends cookies to all ports of a host name, so the other name keeps them apart.
        """
        project = self._open(request)
        if not is_here(request):
            raise BadInput("TensorBoard is for browsers on the machine of the dashboard; run studio tensorboard there")
        other = "127.0.0.1" if without_port(request.headers["host"]) == "localhost" else "localhost"
        return Json({"address": f"http://{other}:{self._projects.tensorboards.port(project.folder.name)}/"})

    async def stream(self, request: Request) -> Response:
        """Return the events of the API, with the parts of the page that the server renders."""
        name = request.path_params["project"]

        def news(project: OpenProject, after: str) -> dict[str, Any]:
            found = self._api.news(project, after)
            parts, summary = self._parts(), found["project"]
            html = {"strip": str(parts.strip(name, summary)), "failures": str(parts.failures(summary))}
            return {**found, "html": html}

        return self._api.stream(request, news)

    def message(self, status: int, words: str) -> Response:
        return self._page("message.html", {"page": "none"}, status, title=f"{status}", text=words)

    def _open(self, request: Request) -> OpenProject:
        return self._projects.project(request.path_params["project"])

    def _parts(self) -> Any:
        return self._templates.get_template("parts.html").module

    def _data(self, page: str, project: OpenProject, summary: dict[str, Any], version: str) -> dict[str, Any]:
        columns = [column.as_dict() for column in project.table.columns]
        return {
            "page": page,
            "project": project.folder.name,
            "version": version,
            "summary": summary,
            "columns": columns,
        }

    def _page(self, name: str, data: dict[str, Any], status: int = 200, **parts: Any) -> Response:
        data = finite({**data, "token": self._secrets.page_token})
        page = self._templates.get_template(name).render(data=data, **parts)
        return HTMLResponse(page.encode("utf-8", "replace"), status)  # a value may have invalid characters


def compared_results(
    found: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Sequence[Any]]], mode: str
) -> list[dict[str, Any]]:
    """Return the row of the metric in Compare: each value, what it is, and its difference to the first, the best.

    Only results are compared with results. What was pruned or runs is compared at its last step with the first one at that
    step; what failed or was stopped, and what has no curve, is not compared.
    """
    first = found[0]
    cells: list[dict[str, Any]] = []
    for each, curve in zip(found, curves, strict=True):
        value = each["metric"]["value"] if each["metric"] else None
        cell: dict[str, Any] = {"value": value, "note": "", "delta": None, "step": None}
        cells.append(cell)
        if value is None or each["status"] == "completed":
            if value is not None and first["rank"] is not None and each is not first and first["metric"]:
                cell["delta"] = value - first["metric"]["value"]
            continue
        cell["note"] = text.before_end(each["status"])
        if each["status"] in NO_RESULT or not curve["step"]:
            continue
        step = cell["step"] = curve["step"][-1]
        there = _up_to(curves[0], step, mode) if first["rank"] is not None else None
        if there is not None:
            cell["delta"] = value - there
    return cells


def _up_to(curve: Mapping[str, Sequence[Any]], step: int, mode: str) -> float | None:
    """Return what the metric of a run was at `step`: its smallest, largest or last value; None if it is not that long."""
    if not curve["step"] or curve["step"][-1] < step:
        return None
    both = zip(curve["step"], curve["value"], strict=True)
    values = [value for at, value in both if at <= step and value is not None]
    if not values:
        return None
    found: float = {"min": min, "max": max}.get(mode, lambda seen: seen[-1])(values)
    return found


def _compared(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return a row of Compare: each value, and its difference to the first, the best."""
    first = values[0]
    cells = []
    for value in values:
        both = [each for each in (first, value) if isinstance(each, int | float) and not isinstance(each, bool)]
        delta = "" if len(both) < 2 or value == first else _signed(value - first)
        cells.append({"value": value, "delta": delta, "same": repr(value) == repr(first)})
    return {"name": name, "cells": cells, "different": not all(cell["same"] for cell in cells)}
