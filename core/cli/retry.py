"""`studio retry PROJECT [EXPERIMENT…]`."""

import sys
from typing import Annotated

import typer

from studio import requests
from studio.cli.usage import PlainUsage
from studio.errors import BadInput
from studio.home import split_key
from studio.project import Project

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=PlainUsage)
def retry(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Numbers or keys. Default: those that failed.")
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Take your files as they are now, for these and later experiments.")
    ] = False,
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Take the files as they were when the search began.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> int:
    """Run experiments of PROJECT once more, under their numbers: by the driver that is at work, else by a new one, here."""
    found = Project(project)
    if "script" not in found.settings:
        raise BadInput(
            f"project {project!r} belongs to a program's own loop: studio.Search(project={project!r}, …) runs it"
        )
    numbers = [_number(project, text) for text in experiments or ()]
    known = {experiment.number: experiment.status for experiment in found.experiments}
    for number in numbers:
        if number not in known:
            raise BadInput(f"project {project!r} has no experiment {number}; it has {len(known)}")
    if not experiments:
        numbers = [number for number, status in known.items() if status == "failed"]
    if not numbers:
        print("studio: nothing failed, nothing to retry", file=sys.stderr)
        return 0
    requests.leave(found.folder, requests.Request("retry", numbers))
    if found.state == "running":
        print(f"studio: the running search will retry {len(numbers)} experiments", file=sys.stderr)
        return 0
    from studio.cli.resume import resume

    return resume(project, accept_changes=accept_changes, keep_source=keep_source, json=json, quiet=quiet)


def _number(project: str, text: str) -> int:
    if text.isdecimal():
        return int(text)
    named, number = split_key(text)
    if named != project:
        raise BadInput(f"experiment {text!r} is not of project {project!r}")
    return number
