"""The command `studio stop PROJECT [EXPERIMENT…]`: end a search, or some of its experiments."""

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say

app = new_app()


@app.command(cls=PlainUsage)
def stop(
    project: names.Named = None,
    experiments: names.Experiments = None,
) -> int:
    """End the search of PROJECT, by default the search that runs, or only the given experiments. Their scripts are ended, and
    the experiments are marked stopped. `studio resume` runs them again."""
    from studio.search import send_requests

    name, numbers = names.project_and_experiments([project, *(experiments or [])], prefer_running=True)
    say(send_requests.stop(name, numbers).words)
    return 0
