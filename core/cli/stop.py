"""`studio stop PROJECT [EXPERIMENT…]`."""

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say

app = new_app()


@app.command(cls=PlainUsage)
def stop(
    project: names.Named = None,
    experiments: names.Experiments = None,
) -> int:
    """End the search of PROJECT, or of the one that runs, or only those experiments: what runs is ended and marked stopped;
    `studio resume` runs it again."""
    from studio.search import send_requests

    name, numbers = names.project_and_experiments([project, *(experiments or [])], at_work=True)
    say(send_requests.stop(name, numbers).words)
    return 0
