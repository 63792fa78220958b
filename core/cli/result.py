"""The output of `run`, `resume` and `retry` at their end, and their exit codes."""

import sys
from collections import Counter
from collections.abc import Callable

from studio.cli.console import print_experiments, print_json
from studio.errors import Interrupted
from studio.experiment import Experiment
from studio.format import assignments, metric_value, short
from studio.project.project import Project
from studio.ranking import ranked
from studio.text import clean

MAX_ROWS = 10  # of the final table


def run_and_report(search: Callable[[], Project], *, as_json: bool, quiet: bool) -> int:
    """Run `search`, print its result, and return the exit code."""
    try:
        return print_result(search(), as_json=as_json, quiet=quiet)
    except Interrupted as interrupted:
        print_result(Project(interrupted.project), as_json=as_json, quiet=quiet)
        return 130


def print_result(project: Project, *, as_json: bool, quiet: bool) -> int:
    """Print the result; stdout is data. Return the exit code: 0 done, 1 all failed, 3 some failed, 4 nothing completed."""
    experiments = project.experiments
    if as_json:
        print_json(experiment.as_dict() for experiment in experiments)
    elif not quiet:
        _print_best(project, experiments)
    counts = Counter(experiment.status for experiment in experiments)
    if project.state in ("failed", "failures", "disk", "no-room"):
        return 1
    if not counts["completed"]:
        return 1 if counts["failed"] else 4
    return 3 if counts["failed"] else 0


def _print_best(project: Project, experiments: list[Experiment]) -> None:
    best_first = ranked(experiments)
    rows = best_first[:MAX_ROWS] if best_first else experiments[:MAX_ROWS]
    print_experiments(rows, project.metric.name)
    if len(experiments) > len(rows):
        print(f"{len(experiments) - len(rows)} more: studio runs list {project.name}", file=sys.stderr)
    counts = Counter(experiment.status for experiment in experiments)
    if counts["failed"]:
        first = next(experiment for experiment in experiments if experiment.status == "failed")
        listing = "" if len(rows) == len(experiments) else f"studio runs list {project.name}, "
        print(
            f"{counts['failed']} of {len(experiments)} failed: {listing}studio runs logs {first.key}", file=sys.stderr
        )
    if counts["completed"] and not best_first and project.settings.get("metric") is None:
        print("no ranking: no experiment printed `fitness: NUMBER`; name a metric with --metric", file=sys.stderr)
    if best_first:
        best = best_first[0]
        print(
            clean(f"best: {best.key}  {project.metric.name} {metric_value(best)}  {assignments(best.values)}"),
            file=sys.stderr,
        )
        own = project.baseline
        if own is not None and own.metric is not None:
            print(clean(improvement(own, best, project.metric.name)), file=sys.stderr)
        recommended = project.recommended
        if recommended is not None and recommended.number != best.number:
            text = f"recommended: {recommended.key}  {assignments(recommended.values)}"
            print(clean(f"{text}  (best by the mean of a model: results are noisy)"), file=sys.stderr)
        print(f"files: {best.folder}", file=sys.stderr)


def improvement(own: Experiment, best: Experiment, metric: str) -> str:
    """Return a line such as `lr 0.1 → 0.003: val_loss 0.52 → 0.31 over the script's own values`.

    `own` is the experiment with the script's own values.
    """
    if own.fitness == best.fitness:
        return f"nothing was better than the script's own values: {metric} {metric_value(own)}"
    changes = [
        f"{name} {short(before)} → {short(best.values[name])}"
        for name, before in own.values.items()
        if best.values[name] != before
    ]
    return f"{', '.join(changes)}: {metric} {metric_value(own)} → {metric_value(best)} over the script's own values"
