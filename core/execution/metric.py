"""What a stream of reports amounts to: the smallest, largest or last value, and the fitness that it means."""

import math
from dataclasses import dataclass

from studio.experiment import Failure, Metric, Outcome, Status


@dataclass
class Summary:
    """The value of one metric so far. NaN and infinities never enter a minimum or maximum."""

    metric: Metric
    value: float | None = None
    source: str = ""

    def add(self, value: float, source: str = "") -> None:
        """Take a value into the account. Those of another source before it count no more."""
        if source != self.source:
            self.source, self.value = source, None
        if self.metric.mode == "last" or self.value is None or not math.isfinite(self.value):
            self.value = value
        elif math.isfinite(value):
            self.value = min(self.value, value) if self.metric.mode == "min" else max(self.value, value)

    @property
    def finite(self) -> bool:
        return self.value is not None and math.isfinite(self.value)

    @property
    def problem(self) -> str:
        """Why there is no fitness although the metric came; empty when there is one, or when it never came."""
        if self.value is None or self.finite:
            return ""
        if self.metric.mode == "last":
            return f"the last value of {self.metric.name} was {self.value}"
        return f"every value of {self.metric.name} was nan or infinite"


def judge(outcome: Outcome, summary: Summary, *, required: bool, pruned: str) -> tuple[Status, str, Failure]:
    """Status, reason and class of failure of a run. `required`: without a fitness it failed. `pruned`: how the
    optimizer asked for its end, or empty."""
    status, reason, failure = _judge(outcome, summary, required, pruned)
    return status, "; ".join(filter(None, [reason, outcome.notice])), failure


def _judge(outcome: Outcome, summary: Summary, required: bool, pruned: str) -> tuple[Status, str, Failure]:
    if outcome.stopped and pruned and summary.finite:
        return "pruned", pruned, ""
    if outcome.stopped:
        return "stopped", outcome.reason, ""
    if outcome.failed:
        return "failed", outcome.reason, outcome.failure or "crash"
    if outcome.failure == "metric":  # its reader broke: the value may be an old one
        return "failed", outcome.reason, "metric"
    if summary.problem:
        return "failed", summary.problem, "metric"
    if summary.value is None and required:
        return "failed", outcome.reason, "metric"
    return "completed", "", ""
