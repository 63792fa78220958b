"""The command `studio retry PROJECT [EXPERIMENT…]`: run failed experiments again."""

from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say

app = new_app()


@app.command(cls=PlainUsage)
def retry(
    project: names.Named = None,
    experiments: names.Experiments = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Use your files as they are now, for these and later experiments.")
    ] = False,
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Use the files as they were when the search started.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> int:
    """Run the failed experiments of PROJECT, or the given experiments, again under the same numbers. If the search is running,
    it runs them; else the search continues here."""
    from studio.cli.resume import resume
    from studio.search import send_requests

    name, numbers = names.project_and_experiments([project, *(experiments or [])])
    request = send_requests.retry(name, numbers)
    if request.resume is None:
        say(request.words)
        return 0
    with send_requests.withdrawn_on_error(request):
        return resume(name, accept_changes=accept_changes, keep_source=keep_source, json=json, quiet=quiet)
