"""What a stream of reports amounts to: the smallest, largest or last value, and the fitness that it means."""

import math
from dataclasses import dataclass

from studio.experiment import Metric


@dataclass
class Summary:
    """The value of one metric so far. NaN and infinities never enter a minimum or maximum."""

    metric: Metric
    value: float | None = None

    def add(self, value: float) -> None:
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
        which = "the last value of" if self.metric.mode == "last" else "every value of"
        return (
            f"{which} {self.metric.name} was {self.value}"
            if self.metric.mode == "last"
            else f"{which} {self.metric.name} was nan or infinite"
        )

    def as_dict(self) -> dict[str, object] | None:
        """{"name", "mode", "value"} as the record shows it; None while there is no finite value."""
        return as_record(self.metric, self.value if self.finite else None)


def as_record(metric: Metric, value: float | None) -> dict[str, object] | None:
    return None if value is None else {"name": metric.name, "mode": metric.mode, "value": value}
