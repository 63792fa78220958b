"""`studio rm PROJECT…`."""

import contextlib
import sys
from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say
from studio.errors import BadInput, StoreError, StudioError
from studio.format import counted
from studio.host import Host, create_host
from studio.project.project import Project
from studio.settings import Settings

app = new_app()


@app.command(cls=PlainUsage)
def rm(
    projects: Annotated[list[str], typer.Argument(metavar="PROJECT…", autocompletion=names.complete_project)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete each PROJECT: its record, its workspaces, its artifacts."""
    found = [Project(name) for name in dict.fromkeys(projects)]  # check that all exist, before one is deleted
    for project in found:
        _remove(project, yes)
    return 0


def _remove(found: Project, yes: bool) -> None:
    from studio.search.run import remove

    project = found.name
    try:
        what = f"{project} with {counted(len(found.experiments), 'experiment')}"
    except StoreError:  # its record is damaged, which may be why it is deleted
        if not yes:
            raise
        what = project
    if not yes and not sys.stdin.isatty():
        raise BadInput(f"not a terminal: confirm with studio rm {project} --yes")
    if not yes and not typer.confirm(f"Delete {what} in {found.folder}?"):
        raise BadInput(f"project {project} was not deleted")
    host = create_host()
    _check_machines(found, host)
    with contextlib.suppress(StoreError):
        _forget(found, host)
    remove(project)
    print(f"studio: deleted {what}", file=sys.stderr)


def _check_machines(project: Project, host: Host) -> None:
    """Raise an error if machines of the project may still cost money: their record would be deleted."""
    for piece in host.items("backend"):
        try:
            alive = piece.cls.leftovers(project.folder)
        except StudioError as error:
            raise StudioError(
                f"project {project.name} was not deleted: its machines may still run ({error}); "
                f"try studio cloud gc {project.name}"
            ) from error
        if alive:
            raise BadInput(
                f"project {project.name} was not deleted: its machines still cost ({', '.join(alive)}); "
                f"end them with studio cloud gc {project.name}, then delete it"
            )


def _forget(project: Project, host: Host) -> None:
    """Delete what the search left in buckets and on engines, if they respond."""
    settings = Settings.from_dict(project.settings)
    if not settings.script:
        return
    try:
        backend = host.make_backend(settings, slots=1, source=project.folder, notify=say)
        backend.forget(project.folder)
    except StudioError as error:
        say(f"could not delete what {project.name} left at {settings.backend}: {error}")
