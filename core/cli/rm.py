"""`studio rm PROJECT`."""

import sys
from typing import Annotated

import typer

from studio.cli.usage import PlainUsage
from studio.errors import BadInput
from studio.project import Project

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=PlainUsage)
def rm(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete PROJECT: its record, its workspaces, its artifacts."""
    from studio.launch import remove

    found = Project(project)
    count = len(found.experiments)
    if (
        not yes
        and sys.stdin.isatty()
        and not typer.confirm(f"Delete {project} with {count} experiments in {found.folder}?")
    ):
        raise BadInput(f"project {project} is kept")
    remove(project)
    print(f"studio: deleted {project} with {count} experiments", file=sys.stderr)
    return 0
