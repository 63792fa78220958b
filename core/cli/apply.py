"""The command `studio apply PROJECT[/N]`: write the best values into the user's own files."""

from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, ask, new_app

app = new_app()


@app.command(cls=PlainUsage)
def apply(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROJECT[/N]]",
            help="A project, for its best experiment; or one experiment. Default: the newest project.",
            autocompletion=names.complete_project,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATCH", help="Write a patch for git apply; change nothing.")
    ] = None,
) -> int:
    """Write the values of the best experiment into your files, after showing the changes. Only literals change."""
    import os
    import sys
    from pathlib import Path

    from studio.cli.console import harmless, save
    from studio.cli.usage import say
    from studio.errors import BadInput
    from studio.format import counted
    from studio.project.project import Project
    from studio.script.apply import apply_values
    from studio.search.plan.plan import program_of
    from studio.settings import Settings
    from studio.system.files import write_together

    if yes and experiment is None:
        raise BadInput("files are written without asking for a project that is named alone: studio apply PROJECT --yes")
    name, _, number = (experiment or "").partition("/")
    name = names.project_of(name or None)
    project = Project(name)
    if number and not number.isdecimal():
        raise BadInput(f"{experiment!r} is not an experiment; write {name}/3, or {name} for its best one")
    chosen = names.existing_experiment(project, int(number)) if number else project.best
    if chosen is None:
        raise BadInput(f"project {name} has no completed experiment with a fitness; name one: studio apply {name}/1")
    if chosen.status != "completed":
        reason = f" ({chosen.reason})" if chosen.reason else ""
        say(f"{name}/{chosen.number} is no result, {chosen.status}{reason}; its values are applied all the same")
    settings, source = Settings.from_dict(project.settings), project.source
    applied = apply_values(program_of(settings, source), chosen.values)
    for text in applied.passed.values():
        say(f"not in a file, {text}")
    if not applied.diff:
        passed = "no file was changed: pass the values as above"
        say(passed if applied.passed else "your files have these values already")
        return 0
    if output is not None:
        save([applied.patch], output, None)
        return 0
    sys.stdout.write(harmless(applied.diff))
    sys.stdout.flush()
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(f"not a terminal: confirm with studio apply {name}/{chosen.number} --yes")
        if not ask(
            f"Write the values of {name}/{chosen.number} into {counted(len(applied.files), 'file')} in {source}?"
        ):
            return 0
    try:
        write_together({Path(os.path.realpath(source / path)): after for path, (_, after) in applied.files.items()})
    except OSError as error:
        raise BadInput(f"cannot write the files in {source}: {error.strerror}: none of them was changed") from None
    say(f"wrote the values of {name}/{chosen.number} into {', '.join(applied.files)}")
    say(f"to continue the search with the files as they were: studio resume {name} --keep-source")
    return 0
