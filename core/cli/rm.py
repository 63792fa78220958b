"""`studio rm PROJECT`."""

import sys
from typing import Annotated

import typer

from studio.cli.usage import PlainUsage
from studio.errors import BadInput, StoreError
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
    try:
        what = f"{project} with {len(found.experiments)} experiments"
    except StoreError:  # its record is damaged, which may be why it is to go
        if not yes:
            raise
        what = project
    if not yes and not sys.stdin.isatty():
        raise BadInput(f"nobody can be asked here; write studio rm {project} --yes")
    if not yes and not typer.confirm(f"Delete {what} in {found.folder}?"):
        raise BadInput(f"project {project} is kept")
    remove(project)
    print(f"studio: deleted {what}", file=sys.stderr)
    return 0
