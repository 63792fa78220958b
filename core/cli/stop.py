"""`studio stop PROJECT`."""

import sys
from typing import Annotated

import typer

from studio import requests
from studio.cli.usage import PlainUsage
from studio.project import Project

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=PlainUsage)
def stop(project: Annotated[str, typer.Argument(metavar="PROJECT")]) -> int:
    """End the search of PROJECT: running experiments are ended and marked stopped; `studio resume` runs them again."""
    found = Project(project)
    if found.state != "running":
        print(f"studio: project {project} is not running", file=sys.stderr)
        return 0
    requests.leave(found.folder, requests.Request("stop"))
    print(f"studio: asked the driver of {project} to stop", file=sys.stderr)
    return 0
