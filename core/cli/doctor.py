"""`studio doctor [PROJECT]`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from studio.cli import names
from studio.cli.console import print_json
from studio.cli.usage import PlainUsage
from studio.errors import BadInput, ProjectError
from studio.project.paths import project_folder, projects_folder
from studio.text import clean, did_you_mean

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(cls=PlainUsage)
def doctor(
    project: Annotated[
        str | None,
        typer.Argument(metavar="[PROJECT]", help="Default: all projects.", autocompletion=names.complete_project),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the record of PROJECT anew from the copies beside its runs.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Say what is wrong with the folder of Studio and with PROJECT, and how it is mended. Exit code 1 if something is."""
    from studio.project.doctor import examine, examine_home

    if rebuild:
        return _rebuild(project)
    findings = list(examine_home())
    folders = [_folder(project)] if project else sorted(filter(lambda path: path.is_dir(), projects_folder().glob("*")))
    for folder in folders:
        findings += examine(folder)
    if json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{'!!' if finding.mend else 'ok'}  {finding.about}: {clean(finding.text)}")
            if finding.mend:
                print(f"    mend: {clean(finding.mend)}")
    return 1 if any(finding.mend for finding in findings) else 0


def _rebuild(project: str | None) -> int:
    from studio.project.rebuilding import rebuild

    if project is None:
        raise BadInput("--rebuild needs the name of a project: studio doctor PROJECT --rebuild")
    found = rebuild(_folder(project))
    for path in found.unreadable:
        print(f"studio: {path} could not be read and is left out", file=sys.stderr)
    on = f"go on with: studio resume {project}"
    if found.missing:
        lost = ", ".join(map(_span, found.missing[:20]))
        print(f"studio: nothing is left of experiments {lost}: a fresh optimizer hears of the others", file=sys.stderr)
        on += " --accept-changes"
    print(f"studio: {project} has {len(found.told)} outcomes again; {on}", file=sys.stderr)
    return 0


def _span(numbers: range) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _folder(project: str) -> Path:
    folder = project_folder(project)
    if not folder.is_dir():
        names = [path.name for path in projects_folder().glob("*")]
        raise ProjectError(f"there is no project {project!r} in {projects_folder()}{did_you_mean(project, names)}")
    return folder
