"""`studio rm PROJECT`."""

import sys
from typing import Annotated

import typer

from studio.cli.usage import PlainUsage
from studio.errors import BadInput, StoreError, StudioError
from studio.project.project import Project

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(cls=PlainUsage)
def rm(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete PROJECT: its record, its workspaces, its artifacts."""
    from studio.search.run import remove

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
    _check_machines(found)
    remove(project)
    print(f"studio: deleted {what}", file=sys.stderr)
    return 0


def _check_machines(project: Project) -> None:
    """Whoever deletes the record of machines that cost would look for them in vain."""
    from studio.host import create_host
    from studio.search.billing import clouds

    if not (project.folder / "machines.json").exists():
        return
    for backend in clouds(create_host()):
        try:
            alive = backend.alive(project.folder)
        except StudioError as error:
            raise StudioError(
                f"project {project.name} is kept: nobody says whether its machines are gone ({error}); "
                f"try studio cloud gc {project.name}"
            ) from error
        if alive:
            raise BadInput(
                f"project {project.name} is kept: its machines still cost ({', '.join(alive)}); "
                f"end them with studio cloud gc {project.name}, then delete it"
            )
