"""The driver of a search: fills free slots, takes outcomes, writes the record. One thread, one loop:

signals, requests, limits -> [ outcomes told, free slots asked ] in one commit -> copied, shown, started -> poll
"""

import contextlib
import hashlib
import heapq
import json
import math
import shlex
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.errors import BadInput, EndSearch, PluginFailed, Stalled, StoreError
from studio.execution.final_status import classify_outcome
from studio.execution.metric_value import MetricValue
from studio.execution.metrics_seen import metric_to_take
from studio.experiment import FINISHED, Experiment, Outcome, Report, Run, Status, plain
from studio.format import about, counted
from studio.host import backend_fields, plugin_call
from studio.interfaces import Backend
from studio.project import inbox
from studio.project.backup import Backups
from studio.project.store import Store
from studio.project.summary import STATES
from studio.search.ask_tell.search import Search
from studio.search.loop.attempts import Attempts
from studio.search.loop.give_up import FailureWatch
from studio.search.loop.handle_requests import Control
from studio.search.loop.stop_rules import StopRules
from studio.search.observer import Observer, Progress
from studio.search.plan.plan import Plan
from studio.settings import command_line
from studio.space import Space, Suggestion
from studio.system.copying import remove_tree
from studio.system.files import is_full
from studio.system.signals import WORDS, Interrupts

WRITE_EVERY = 0.3  # seconds between two writes of live values: often enough for the dashboard
POLL = 0.25  # seconds: how soon a request, a signal or a limit is noticed while nothing ends
ANSWERS_AT_ONCE = 100  # repeats answered before the loop checks its limits again
MOST_WAITING = 100  # repeats of what still runs: an optimizer that knows nothing else would fill the journal with them
DIVERGED = 3  # reports in a row that are no number, after which a search with pruning ends the run
FEW_REPORTS = 3  # completed experiments after which the user is told that pruning has nothing to decide by
EXHAUSTED = 500  # answers without a new value after which the search ends


@dataclass
class RunningExperiment:
    """State of a running experiment."""

    run: Run
    summary: MetricValue
    slot: int  # from 0, the lowest that was free
    written: float | None = None  # the metric value that the record has
    reports: int = 0  # of the source that counts
    not_finite: int = 0  # reports in a row that are nan or infinite
    pruned: bool = False  # whether the pruner or the optimizer asked to end it
    pruned_at: int = 0  # number of reports then
    diverged: bool = False  # whether it was asked to end because its metric is no number any more


class LiveMetrics:
    """Writer of the latest metric values of running experiments into the record."""

    def __init__(self, store: Store, clock: Callable[[], float]):
        self._store = store
        self._clock = clock
        self._written = clock()

    def write(self, slots: Mapping[int, RunningExperiment], progress: Progress) -> None:
        """Write the values of running experiments to the record and the display, every `WRITE_EVERY` seconds."""
        if self._clock() - self._written < WRITE_EVERY:
            return
        self._written = self._clock()
        for number, slot in slots.items():
            if slot.summary.finite and slot.summary.value != slot.written:
                slot.written = slot.summary.value
                self._store.attempt_metric(number, slot.run.attempt, slot.written)
                values, started, _ = progress.running[number]
                progress.running[number] = (values, started, slot.written)


class KeptWorkspaces:
    """Policy for the workspaces of ended experiments: `--keep all|best|none`."""

    def __init__(self, keep: str):
        self._keep = keep
        self.best: Experiment | None = None  # its workspace is kept under `best`

    def ended(self, experiment: Experiment, best: Experiment | None) -> None:
        """Remove workspaces that are no longer kept, now that `experiment` has ended and `best` is the best."""
        drop: Experiment | None = experiment
        if self._keep == "best" and best is not None and best.number == experiment.number:
            drop, self.best = self.best, experiment
        if drop is not None and drop.folder is not None:
            self.remove(drop.folder)

    def remove(self, folder: str) -> None:
        """Remove the workspace of the attempt in `folder`, which cannot be the best."""
        if self._keep != "all":
            with contextlib.suppress(OSError):
                remove_tree(Path(folder) / "workspace")


class DuplicateValues:
    """The first experiment of each set of values, and suggestions that wait for a running one."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._first: dict[bytes, int] = {}
        self._outside: set[bytes] = set()  # values by hand, outside of the ranges
        self._waiting: dict[int, list[Suggestion]] = {}

    def add(self, number: int, values: dict[str, Any]) -> None:
        name = _identity(values)
        self._first.setdefault(name, number)
        if self._space.combinations < math.inf:
            try:
                self._space.point(values)
            except BadInput:
                self._outside.add(name)

    @property
    def all_tried(self) -> bool:
        """Return whether all values in the ranges were tried; never for a range of real numbers."""
        return len(self._first) - len(self._outside & self._first.keys()) >= self._space.combinations

    def original(self, suggestion: Suggestion) -> int | None:
        """Return the number of another experiment with these values; None if there is none."""
        number = self._first.get(_identity(suggestion.values))
        return None if number == suggestion.number else number

    @property
    def waiting(self) -> int:
        """Number of waiting suggestions."""
        return sum(map(len, self._waiting.values()))

    def wait(self, number: int, suggestion: Suggestion) -> None:
        self._waiting.setdefault(number, []).append(suggestion)

    def release(self, number: int) -> list[Suggestion]:
        """Return the suggestions that waited for experiment `number`."""
        return self._waiting.pop(number, [])

    def remove(self, number: int, values: dict[str, Any]) -> None:
        """Forget experiment `number`, which gave no outcome: the next one with its values has to run."""
        if self._first.get(_identity(values)) == number:
            del self._first[_identity(values)]


def _identity(values: dict[str, Any]) -> bytes:
    """Return a short name of `values`: a search holds one for each experiment."""
    text = json.dumps({name: plain(value) for name, value in values.items()}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Driver:
    def __init__(
        self,
        plan: Plan,
        search: Search,
        store: Store,
        backend: Backend,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.plan, self.search, self.store, self.backend, self.observer = plan, search, store, backend, observer
        self.project = store.folder
        self.ending = "failed"  # a key of `STATES`; "failed" until the loop has ended without an error
        self.progress = Progress(plan.metric, search.size)
        self._interrupts = Interrupts()
        self._slots: dict[int, RunningExperiment] = {}
        self._free: list[int] = []  # a heap of slots that were given back
        self._attempts = Attempts(store, plan.settings.retry_failed)
        self._backups = Backups(store, clock)
        self._live = LiveMetrics(store, clock)
        self._clock, self._begun = clock, clock()
        self._words: list[str] = []  # messages for the user, shown after the commit
        self._sources: set[str] = set()  # sources of the metric that the user was told
        self._without_metric = ""  # the reason of the last experiment, if it had no metric, as all before it
        self._unranked = False  # whether the user was told that experiments have no fitness
        self._ahead: deque[Suggestion] = deque()  # asked and durable, waiting for a slot
        self._repeats = DuplicateValues(search.space)
        self._failures = FailureWatch(plan.optimizer.needs_fitness)
        self._stop_rules = StopRules(plan.settings, plan.sign, search.space.dimensions)
        self._rule_end = ("", "")  # a key of `STATES` and a message, once a stop rule has decided
        self._most_reports: list[
            int
        ] = []  # reports of each completed run, while the user was not told that they are few
        self._give_up = ""  # why nothing new should be started
        self._answers_in_a_row = 0
        self._workspaces = KeptWorkspaces(plan.settings.keep)
        self._draining = False
        self._stage = 0  # how running experiments were asked to end: 0 not at all, 1 gracefully, 2 killed
        self._restore()
        self._control = Control(plan, search, store, self._attempts, self.progress)

    def run(self) -> str:
        """Run the search to its end; return why it ended."""
        self.observer.begun(self.project.name, self.progress)
        with self._interrupts.heard():  # while closing, too: another Ctrl-C must not leave processes behind
            try:
                self._loop()
                self._recommend()
                self._say_savings()
            finally:
                try:
                    with plugin_call(self.backend, "close"):
                        self.backend.close()
                finally:
                    self._wind_up()
        return self.ending

    def _recommend(self) -> None:
        """Write down which experiment is the best by the optimizer's model, where it has an opinion."""
        try:
            recommended = self.search.recommended
        except PluginFailed as error:  # all that was searched is there
            self.observer.notice(str(error))
            return
        if recommended is not None or self.store.meta("recommended") is not None:
            self.store.set_meta("recommended", recommended and recommended.number)

    def _loop(self) -> None:
        events: Sequence[Report | Outcome] = ()
        while True:
            if self.turn(events):
                return
            try:
                with plugin_call(self.backend, "poll"):
                    events = self.backend.poll(POLL) if self._slots else self._control.rest(POLL)
            except EndSearch as end:
                events = ()
                self.observer.notice(str(end))
                self._end(end.ending, 1)
            self.progress.elapsed = self._clock() - self._begun
            self.observer.tick(self.progress)

    def _wind_up(self) -> None:
        self.observer.ended(self.progress)
        if self.ending != "done" and self.project.is_dir():
            self.observer.notice(f"{STATES[self.ending].ending}; {self._way_on()}")
        elif self._ends_early:
            self.observer.notice(self.search.done_reason)
        elif self.progress.finished and not self.progress.session_finished:
            more = f"; for more: studio resume {self.project.name} --max-experiments={2 * self.progress.finished}"
            self.observer.notice(f"nothing was left to run{'' if self._all_suggested else more}")
        try:
            self.store.end_session(self.ending)
            if problem := self._backups.write_last():
                self.observer.notice(problem)
        except StoreError:
            if self.ending != "failed":  # else show the error that ended the loop
                raise

    @property
    def _all_suggested(self) -> bool:
        """Return whether more experiments would find nothing to try."""
        return self.plan.optimizer.grid or self.search.max_experiments is None

    @property
    def _ends_early(self) -> bool:
        """Return whether an optimizer without a natural end has no more suggestions for the rest of the budget."""
        most = self.search.max_experiments
        return bool(
            self.progress.session_finished and not self.plan.optimizer.grid and most and self.progress.finished < most
        )

    def _way_on(self) -> str:
        """Return the command that continues; for a search that had no metric, the search to run in its place."""
        resume = f"studio resume {self.project.name}"
        settings = self.plan.settings
        if self.ending == "target":
            return f"for more, give a target further on: {resume} --target=VALUE"
        if self.ending == "patience" and settings.patience is not None:
            return f"for more: {resume} --patience={2 * settings.patience}"
        if self.ending == "failures" and settings.max_failures is not None and self._rule_end[0] == "failures":
            return f"continue with: {resume} --max-failures={2 * settings.max_failures}"
        if self.ending != "failures" or not self._without_metric:
            return f"continue with: {resume}"
        metric = metric_to_take(self._without_metric)
        if not metric:
            return f"let the script print its metric, then: {resume} --accept-changes; or name another: studio run --metric=NAME"
        further = "" if self.plan.optimizer.needs_fitness else f"; or go on, if other values give it: {resume}"
        settings = replace(self.plan.settings, metric=metric, direction=None)
        words = command_line(settings, backend_fields(self.plan.backend))
        return f"search by a metric that it has: {shlex.join(words)}{further}"

    # --- one turn of the loop ---------------------------------------------------------------------------------------

    def turn(self, events: Sequence[Report | Outcome]) -> bool:
        """Take events from the backend and start what is next. Return whether the search has ended."""
        self._check_limits()
        moved = self._commit_turn(events)
        return not self._slots and self._is_over(moved)

    def _commit_turn(self, events: Sequence[Report | Outcome]) -> bool:
        """Tell outcomes and fill free slots in one commit, then show and start experiments. Return whether anything changed."""
        ended: list[Experiment] = []
        runs: list[Run] = []
        with self.store.transaction():
            for event in events:
                if isinstance(event, Report):
                    self._take_report(event)
                else:
                    ended += self._take_outcome(event)
            self._live.write(self._slots, self.progress)
            if self._give_up and not self._draining:
                self._words.append(self._give_up)
                self._end("failures", 0)
            if self._rule_end[0] and not self._draining:
                self._words.append(self._rule_end[1])
                self._end(self._rule_end[0], 1 if self._rule_end[0] == "target" else 0)
            while len(self._slots) < self.plan.settings.num_workers and not self._accepts_no_new:
                suggestion = self._next(ended)
                if suggestion is None:
                    break
                runs.append(self._assign_slot(suggestion))
            self._ask_ahead()
        self._words += filter(None, [self._backups.write_if_due()])
        for experiment in ended:
            self._show(experiment)
        while self._words:
            self.observer.notice(self._words.pop(0))
        self.store.check_fence()  # a driver that was paused and lost its project starts nothing
        for run in runs:
            with plugin_call(self.backend, "start"):
                self.backend.start(run)
        return bool(ended or runs)

    def _next(self, ended: list[Experiment]) -> Suggestion | None:
        """Return the next suggestion to run, or None. Repeats of earlier values are answered, into `ended`."""
        if self._attempts:
            return self.search.suggestion(self._attempts.next())
        for _ in range(ANSWERS_AT_ONCE):
            if self._repeats.waiting >= MOST_WAITING:
                return None
            suggestion = self._ahead.popleft() if self._ahead else self.search.ask()
            if suggestion is None or self.plan.settings.repeat:
                return suggestion
            known = self._repeats.original(suggestion)
            if known is None:
                self._answers_in_a_row = 0
                return suggestion
            if known in self._slots or known in self._attempts:
                self._repeats.wait(known, suggestion)
            else:
                ended.append(self._answer_from_record(suggestion, known))
            if self._repeats.all_tried:
                break
        if self._answers_in_a_row >= (1 if self._repeats.all_tried else EXHAUSTED):
            self._end("exhausted", 0)
        return None

    def _assign_slot(self, suggestion: Suggestion) -> Run:
        number = _number(suggestion)
        slot = heapq.heappop(self._free) if self._free else len(self._slots)
        attempt = self._attempts.start(number, self.plan.snapshot, slot)
        self._repeats.add(number, suggestion.values)
        run = self.plan.run_of(suggestion, attempt, self.project)
        self._slots[number] = RunningExperiment(run, MetricValue(self.plan.metric), slot)
        self.progress.running[number] = (suggestion.values, self._clock(), None)
        return run

    def _ask_ahead(self) -> None:
        """Ask for the next slots' suggestions in the same commit, if the optimizer does not wait for fitness."""
        waits, slots = self.plan.optimizer.needs_fitness, self.plan.settings.num_workers
        while not waits and not self._accepts_no_new and len(self._ahead) < slots:
            suggestion = self.search.ask()
            if suggestion is None:
                break
            self._ahead.append(suggestion)

    # --- what came back ---------------------------------------------------------------------------------------------

    def _take_report(self, report: Report) -> None:
        slot = self._slots.get(report.number or 0)
        if slot is None or slot.run.attempt != report.attempt:
            return
        if report.source != slot.summary.source:
            slot.reports = 0
        slot.summary.add(report.value, report.source)
        slot.reports += 1
        if slot.pruned or slot.diverged:
            return
        own_rule = self.plan.optimizer.takes("reports")
        if not math.isfinite(report.value):
            slot.not_finite += 1
            slot.diverged = self.search.pruning is not None and slot.not_finite >= DIVERGED
        else:
            slot.not_finite = 0
            value = report.value if own_rule or slot.summary.value is None else slot.summary.value
            if own_rule or self.search.pruning is not None:
                step = slot.reports if report.step is None else report.step
                fitness = self.plan.sign * value
                slot.pruned = self.search.report(slot.run.number, step, fitness, reports=slot.reports)
                slot.pruned_at = slot.reports
        if slot.pruned or slot.diverged:
            self._stop(slot.run.number)

    def _take_outcome(self, outcome: Outcome) -> Iterator[Experiment]:
        slot = self._slots.get(outcome.number)
        if slot is None or slot.run.attempt != outcome.attempt:
            return  # a second outcome of an ended attempt
        del self._slots[outcome.number], self.progress.running[outcome.number]
        heapq.heappush(self._free, slot.slot)
        if outcome.failed and is_full(self.project):  # not caused by its values: runs again on resume
            outcome = replace(outcome, stopped=True, reason=f"the disk was full: {outcome.reason}")
        if outcome.stopped and outcome.failure == "lost":
            self._words.append(f"#{outcome.number} was not started: {outcome.reason}")
            self._end("no-room", 0)
        status, reason, failure = classify_outcome(
            outcome,
            slot.summary,
            required=self.plan.metric_required,
            pruned=self._why_pruned(slot),
            diverged=slot.diverged,
        )
        value = slot.summary.value if slot.summary.finite else None
        self._say_source(slot.summary)
        if status == "completed" and value is None and not self._unranked:
            self._unranked = True
            self._words.append(f"experiment {outcome.number} has no fitness and is not ranked: {outcome.reason}")
        self._say_few_reports(slot, status)
        self.store.attempt_ended(replace(outcome, reason=reason, failure=failure), status, value)
        if status == "failed" and (left := self._attempts.retries_left(outcome.number, failure)) > 0:
            attempt = self._attempts.queue_retry(outcome.number)
            self._workspaces.remove(slot.run.folder)
            self._words.append(
                f"#{outcome.number} failed ({reason}); attempt {attempt} follows, retries left: {left - 1}"
            )
            return
        if status == "stopped":
            self._repeats.remove(outcome.number, slot.run.values)
            self._ahead.extend(self._repeats.release(outcome.number))
        else:
            self._tell(outcome.number, status, value, outcome.duration, failure)
        experiment = self.store.experiment(outcome.number, self.plan.metric)
        self._words += filter(None, [self._failures.advice(experiment, self.plan.command[0], self.plan.source)])
        nothing = failure == "metric" and slot.summary.value is None
        self._without_metric = reason if nothing and not self._failures.any_completed else ""
        self._give_up = self._failures.add(experiment, without_metric=nothing) or self._give_up
        if status != "stopped" and not self._rule_end[0]:
            self._rule_end = self._stop_rules.add(experiment)
        if failure in self.plan.settings.on_failure:
            self._give_up = f"experiment {outcome.number} failed, which ends this search (--on-failure): {reason}"
        yield experiment
        for suggestion in self._repeats.release(outcome.number):
            yield self._answer_from_record(suggestion, outcome.number)

    def _why_pruned(self, slot: RunningExperiment) -> str:
        """Return the reason of a run that was ended early, such as `pruned at 5/52`; an empty text for another run."""
        if not slot.pruned:
            return ""
        if self.search.pruning is None:
            return f"{self.plan.optimizer.name} ended it after {slot.reports} reports"
        usual = self.search.pruning.usual_reports
        return f"pruned at {slot.pruned_at}{'' if usual is None else f'/{usual}'}"

    def _say_few_reports(self, slot: RunningExperiment, status: Status) -> None:
        """Tell the user once if the runs report too seldom for pruning to decide."""
        pruning = self.search.pruning
        if pruning is None or status != "completed" or len(self._most_reports) >= FEW_REPORTS:
            return
        self._most_reports.append(slot.reports)
        most = max(self._most_reports)
        if len(self._most_reports) == FEW_REPORTS and most < pruning.pruner.after:
            name = self.plan.metric.name
            have = f"have {counted(most, 'value')} of {name} at most, and {pruning.pruner.name} first decides at value"
            self._words.append(
                f"--prune stops nothing here: the runs {have} {pruning.pruner.after}"
                + ("" if most < 2 else f"; to decide earlier, write --prune-after={max(1, most // 3)}")
            )

    def _say_savings(self) -> None:
        """Tell the user what pruning saved, and whether a run that ran again is the best."""
        pruning = self.search.pruning
        if pruning is None or not pruning.stopped or not pruning.usual_reports:
            return
        found = list(self.store.experiments(self.plan.metric))
        whole = [each.duration for each in found if each.status == "completed" and each.duration is not None]
        if not whole:
            return
        usual, again = statistics.median(whole), pruning.was_rerun
        spent = sum(each.duration or 0.0 for each in found)
        lost = sum(usual * run.reports / pruning.usual_reports for run in pruning.stopped if run.number in again)
        saved = sum(max(0.0, usual - (each.duration or 0.0)) for each in found if each.status == "pruned") - lost
        words = f"{counted(len(pruning.stopped), 'run')} stopped early"
        if saved > 0:
            words += f"; that saved about {about(saved)} of {about(spent + saved)} of the script's time"
        if again:
            best = self.search.best
            won = f"#{best.number} is the best" if best is not None and best.number in again else "none is the best"
            words += f"; {len(again)} of them ran again to the end: {won}"
        self.observer.notice(f"pruning: {words}")

    def _queue_reruns(self) -> bool:
        """Queue the stopped runs that the pruner wants to run to their end. Return whether there are any."""
        if self.search.pruning is None:
            return False
        with self.store.transaction():
            before = self.store.meta("reruns") or []
            numbers = [number for number in self.search.pruning.choose_reruns() if number not in before]
            self.store.set_meta("reruns", [*before, *numbers])
            for number in numbers:
                self._attempts.queue_retry(number)
        if numbers:
            which = ", ".join(f"#{number}" for number in numbers)
            self.observer.notice(f"{which} did best among the stopped runs at a checkpoint; running again to the end")
        return bool(numbers)

    def _say_source(self, summary: MetricValue) -> None:
        """Tell the user the metric's source, once for each: a metric without a prefix may have several."""
        if summary.source not in {"", *self._sources}:
            self._sources.add(summary.source)
            self._words.append(f"{self.plan.metric.name} is read from {summary.source}")

    def _answer_from_record(self, suggestion: Suggestion, known: int) -> Experiment:
        """Record the outcome of experiment `known`, which had the same values, for `suggestion`."""
        self._answers_in_a_row += 1
        number, now = _number(suggestion), time.time()
        record = self.store.experiment(known, self.plan.metric)
        value = record.metric["value"] if record.metric else None
        reason = f"same values as experiment {known}: answered from the record"
        self._attempts.set_answered(number)
        answer = Outcome(number, 1, record.exit_code, None, reason, now, now, failure=record.failure)
        self.store.attempt_ended(answer, record.status, value)
        self._tell(number, record.status, value, record.duration or 0.0, record.failure)
        return self.store.experiment(number, self.plan.metric)

    def _tell(self, number: int, status: Status, value: float | None, duration: float, failure: str) -> None:
        """Tell the search the fitness, which is maximised; the only place where a metric becomes a fitness."""
        fitness = None if status == "failed" or value is None else self.plan.sign * value
        cost = duration if self.plan.optimizer.takes("cost") else None
        heard = failure if failure and self.plan.optimizer.takes("failure") else None
        self.search.tell(number, fitness, cost=cost, failure=heard, pruned=status == "pruned")

    # --- ends -------------------------------------------------------------------------------------------------------

    def _is_over(self, moved: bool) -> bool:
        """Decide whether the search has ended; called when nothing runs."""
        if not self._draining and self.search.done and not self._attempts and not self._ahead:
            if self._queue_reruns():
                return False
            self._end("done", 0)
        elif not self._draining and not moved and not self._control.paused:
            if not self.search.untold:
                raise Stalled(self.search.stalled_text())
            self.observer.notice(
                f"{self.plan.optimizer.name} waits for experiments that you stopped; studio resume runs them again"
            )
            self._end("stopped", 0)
        return self._draining

    def _check_limits(self) -> None:
        """Check what ends the search early: signals, requests, the time limit, a full disk."""
        if self._interrupts.count:
            self._end("interrupted", self._interrupts.count - 1)
        for file, request in inbox.pending(self.project):
            with self._control.taking(file) as is_new:
                if is_new:
                    self._take_request(request)
        if self._clock() - self._begun >= (self._control.max_time or math.inf):
            self._end("time", 1)
        if is_full(self.project):
            self._end("disk", 0)

    def _take_request(self, request: inbox.Request) -> None:
        if request.action != "stop":
            self._words += filter(None, [self._control.take(request, self._slots)])
        elif request.numbers:
            for number in request.numbers:
                self._stop(number)
        else:
            self._end("stopped", 1)

    def _stop(self, number: int, *, kill: bool = False) -> None:
        with plugin_call(self.backend, "stop"):
            self.backend.stop(number, kill=kill)

    @property
    def _accepts_no_new(self) -> bool:
        """Return whether no new experiments are started."""
        return self._draining or self._control.paused

    def _end(self, why: str, stage: int) -> None:
        """Start no new experiments. Stage 0 lets running ones finish, 1 asks them to end, 2 kills them."""
        first, self._draining = not self._draining, True
        self.ending = why if first else self.ending
        if why == "interrupted" and self._slots and (first or stage > self._stage):
            self.observer.notice(WORDS[min(stage, 2)].format(counted(len(self._slots), "running experiment")))
        if stage > self._stage:
            self._stage = stage
            for number in self._slots:
                self._stop(number, kill=stage > 1)

    # --- showing ----------------------------------------------------------------------------------------------------

    def _show(self, experiment: Experiment) -> None:
        self.progress.count(experiment)
        self._update_best(experiment)
        self._workspaces.ended(experiment, self.progress.best)
        self.observer.finished(experiment, self.progress)

    def _update_best(self, ended: Experiment | None = None) -> None:
        best, shown = self.search.best, self.progress.best
        if best is None or shown is None or best.number != shown.number or (ended and ended.number == best.number):
            self.progress.best = best and self.store.experiment(best.number, self.plan.metric)

    # --- resuming ---------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Restore the state from earlier sessions: attempts, interrupted runs, values seen, counts."""
        untold = set(self.search.untold)
        for experiment in self.store.experiments(self.plan.metric):
            self._attempts.restore(experiment, untold=experiment.number in untold)
            if experiment.status in FINISHED:
                self._repeats.add(experiment.number, experiment.values)
                self.progress.count(experiment)
                self._failures.any_completed |= experiment.status == "completed"
                self._rule_end = self._stop_rules.add(experiment)
        self._update_best()
        self._workspaces.best = self.progress.best
        self.progress.session_finished = 0


def _number(suggestion: Suggestion) -> int:
    assert suggestion.number is not None  # `Search` numbers all suggestions
    return suggestion.number
