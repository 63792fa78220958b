"""Handlers of the read API and of the actions, described in `docs/api.md`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from studio.dashboard.actions import ACTIONS, act, numbers_of
from studio.dashboard.columns import key_of
from studio.dashboard.events import MOST_ROWS, Gone, stream
from studio.dashboard.experiment_table import ExperimentTable, parse_index
from studio.dashboard.http import Json, count, numbers, pieces, posted
from studio.dashboard.logs import MOST, Log
from studio.dashboard.open_projects import NotFound, OpenProject, OpenProjects
from studio.dashboard.project_list import ProjectList
from studio.dashboard.run_files import list_files, open_file
from studio.errors import BadInput, StudioError
from studio.format import STATUSES
from studio.project.paths import FIRST_SNAPSHOT, attempt_folder
from studio.project.project import Project
from studio.project.records import read_snapshot
from studio.project.table import csv_text

BODY = 1 << 16  # bytes of a request
ROWS_BODY = 1 << 20  # bytes of one with the numbers of all rows
CURVES = 200  # in one answer
ROWS = 10_000  # experiments in one answer, if no limit is given


class Api:
    """Handlers of the API. Plain functions run in threads: reading a record may take a second."""

    def __init__(self, projects: OpenProjects, project_list: ProjectList):
        self._projects = projects
        self._list = project_list

    # --- projects ---------------------------------------------------------------------------------------------------

    def projects(self, request: Request) -> Response:
        self._list.refresh()
        return Json(self._list.data(request.query_params.get("changed_since", "")))

    def project(self, request: Request) -> Response:
        return Json(self._open(request).summary())

    def importance(self, request: Request) -> Response:
        return Json(self._open(request).importance())

    def curves(self, request: Request) -> Response:
        project = self._open(request)
        table, most = project.table, count(request, "points", 200, 2000)
        chosen = numbers(request, "experiments")
        if len(chosen) > CURVES:
            raise BadInput(f"experiments: {len(chosen)} numbers; at most {CURVES} in one request")
        found = {}
        for number in chosen:
            attempt, ended = table.latest(number) or (0, True)
            if attempt:
                with table.lock:
                    begun = table.lists["started"][table.row_of[number]]
                found[str(number)] = project.curves.points(
                    table.metric, number, attempt, ended=ended, most=most, begun=begun
                )
        return Json({"metric": table.metric.name, "curves": found})

    def curve_quartiles(self, request: Request) -> Response:
        project = self._open(request)
        with project.table.lock:
            lists = project.table.lists
            three = zip(lists["number"], lists["attempts"], lists["status"], strict=True)
            ended = [(number, attempt) for number, attempt, status in three if status == "completed" and attempt]
        return Json(project.curves.quartiles(project.table.metric, ended, count(request, "points", 64, 500)))

    # --- experiments ------------------------------------------------------------------------------------------------

    def experiments(self, request: Request) -> Response:
        project, asked = self._open(request), request.query_params
        if asked.get("layout") == "columns":
            return Json(project.table.data(asked.get("changed_since", "")))
        if "text/csv" in request.headers.get("accept", ""):
            return self.experiments_csv(request)
        return Json(_page_of(project.table, request))

    def experiments_csv(self, request: Request) -> Response:
        table = self._table(request)
        return _csv(table, _chosen(table, request))

    async def chosen_csv(self, request: Request) -> Response:
        """Return a CSV of the experiments with these numbers, in this order: the rows of a page."""
        table = await run_in_threadpool(self._table, request)
        wanted = numbers_of(await posted(request, ROWS_BODY))
        if strange := [number for number in wanted if number not in table.row_of]:
            raise no_experiment(table, strange[0])
        return await run_in_threadpool(_csv, table, wanted)

    def experiment(self, request: Request) -> Response:
        return Json(self.detail(self._open(request), request.path_params["number"]))

    def log(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        attempt, ended = self._attempt(table, number, request)
        asked = request.query_params
        with Log(attempt_folder(table.folder, number, attempt)) as log:
            if "search" in asked:
                return Json(log.search(asked["search"], count(request, "offset", 0, 2**62)))
            if "tail" in asked:
                found = log.tail(count(request, "tail", 65536, MOST))
            else:
                found = log.read_range(count(request, "offset", 0, 2**62), count(request, "limit", 65536, MOST))
        return Json({**found, "running": not ended, "attempt": attempt})

    def files(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        attempt = self._attempt(table, number, request)[0]
        snapshot = table.folder / (read_snapshot(table.folder, number, attempt) or FIRST_SNAPSHOT)
        return Json(
            {"files": list_files(table.folder.name, number, attempt_folder(table.folder, number, attempt), snapshot)}
        )

    def file(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        folder = attempt_folder(table.folder, number, self._attempt(table, number, request)[0])
        path = request.path_params["path"]
        found = open_file(folder, path)
        if found is None:
            raise NotFound(f"experiment {number} has no file {path!r}")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(Path(path).name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Length": str(size := os.fstat(found.fileno()).st_size),
        }
        return StreamingResponse(pieces(found, size), media_type="application/octet-stream", headers=headers)

    # --- streams and actions ----------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        return self.stream(request, self.news)

    def stream(self, request: Request, news: Callable[[OpenProject, str], dict[str, Any]]) -> Response:
        """Answer the `news` of the project of this address, until it is gone."""
        name = request.path_params["project"]

        def source() -> OpenProject | None:
            try:
                return self._projects.project(name)
            except NotFound:
                raise Gone from None
            except StudioError:  # it cannot be read now: keep what is shown
                return None

        return stream(source, news, request, self._projects.closing)

    @staticmethod
    def news(project: OpenProject, after: str) -> dict[str, Any]:
        """Return one event: the version, the summary, and the changed rows if they are few."""
        table = project.table
        with table.lock:
            rows, _ = table.rows_after(after)
            few = table.data(after) if len(rows) <= MOST_ROWS else None
            version = table.version
        return {"version": version, "project": project.summary(), "experiments": few}

    async def list_events(self, request: Request) -> Response:
        def source() -> ProjectList:
            self._list.refresh()
            return self._list

        return stream(source, lambda found, after: found.data(after), request, self._projects.closing, every=0.5)

    async def action(self, request: Request) -> Response:
        name = request.path_params["action"]
        if name not in ACTIONS:
            raise NotFound(f"there is no action {name!r}; there are {', '.join(ACTIONS)}")
        table = await run_in_threadpool(self._table, request)
        given = await posted(request, BODY)
        return Json({"message": await run_in_threadpool(act, name, table.folder.name, given)})

    # --- parameters of requests -------------------------------------------------------------------------------------

    def _open(self, request: Request) -> OpenProject:
        return self._projects.project(request.path_params["project"])

    def _table(self, request: Request) -> ExperimentTable:
        return self._open(request).table

    def detail(self, project: OpenProject, number: int) -> dict[str, Any]:
        """Return the details of experiment `number`. Raises NotFound."""
        found = project.details.of(project.table, number)
        if found is None:
            raise no_experiment(project.table, number)
        return found

    def _attempt(self, table: ExperimentTable, number: int, request: Request) -> tuple[int, bool]:
        """Return the attempt that is asked for, by default the latest, and whether the experiment has ended. Raises NotFound."""
        found = table.latest(number)
        if found is None:
            raise no_experiment(table, number)
        latest, ended = found
        given = parse_index(request.query_params.get("attempt", ""))
        return given if given is not None and 1 <= given <= latest else latest, ended


_SORTED = ("number", "status", "fitness", "metric", "started", "finished", "duration", "attempt")


def _chosen(table: ExperimentTable, request: Request) -> list[int]:
    """Return the numbers of experiments with a status of `status=`, sorted by `sort=`; those without the key come last."""
    wanted = [status for status in request.query_params.get("status", "").split(",") if status]
    if unknown := [status for status in wanted if status not in STATUSES]:
        raise BadInput(f"status={unknown[0]!r} is not a status; there are {', '.join(STATUSES)}")
    sort = request.query_params.get("sort", "")
    with table.lock:
        rows = [at for at, status in enumerate(table.lists["status"]) if not wanted or status in wanted]
        if sort:
            cells = _column(table, sort)
            there = [at for at in rows if cells[at] is not None]  # rows of one cell stay in order of number
            down = sort.startswith("-")
            try:
                ordered = sorted(there, key=cells.__getitem__, reverse=down)
            except TypeError:  # numbers and texts
                ordered = sorted(there, key=lambda at: _order(cells[at]), reverse=down)
            rows = ordered + [at for at in rows if cells[at] is None]
        return [table.lists["number"][at] for at in rows]


def _column(table: ExperimentTable, sort: str) -> list[Any]:
    """Return the cells that `sort=KEY` or `sort=-KEY` names: those of a hyperparameter, or of `_SORTED`."""
    key = sort.removeprefix("-")
    if (found := table.values.get(key_of(key))) is not None:
        return found
    if key in _SORTED:
        return table.measured if key == "metric" else table.lists["attempts" if key == "attempt" else key]
    raise BadInput(f"sort={sort!r}: no experiment has {key!r}; sort by a hyperparameter or {', '.join(_SORTED)}")


def _order(cell: Any) -> tuple[int, float, str]:
    """Return a sort key that puts numbers before texts."""
    return (0, float(cell), "") if isinstance(cell, int | float) else (1, 0.0, str(cell))


def _page_of(table: ExperimentTable, request: Request) -> dict[str, Any]:
    asked, found = request.query_params, _chosen(table, request)
    limit = max(1, count(request, "limit", ROWS, ROWS))
    begin = 0
    if after := count(request, "after", 0, 2**62):
        if after not in found:
            raise BadInput(f"after={after}: no experiment of this list has that number")
        begin = found.index(after) + 1
    page = found[begin : begin + limit]
    rows = [each.as_dict() for each in Project(table.folder.name).chosen(page)]
    if fields := [name for name in asked.get("fields", "").split(",") if name]:
        known = rows[0] if rows else dict.fromkeys(fields)
        if unknown := [name for name in fields if name not in known]:
            raise BadInput(f"fields={unknown[0]!r} is not a field; there are {', '.join(known)}")
        rows = [{name: row[name] for name in fields} for row in rows]
    return {"experiments": rows, "next": page[-1] if begin + limit < len(found) else None}


def no_experiment(table: ExperimentTable, number: int) -> NotFound:
    return NotFound(f"project {table.folder.name!r} has no experiment {number}; it has {len(table)}")


def _csv(table: ExperimentTable, numbers: Sequence[int]) -> Response:
    name = table.folder.name
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    rows = csv_text(Project(name).chosen(numbers))
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)
