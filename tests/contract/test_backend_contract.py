"""The built-in backend keeps the contract, and the suite catches backends that do not."""

import dataclasses
import signal

import pytest

from studio.backends.local import LocalBackend
from studio.experiment import Outcome, Report
from studio.system.processes import signal_tree
from studio.testing import BackendContract


class TestLocal(BackendContract):
    backend = LocalBackend


class Loses(LocalBackend):
    """Forgets every third outcome."""

    seen = 0

    def poll(self, timeout):
        kept = []
        for event in super().poll(timeout):
            if isinstance(event, Outcome):
                self.seen += 1
                if self.seen % 3 == 0:
                    continue
            kept.append(event)
        return kept


class ReportsTwice(LocalBackend):
    def poll(self, timeout):
        return [copy for event in super().poll(timeout) for copy in (event, event)]


class OutcomeFirst(LocalBackend):
    def poll(self, timeout):
        return sorted(super().poll(timeout), key=lambda event: isinstance(event, Report))


class ForgetsTheNumber(LocalBackend):
    def poll(self, timeout):
        return [dataclasses.replace(e, number=None) if isinstance(e, Report) else e for e in super().poll(timeout)]


class OneAtATime(LocalBackend):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.waiting, self.busy = [], False

    def start(self, run):
        if self.busy:
            self.waiting.append(run)
        else:
            self.busy = True
            super().start(run)

    def poll(self, timeout):
        events = super().poll(timeout)
        if any(isinstance(event, Outcome) for event in events):
            self.busy = False
            if self.waiting:
                self.start(self.waiting.pop(0))
        return events


class SaysNothing(LocalBackend):
    def poll(self, timeout):
        return [dataclasses.replace(e, reason="") if isinstance(e, Outcome) else e for e in super().poll(timeout)]


class IgnoresStop(LocalBackend):
    def stop(self, number, *, kill):
        pass


class OnlyPolite(LocalBackend):
    def stop(self, number, *, kill):
        for run in self.runs.values():
            signal_tree(None, run.folder, signal.SIGTERM)

    def __init__(self, options, context):
        super().__init__(options, context)
        self.runs = {}

    def start(self, run):
        self.runs[run.number] = run
        super().start(run)


class IgnoresTheLimit(LocalBackend):
    def start(self, run):
        super().start(dataclasses.replace(run, max_duration=None))


class RunsAgain(LocalBackend):
    times = 0

    def start(self, run):
        self.times += 1
        super().start(
            run if self.times == 1 else dataclasses.replace(run, attempt=self.times, folder=run.folder + "again")
        )


class LeavesProcesses(LocalBackend):
    left = []

    def close(self):
        self.left.append(self)


class Blocks(LocalBackend):
    def poll(self, timeout):
        return super().poll(3.0) if timeout < 0.2 else super().poll(timeout)


class ForgetsTheChanges(LocalBackend):
    def start(self, run):
        super().start(dataclasses.replace(run, changes={}))


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Loses, "test_nothing_is_lost"),
        (ReportsTwice, "test_an_experiment_comes_back_once"),
        (OutcomeFirst, "test_an_experiment_comes_back_once"),
        (ForgetsTheNumber, "test_an_experiment_comes_back_once"),
        (OneAtATime, "test_slots_run_side_by_side"),
        (SaysNothing, "test_failures_say_why"),
        (IgnoresStop, "test_stop_ends_an_experiment"),
        (OnlyPolite, "test_kill_ends_a_deaf_script"),
        (IgnoresTheLimit, "test_max_duration_is_a_failure"),
        (RunsAgain, "test_starting_again_attaches"),
        (LeavesProcesses, "test_no_process_outlives_the_backend"),
        (Blocks, "test_poll_does_not_block"),
        (ForgetsTheChanges, "test_the_script_finds_its_files"),
    ],
)
def test_the_suite_catches(broken, promise, tmp_path):
    class Suite(BackendContract):
        backend = broken
        patience = 2.0

    suite = Suite()
    try:
        with pytest.raises(AssertionError):
            getattr(suite, promise)(tmp_path)
    finally:
        while LeavesProcesses.left:
            LocalBackend.close(LeavesProcesses.left.pop())
