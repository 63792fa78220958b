"""The command `studio export PROJECT`: all experiments, for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app, say
from studio.project.project import Project

app = new_app()

MOST_STEPS = 1000  # intermediate values of one experiment


@app.command(cls=PlainUsage)
def export(
    project: names.Named = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|json|optuna", help="Default: by the suffix of FILE, else csv."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: stdout, also -; for optuna PROJECT.journal."),
    ] = None,
) -> int:
    """Write all experiments of PROJECT: a table, JSON, or a journal for Optuna and optuna-dashboard."""
    from studio.cli.console import chosen_format, save

    by_name = {".json": "json", ".journal": "optuna"}.get(Path(output or "").suffix.lower(), "csv")
    kind = chosen_format(format_ or by_name, ("csv", "json", "optuna"))
    found = Project(names.project_of(project))
    experiments = found.experiments
    if kind != "optuna":
        from studio.project.table import csv_text, json_lines

        save(csv_text(experiments) if kind == "csv" else json_lines(experiments), output, None)
        return 0
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.curves import curve_of
    from studio.reporting.optuna import journal_lines

    host, metric = create_host(), found.metric
    axes = axes_of(found.settings, experiments, host)
    lines = journal_lines(
        found, experiments, axes, lambda experiment: curve_of(experiment, found.folder, metric, host, MOST_STEPS)
    )
    if path := save(lines, output, f"{found.name}.journal"):
        say(f"open it with: optuna-dashboard {path}")
    return 0
