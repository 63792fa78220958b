"""What a driver hears of a run whose job has ended. Its body was written by another machine: nothing in it is trusted."""

import time
from dataclasses import replace

from studio.backends.queue.lease_records import ATTEMPTS, TRIES, JobOutcome
from studio.experiment import Outcome, Run, storable


def outcome_of(run: Run, begun: float, ended: JobOutcome) -> Outcome:
    if ended.kind == "stopped":
        return stopped(run, begun, "stopped")
    if ended.kind == "lost":
        # Several workers went with it: that is held against the script, and it is not tried yet again.
        blamed = ended.attempt - ended.preemptions >= ATTEMPTS or ended.attempt >= TRIES
        return replace(lost(run, begun, ended.reason), failure="crash" if blamed else "lost")
    try:
        outcome = Outcome.from_json(ended.body["outcome"])
    except (KeyError, ValueError):
        return lost(run, begun, "its worker wrote an outcome that cannot be read")
    return replace(outcome, number=run.number, attempt=run.attempt)


def lost(run: Run, begun: float, reason: str) -> Outcome:
    """Nobody knows what came of it."""
    return replace(stopped(run, begun, reason), stopped=False, failure="lost")


def stopped(run: Run, begun: float, reason: str) -> Outcome:
    now = time.time()
    duration = max(0.0, now - begun)
    return Outcome(run.number, run.attempt, None, None, storable(reason), begun, now, duration, stopped=True)


def on_our_clock(outcome: Outcome, earliest: float) -> Outcome:
    """The clock of its worker may be wrong by hours. What began before `earliest`, or has not ended yet, ended now; how
    long it took was measured and is right."""
    now = time.time()
    if earliest <= outcome.started and outcome.finished <= now:
        return outcome
    return replace(outcome, started=now - outcome.duration, finished=now)
