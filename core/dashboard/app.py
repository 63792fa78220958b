"""The routes of the dashboard, and its error pages."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from studio.dashboard.access import Guard, Secrets
from studio.dashboard.api import Api
from studio.dashboard.experiment_table import DIGITS
from studio.dashboard.http import KeptFiles, Zip, files_version, json_error
from studio.dashboard.open_projects import NotFound, OpenProjects
from studio.dashboard.pages import Pages
from studio.dashboard.project_list import ProjectList
from studio.errors import BadInput, StudioError

FILES = [Path(__file__).parent / name for name in ("static", "vendor")]
SMALLEST_ZIPPED = 1000  # bytes
SPEED = 5  # of gzip: 305 kB for 10,000 experiments in 0.1 s; 9 saves 2 % in three times the time


class _Number(IntegerConvertor):
    regex = f"[0-9]{{1,{DIGITS}}}"


class _AnyPath(PathConvertor):
    regex = r"[\s\S]*"  # a file's name may have a newline


register_url_convertor("number", _Number())
register_url_convertor("file", _AnyPath())


def api_routes(api: Api) -> list[Route]:
    """Return the routes below /api, all of `docs/api.md`."""
    project, one = "/projects/{project}", "/projects/{project}/experiments/{number:number}"
    return [
        Route("/projects", api.projects),
        Route("/events", api.list_events),
        Route(project, api.project),
        Route(f"{project}/experiments", api.experiments),
        Route(f"{project}/experiments.csv", api.experiments_csv),
        Route(f"{project}/experiments.csv", api.chosen_csv, methods=["POST"]),
        Route(one, api.experiment),
        Route(f"{one}/log", api.log),
        Route(f"{one}/files", api.files),
        Route(f"{one}/files/{{path:file}}", api.file),
        Route(f"{project}/curves", api.curves),
        Route(f"{project}/curve-quartiles", api.curve_quartiles),
        Route(f"{project}/importance", api.importance),
        Route(f"{project}/events", api.events),
        Route(f"{project}/actions/{{action}}", api.action, methods=["POST"]),
    ]


def create_app(secrets: Secrets, projects: OpenProjects, *, host: str, port: int) -> Starlette:
    """Return the dashboard on the projects of STUDIO_HOME, behind its `Guard`."""
    project_list = ProjectList()
    api = Api(projects, project_list)
    pages = Pages(projects, project_list, api, secrets, files=lambda: f"/v/{files_version(*FILES)}")

    async def answer_error(request: Request, error: Exception) -> Response:
        """Answer one line, as JSON for scripts and as a page for people."""
        status, code = (404, "not_found") if isinstance(error, NotFound) else (400, "bad_input")
        text = str(error)
        if isinstance(error, HTTPException):
            status, text = error.status_code, error.detail
            code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(status, "error")
        elif not isinstance(error, NotFound | BadInput):
            status, code = 500, "unreadable"
        if request.url.path.startswith("/api/") or request.method == "POST":
            return json_error(code, text, status)
        return pages.message(status, text)

    routes = [
        Route("/", pages.projects),
        Route("/p/{project}", pages.project),
        Route("/p/{project}/compare", pages.compare),
        Route("/p/{project}/stream", pages.stream),
        Route("/p/{project}/card/{number:number}", pages.card),
        Route("/p/{project}/tensorboard", pages.tensorboard, methods=["POST"]),
        Route("/p/{project}/{number:number}", pages.experiment),
        # Not a Mount: its path cannot have a newline, but a file's name can.
        *(Route(f"/api{route.path}", route.endpoint, methods=list(route.methods or ())) for route in api_routes(api)),
        *(
            Mount(f"{before}/{folder.name}", kind(directory=folder))
            for before, kind in (("", StaticFiles), ("/v/{version}", KeptFiles))
            for folder in FILES
            if folder.is_dir()  # without `make ui` there is no vendor: 404
        ),
    ]
    middleware = [
        Middleware(Guard, secrets=secrets, host=host, port=port),
        Middleware(Zip, minimum_size=SMALLEST_ZIPPED, compresslevel=SPEED),
    ]
    handlers = {StudioError: answer_error, HTTPException: answer_error}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
