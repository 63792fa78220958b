"""`Driver`: fills free slots from the search, takes outcomes, writes the record. One thread, one loop:

signals, requests, limits -> [ outcomes told, free slots asked ] in one commit -> shown, started -> poll
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from studio import requests
from studio.abilities import abilities_of
from studio.errors import Stalled, StoreError
from studio.experiment import Experiment, Outcome, Report, Run, Status
from studio.failures import FailureWatch
from studio.host import blame
from studio.interfaces import Backend
from studio.interrupts import Interrupts
from studio.keeping import KeptWorkspaces
from studio.metrics import Summary, judge
from studio.observer import Observer, Progress
from studio.plan import Plan
from studio.repeats import Repeats
from studio.search import Search
from studio.space import Suggestion
from studio.store import Store

POLL = 0.25  # seconds: how soon a request, a signal or a limit is noticed while nothing ends
ANSWERS_AT_ONCE = 100  # repeats answered before the loop looks at its limits again
EXHAUSTED = 500  # answers without a new value, after which there is nothing more to find
ENDINGS = {
    "exhausted": "only values that were seen before are suggested any more",
    "failed": "the search broke off",
    "failures": "ended because nothing worked",
    "interrupted": "interrupted",
    "stopped": "stopped",
    "time": "the time is over",
}


@dataclass
class _Slot:
    run: Run
    summary: Summary
    written: float | None = None  # the metric value that the record has
    reports: int = 0
    pruned: bool = False  # the optimizer asked for its end


class Driver:
    def __init__(self, plan: Plan, search: Search, store: Store, backend: Backend, observer: Observer):
        self.plan, self.search, self.store, self.backend, self.observer = plan, search, store, backend, observer
        self.project = store.folder
        self.ending = "failed"  # why the search is over: done, time, failures, stopped, interrupted; or it broke off
        self.progress = Progress(plan.metric, plan.size)
        self._abilities = abilities_of(plan.optimizer)
        self._interrupts = Interrupts()
        self._slots: dict[int, _Slot] = {}
        self._attempts: dict[int, int] = {}  # the latest attempt of each number
        self._begun_attempts: set[int] = set()  # whose latest attempt waits, or was cut off with an earlier driver
        self._retries: deque[int] = deque()
        self._ahead: deque[Suggestion] = deque()  # asked and durable, waiting for a slot
        self._repeats = Repeats()
        self._failures = FailureWatch()
        self._give_up = ""  # why nothing new should be started
        self._answers_in_a_row = 0
        self._workspaces = KeptWorkspaces(plan.settings.keep)
        self._draining = False
        self._stage = 0  # how hard the running ones were asked to end: 0 not at all, 1 politely, 2 killed
        self._begun = self._flushed = time.monotonic()
        requests.drop_stops(self.project)
        self._take_up()

    def run(self) -> str:
        """Carry the search to its end; returns why it ended."""
        self.observer.begun(self.project.name, self.progress)
        with self._interrupts.heard():  # while closing, too: an impatient Ctrl-C must not leave processes behind
            try:
                self._loop()
            finally:
                try:
                    with blame(self.backend, "close"):
                        self.backend.close()
                finally:
                    self._wind_up()
        return self.ending

    def _loop(self) -> None:
        events: Sequence[Report | Outcome] = ()
        while True:
            self._look_around()
            moved = self._step(events)
            if not self._slots and self._is_over(moved):
                return
            with blame(self.backend, "poll"):
                events = self.backend.poll(POLL) if self._slots else ()
            self.progress.elapsed = time.monotonic() - self._begun
            self.observer.tick(self.progress)

    def _wind_up(self) -> None:
        with contextlib.suppress(StoreError):  # whatever broke the loop is the error to show
            self.store.set_meta("state", {"state": self.ending, "at": time.time()})
        self.observer.ended(self.progress)
        if self.ending != "done":
            self.observer.notice(f"{ENDINGS[self.ending]}; go on with: studio resume {self.project.name}")

    # --- one turn of the loop ---------------------------------------------------------------------------------------

    def _step(self, events: Sequence[Report | Outcome]) -> bool:
        """Outcomes are told and free slots asked in one commit; only then is anything shown or started."""
        ended: list[Experiment] = []
        runs: list[Run] = []
        with self.store.transaction():
            for event in events:
                if isinstance(event, Report):
                    self._take_report(event)
                else:
                    ended += self._take_outcome(event)
            self._write_live_metrics()
            given_up = bool(self._give_up) and not self._draining
            if given_up:
                self._end("failures", 0)
            while len(self._slots) < self.plan.settings.num_workers and not self._draining:
                suggestion = self._next(ended)
                if suggestion is None:
                    break
                runs.append(self._occupy(suggestion))
            self._ask_ahead()
        for experiment in ended:
            self._show(experiment)
        if given_up:
            self.observer.notice(self._give_up)
        for run in runs:
            with blame(self.backend, "start"):
                self.backend.start(run)
        return bool(ended or runs)

    def _next(self, ended: list[Experiment]) -> Suggestion | None:
        """The next suggestion to run. Those seen before are answered on the way, into `ended`."""
        if self._retries:
            return self.search.suggestion(self._retries.popleft())
        for _ in range(ANSWERS_AT_ONCE):
            suggestion = self._ahead.popleft() if self._ahead else self.search.ask()
            if suggestion is None or self.plan.settings.repeat:
                return suggestion
            known = self._repeats.first_with(suggestion)
            if known is None:
                self._answers_in_a_row = 0
                return suggestion
            if known in self._slots or known in self._retries:
                self._repeats.wait(known, suggestion)
            else:
                ended.append(self._answer(suggestion, known))
                self._answers_in_a_row += 1
        if self._answers_in_a_row >= EXHAUSTED:
            self._end("exhausted", 0)
        return None

    def _occupy(self, suggestion: Suggestion) -> Run:
        number = _number(suggestion)
        if number in self._begun_attempts:
            self._begun_attempts.remove(number)  # the same one: the backend attaches to it, or repeats it
        else:
            self._attempts[number] = self._attempts.get(number, 0) + 1
        self.store.attempt_started(number, self._attempts[number])
        self._repeats.note(number, suggestion.values)
        run = self.plan.run_of(suggestion, self._attempts[number], self.project)
        self._slots[number] = _Slot(run, Summary(self.plan.metric))
        self.progress.running[number] = (suggestion.values, time.monotonic(), None)
        return run

    def _ask_ahead(self) -> None:
        """An optimizer that does not wait for fitness fills the next slots in the same commit."""
        while (
            not self.plan.optimizer.needs_fitness
            and not self._draining
            and len(self._ahead) < self.plan.settings.num_workers
        ):
            suggestion = self.search.ask()
            if suggestion is None:
                break
            self._ahead.append(suggestion)

    # --- what came back ---------------------------------------------------------------------------------------------

    def _take_report(self, report: Report) -> None:
        slot = self._slots.get(report.number or 0)
        if slot is None or slot.run.attempt != report.attempt:
            return
        slot.summary.add(report.value)
        slot.reports += 1
        if "reports" in self._abilities and not slot.pruned and math.isfinite(report.value):
            step = slot.reports if report.step is None else report.step
            slot.pruned = self.search.report(slot.run.number, step, self.plan.sign * report.value)
            if slot.pruned:
                self.backend.stop(slot.run.number, kill=False)

    def _take_outcome(self, outcome: Outcome) -> Iterator[Experiment]:
        slot = self._slots.get(outcome.number)
        if slot is None or slot.run.attempt != outcome.attempt:
            return  # a second word about an attempt that is over
        del self._slots[outcome.number], self.progress.running[outcome.number]
        pruned = f"{self.plan.optimizer.name} ended it after {slot.reports} reports" if slot.pruned else ""
        status, reason = judge(outcome, slot.summary, required=self.plan.metric_required, pruned=pruned)
        value = slot.summary.value if slot.summary.finite else None
        self.store.attempt_ended(replace(outcome, reason=reason), status, value)
        if status == "stopped":
            self._repeats.forget(outcome.number, slot.run.values)
            self._ahead.extend(self._repeats.release(outcome.number))
        else:
            self._tell(outcome.number, status, value, outcome.duration)
        experiment = self.store.experiment(outcome.number, self.plan.metric)
        self._give_up = self._failures.hopeless(experiment) or self._give_up
        yield experiment
        for suggestion in self._repeats.release(outcome.number):
            yield self._answer(suggestion, outcome.number)

    def _answer(self, suggestion: Suggestion, known: int) -> Experiment:
        """The outcome of experiment `known`, which had the same values."""
        number, now = _number(suggestion), time.time()
        record = self.store.experiment(known, self.plan.metric)
        value = record.metric["value"] if record.metric else None
        reason = f"same values as experiment {known}: answered from the record"
        self._attempts[number] = 1
        self.store.attempt_ended(Outcome(number, 1, record.exit_code, None, reason, now, now), record.status, value)
        self._tell(number, record.status, value, record.duration or 0.0)
        return self.store.experiment(number, self.plan.metric)

    def _tell(self, number: int, status: Status, value: float | None, duration: float) -> None:
        """The one place where a metric becomes a fitness, which is maximised."""
        fitness = None if status == "failed" or value is None else self.plan.sign * value
        self.search.tell(number, fitness, cost=duration if "cost" in self._abilities else None)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _is_over(self, moved: bool) -> bool:
        """With nothing running: whether that is all."""
        if self._draining:
            return True
        if self.search.done and not self._retries and not self._ahead:
            self.ending = "done"
            return True
        if not moved:
            raise Stalled(self.search.stalled_text())
        return False

    def _look_around(self) -> None:
        """Whatever ends the search early: signals, requests, its time."""
        if self._interrupts.count:
            self._end("interrupted", self._interrupts.count - 1)
        for file, request in requests.pending(self.project):
            with self.store.transaction():
                self._take_request(request)
            file.unlink()
        limit = self.plan.settings.max_time
        if limit is not None and time.monotonic() - self._begun >= limit:
            self._end("time", 1)

    def _take_request(self, request: requests.Request) -> None:
        if request.action == "retry":
            told = {experiment.number for experiment in self.search.experiments} - set(self.search.untold)
            for number in request.numbers:
                if number in told and number not in self._slots and number not in self._retries:
                    self._queue_retry(number)
        elif request.numbers:
            for number in request.numbers:
                self.backend.stop(number, kill=False)
        else:
            self._end("stopped", 1)

    def _queue_retry(self, number: int) -> None:
        self._attempts[number] = self._attempts.get(number, 0) + 1
        self._begun_attempts.add(number)
        self.store.attempt_queued(number, self._attempts[number])  # else it would be forgotten with this driver
        self._retries.append(number)

    def _end(self, why: str, stage: int) -> None:
        """No new experiments. Stage 0 lets the running ones end, 1 asks them to, 2 kills them."""
        if not self._draining:
            self._draining, self.ending = True, why
            if why == "interrupted" and stage == 0 and self._slots:
                self.observer.notice(
                    f"waiting for {len(self._slots)} running experiments (Ctrl-C again ends them, once more kills them)"
                )
        if stage > self._stage:
            self._stage = stage
            for number in self._slots:
                self.backend.stop(number, kill=stage > 1)

    # --- showing ----------------------------------------------------------------------------------------------------

    def _show(self, experiment: Experiment) -> None:
        self.progress.count(experiment)
        self._update_best()
        self._workspaces.ended(experiment, self.progress.best)
        self.observer.finished(experiment, self.progress)

    def _update_best(self) -> None:
        best = self.search.best
        if best is None or self.progress.best is None or best.number != self.progress.best.number:
            self.progress.best = best and self.store.experiment(best.number, self.plan.metric)

    def _write_live_metrics(self) -> None:
        """Live values reach the record once a second, not once a report."""
        if time.monotonic() - self._flushed < 1.0:
            return
        self._flushed = time.monotonic()
        for number, slot in self._slots.items():
            if slot.summary.finite and slot.summary.value != slot.written:
                slot.written = slot.summary.value
                self.store.attempt_metric(number, slot.run.attempt, slot.written)
                values, started, _ = self.progress.running[number]
                self.progress.running[number] = (values, started, slot.written)

    # --- resuming ---------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """What earlier sessions left: attempts, runs that were cut off, values seen, counts."""
        untold = set(self.search.untold)
        for experiment in self.store.experiments(self.plan.metric):
            if experiment.folder is not None:
                self._attempts[experiment.number] = experiment.attempt
            unended = experiment.status in ("running", "queued") and experiment.folder is not None
            if unended:
                self._begun_attempts.add(experiment.number)
            if (unended or experiment.status == "stopped") and experiment.number not in untold:
                self._retries.append(
                    experiment.number
                )  # of a retry: the search knows it as told and does not ask again
            if experiment.status in ("completed", "failed", "pruned"):
                self._repeats.note(experiment.number, experiment.values)
                self.progress.count(experiment)
                self._failures.any_completed |= experiment.status == "completed"
        self._update_best()
        self._workspaces.best = self.progress.best
        self.progress.session_finished = 0


def _number(suggestion: Suggestion) -> int:
    assert suggestion.number is not None  # `Search` numbers whatever it gives out
    return suggestion.number
