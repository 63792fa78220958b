"""The command `studio pause PROJECT`: start no more experiments for a while."""

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say

app = new_app()


@app.command(cls=PlainUsage)
def pause(project: names.Named = None) -> int:
    """Start no more experiments of PROJECT, by default of the search that runs. Running experiments continue. `studio resume`
    ends the pause."""
    from studio.search import send_requests

    project = names.project_of(project, prefer_running=True)
    answer = send_requests.pause(project).words
    say(answer if send_requests.NOT_RUNNING in answer else f"{answer}; continue with studio resume {project}")
    return 0
