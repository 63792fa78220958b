"""The command `studio confirm PROJECT`: run the best experiments again, and rank them by the mean of their results."""

from typing import Annotated

import typer

from studio.cli import names, options
from studio.cli.usage import PlainUsage, consent, new_app

app = new_app()


@app.command(cls=PlainUsage)
def confirm(
    project: names.Named = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of best experiments. Default: 3.")] = 3,
    replicates: Annotated[int, typer.Option(min=2, metavar="N", help="Runs of each. Default: 5.")] = 5,
    num_workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Experiments at a time. Default: as in the search.")
    ] = None,
    yes: options.Yes = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> int:
    """Run the best experiments of PROJECT again, with other seeds if the script has a seed, and rank them by the mean."""
    from studio.cli.console import print_json, print_table
    from studio.cli.usage import say
    from studio.format import assignments, short
    from studio.search.confirm import confirm as confirmed

    results = confirmed(
        names.project_of(project),
        top=top,
        replicates=replicates,
        num_workers=num_workers,
        yes=consent(yes),
        notice=say,
    )
    if json:
        print_json([result.as_dict() for result in results])
    else:
        rows = [
            [
                result.experiment.key,
                assignments(result.experiment.values),
                str(len(result.results)),
                short(result.mean) if result.mean is not None else "",
                f"{short(result.low)} to {short(result.high)}" if result.low is not None else "",
            ]
            for result in results
        ]
        print_table(["experiment", "values", "runs", "mean", "95 % interval"], rows, flexible=(1,))
        if results and results[0].mean is not None:
            say(f"write the values into your files: studio apply {results[0].experiment.key}")
    return 0 if any(result.mean is not None for result in results) else 1
