"""Results of runs on their way from workers to the driver: reports while they run, an outcome at their end.

A heartbeat comes every few seconds and holds some of the reports so far: the newest, the smallest and the largest. So a
driver that misses any number of heartbeats still has the right minimum, maximum and last value. Each report has the
number of reports before it; the driver passes on those that come after the last one it passed on. If that leaves out a
report, a later heartbeat had a smaller and a larger one.

Outcomes were written by other machines, and nothing in them is trusted.
"""

import math
import time
from dataclasses import replace
from typing import Any

from studio.backends.queue.lease_records import ATTEMPTS, TRIES, JobOutcome
from studio.execution.metric_value import MetricValue
from studio.experiment import Metric, Outcome, Report, Run, is_storable, storable

WITH_A_BEAT = 100
WITH_AN_OUTCOME = 10_000

Counted = tuple[int, int | None, float, str]  # number of reports before it, step, value, source


class Collected:
    """Reports of one attempt, buffered by the worker."""

    def __init__(self) -> None:
        self._newest: list[Counted] = []
        self._least: Counted | None = None
        self._most: Counted | None = None
        self._count = 0

    def add(self, report: Report) -> None:
        counted = (self._count, report.step, report.value, report.source)
        self._count += 1
        if self._newest and self._newest[-1][3] != report.source:  # earlier reports no longer count
            self._newest, self._least, self._most = [], None, None
        self._newest.append(counted)
        if len(self._newest) >= 2 * WITH_AN_OUTCOME:
            del self._newest[:-WITH_AN_OUTCOME]
        if math.isfinite(report.value):
            if self._least is None or report.value < self._least[2]:
                self._least = counted
            if self._most is None or report.value > self._most[2]:
                self._most = counted

    def some(self, most: int) -> list[Counted]:
        """Return the newest `most` reports, with the smallest and the largest of all."""
        extremes = {counted for counted in (self._least, self._most) if counted is not None}
        return sorted(extremes | set(self._newest[-most:]), key=lambda counted: counted[0])


class PassedOn:
    """Reports of one run that the driver has passed on, from all attempts.

    told  summary of all these reports
    own   summary of those of the present attempt only
    """

    def __init__(self, metric: Metric):
        self._metric = metric
        self.told = MetricValue(metric)
        self.own = MetricValue(metric)
        self._attempt: object = None
        self._heard = -1

    def new(self, attempt: object, found: Any) -> list[tuple[int | None, float, str]]:
        """Return (step, value, source) of each report not passed on before.

        `attempt` identifies the attempt; `found` was written by a worker, and whatever is not a report is left out.
        """
        if attempt != self._attempt:
            self._attempt, self._heard, self.own = attempt, -1, MetricValue(self._metric)
        new = [counted for counted in _read(found) if counted[0] > self._heard]
        for count, _, value, source in new:
            self._heard = count
            self.told.add(value, source)
            self.own.add(value, source)
        return [(step, value, source) for _, step, value, source in new]

    @property
    def mixed(self) -> bool:
        """True if reports of a lost attempt changed the summary."""
        return repr(self.told.value) != repr(self.own.value)  # nan is nan


def _read(found: Any) -> list[Counted]:
    try:
        all_ = [
            (int(count), None if step is None else int(step), float(value), "".join(map(str, source)))
            for count, step, value, *source in found or ()  # workers of an earlier version know no sources
        ]
    except (TypeError, ValueError, OverflowError):
        return []
    return [counted for counted in all_ if is_storable(counted[0]) and is_storable(counted[1] or 0)]


def outcome_of(run: Run, begun: float, ended: JobOutcome) -> Outcome:
    if ended.kind == "stopped":
        return stopped(run, begun, "stopped")
    if ended.kind == "lost":
        # Several workers died with it: the script is blamed, and it is not retried.
        blamed = ended.attempt - ended.preemptions >= ATTEMPTS or ended.attempt >= TRIES
        return replace(lost(run, begun, ended.reason), failure="crash" if blamed else "lost")
    try:
        outcome = Outcome.from_json(ended.body["outcome"])
    except (KeyError, ValueError):
        return lost(run, begun, "its worker wrote an outcome that cannot be read")
    return replace(outcome, number=run.number, attempt=run.attempt)


def lost(run: Run, begun: float, reason: str) -> Outcome:
    """Return an outcome for a run whose result is unknown."""
    return replace(stopped(run, begun, reason), stopped=False, failure="lost")


def stopped(run: Run, begun: float, reason: str) -> Outcome:
    now = time.time()
    duration = max(0.0, now - begun)
    return Outcome(run.number, run.attempt, None, None, storable(reason), begun, now, duration, stopped=True)


def on_our_clock(outcome: Outcome, earliest: float) -> Outcome:
    """Return the outcome with times of this machine's clock, as the worker's may be wrong by hours.

    An outcome that started before `earliest`, or ends in the future, ended now; the duration was measured and is right.
    """
    now = time.time()
    if earliest <= outcome.started and outcome.finished <= now:
        return outcome
    return replace(outcome, started=now - outcome.duration, finished=now)
