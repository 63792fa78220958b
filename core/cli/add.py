"""The command `studio add PROJECT [NAME=VALUE…]`: give a search more values, experiments or time."""

from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, parse_count, say

app = new_app()


@app.command(cls=PlainUsage)
def add(
    project: names.Named = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="Values to run next. A hyperparameter that is not named has its value in the best experiment.",
        ),
    ] = None,
    experiments: Annotated[
        int, typer.Option(metavar="N", parser=parse_count, help="More experiments for the budget.")
    ] = 0,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="More time for the search: 90s, 15m, 5h, 2d.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> int:
    """Add values by hand, experiments or time to the search of PROJECT. If the search is not running, it continues here."""
    from studio.cli.resume import resume
    from studio.errors import BadInput
    from studio.host import create_host
    from studio.options import split_pairs
    from studio.search import send_requests

    if project is not None and "=" in project:
        values, project = [project, *(values or [])], None
    if not values and not experiments and time is None:
        raise BadInput("nothing to add; write for example lr=0.01, --experiments 50 or --time 30m")
    project = names.project_of(project)
    requests = []
    if values:
        requests.append(send_requests.add_values(project, split_pairs(values, "value"), create_host()))
    if experiments or time is not None:
        with send_requests.withdrawn_on_error(*requests):
            requests.append(send_requests.add_budget(project, experiments, time))
    for request in requests:
        say(request.words)
    options = [request.resume for request in requests if request.resume is not None]
    if not options:
        return 0
    max_experiments, max_time = options[-1].get("max_experiments"), options[-1].get("max_time")
    with send_requests.withdrawn_on_error(*requests):
        search_options = {
            "max_experiments": int(max_experiments) if max_experiments else None,
            "max_time": max_time,
        }
        return resume(project, search_options=search_options, json=json, quiet=quiet)
