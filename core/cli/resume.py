"""`studio resume PROJECT`."""

from typing import Annotated

import typer

from studio.cli.usage import PlainUsage, whole

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=PlainUsage)
def resume(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    max_experiments: Annotated[
        int | None, typer.Option(metavar="N", parser=whole, help="A new budget: how many experiments in all.")
    ] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="For this session: 90s, 15m, 5h, 2d.")] = None,
    num_workers: Annotated[str | None, typer.Option(metavar="N|auto", help="How many experiments at a time.")] = None,
    retry_failed: Annotated[
        list[str] | None, typer.Option(metavar="N|CLASS=N", help="As for `studio run`, from now on.")
    ] = None,
    on_failure: Annotated[
        list[str] | None, typer.Option(metavar="continue|stop", help="As for `studio run`, from now on.")
    ] = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Take your files as they are now; and where the optimizer now asks for something else, a fresh one.",
        ),
    ] = False,
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Go on with the files as they were when the search began.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line per experiment, even on a terminal.")] = False,
) -> int:
    """Go on with PROJECT where it stopped: same seed, same suggestions, nothing done twice."""
    from studio import launch
    from studio.cli.display import make_observer
    from studio.cli.ending import carried_out

    return carried_out(
        lambda: launch.resume(
            project,
            max_experiments=max_experiments,
            max_time=max_time,
            num_workers=num_workers,
            retry_failed=retry_failed,
            on_failure=on_failure,
            accept_changes=accept_changes,
            keep_source=keep_source,
            observer=make_observer(quiet=quiet or json, verbose=verbose),
        ),
        as_json=json,
        quiet=quiet,
    )
