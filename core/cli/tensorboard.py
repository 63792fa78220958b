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

REFRESH_SECONDS = 5.0  # between two refreshes; new experiments appear within this time
TERMINATE_SECONDS = 3.0  # until TensorBoard is killed, because it may ignore SIGTERM while it serves a request
PAUSE_FACTOR = 20  # a pause is at least this many times as long as the refresh before it, to spare slow disks


@app.command(cls=PlainUsage, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tensorboard(ctx: typer.Context, project: names.Named = None) -> int:
    """Start TensorBoard on PROJECT, with the scalars of all experiments and the HParams tab. Other options are passed to TensorBoard.

    Experiments that start or end meanwhile appear within seconds. The log folder is a temporary folder.
    """
    record = Project(names.project_of(project))
    if not record.experiments:
        raise BadInput(f"project {record.name!r} has no experiments yet; see studio runs list")
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.tensorboard import LogFolder

    with tempfile.TemporaryDirectory(prefix="studio-tensorboard-") as folder:
        logs = LogFolder(record, axes_of(record.settings, record.experiments, create_host()), Path(folder))
        logs.refresh()
        # TensorBoard listens on loopback unless the user passes --host. Its fast loader does not follow links. Each folder
        # holds our event file and those of the run, and all of them grow; --reload_multifile reads more than one.
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--load_fast=false"]
        command += ["--reload_multifile=true", *ctx.args]
        # If the terminal is closed, SIGHUP ends the server too.
        handle((signal.SIGTERM, signal.SIGHUP), lambda number, frame: sys.exit(128 + number))
        process = subprocess.Popen(command)
        try:
            pause = REFRESH_SECONDS
            while True:
                try:
                    return process.wait(timeout=pause)
                except subprocess.TimeoutExpired:
                    begun = time.monotonic()
                    logs.refresh()
                    pause = max(REFRESH_SECONDS, PAUSE_FACTOR * (time.monotonic() - begun))
        finally:
            process.terminate()
            try:
                process.wait(TERMINATE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
