"""The values of a metric during a run. The plugins that read metrics read them from the files of the run."""

import math
from pathlib import Path

from studio.execution.metric_value import MetricValue
from studio.experiment import Experiment, Metric, Report, Run
from studio.host import Host
from studio.interfaces import MetricReader
from studio.project.paths import FIRST_SNAPSHOT, attempt_folder


def reports_of(experiment: Experiment, project: Path, metric: Metric, host: Host) -> list[Report]:
    """Return all values of a metric that an experiment reported, in order. The list is empty if the files are gone or the
    plugin fails."""
    if experiment.folder is None or not Path(experiment.folder).is_dir():
        return []
    reader = open_reader(project, experiment.number, experiment.attempt, metric, host, experiment.snapshot)
    try:
        return reader.close() if reader else []
    except Exception:  # a plugin failed; then only the curve is missing
        return []


def open_reader(
    project: Path, number: int, attempt: int, metric: Metric, host: Host, snapshot: str | None
) -> MetricReader | None:
    """Open a metric reader on an attempt's files; None if its plugin is missing or fails.

    `snapshot` names the copy of the source that the attempt used.
    """
    folder, source = str(attempt_folder(project, number, attempt)), str(project / (snapshot or FIRST_SNAPSHOT))
    try:
        return host.open_metric(
            metric, Run(project.name, number, attempt, source, {}, {}, [], {}, folder, metric=metric)
        )
    except Exception:
        return None


def value_of(experiment: Experiment, project: Path, metric: Metric, host: Host) -> float | None:
    """Return the final value of `metric` in an experiment; None if the experiment logged no finite value of it."""
    summary = MetricValue(metric)
    for report in reports_of(experiment, project, metric, host):
        summary.add(report.value, report.source)
    return summary.value if summary.finite else None


def curve_of(experiment: Experiment, project: Path, metric: Metric, host: Host, max_steps: int) -> dict[int, float]:
    """Return the values of `metric` in an experiment as step -> last value of the step.

    At most `max_steps` evenly spaced steps are returned, the last step always. If the script logs no steps, its values are
    numbered from 1. Values that are not finite are left out.
    """
    curve: dict[int, float] = {}
    for at, report in enumerate(reports_of(experiment, project, metric, host), 1):
        if math.isfinite(report.value):
            curve[at if report.step is None else report.step] = report.value
    steps = sorted(curve)
    selection = steps[:: -(-len(steps) // max_steps)] if len(steps) > max_steps else steps
    return {step: curve[step] for step in [*selection[: max_steps - 1], *steps[-1:]]}
