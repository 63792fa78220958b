"""`studio pause PROJECT`."""

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say

app = new_app()


@app.command(cls=PlainUsage)
def pause(project: names.Named = None) -> int:
    """Start no more experiments of PROJECT; those that run go on. Without PROJECT: of the one that runs. `studio resume` ends the pause."""
    from studio.search import send_requests

    project = names.project_of(project, at_work=True)
    asked = send_requests.pause(project).words
    say(asked if send_requests.NOT_RUNNING in asked else f"{asked}; continue with studio resume {project}")
    return 0
