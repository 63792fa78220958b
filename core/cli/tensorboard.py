"""The command `studio tensorboard PROJECT`: TensorBoard on the event files of all experiments, with the HParams tab."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app
from studio.errors import BadInput
from studio.project.project import Project
from studio.system.signals import handle

app = new_app()

REFRESH = 5.0  # seconds until new experiments appear
PATIENCE = 3.0  # seconds for TensorBoard to end: while it serves a request it may ignore SIGTERM
IDLE = 20  # the pause is at least this many times the duration of a refresh, to spare slow disks


@app.command(cls=PlainUsage, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tensorboard(ctx: typer.Context, project: names.Named = None) -> int:
    """Start TensorBoard on PROJECT: scalars of all experiments, and the HParams tab. Further options go to TensorBoard.

    Experiments that start or end while it is open appear within seconds. Its files are in a temporary folder.
    """
    found = Project(names.project_of(project))
    if not found.experiments:
        raise BadInput(f"project {found.name!r} has no experiments yet")
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.tensorboard import LogFolder

    with tempfile.TemporaryDirectory(prefix="studio-tensorboard-") as folder:
        logs = LogFolder(found, axes_of(found.settings, found.experiments, create_host()), Path(folder))
        logs.refresh()
        # TensorBoard listens on loopback unless --host is among the further options. Its fast loader does not follow
        # links. A folder has our event file and the run's, and all of them grow.
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--load_fast=false"]
        command += ["--reload_multifile=true", *ctx.args]
        # A closed terminal ends the server, too.
        handle((signal.SIGTERM, signal.SIGHUP), lambda number, frame: sys.exit(128 + number))
        process = subprocess.Popen(command)
        try:
            pause = REFRESH
            while True:
                try:
                    return process.wait(timeout=pause)
                except subprocess.TimeoutExpired:
                    begun = time.monotonic()
                    logs.refresh()
                    pause = max(REFRESH, IDLE * (time.monotonic() - begun))
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
