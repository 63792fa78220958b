"""The driver in every order of events: a machine that draws them, a backend that starts nothing, a clock that is set by hand.

The search, the journal on disk and the plan are real. After each step the whole record is read and compared with what
must hold (docs/reliability.md); at the end everything is resumed until nothing is left to do.
"""

import math
import os
import random
import sys
from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from studio import hookimpl
from studio.errors import Stalled
from studio.experiment import Report, plain
from studio.host import create_host
from studio.interfaces import Backend, Optimizer
from studio.optimizers.cma_es import CMAES
from studio.optimizers.grid import Grid
from studio.optimizers.random_search import RandomSearch
from studio.project import backup
from studio.project import inbox as requests
from studio.project.inbox import Request
from studio.project.paths import project_folder
from studio.project.project import Project
from studio.project.records import read_events, reading
from studio.project.store import Store
from studio.search.ask_tell.search import Search
from studio.search.create_project import create
from studio.search.loop.driver import Driver
from studio.search.loop.give_up import FIRST, IN_A_ROW
from studio.search.observer import Observer
from studio.search.plan.plan import make_plan
from studio.search.run import make_backend, source_snapshot
from studio.settings import Settings, make_settings
from studio.space import Suggestion
from studio.testing.fakes import outcome_of

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
EXAMPLES, STEPS = (600, 100) if LONG else (10, 40)  # for each optimizer
MAX_TIME = 100.0
FINAL = ("completed", "failed", "pruned", "stopped")
NEVER = -1


class Crash(BaseException):
    """kill -9: nothing of the driver's own runs after it."""


# --- optimizers that write down what they hear ------------------------------------------------------------------------


class Recording(Optimizer):
    """`heard` is what the journal should say: asks and tells, and reports where it takes them, in order."""

    @property
    def heard(self):
        return self.__dict__.setdefault("_heard", [])

    def ask(self):
        suggestion = super().ask()
        if suggestion is not None:
            self.heard.append(("ask", {name: plain(value) for name, value in suggestion.values.items()}))
        return suggestion

    def tell(self, suggestion, fitness):
        self.heard.append(("tell", suggestion.number, fitness, {}))
        super().tell(suggestion, fitness)


class RecordedGrid(Recording, Grid):
    name = "recorded-grid"


class RecordedRandom(Recording, RandomSearch):
    name = "recorded-random"


class RecordedCma(Recording, CMAES):
    name = "recorded-cma"


class Moody(Recording):
    """Repeats itself, waits for all results of three suggestions at a time, ends what reports too little, may have enough."""

    name = "moody"

    def __init__(self, space, *, seed):
        self.random = random.Random(seed)
        self.enough = self.random.choice([5, 8, 10**6])
        self.asked, self.told = 0, set()

    def ask(self):
        if self.done or (self.asked % 3 == 0 and len(self.told) < self.asked):
            return None
        self.asked += 1
        self.done = self.asked == self.enough
        x = self.random.choice([0, 1, 2, 2])
        self.heard.append(("ask", {"x": x}))
        return Suggestion({"x": x})

    def tell(self, suggestion, fitness, cost=None):
        self.heard.append(("tell", suggestion.number, fitness, {} if cost is None else {"cost": cost}))
        self.told.add(suggestion.number)

    def report(self, suggestion, step, fitness):
        self.heard.append(("report", suggestion.number, fitness, {"step": step}))
        return fitness < 0


SPACES = {
    "recorded-grid": st.lists(st.integers(0, 5), min_size=2, max_size=10),
    "recorded-random": st.sampled_from(["0:3:i", "0:1"]),
    "recorded-cma": st.sampled_from(["0:5:i", "0:1"]),
    "moody": st.just("0:2:i"),
}


# --- what the driver is given -----------------------------------------------------------------------------------------


class FragileStore(Store):
    """Dies before or after one of its next statements; what was not committed by then is gone."""

    left, after = NEVER, False

    def __init__(self, folder, lock):
        super().__init__(folder, lock)
        self._connection.execute("PRAGMA synchronous = OFF")  # the machine itself does not stop here

    def _execute(self, statement, row=()):
        self.left -= 1
        if self.left == 0 and not self.after:
            self._die()
        super()._execute(statement, row)
        if self.left == 0:
            self._die()

    def _die(self):
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        raise Crash


class Bench(Backend):
    """Starts nothing: the machine decides what becomes of a run."""

    name = "bench"

    def __init__(self, options, context):
        super().__init__(options, context)
        self.machine = None

    def start(self, run):
        self.machine.starts(run)

    def poll(self, timeout):
        raise AssertionError("the machine hands out the events itself")

    def stop(self, number, *, kill):
        self.machine.told_to_end.add(number)

    def close(self):
        pass


class Plugin:
    @hookimpl
    def studio_optimizers(self):
        return [RecordedGrid, RecordedRandom, RecordedCma, Moody]

    @hookimpl
    def studio_backends(self):
        return [Bench]


class Viewer(Observer):
    def __init__(self, machine):
        self.machine = machine

    def finished(self, experiment, progress):
        self.machine.shows(experiment)


# --- the machine ------------------------------------------------------------------------------------------------------

values = st.sampled_from([0.0, 1.0, 1.0, 2.0, -1.0, 0.5, math.nan, math.inf])
which = st.integers(0, 7)  # of those there are, counted round
working = precondition(lambda self: self.driver is not None)
running = precondition(lambda self: self.driver is not None and self.running)
dead = precondition(lambda self: self.driver is None)


class DriverMachine(RuleBasedStateMachine):
    def __init__(self, name, optimizer, host, source):
        super().__init__()
        self.name, self.optimizer, self.host, self.source = name, optimizer, host, source
        self.folder = project_folder(name)
        self.driver = None
        self.running = {}  # (number, attempt) -> Run, of what the backend runs
        self.unheard = set()  # of what was started: those whose outcome the driver has not been given
        self.mail = []  # what the backend says next
        self.files = {}  # (number, attempt) -> reports and outcome, as they are left beside the runs
        self.past = []  # outcomes that were said already
        self.values = {}  # (number, attempt) -> values of the metric that the driver was given
        self.outcomes = {}  # (number, attempt) -> the outcome that it should have taken
        self.told_to_end = set()
        self.shown = {}  # (number, attempt) -> (status, metric)
        self.journal = []  # as it was after the step before
        self.ended_attempts = {}

    # --- sessions

    @initialize(
        data=st.data(),
        workers=st.integers(1, 4),
        size=st.integers(2, 9),
        seed=st.integers(0, 999),
        repeat=st.booleans(),
        metric=st.sampled_from([None, "loss:min"]),
        retry_failed=st.dictionaries(st.sampled_from(["crash", "memory", "lost", "metric"]), st.integers(0, 2)),
        on_failure=st.sampled_from([None, None, "memory=stop", "stop"]),
        max_time=st.sampled_from([None, MAX_TIME]),
    )
    def begins(self, data, workers, size, seed, repeat, metric, retry_failed, on_failure, max_time):
        given = make_settings(
            "train.py",
            hyperparams={"x": data.draw(SPACES[self.optimizer])},
            optimizer=self.optimizer,
            num_workers=workers,
            max_experiments=size,
            seed=seed,
            repeat=repeat,
            metric=metric,
            retry_failed=retry_failed,
            on_failure=on_failure,
            max_time=max_time,
            backend="bench",
        )
        plan = make_plan(given, self.host, self.source)
        create(plan, source_snapshot(plan), self.name).close()
        self.opens(plan, FragileStore.open(self.folder))

    @dead
    @rule(workers=st.integers(1, 4), more=st.sampled_from([0, 0, 0, 2]), remembers=st.booleans())
    def resumes(self, workers, more, remembers):
        """`remembers`: an experiment that ended while nobody listened has left its outcome."""
        if not remembers:
            self.files.clear()
        store = FragileStore.open(self.folder)
        requests.discard_stale(self.folder)  # as `launch.resume` does
        given = Settings.from_dict(store.meta("settings"))
        given = replace(given, num_workers=workers, max_experiments=given.max_experiments + more)
        plan = make_plan(given, self.host, self.source, self.folder / "source")
        store.set_meta("settings", plan.settings.as_dict())
        self.opens(plan, store)

    def opens(self, plan, store):
        self.now, self.no_more = 0.0, ""
        self.plan, self.store = plan, store
        self.starts_left = NEVER
        self.search = Search(
            plan.space,
            optimizer=plan.optimizer,
            seed=plan.settings.seed,
            options=plan.settings.options,
            max_experiments=plan.max_experiments,
            host=self.host,
            journal=store,
        )
        backend = make_backend(plan, self.host, Observer())
        backend.machine = self
        self.driver = Driver(plan, self.search, store, backend, Viewer(self), clock=lambda: self.now)
        latest = {number: rows[-1] for number, rows in self.attempts().items()}
        self.counted = {n: row["status"] for n, row in latest.items() if row["status"] in FINAL[:3]}
        self.any_completed = "completed" in self.counted.values()
        self.reasons = deque(maxlen=IN_A_ROW)
        self.before = {(n, row["attempt"]) for n, row in latest.items() if row["status"] in FINAL}

    def ends(self):
        """The session came to its end, as in `Driver.run`."""
        assert not self.unheard, "the search ended while experiments ran"
        self.driver.backend.close()
        self.driver._wind_up()
        assert Project(self.name).state == "running"
        self.store.close()
        assert Project(self.name).state == self.driver.ending
        self.driver = None

    @working
    @rule()
    def crashes(self):
        self.store.close()  # as the kernel does with its files
        self.driver = None
        self.mail.clear()
        self.running.clear()
        self.unheard.clear()
        self.told_to_end.clear()

    # --- a turn

    @working
    @rule()
    def turns(self):
        events, self.mail = self.mail, []
        for event in events:
            self.gives(event)
        self.look_ahead()
        try:
            over = self.takes_a_turn(events)
            assert len(self.driver._slots) == len(self.unheard) <= self.plan.settings.num_workers
            self.check_counts()
            if over:
                self.ends()
        except Crash:
            self.crashes()

    def takes_a_turn(self, events):
        try:
            return self.driver.turn(events)
        except Stalled:  # it waits for one that was stopped
            assert self.search.untold, "stalled although all was told"
            self.driver.ending = "failed"
            return True

    @working
    @rule(statement=st.integers(1, 14), after=st.booleans())
    def crashes_at_a_statement(self, statement, after):
        self.store.left, self.store.after = statement, after
        self.turns()
        if self.driver is not None:
            self.crashes()

    @working
    @rule(starts=st.integers(1, 3))
    def crashes_at_a_start(self, starts):
        self.starts_left = starts
        self.turns()
        self.starts_left = NEVER

    def gives(self, event):
        key = event.number, event.attempt
        if key not in self.unheard:
            return
        if isinstance(event, Report):
            self.values[key].append(event.value)
        else:
            self.unheard.remove(key)
            self.outcomes[key] = event

    def look_ahead(self):
        """Whether this turn must start nothing."""
        if self.driver._interrupts.count:
            self.no_more = "Ctrl-C"
        if any(request.action == "stop" and not request.numbers for _, request in requests.pending(self.folder)):
            self.no_more = "studio stop"
        if self.plan.settings.max_time is not None and self.now >= self.plan.settings.max_time:
            self.no_more = "its time is over"

    def starts(self, run):
        key = run.number, run.attempt
        assert not self.no_more, f"#{run.number} was started after {self.no_more}"
        assert not self.driver._draining or self.driver.ending == "exhausted"
        assert run.number not in {number for number, _ in self.unheard}, "it runs already"
        with reading(self.folder) as connection:
            asks = [e.values for e in read_events(connection) if (e.kind, e.number) == ("ask", run.number)]
        assert asks == [{name: plain(value) for name, value in run.values.items()}], "started before its ask was stored"
        assert self.attempts()[run.number][-1]["status"] == "running"
        assert self.attempts()[run.number][-1]["attempt"] == run.attempt
        assert all(event.number != run.number for event in self.mail if not isinstance(event, Report))
        self.starts_left -= 1
        if self.starts_left == 0:
            raise Crash
        self.values[key] = []
        self.told_to_end.discard(run.number)
        self.unheard.add(key)
        assert len(self.unheard) <= self.plan.settings.num_workers, "more than there are slots"
        if key in self.files:
            self.mail += self.files[key]
        else:
            self.running[key] = run

    def shows(self, experiment):
        """What the user saw is in the record, and stays there."""
        stored = self.attempts()[experiment.number][-1]
        assert (stored["attempt"], stored["status"]) == (experiment.attempt, experiment.status)
        self.shown[experiment.number, experiment.attempt] = stored
        if "answered from the record" in experiment.reason:
            return
        if experiment.failure and experiment.failure in self.plan.settings.on_failure:
            self.no_more = "--on-failure"
        if experiment.status == "completed":
            self.any_completed = True
            self.reasons.clear()
        elif experiment.status == "failed":
            self.reasons.append(experiment.reason)
        if len(self.reasons) == (IN_A_ROW if self.any_completed else FIRST):
            self.no_more = "nothing worked"

    # --- what the backend says

    def pick(self, which):
        return list(self.running.values())[which % len(self.running)]

    def says(self, run, **outcome):
        """`run` ends. A run that was not asked to leaves its outcome beside it, as `studio.execution.runner` does."""
        key = run.number, run.attempt
        del self.running[key]
        ended = outcome_of(run, started=self.now, finished=self.now, duration=1.0, **outcome)
        if not ended.stopped and ended.failure != "lost":
            unread = [e for e in self.mail if isinstance(e, Report) and (e.number, e.attempt) == key]
            given = [Report(None, value, *key) for value in self.values[key]]
            self.files[key] = [*given, *unread, ended]
        self.mail.append(ended)
        self.past.append(ended)

    @running
    @rule(which=which, value=values)
    def reports(self, which, value):
        run = self.pick(which)
        self.mail.append(Report(None, value, run.number, run.attempt))

    @running
    @rule(which=which, value=values)
    def completes(self, which, value):
        run = self.pick(which)
        self.mail.append(Report(None, value, run.number, run.attempt))
        self.says(run)

    @running
    @rule(which=which)
    def ends_without_a_word(self, which):
        self.says(self.pick(which), reason="printed no fitness")

    @running
    @rule(which=which, failure=st.sampled_from(["", "crash", "memory", "timeout"]))
    def fails(self, which, failure):
        self.says(self.pick(which), exit_code=1, reason=f"{failure or 'exit code 1'}", failure=failure)

    @running
    @rule(which=which)
    def is_lost(self, which):
        self.says(self.pick(which), exit_code=None, reason="its worker is gone", failure="lost")

    @precondition(lambda self: self.driver and any(number in self.told_to_end for number, _ in self.running))
    @rule(which=which)
    def obeys(self, which):
        asked = [run for run in self.running.values() if run.number in self.told_to_end]
        run = asked[which % len(asked)]
        self.says(run, exit_code=None, signal="SIGTERM", reason="stopped", stopped=True)

    @precondition(lambda self: self.driver and self.past)
    @rule(which=which, exit_code=st.sampled_from([0, 1]))
    def is_said_again(self, which, exit_code):
        """A second word about a run that is over: the same, or another one. It comes after the first."""
        old = self.past[-1 - which % len(self.past)]
        key = old.number, old.attempt
        if key not in self.running and key not in self.unheard:
            self.mail += [Report(None, 77.0, *key), replace(old, exit_code=exit_code, failure="", stopped=False)]
        elif key not in self.running:
            self.mail.append(replace(old, exit_code=exit_code))

    # --- what users do, and the clock

    @working
    @rule()
    def interrupts(self):
        self.driver._interrupts.count += 1

    @rule()
    def stop_is_asked_for(self):
        requests.post(self.folder, Request("stop"))

    @running
    @rule(which=which)
    def stop_of_one_is_asked_for(self, which):
        requests.post(self.folder, Request("stop", [self.pick(which).number, 99]))

    @precondition(lambda self: self.journal)
    @rule(numbers=st.lists(st.integers(1, 9), min_size=1, max_size=3))
    def retry_is_asked_for(self, numbers):
        requests.post(self.folder, Request("retry", numbers))

    @working
    @rule(seconds=st.sampled_from([0.3, 2.0, 2.0, MAX_TIME]))
    def time_passes(self, seconds):
        self.now += seconds

    # --- what must hold

    def attempts(self):
        """number -> its attempts, in order."""
        with reading(self.folder) as connection:
            cursor = connection.execute("SELECT * FROM attempts ORDER BY number, attempt")
            names = [column[0] for column in cursor.description]
            found = {}
            for row in cursor:
                found.setdefault(row[0], []).append(dict(zip(names, row, strict=True)))
            return found

    def events(self):
        with reading(self.folder) as connection:
            cursor = connection.execute("SELECT * FROM events ORDER BY id")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor], list(read_events(connection))

    @invariant()
    def the_record_is_in_order(self):
        if not self.folder.exists():
            return
        rows, events = self.events()
        attempts = self.attempts()
        self.check_that_it_only_grows(rows, attempts)
        self.check_attempts(attempts)
        self.check_tells(events, attempts)
        if self.driver is not None:
            self.check_what_was_heard(events)

    def check_that_it_only_grows(self, rows, attempts):
        assert rows[: len(self.journal)] == self.journal, "lines of the journal changed"
        self.journal = rows
        ended = {
            (number, row["attempt"]): row
            for number, of_one in attempts.items()
            for row in of_one
            if row["status"] in FINAL
        }
        for key, row in self.ended_attempts.items():
            assert ended.get(key) == row, f"attempt {key} had ended, and its row changed"
        self.ended_attempts = ended
        for key, row in self.shown.items():
            assert ended[key] == row, f"attempt {key} was shown otherwise"

    def check_attempts(self, attempts):
        for number, rows in attempts.items():
            assert [row["attempt"] for row in rows] == list(range(1, len(rows) + 1)), f"attempts of {number}"
            assert all(row["status"] in FINAL for row in rows[:-1]), f"two attempts of {number} are under way"
            for row in rows:
                if row["status"] in FINAL and "answered from the record" not in row["reason"]:
                    self.check_outcome(row)

    def check_outcome(self, row):
        """The row says what the backend said."""
        outcome, heard = self.outcomes[row["number"], row["attempt"]], self.values[row["number"], row["attempt"]]
        finite = [value for value in heard if math.isfinite(value)]
        if self.plan.metric.mode == "min":
            value = min(finite, default=None)
        else:
            value = heard[-1] if heard and math.isfinite(heard[-1]) else None
        assert row["metric"] == value
        if outcome.stopped:
            assert row["status"] in ("stopped", "pruned")
        elif outcome.exit_code != 0:
            assert (row["status"], row["failure"]) == ("failed", outcome.failure or "crash")
        elif value is None and (heard or self.plan.metric_required):
            assert (row["status"], row["failure"]) == ("failed", "metric")
        else:
            assert row["status"] == "completed"

    def check_tells(self, events, attempts):
        """Each chain of attempts is told once, at its end: what the record has is what the optimizer was told."""
        asked = [event.number for event in events if event.kind == "ask"]
        assert asked == list(range(1, len(asked) + 1))
        assert set(attempts) <= set(asked)
        told = {}
        for event in events:
            if event.kind == "tell":
                told.setdefault(event.number, []).append(event.fitness)
        expected = {number: list(self.to_be_told(rows)) for number, rows in attempts.items()}
        assert told == {number: fitnesses for number, fitnesses in expected.items() if fitnesses}

    def to_be_told(self, rows):
        failures = Counter()
        for row in rows:
            failures[row["failure"]] += row["status"] == "failed"
            again = failures[row["failure"]] <= self.plan.settings.retry_failed[row["failure"] or "crash"]
            if row["status"] == "failed" and (not again or "answered from the record" in row["reason"]):
                yield None
            elif row["status"] in ("completed", "pruned"):
                yield None if row["metric"] is None else self.plan.sign * row["metric"]

    def check_what_was_heard(self, events):
        """The journal is what the optimizer lived through, in this order."""
        said = [
            ("ask", event.values) if event.kind == "ask" else (event.kind, event.number, event.fitness, event.extra)
            for event in events
        ]
        assert self.search._optimizer.heard == said

    def check_counts(self):
        for number, rows in self.attempts().items():
            if rows[-1]["status"] in FINAL and (number, rows[-1]["attempt"]) not in self.before:
                self.before.add((number, rows[-1]["attempt"]))
                self.counted[number] = rows[-1]["status"]
        shown = {status: count for status, count in self.driver.progress.counts.items() if count}
        assert shown == Counter(self.counted.values()), "the counts differ from the record"
        assert set(self.driver.progress.running) == {number for number, _ in self.unheard}

    # --- the end

    def teardown(self):
        try:
            if sys.exc_info()[0] is None and self.folder.exists():
                self.comes_to_its_end()
        finally:
            if self.driver is not None:
                self.store.close()

    def comes_to_its_end(self):
        for _ in range(40):
            if self.driver is None:
                if self.is_complete():
                    break
                self.resumes(workers=2, more=0, remembers=True)
            while self.driver is not None:
                for run in list(self.running.values()):
                    self.mail.append(Report(None, 1.0, run.number, run.attempt))
                    self.says(run)
                self.turns()
                self.the_record_is_in_order()
        assert self.is_complete(), "it does not come to its end"
        requests.discard_stale(self.folder)
        assert requests.pending(self.folder) == []
        experiments = Project(self.name).experiments
        assert [e.number for e in experiments] == list(range(1, len(experiments) + 1))
        assert {e.status for e in experiments} <= {"completed", "failed", "pruned"}
        assert len(experiments) == self.plan.size or self.search._optimizer.done
        before = self.events(), self.attempts()
        backup.restore(self.folder)
        assert (self.events(), self.attempts()) == before, "the backup is another"

    def is_complete(self):
        waiting = [r for _, r in requests.pending(self.folder) if r.action == "retry"]
        at_work = [e for e in Project(self.name).experiments if e.status not in ("completed", "failed", "pruned")]
        return self.search.done and not self.search.untold and not waiting and not at_work


@pytest.mark.timeout(600)
@pytest.mark.parametrize("optimizer", SPACES)
def test_whatever_happens_the_record_is_right(optimizer, home, script):
    train = script("train.py", "x = 0\nprint('fitness:', x)\n")
    host = create_host(plugins=[Plugin()])
    machines = []

    def machine():
        machines.append(DriverMachine(f"p{len(machines)}", optimizer, host, train.parent))
        return machines[-1]

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
