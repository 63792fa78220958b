"""The final status of a run: completed, failed, stopped or pruned, with its reason and its class of failure."""

from studio.execution.metric_value import MetricValue
from studio.experiment import Failure, Outcome, Status


def classify_outcome(
    outcome: Outcome, summary: MetricValue, *, required: bool, pruned: str, diverged: bool = False
) -> tuple[Status, str, Failure]:
    """Return status, reason and class of failure of a run.

    required  a run without a fitness has failed
    pruned    why the run was ended early, or empty
    diverged  whether it was ended because its metric is no number any more
    """
    if outcome.stopped and diverged:
        return "failed", f"{summary.metric.name} diverged: its last values are nan or infinite", "diverged"
    status, reason, failure = _judge(outcome, summary, required, pruned)
    return status, "; ".join(filter(None, [reason, outcome.notice])), failure


def _judge(outcome: Outcome, summary: MetricValue, required: bool, pruned: str) -> tuple[Status, str, Failure]:
    if outcome.stopped and pruned and summary.finite:
        return "pruned", pruned, ""
    if outcome.stopped:
        return "stopped", outcome.reason, ""
    if outcome.failed:
        return "failed", outcome.reason, outcome.failure or "crash"
    if outcome.failure == "metric":  # its reader failed: the value may be an old one
        return "failed", outcome.reason, "metric"
    if summary.problem:
        return "failed", summary.problem, "metric"
    if summary.value is None and required:
        return "failed", outcome.reason, "metric"
    return "completed", "", ""
