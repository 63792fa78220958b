"""`studio tensorboard PROJECT`: TensorBoard on the event files of all experiments."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from studio.cli.output import assignments
from studio.cli.usage import PlainUsage
from studio.errors import BadInput
from studio.experiment import Experiment
from studio.project import Project

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

REFRESH = 5.0  # seconds until new experiments appear


@app.command(cls=PlainUsage, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tensorboard(ctx: typer.Context, project: Annotated[str, typer.Argument(metavar="PROJECT")]) -> int:
    """Start TensorBoard on PROJECT, one run an experiment, new ones as they come. Further options go to TensorBoard."""
    found = Project(project)
    if not found.experiments:
        raise BadInput(f"project {project!r} has no experiments yet")
    with tempfile.TemporaryDirectory(prefix="studio-tensorboard-") as folder:
        link_experiments(found, Path(folder))
        # TensorBoard listens on loopback unless --host is among the further options. Its fast loader does not follow links.
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--load_fast=false", *ctx.args]
        for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the server, too
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
        process = subprocess.Popen(command)
        try:
            while True:
                try:
                    return process.wait(timeout=REFRESH)
                except subprocess.TimeoutExpired:
                    link_experiments(found, Path(folder))
        finally:
            process.terminate()
            process.wait()


def link_experiments(project: Project, folder: Path) -> None:
    """A link per experiment to its event files, named by number and values."""
    for experiment in project.experiments:
        logs = _event_folder(experiment)
        link = folder / f"{experiment.number} {assignments(experiment.values)}".replace("/", "_")[:200]
        if logs is not None and not link.is_symlink():
            os.symlink(logs, link)


def _event_folder(experiment: Experiment) -> str | None:
    """tb/, or the workspace where the script logged there instead."""
    if experiment.folder is None:
        return None
    for name in ("tb", "workspace"):
        place = Path(experiment.folder) / name
        if next(place.rglob("*tfevents*"), None) is not None:
            return str(place)
    return None
