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
from studio.dashboard.events import LARGEST, Gone, stream
from studio.dashboard.experiment_table import ExperimentTable, parse_index
from studio.dashboard.http import Json, count, numbers, pieces, posted
from studio.dashboard.logs import MOST, Log
from studio.dashboard.open_projects import NotFound, OpenProject, OpenProjects
from studio.dashboard.project_list import ProjectList
from studio.dashboard.run_files import list_files, open_file
from studio.errors import BadInput, StudioError
from studio.experiment import NO_RESULT, Experiment
from studio.format import STATUSES
from studio.project.paths import FIRST_SNAPSHOT, attempt_folder
from studio.project.project import Project
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
        found = self._chosen(Project(project.folder.name).experiments, request)
        if "text/csv" in request.headers.get("accept", ""):
            return _csv(project.folder.name, found)
        return Json(self._page_of(found, request))

    def experiments_csv(self, request: Request) -> Response:
        project = self._open(request)
        return _csv(project.folder.name, self._chosen(Project(project.folder.name).experiments, request))

    async def chosen_csv(self, request: Request) -> Response:
        """Return a CSV of the experiments with these numbers, in this order: the rows of a page."""
        table = await run_in_threadpool(self._table, request)
        wanted = numbers_of(await posted(request, ROWS_BODY))
        known = {each.number: each for each in await run_in_threadpool(lambda: Project(table.folder.name).experiments)}
        if strange := [number for number in wanted if number not in known]:
            raise no_experiment(table, strange[0])
        return _csv(table.folder.name, [known[number] for number in wanted])

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
        folder = attempt_folder(table.folder, number, self._attempt(table, number, request)[0])
        return Json({"files": list_files(table.folder.name, number, folder, table.folder / FIRST_SNAPSHOT)})

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
            few = table.data(after) if len(rows) <= LARGEST else None
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

    def _chosen(self, experiments: Sequence[Experiment], request: Request) -> list[Experiment]:
        """Return the experiments with a status of `status=`, sorted by `sort=`; those without the key come last."""
        wanted = [status for status in request.query_params.get("status", "").split(",") if status]
        if unknown := [status for status in wanted if status not in STATUSES]:
            raise BadInput(f"status={unknown[0]!r} is not a status; there are {', '.join(STATUSES)}")
        found = [each for each in experiments if not wanted or each.status in wanted]
        sort = request.query_params.get("sort", "")
        if not sort:
            return found
        key, down = sort.removeprefix("-"), sort.startswith("-")
        cells = {each.number: _cell(each, key) for each in found}
        if found and all(cell is None for cell in cells.values()) and key not in _SORTED:
            raise BadInput(
                f"sort={sort!r}: no experiment has {key!r}; sort by a hyperparameter or {', '.join(_SORTED)}"
            )
        there = [each for each in found if cells[each.number] is not None]
        there.sort(key=lambda each: _order(cells[each.number]), reverse=down)
        return there + [each for each in found if cells[each.number] is None]

    def _page_of(self, found: Sequence[Experiment], request: Request) -> dict[str, Any]:
        asked = request.query_params
        limit = max(1, count(request, "limit", ROWS, ROWS))
        begin = 0
        if after := count(request, "after", 0, 2**62):
            begin = 1 + next((at for at, each in enumerate(found) if each.number == after), -1)
            if not begin:
                raise BadInput(f"after={after}: no experiment of this list has that number")
        rows = [each.as_dict() for each in found[begin : begin + limit]]
        if fields := [name for name in asked.get("fields", "").split(",") if name]:
            known = rows[0] if rows else dict.fromkeys(fields)
            if unknown := [name for name in fields if name not in known]:
                raise BadInput(f"fields={unknown[0]!r} is not a field; there are {', '.join(known)}")
            rows = [{name: row[name] for name in fields} for row in rows]
        last = found[begin + limit - 1].number if begin + limit < len(found) else None
        return {"experiments": rows, "next": last}


_SORTED = ("number", "status", "fitness", "metric", "started", "finished", "duration", "attempt")


def _cell(experiment: Experiment, key: str) -> Any:
    if key in experiment.values:
        return experiment.values[key]
    if key == "metric":
        return experiment.metric["value"] if experiment.metric and experiment.status not in NO_RESULT else None
    return getattr(experiment, key) if key in _SORTED else None


def _order(cell: Any) -> tuple[int, float, str]:
    """Return a sort key that puts numbers before texts."""
    return (0, float(cell), "") if isinstance(cell, int | float) else (1, 0.0, str(cell))


def no_experiment(table: ExperimentTable, number: int) -> NotFound:
    return NotFound(f"project {table.folder.name!r} has no experiment {number}; it has {len(table)}")


def _csv(name: str, experiments: Sequence[Experiment]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(csv_text(experiments), media_type="text/csv; charset=utf-8", headers=headers)
