"""`studio plugins`: every piece, with the distribution it comes from."""

import sys
from typing import Annotated

import typer

from studio.cli.output import print_json, print_table
from studio.host import create_host

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def plugins(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """List optimizers, backends, range parsers and metric extractors, built in and installed."""
    host = create_host()
    pieces = host.pieces()
    if json:
        print_json(
            {
                "plugins": [
                    {"name": p.name, "kind": p.kind, "distribution": p.distribution, "version": p.version}
                    for p in pieces
                ],
                "problems": [
                    {"plugin": p.plugin, "distribution": p.distribution, "message": p.message} for p in host.problems
                ],
            }
        )
        return 0
    print_table(
        ["name", "kind", "distribution", "version"], [[p.name, p.kind, p.distribution, p.version] for p in pieces]
    )
    for problem in host.problems:
        print(f"studio: {problem}", file=sys.stderr)
    return 0
