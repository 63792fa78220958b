"""The addresses of the dashboard, each with what answers it. `studio.dashboard` describes them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from studio.dashboard import pages
from studio.dashboard.access import Guard, Secrets, without_port
from studio.dashboard.actions import ACTIONS, act, numbers_of
from studio.dashboard.answers import Json, Zip, pieces
from studio.dashboard.asked import count, is_here, numbers, posted
from studio.dashboard.events import LARGEST, Gone, stream
from studio.dashboard.experiment_table import DIGITS, UNFINISHED, Table, whole
from studio.dashboard.logs import MOST, Log
from studio.dashboard.open_projects import Dashboard, NotFound
from studio.dashboard.project_list import Overview
from studio.dashboard.run_files import open_file
from studio.dashboard.summary import summary
from studio.errors import BadInput, StudioError
from studio.experiment import Experiment
from studio.format import finite
from studio.project.exports import csv_text
from studio.project.paths import attempt_folder
from studio.project.project import Project

HERE = Path(__file__).parent
SMALLEST_ZIPPED = 1000  # bytes
SPEED = 5  # of gzip: 305 kB for 10,000 experiments in 0.1 s; 9 saves 2 % in three times the time
BODY = 1 << 16  # bytes of a request
ROWS_BODY = 1 << 20  # bytes of one with the numbers of all rows
COMPARED = 5
CURVES = 200  # in one answer


class _Number(IntegerConvertor):
    regex = f"[0-9]{{1,{DIGITS}}}"


class _AnyPath(PathConvertor):
    regex = r"[\s\S]*"  # a file's name may have a newline


register_url_convertor("number", _Number())
register_url_convertor("file", _AnyPath())


def create_app(secrets: Secrets, dashboard: Dashboard, *, host: str, port: int) -> Starlette:
    """The dashboard on the projects of STUDIO_HOME, behind its `Guard`."""
    site = Site(dashboard, secrets)
    project, one = "/p/{project}", "/p/{project}/{number:number}"
    data = [
        Route("/projects", site.projects_data),
        Route("/events", site.projects_events),
        Route(f"{project}/summary", site.summary_data),
        Route(f"{project}/experiments", site.experiments_data),
        Route(f"{project}/curves", site.curves_data),
        Route(f"{project}/band", site.band_data),
        Route(f"{project}/importance", site.importance_data),
        Route(f"{project}/export.{{form}}", site.export),
        Route(f"{project}/export.csv", site.export_rows, methods=["POST"]),
        Route(f"{project}/events", site.events),
        Route(f"{project}/actions/{{action}}", site.action, methods=["POST"]),
        Route(one, site.experiment_data),
        Route(f"{one}/log", site.log_data),
    ]
    routes = [
        Route("/", site.projects_page),
        Route(project, site.project_page),
        Route(f"{project}/compare", site.compare_page),
        Route(f"{project}/tensorboard", site.tensorboard),
        Route(one, site.experiment_page),
        Route(f"{one}/files/{{path:file}}", site.file),
        Mount("/api", routes=data),
        Mount("/static", StaticFiles(directory=HERE / "static")),
        *([Mount("/vendor", StaticFiles(directory=HERE / "vendor"))] if (HERE / "vendor").is_dir() else []),  # else 404
    ]
    middleware = [
        Middleware(Guard, secrets=secrets, host=host, port=port),
        Middleware(Zip, minimum_size=SMALLEST_ZIPPED, compresslevel=SPEED),
    ]
    handlers = {StudioError: site.error, HTTPException: site.error}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class Site:
    """What answers each address. Plain functions run in threads: reading a record may take a second."""

    def __init__(self, dashboard: Dashboard, secrets: Secrets):
        self._dashboard = dashboard
        self._secrets = secrets
        self._overview = Overview()
        self._templates = pages.environment()

    # --- pages ------------------------------------------------------------------------------------------------------

    def projects_page(self, request: Request) -> Response:
        self._overview.refresh()
        data = self._overview.data()
        asked = request.query_params
        number = count(request, "page", 1, 10**9)
        shown = pages.project_table(
            data["projects"], asked.get("sort", ""), asked.get("q", ""), number, pages.linker(asked)
        )
        return self._page(
            "projects.html", {"page": "projects", "version": data["version"], "projects": shown["projects"]}, **shown
        )

    def project_page(self, request: Request) -> Response:
        table = self._table(request)
        asked = request.query_params
        number = count(request, "page", 1, 10**9)
        with table.lock:
            shown = pages.experiment_table(table, asked, number, pages.linker(asked))
            told, version = summary(table), table.version
            best = None if table.best is None else {name: cells[table.best] for name, cells in table.lists.items()}
            data = self._project_data("project", table, told, version)
        if best is not None:
            best["values"] = told["best"]["values"]
        command = f"studio resume {table.folder.name}"
        return self._page(
            "project.html", data, project=table.folder.name, summary=told, best=best, command=command, here=is_here(request),
            **shown,
        )  # fmt: skip

    def experiment_page(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        with table.lock:
            told, version = summary(table), table.version
        found = self._detail(table, number)  # later than the version, from which the page follows
        data = {**self._project_data("experiment", table, told, version), "number": number, "experiment": found}
        points = self._dashboard.project(table.folder.name).curves.points(
            table.metric, number, found["attempt"], ended=found["status"] not in UNFINISHED, most=1000
        )
        return self._page("experiment.html", data, project=table.folder.name, summary=told, it=found, curve=points)

    def compare_page(self, request: Request) -> Response:
        table = self._table(request)
        chosen = numbers(request)[:COMPARED]
        if not chosen:
            raise HTTPException(404, "name two to five experiments to compare: compare?e=1,2")
        them = [self._detail(table, number) for number in chosen]
        names = list(dict.fromkeys(name for it in them for name in it["values"]))
        different = {name for name in names if len({repr(it["values"].get(name)) for it in them}) > 1}
        with table.lock:
            told, version = summary(table), table.version
        data = {**self._project_data("compare", table, told, version), "numbers": chosen, "experiments": them}
        return self._page(
            "compare.html", data, project=table.folder.name, summary=told, them=them, names=names, different=different
        )

    def tensorboard(self, request: Request) -> Response:
        """TensorBoard, under the other name of this machine: a browser sends a cookie to all ports of a name."""
        table = self._table(request)
        if not is_here(request):
            raise BadInput("TensorBoard is for browsers on the machine of the dashboard; run studio tensorboard there")
        other = "127.0.0.1" if without_port(request.headers["host"]) == "localhost" else "localhost"
        port = self._dashboard.tensorboards.port(table.folder.name)
        return RedirectResponse(f"http://{other}:{port}/", status_code=303)

    def _page(self, name: str, data: dict[str, Any], status: int = 200, **parts: Any) -> Response:
        words = {"states": pages.STATES}
        data = finite({**data, "token": self._secrets.action, **words})
        return HTMLResponse(self._templates.get_template(name).render(data=data, **parts), status)

    def _project_data(self, page: str, table: Table, told: dict[str, Any], version: str) -> dict[str, Any]:
        columns = [column.as_dict() for column in table.columns]
        return {"page": page, "project": table.folder.name, "version": version, "summary": told, "columns": columns}

    # --- data -------------------------------------------------------------------------------------------------------

    def projects_data(self, request: Request) -> Response:
        self._overview.refresh()
        return Json(self._overview.data(request.query_params.get("after", "")))

    def summary_data(self, request: Request) -> Response:
        return Json(summary(self._table(request)))

    def experiments_data(self, request: Request) -> Response:
        return Json(self._table(request).data(request.query_params.get("after", "")))

    def curves_data(self, request: Request) -> Response:
        table = self._table(request)
        most = count(request, "most", 200, 2000)
        curves = self._dashboard.project(table.folder.name).curves
        found = {}
        for number in numbers(request)[:CURVES]:
            at = table.row_of.get(number)
            if at is not None and (attempt := table.lists["attempts"][at]):
                ended = table.lists["status"][at] not in UNFINISHED
                found[str(number)] = curves.points(table.metric, number, attempt, ended=ended, most=most)
        return Json({"metric": table.metric.name, "curves": found})

    def band_data(self, request: Request) -> Response:
        table = self._table(request)
        with table.lock:
            lists = table.lists
            three = zip(lists["number"], lists["attempts"], lists["status"], strict=True)
            ended = [(number, attempt) for number, attempt, status in three if status == "completed" and attempt]
        curves = self._dashboard.project(table.folder.name).curves
        return Json(curves.band(table.metric, ended, count(request, "most", 64, 500)))

    def importance_data(self, request: Request) -> Response:
        project = self._dashboard.project(request.path_params["project"])
        return Json(project.importance.of(project.table))

    def experiment_data(self, request: Request) -> Response:
        return Json(self._detail(self._table(request), request.path_params["number"]))

    def log_data(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        attempt = self._attempt(table, number, request)
        asked = request.query_params
        with Log(attempt_folder(table.folder, number, attempt)) as log:
            if "search" in asked:
                return Json(log.search(asked["search"], count(request, "from", 0, 2**62)))
            if "tail" in asked:
                found = log.tail(count(request, "tail", 65536, MOST))
            else:
                found = log.piece(count(request, "from", 0, 2**62), count(request, "max", 65536, MOST))
        running = table.lists["status"][table.row_of[number]] in UNFINISHED
        return Json({**found, "running": running, "attempt": attempt})

    def export(self, request: Request) -> Response:
        project, form = Project(self._table(request).folder.name), request.path_params["form"]
        if form == "json":
            every = [experiment.as_dict() for experiment in project.experiments]
            return Json(every, headers={"Content-Disposition": f'attachment; filename="{project.name}.json"'})
        if form != "csv":
            raise HTTPException(404, f"there is no export as {form!r}: csv or json")
        return _csv(project.name, project.experiments)

    async def export_rows(self, request: Request) -> Response:
        """The experiments with these numbers, in this order: the rows of a page as they stand there."""
        table = await run_in_threadpool(self._table, request)
        wanted = numbers_of(await posted(request, ROWS_BODY))
        known = {each.number: each for each in await run_in_threadpool(lambda: Project(table.folder.name).experiments)}
        if strange := [number for number in wanted if number not in known]:
            raise NotFound(f"project {table.folder.name!r} has no experiment {strange[0]}; it has {len(known)}")
        return _csv(table.folder.name, [known[number] for number in wanted])

    def file(self, request: Request) -> Response:
        table, number = self._table(request), request.path_params["number"]
        folder = attempt_folder(table.folder, number, self._attempt(table, number, request))
        path = request.path_params["path"]
        found = open_file(folder, path)
        if found is None:
            raise HTTPException(404, f"experiment {number} has no file {path!r}")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(Path(path).name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Length": str(size := os.fstat(found.fileno()).st_size),
        }
        return StreamingResponse(pieces(found, size), media_type="application/octet-stream", headers=headers)

    # --- streams ----------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        name = request.path_params["project"]

        def source() -> Table | None:
            try:
                return self._dashboard.project(name).table
            except NotFound:
                raise Gone from None
            except StudioError:  # it cannot be read just now: what is shown stays
                return None

        def news(table: Table, after: str) -> dict[str, Any]:
            with table.lock:
                rows, _ = table.rows_after(after)
                few = table.data(after) if len(rows) <= LARGEST else None
                return {"version": table.version, "summary": summary(table), "experiments": few}

        return stream(source, news, request, self._dashboard.closing)

    async def projects_events(self, request: Request) -> Response:
        def source() -> Overview:
            self._overview.refresh()
            return self._overview

        return stream(source, lambda overview, after: overview.data(after), request, self._dashboard.closing, every=0.5)

    # --- actions ----------------------------------------------------------------------------------------------------

    async def action(self, request: Request) -> Response:
        name = request.path_params["action"]
        if name not in ACTIONS:
            raise HTTPException(404, f"there is no action {name!r}")
        table = await run_in_threadpool(self._table, request)
        given = await posted(request, BODY)
        return Json({"ok": await run_in_threadpool(act, name, table.folder.name, given)})

    # --- errors and what is asked for -------------------------------------------------------------------------------

    async def error(self, request: Request, error: Exception) -> Response:
        """One line, as JSON for scripts and as a page for people."""
        status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, BadInput) else 500
        text = str(error)
        if isinstance(error, HTTPException):
            status, text = error.status_code, error.detail
        if request.url.path.startswith("/api/"):
            return Json({"error": text}, status)
        return self._page("none.html", {"page": "none"}, status, title=f"{status}", text=text)

    def _table(self, request: Request) -> Table:
        return self._dashboard.project(request.path_params["project"]).table

    def _detail(self, table: Table, number: int) -> dict[str, Any]:
        found = self._dashboard.project(table.folder.name).details.of(table, number)
        if found is None:
            raise NotFound(f"project {table.folder.name!r} has no experiment {number}; it has {len(table)}")
        return found

    def _attempt(self, table: Table, number: int, request: Request) -> int:
        at = table.row_of.get(number)
        if at is None:
            raise NotFound(f"project {table.folder.name!r} has no experiment {number}; it has {len(table)}")
        latest: int = table.lists["attempts"][at]
        given = whole(request.query_params.get("attempt", ""))
        return given if given is not None and 1 <= given <= latest else latest


def _csv(name: str, experiments: Sequence[Experiment]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(csv_text(experiments), media_type="text/csv; charset=utf-8", headers=headers)
