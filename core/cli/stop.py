"""`studio stop PROJECT [EXPERIMENT…]`."""

from typing import Annotated

import typer

from studio.cli.usage import PlainUsage, say, which

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(cls=PlainUsage)
def stop(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Numbers or keys. Default: the whole search.")
    ] = None,
) -> int:
    """End the search of PROJECT: running experiments are ended and marked stopped; `studio resume` runs them again."""
    from studio.search import steering

    say(steering.stop(project, which(project, experiments)).words)
    return 0
