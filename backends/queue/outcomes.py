"""Outcomes of runs whose jobs have ended. They were written by other machines, and nothing in them is trusted."""

import time
from dataclasses import replace

from studio.backends.queue.lease_records import ATTEMPTS, TRIES, JobOutcome
from studio.experiment import Outcome, Run, storable


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
