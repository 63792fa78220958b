"""Callbacks of a running search, for the terminal display, tests and programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.experiment import FINISHED, Experiment, Metric


@dataclass
class Progress:
    """The state of a running search, kept up to date in place.

    total    number of experiments that will run, if known
    running  number -> (values, monotonic time of the start, latest value of the metric)
    rate     experiments per second since the start of this session
    """

    metric: Metric
    total: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    running: dict[int, tuple[Mapping[str, Any], float, float | None]] = field(default_factory=dict)
    best: Experiment | None = None
    last_failure: Experiment | None = None
    elapsed: float = 0.0
    session_finished: int = 0
    _status_of: dict[int, str] = field(default_factory=dict)

    def count(self, experiment: Experiment) -> None:
        """Count an ended experiment; a retry replaces the earlier count of its number."""
        before = self._status_of.get(experiment.number)
        if before is not None:
            self.counts[before] -= 1
        self._status_of[experiment.number] = experiment.status
        self.counts[experiment.status] = self.counts.get(experiment.status, 0) + 1
        self.session_finished += experiment.status != "stopped"
        if experiment.status == "failed":
            self.last_failure = experiment

    @property
    def finished(self) -> int:
        return sum(self.counts.get(status, 0) for status in FINISHED)

    @property
    def rate(self) -> float:
        return self.session_finished / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.finished) / self.rate


class Observer:
    """Callbacks of a running search; the base class ignores them. All are called after the record is written."""

    def notice(self, text: str) -> None:
        """Show a message to the user once."""

    def begun(self, project: str, progress: Progress) -> None:
        """Hear that the search starts or resumes."""

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        """Hear that an experiment has ended."""

    def tick(self, progress: Progress) -> None:
        """Hear how the search is, several times a second."""

    def ended(self, progress: Progress) -> None:
        """Hear that the search has ended, for whatever reason."""
