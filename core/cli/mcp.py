"""The command `studio mcp`: tools for coding agents, by the Model Context Protocol on standard input and output.

Searches are started in the folder that the server was started in, as processes of their own that outlive it. The tools are
functions whose signatures and docstrings an agent reads; only `start_search` is not read-only.
"""

import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.cli.usage import PlainUsage, new_app
from studio.entry_points import install_command
from studio.errors import BadInput, StudioError
from studio.host import create_host
from studio.project.paths import project_names
from studio.project.project import Project, all_projects
from studio.script.apply import apply_values
from studio.search.create_project import free_names
from studio.search.inspection import inspect_script
from studio.search.plan.plan import program_of
from studio.settings import Settings

app = new_app()

INSTRUCTIONS = """Studio searches hyperparameters of unmodified training scripts. First inspect_script, then start_search with
the ranges and the metric that it proposes, then search_status until the state is no longer "running", then best_experiment
and patch. Ranges: min:max with flags l (log), i (whole numbers), such as 1e-5:0.1:l; or choices such as adam,sgd."""

Tool = Callable[..., Any]


def answering(tool: Tool) -> Tool:
    """Wrap `tool` so that errors become answers that an agent can read."""

    @functools.wraps(tool)
    def answer(*arguments: Any, **named: Any) -> Any:
        try:
            return tool(*arguments, **named)
        except StudioError as error:
            return {"error": str(error)}

    return answer


@answering
def inspect_script_(script: str, arguments: list[str] | None = None) -> dict[str, Any]:
    """List where values can go in a script of this folder, its metrics, and a `studio run` command for it. Runs nothing."""
    return inspect_script(script, arguments or [], create_host()).as_dict()


@answering
def start_search(
    script: str,
    hyperparams: dict[str, str],
    metric: str = "",
    arguments: list[str] | None = None,
    optimizer: str = "auto",
    max_experiments: int = 30,
    num_workers: int = 1,
    max_duration: str = "",
    project: str = "",
) -> dict[str, Any]:
    """Start a search in the background and return its project's name. `hyperparams` maps names to ranges; `metric` is such
    as val_loss:min, empty if the script prints `fitness: NUMBER`."""
    if script.startswith("-") or not Path(script).is_file():
        raise BadInput(f"script {script!r} is not a file of this folder; give its path, such as train.py")
    options = [f"--optimizer={optimizer}", f"--max-experiments={max_experiments}", f"--num-workers={num_workers}"]
    options += [f"--metric={metric}"] if metric else []
    options += [f"--max-duration={max_duration}"] if max_duration else []
    options += [f"--hp={name}={text}" for name, text in hyperparams.items()]
    taken = project_names()
    name = project or next(name for name in free_names(script) if name not in taken)
    words = [f"--project={name}", *options, script, *(arguments or [])]
    start = [sys.executable, "-P", "-m", "studio", "run"]
    check = subprocess.run(
        [*start, "--dry-run", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if check.returncode:
        return {"error": check.stderr.strip().removeprefix("studio: ")}
    with tempfile.TemporaryFile() as errors:
        search = subprocess.Popen(
            [*start, "--quiet", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        while "error" in search_status(name) and search.poll() is None:
            time.sleep(0.05)  # its process makes the project, after a second of imports
        if search.poll() is not None and "error" in search_status(name):
            errors.seek(0)
            return {"error": errors.read().decode(errors="replace").strip().removeprefix("studio: ")}
    return {"project": name, "plan": check.stdout}


@answering
def search_status(project: str) -> dict[str, Any]:
    """Return the state of a search, its counts and its best experiment so far."""
    return Project(project).summary()


@answering
def list_searches() -> list[dict[str, Any]]:
    """Return all projects with their states and best experiments."""
    return [project.summary() for project in all_projects()]


@answering
def best_experiment(project: str) -> dict[str, Any]:
    """Return the best experiment of a search: its values, its metric, its fitness."""
    best = Project(project).best
    return {"error": f"{project} has no result yet"} if best is None else best.as_dict()


@answering
def patch(project: str, experiment: int = 0) -> dict[str, Any]:
    """Return a patch for `git apply` that writes the values of an experiment, by default the best, into the user's files."""
    found = Project(project)
    chosen = found.experiment(experiment) if experiment else found.best
    if chosen is None:
        return {"error": f"{project} has no such experiment"}
    applied = apply_values(program_of(Settings.from_dict(found.settings), found.source), chosen.values)
    return {"patch": applied.diff, "pass": list(applied.passed.values())}


inspect_script_.__name__ = "inspect_script"
TOOLS = (inspect_script_, start_search, search_status, list_searches, best_experiment, patch)


@app.command(cls=PlainUsage)
def mcp() -> int:
    """Serve tools to a coding agent: inspect a script, start a search here, get its state, its best, a patch."""
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError:
        raise BadInput(f"studio mcp needs the Model Context Protocol: {install_command('mcp')}") from None
    server = MCPServer("studio", instructions=INSTRUCTIONS)
    for tool in TOOLS:
        server.tool()(tool)
    server.run()
    return 0
