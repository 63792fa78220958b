"""The command `studio export PROJECT`: all experiments in a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say
from studio.project.project import Project

app = new_app()

MAX_STEPS = 1000  # intermediate values of one experiment in an Optuna study


@app.command(cls=PlainUsage)
def export(
    project: names.Named = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|json|optuna", help="Default: by the suffix of FILE, else csv."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Default: stdout, for optuna PROJECT.journal. `-` is stdout too."
        ),
    ] = None,
) -> int:
    """Write all experiments of PROJECT: a table, JSON, or a journal for Optuna and optuna-dashboard."""
    from studio.cli.console import check_format, save

    format_by_suffix = {".json": "json", ".journal": "optuna"}.get(Path(output or "").suffix.lower(), "csv")
    format_ = check_format(format_ or format_by_suffix, ("csv", "json", "optuna"))
    record = Project(names.project_of(project))
    experiments = record.experiments
    if format_ != "optuna":
        from studio.project.table import csv_text, json_lines

        save(csv_text(experiments) if format_ == "csv" else json_lines(experiments), output, None)
        return 0
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.curves import curve_of
    from studio.reporting.optuna import journal_lines

    host, metric = create_host(), record.metric
    axes = axes_of(record.settings, experiments, host)
    lines = journal_lines(
        record, experiments, axes, lambda experiment: curve_of(experiment, record.folder, metric, host, MAX_STEPS)
    )
    if path := save(lines, output, f"{record.name}.journal"):
        say(f"open it with: optuna-dashboard {path}")
    return 0
