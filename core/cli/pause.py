"""`studio pause PROJECT`."""

from typing import Annotated

import typer

from studio.cli.usage import PlainUsage, say

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(cls=PlainUsage)
def pause(project: Annotated[str, typer.Argument(metavar="PROJECT")]) -> int:
    """Start no more experiments of PROJECT; those that run go on. `studio resume` ends the pause."""
    from studio.search import steering

    asked = steering.pause(project).words
    say(asked if asked == steering.NOT_RUNNING else f"{asked}; studio resume {project} goes on")
    return 0
