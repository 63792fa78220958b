"""The command `studio ui`: the dashboard."""

import sys
import webbrowser
from typing import Annotated

import typer

from studio.cli.usage import PlainUsage, new_app, parse_count, say
from studio.entry_points import install_command
from studio.errors import BadInput

app = new_app()

PORT = 8484


@app.command(cls=PlainUsage)
def ui(
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on. With 0.0.0.0 other machines can connect.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", parser=parse_count, help="The port; if it is in use, the next free port. 0: any free port."
        ),
    ] = PORT,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the link, open no browser.")] = False,
) -> int:
    """Open the dashboard on all projects in a browser. Ctrl-C ends it; searches continue."""
    if not 0 <= port <= 65535:
        raise BadInput(f"--port {port} is not a port; write a number from 0 to 65535")
    try:
        from studio.dashboard.server import Server, stop_on_signal
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "jinja2", "anyio"):
            raise
        raise BadInput(f"the dashboard needs {error.name}: {install_command('ui')}") from None
    ended = stop_on_signal()  # called before the link is printed, because from then on Ctrl-C is not an error
    with Server(host, port, say) as server:
        print(server.link, flush=True)
        if not no_open and sys.stdout.isatty():
            webbrowser.open(server.one_time_link())
        server.wait(ended)
        server.exit_process()
