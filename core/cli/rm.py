"""The command `studio rm PROJECT…`: delete projects."""

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
    """Delete each PROJECT with its record, workspaces and artifacts."""
    records = [
        Project(name) for name in dict.fromkeys(projects)
    ]  # an error for each that does not exist, before one is deleted
    for record in records:
        _remove(record, yes)
    return 0


def _remove(project: Project, yes: bool) -> None:
    from studio.search.run import remove

    name = project.name
    try:
        description = f"{name} with {counted(len(project.experiments), 'experiment')}"
    except StoreError:  # the record is damaged, which may be the reason for deleting the project
        if not yes:
            raise
        description = name
    if not yes and not sys.stdin.isatty():
        raise BadInput(f"not a terminal, so nobody can be asked; to delete the project, type studio rm {name} --yes")
    if not yes and not typer.confirm(f"Delete {description} in {project.folder}?"):
        raise BadInput(f"project {name} was not deleted")
    host = create_host()
    _check_machines(project, host)
    with contextlib.suppress(StoreError):
        _forget(project, host)
    remove(name)
    print(f"studio: deleted {description}", file=sys.stderr)


def _check_machines(project: Project, host: Host) -> None:
    """Raise an error if machines of the project may still cost money, because the only list of them would be deleted."""
    for item in host.items("backend"):
        try:
            alive = item.cls.leftovers(project.folder)
        except StudioError as error:
            raise StudioError(
                f"project {project.name} was not deleted: its machines may still run ({error}); "
                f"try studio cloud gc {project.name}"
            ) from error
        if alive:
            raise BadInput(
                f"project {project.name} was not deleted: its machines are still running and cost money ({', '.join(alive)}); "
                f"end them with studio cloud gc {project.name}, then delete the project"
            )


def _forget(project: Project, host: Host) -> None:
    """Delete the data of the search in buckets and on engines, if they respond."""
    settings = Settings.from_dict(project.settings)
    if not settings.script:
        return
    try:
        backend = host.make_backend(settings, slots=1, source=project.folder, notify=say)
        backend.forget(project.folder)
    except StudioError as error:
        say(f"the data of {project.name} on backend {settings.backend} could not be deleted: {error}")
