"""The command `studio inspect SCRIPT [ARGS]…`: places for values, metrics, and a command that is ready to run."""

import shlex
from typing import Annotated, Any

import typer

from studio.cli.options import SCRIPT_CONTEXT, Arguments, IsModule, RunOnce, Script
from studio.cli.usage import COMMAND, PlainUsage, new_app

MOST_SHOWN = 40  # places in the table without --all

app = new_app()


@app.command(cls=PlainUsage, context_settings=SCRIPT_CONTEXT)
def inspect(
    ctx: typer.Context,
    script: Script,
    arguments: Arguments = None,
    module: IsModule = False,
    run: RunOnce = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List every place, also those whose names are not hyperparameters.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the places, metrics and command as JSON.")] = False,
) -> int:
    """Show where values can go in SCRIPT, which metrics it has, and a `studio run` command for it. Nothing is changed."""
    from studio.cli.console import print_json, print_table
    from studio.host import create_host
    from studio.search.inspection import inspect_script

    is_command = bool(ctx.meta.get(COMMAND))
    seen = inspect_script(script, arguments or [], create_host(), module=module, is_command=is_command, run=run)
    if json:
        print_json(seen.as_dict())
        return 0
    places = (
        seen.proposals
        if everything
        else [one for one in seen.proposals if (one.range and not one.is_plumbing) or one.place.required]
    )
    if places:
        shown = places if everything else places[:MOST_SHOWN]
        rows = [
            [one.place.address, _value(one.place.value), one.place.kind, str(one.place), one.range] for one in shown
        ]
        print_table(["hyperparameter", "value", "kind", "where", "range"], rows, flexible=(3,))
        if len(shown) < len(places):
            print(f"… and {len(places) - len(shown):,} more: studio inspect --all shows them")
    else:
        print("no place for a value was found; name one that Studio does not find: --hp=--OPTION=RANGE")
    print()
    if seen.metrics:
        rows = [
            [one.name, one.source, "" if one.value is None else f"{one.value:.6g}", " or ".join(one.options)]
            for one in seen.metrics
        ]
        print_table(["metric", "source", "value", "option"], rows, flexible=(0,))
    elif run:
        print("no metric is seen: let the script print a line `fitness: NUMBER`")
    else:
        further = "" if seen.missing else ", and a search needs one; one run of the script shows those that it has:"
        print(f"no metric is seen in the text{further}")
    for notice in seen.notices:
        print(f"notice: {notice}")
    if seen.missing:
        print(f"{script} needs {', '.join(one.prefix for one in seen.missing)}; write:")
    elif seen.metrics and not seen.is_sure and not seen.ran:
        print("none of these is surely the result; one run of the script shows all metrics that it has:")
    elif seen.doubt:
        print(f"{seen.doubt}{' The larger is better, or the smaller:' if len(seen.commands) > 1 else ''}")
    print("", *map(shlex.join, seen.commands), sep="\n")
    return 0


def _value(value: Any) -> str:
    text = repr(value)
    return text if text != "unknown" else ""
