"""The value of a metric so far, from a stream of reports: the smallest, the largest or the last."""

import math
from dataclasses import dataclass

from studio.experiment import Metric


@dataclass
class MetricValue:
    """The value of one metric so far. NaN and infinities never count for a minimum or maximum."""

    metric: Metric
    value: float | None = None
    source: str = ""

    def add(self, value: float, source: str = "") -> None:
        """Take a value into account. Values of another source before it no longer count."""
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
        """Reason why there is no fitness although the metric has values; empty if there is one, or no value at all."""
        if self.value is None or self.finite:
            return ""
        if self.metric.mode == "last":
            return f"the last value of {self.metric.name} was {self.value}"
        return f"every value of {self.metric.name} was nan or infinite"
