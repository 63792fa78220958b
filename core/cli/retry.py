"""`studio retry PROJECT [EXPERIMENT…]`."""

from typing import Annotated

import typer

from studio.cli.usage import PlainUsage, say, which

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


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
    from studio.cli.resume import resume
    from studio.search import steering

    asked = steering.retry(project, which(project, experiments))
    if asked.resume is None:
        say(asked.words)
        return 0
    with steering.taken_back_if_refused(asked):
        return resume(project, accept_changes=accept_changes, keep_source=keep_source, json=json, quiet=quiet)
