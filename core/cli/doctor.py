"""The command `studio doctor [PROJECT]`: find what is wrong with Studio's folder and projects, and restore a record."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from studio.cli import names
from studio.cli.console import print_json
from studio.cli.usage import PlainUsage, new_app
from studio.errors import BadInput, ProjectError
from studio.format import age, counted
from studio.project.paths import project_folder, projects_folder
from studio.text import clean, did_you_mean

app = new_app()


@app.command(cls=PlainUsage)
def doctor(
    project: Annotated[
        str | None,
        typer.Argument(metavar="[PROJECT]", help="Default: all projects.", autocompletion=names.complete_project),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Replace the damaged record of PROJECT by its backup.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Check Studio's folder and PROJECT, and show how to fix what is wrong. The exit code is 1 if something is wrong."""
    from studio.project.doctor import examine, examine_home

    if restore:
        return _restore(project)
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
                print(f"    fix: {clean(finding.mend)}")
    return 1 if any(finding.mend for finding in findings) else 0


def _restore(project: str | None) -> int:
    from studio.project.backup import restore

    if project is None:
        raise BadInput("--restore needs the name of a project: studio doctor PROJECT --restore")
    backup = restore(_folder(project))
    print(
        f"studio: restored the backup of {project} from {age(backup.made)}, with {counted(len(backup.told), 'outcome')}; "
        f"continue with studio resume {project}, which reads later outcomes from the folders of their runs",
        file=sys.stderr,
    )
    return 0


def _folder(project: str) -> Path:
    folder = project_folder(project)
    if not folder.is_dir():
        names = [path.name for path in projects_folder().glob("*")]
        raise ProjectError(f"there is no project {project!r} in {projects_folder()}{did_you_mean(project, names)}")
    return folder
