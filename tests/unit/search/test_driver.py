"""The driver: slots, repeats, failures, limits, requests and resuming, with a backend that only pretends."""

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import studio
from studio import hookimpl
from studio.errors import BadInput, EndSearch, PluginFailed, ProjectError, Stalled, StoreError
from studio.experiment import Experiment, Outcome, Report, Run
from studio.host import Host, create_host
from studio.interfaces import Optimizer
from studio.project import inbox as requests
from studio.project.project import Project
from studio.project.records import read_events, read_session, reading
from studio.project.store import Store
from studio.search import run as launch
from studio.search.loop import driver
from studio.search.observer import Observer, Progress
from studio.search.resume import resume
from studio.space import Space, Suggestion
from studio.testing.fakes import FOREVER, FakeBackend, fake_backend, outcome_of


class Crash(BaseException):
    """The driver dies here."""


class Watcher(Observer):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.ended_experiments: list[Experiment] = []
        self.progress: Progress | None = None

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def begun(self, project: str, progress: Progress) -> None:
        self.progress = progress
        self.counts_at_begin = dict(progress.counts)

    def finished(self, experiment: Experiment, progress: Progress) -> None:
        self.ended_experiments.append(experiment)

    @property
    def order(self) -> list[int]:
        return [experiment.number for experiment in self.ended_experiments]


class OneByOne(Optimizer):
    """Asks for 1, 2, 3, ... as x, each when the last was told."""

    name = "one-by-one"

    def __init__(self, space: Space, *, seed: int, repeat_from: int = 10**6):
        self.asked = self.told = 0
        self.repeat_from = repeat_from

    def ask(self) -> Suggestion | None:
        if self.asked > self.told:
            return None
        self.asked += 1
        return Suggestion({"x": min(self.asked, self.repeat_from)})

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self.told += 1


class Mute(OneByOne):
    """Asks once, and never again."""

    name = "mute"

    def ask(self) -> Suggestion | None:
        return None if self.asked else super().ask()


class Impatient(OneByOne):
    """Ends what reports less than 5."""

    name = "impatient"

    def report(self, suggestion: Suggestion, step: int, fitness: float) -> bool:
        return fitness < 5


class Plugin:
    @hookimpl
    def studio_optimizers(self) -> list[type[Optimizer]]:
        return [OneByOne, Mute, Impatient]


class Lab:
    """Runs and resumes the project `p` with a fake backend."""

    def __init__(self, home: Path):
        self.folder = home / "projects" / "p"
        self.watcher = Watcher()
        self.fake: type[FakeBackend] = fake_backend(lambda run: 0.0)

    def host(self) -> Host:
        return create_host(plugins=[Plugin(), self.fake.plugin()])

    def run(self, behave: Callable[[Run], Any], x: Any = "1:6", *, order: Any = None, **options: Any) -> Project:
        self.fake = fake_backend(behave, order) if order else fake_backend(behave)
        hyperparams = {"x": x}
        given = {"project": "p", "backend": "fake", "host": self.host(), "observer": self.watcher, "no_baseline": True}
        return launch.run("train.py", hyperparams=hyperparams, **given, **options)

    def resume(self, behave: Callable[[Run], Any], *, order: Any = None, **options: Any) -> Project:
        self.fake = fake_backend(behave, order) if order else fake_backend(behave)
        self.watcher = Watcher()
        return resume("p", host=self.host(), observer=self.watcher, **options)

    @property
    def started(self) -> list[tuple[int, int]]:
        return [(run.number, run.attempt) for run in self.fake.started]

    def ask(self, action: str, *numbers: int) -> None:
        requests.post(self.folder, requests.Request(action, list(numbers)))

    @property
    def tells(self) -> list[tuple[int | None, float | None]]:
        with reading(self.folder) as connection:
            return [(event.number, event.fitness) for event in read_events(connection) if event.kind == "tell"]


@pytest.fixture
def lab(home: Path, script: Callable[[str, str], Path]) -> Lab:
    script("train.py", "x = 0\nprint(x)\n")
    return Lab(home)


def newest(running: Sequence[Run]) -> Run:
    return running[-1]


def x(run: Run) -> float:
    return float(run.values["x"])


def statuses(project: Project) -> list[str]:
    return [experiment.status for experiment in project.experiments]


def fitnesses(project: Project) -> list[float | None]:
    return [experiment.fitness for experiment in project.experiments]


# --- slots ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_slots_are_filled_and_never_exceeded(lab: Lab, workers: int) -> None:
    project = lab.run(x, num_workers=workers)
    assert {experiment.slot for experiment in project.experiments} == set(range(min(workers, 6)))
    assert {experiment.snapshot for experiment in project.experiments} == {"source"}
    assert lab.fake.most == min(workers, 6)
    assert lab.started == [(number, 1) for number in range(1, 7)]
    assert fitnesses(project) == [1, 2, 3, 4, 5, 6]
    assert (project.state, project.best and project.best.number) == ("done", 6)
    assert lab.watcher.order == [number for number, _ in lab.tells] == [1, 2, 3, 4, 5, 6]
    assert lab.fake.closed == 1


@pytest.mark.parametrize("optimizer", ["grid", "random", "cma"])
def test_no_slot_waits_for_the_slowest_one(lab: Lab, optimizer: str) -> None:
    ranges = "1:20" if optimizer == "grid" else "1:20:i"
    lab.run(x, ranges, order=newest, num_workers=4, optimizer=optimizer, max_experiments=20, seed=1, repeat=True)
    assert sorted(lab.watcher.order) == list(range(1, 21))
    assert lab.watcher.order.index(1) > 16
    assert lab.fake.most == 4


def test_an_ask_is_durable_before_its_start_and_an_outcome_before_it_is_shown(lab: Lab) -> None:
    known = []

    class Reader(Watcher):
        def finished(self, experiment: Experiment, progress: Progress) -> None:
            known.append(
                Project("p").experiment(experiment.number) == experiment and lab.tells[-1][0] == experiment.number
            )

    def behave(run: Run) -> float:
        recorded = Project("p").experiment(run.number)
        known.append(recorded is not None and recorded.status == "running" and recorded.values == run.values)
        return x(run)

    lab.watcher = Reader()
    lab.run(behave, num_workers=2)
    assert known == [True] * 12


def test_an_optimizer_that_waits_for_results_runs_one_at_a_time(lab: Lab) -> None:
    project = lab.run(x, "0:9", optimizer="one-by-one", num_workers=4, max_experiments=5)
    assert lab.fake.most == 1
    assert fitnesses(project) == [1, 2, 3, 4, 5]


def test_an_optimizer_that_says_nothing_more_is_stalled(lab: Lab) -> None:
    with pytest.raises(Stalled, match="optimizer mute waits for results although no experiment is running"):
        lab.run(x, "0:9", optimizer="mute", max_experiments=5)
    assert Project("p").state == "failed"
    assert statuses(Project("p")) == ["completed"]
    assert lab.fake.closed == 1


def test_a_backend_that_fails_leaves_a_project_that_resumes(lab: Lab) -> None:
    def behave(run: Run) -> float:
        if run.number == 3:
            raise RuntimeError("the backend broke")
        return x(run)

    with pytest.raises(PluginFailed, match=r"fake failed in poll: RuntimeError: the backend broke"):
        lab.run(behave)
    assert (lab.fake.closed, Project("p").state) == (1, "failed")
    assert statuses(lab.resume(x)) == ["completed"] * 6
    assert lab.started == [(3, 1), (4, 1), (5, 1), (6, 1)]


@pytest.mark.parametrize(("optimizer", "shown"), [("one-by-one", StoreError), ("mute", Stalled)])
def test_an_error_of_the_loop_is_shown_rather_than_one_of_the_record(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, optimizer: str, shown: type[Exception]
) -> None:
    def refuse(store: Store, state: str) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "end_session", refuse)
    with pytest.raises(shown):
        lab.run(x, "0:9", optimizer=optimizer, max_experiments=2)


# --- repeats ----------------------------------------------------------------------------------------------------------


def test_values_that_were_seen_are_answered_from_the_record(lab: Lab) -> None:
    project = lab.run(x, [5, 5, 7, 5])
    assert lab.started == [(1, 1), (3, 1)]
    assert fitnesses(project) == [5, 5, 7, 5]
    assert [e.reason for e in project.experiments] == [
        "",
        "same values as experiment 1: answered from the record",
        "",
        "same values as experiment 1: answered from the record",
    ]
    assert [e.metric and e.metric["value"] for e in project.experiments] == [5, 5, 7, 5]
    assert lab.watcher.order == [1, 2, 3, 4]


def test_they_wait_where_the_first_still_runs(lab: Lab) -> None:
    project = lab.run(x, [5, 5, 7, 5, 8], order=newest, num_workers=2)
    assert lab.started == [(1, 1), (3, 1), (5, 1)]
    assert lab.watcher.order == [3, 5, 1, 2, 4]
    assert fitnesses(project) == [5, 5, 7, 5, 8]


def test_few_wait_for_what_still_runs(lab: Lab) -> None:
    """An optimizer that only repeats two values would fill the journal while these run."""
    asked = []

    def behave(run: Run) -> Any:
        asked.append(len(Project("p").experiments))
        return FOREVER if len(asked) < 40 else x(run)

    project = lab.run(behave, "1,2", optimizer="random", seed=1, num_workers=3, max_experiments=10_000)
    assert asked[39] <= 2 + 100 + 3  # running, waiting, asked ahead
    assert (project.state, len(lab.started)) == ("exhausted", 2)


def test_the_end_of_a_finite_space_before_that_of_the_budget_is_said(lab: Lab) -> None:
    project = lab.run(x, "1:3:i", optimizer="auto", seed=1, max_experiments=30)
    assert (project.state, len(lab.started)) == ("done", 3)
    assert "all 3 combinations of values were suggested" in lab.watcher.notices


def test_one_that_waits_runs_itself_where_the_first_was_stopped(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        if run.number == 1:
            lab.ask("stop", 1)
            return FOREVER
        return x(run)

    project = lab.run(behave, [5, 5])
    assert statuses(project) == ["stopped", "completed"]
    assert lab.started == [(1, 1), (2, 1)]
    project = lab.resume(x)
    assert (statuses(project), fitnesses(project)) == (["completed"] * 2, [5, 5])
    assert lab.started == []  # its values are known by now


def test_a_failure_is_repeated_as_a_failure(lab: Lab) -> None:
    project = lab.run(lambda run: ValueError("bad"), [5, 5])
    assert statuses(project) == ["failed", "failed"]
    assert lab.tells == [(1, None), (2, None)]


def test_1_and_1_0_and_true_are_different_values(lab: Lab) -> None:
    lab.run(x, [1, 1.0, True])
    assert len(lab.started) == 3


def test_repeat_runs_them_again(lab: Lab) -> None:
    values = iter([1.0, 2.0, 3.0])
    assert fitnesses(lab.run(lambda run: next(values), [5, 5, 5], repeat=True)) == [1, 2, 3]
    assert lab.started == [(1, 1), (2, 1), (3, 1)]


def test_repeats_count_in_the_budget(lab: Lab) -> None:
    project = lab.run(x, "0:9", optimizer="one-by-one", options={"repeat_from": 2}, max_experiments=300)
    assert len(project.experiments) == 300
    assert lab.started == [(1, 1), (2, 1)]
    assert project.state == "done"


def test_repeats_are_answered_over_sessions(lab: Lab) -> None:
    lab.run(x, "0:9", optimizer="one-by-one", options={"repeat_from": 2}, max_experiments=2)
    project = lab.resume(x, max_experiments=4)
    assert lab.started == []
    assert fitnesses(project) == [1, 2, 2, 2]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_five_failures_and_nothing_else_end_the_search(lab: Lab) -> None:
    project = lab.run(lambda run: ValueError("no data"), "1:100")
    assert statuses(project)[:5] == ["failed"] * 5
    assert Counter(statuses(project))["failed"] <= 6
    assert project.state == "failures"
    assert (
        "giving up: 5 experiments failed in a row, 5 of them for the same reason: exit code 1: no data"
        in lab.watcher.notices
    )


def test_nothing_is_started_once_the_search_is_given_up(lab: Lab) -> None:
    lab.run(lambda run: ValueError("no data"), "1:100")
    assert len(lab.started) == 5


def test_later_twenty_in_a_row_end_it(lab: Lab) -> None:
    good = {1, 15, 30}
    project = lab.run(lambda run: x(run) if run.number in good else ValueError(f"{run.number % 3}"), "1:100")
    counts = Counter(statuses(project))
    assert counts["completed"] == 3
    assert counts["failed"] in (13 + 14 + 20, 13 + 14 + 21)
    assert project.state == "failures"
    assert any(notice.startswith("giving up: 20 experiments failed") for notice in lab.watcher.notices)


def test_fewer_failures_end_nothing(lab: Lab) -> None:
    project = lab.run(lambda run: x(run) if run.number % 20 == 5 else ValueError("bad"), "1:40")
    assert project.state == "done"
    assert Counter(statuses(project)) == {"failed": 38, "completed": 2}


def test_a_search_that_was_given_up_drains_and_resumes(lab: Lab) -> None:
    project = lab.run(lambda run: ValueError("no data"), "1:12", num_workers=4)
    failed = Counter(statuses(project))["failed"]
    assert 5 <= failed <= 9
    project = lab.resume(x)
    assert (project.state, Counter(statuses(project))["completed"]) == ("done", 12 - failed)
    assert {attempt for _, attempt in lab.started} == {1}


# --- limits, requests, signals ----------------------------------------------------------------------------------------


def test_max_time_stops_the_running_ones_and_resume_runs_them_again(lab: Lab) -> None:
    project = lab.run(lambda run: x(run) if run.number < 3 else FOREVER, num_workers=2, max_time=0.3)
    assert project.state == "time"
    assert [(e.number, e.status) for e in project.experiments if e.status != "queued"] == [
        (1, "completed"),
        (2, "completed"),
        (3, "stopped"),
        (4, "stopped"),
    ]
    assert sorted(lab.fake.stops) == [(3, False), (4, False)]
    assert [number for number, _ in lab.tells] == [1, 2]
    assert "time limit reached; continue with: studio resume p" in lab.watcher.notices
    project = lab.resume(x, max_time=60)
    assert lab.started == [(3, 2), (4, 2), (5, 1), (6, 1)]
    assert (project.state, fitnesses(project)) == ("done", [1, 2, 3, 4, 5, 6])
    assert [e.attempt for e in project.experiments] == [1, 1, 2, 2, 1, 1]


def test_one_that_failed_on_a_full_disk_runs_again_on_resume(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    full: list[int] = []

    def fill(run: Run) -> Any:
        full.append(run.number)
        return ValueError("No space left on device")

    monkeypatch.setattr(driver, "is_full", lambda folder: bool(full))
    project = lab.run(fill, "1:2")
    assert (project.state, statuses(project), lab.tells) == ("disk", ["stopped", "queued"], [])
    assert project.experiments[0].reason == "the disk was full: exit code 1: No space left on device"
    full.clear()
    assert fitnesses(lab.resume(x)) == [1, 2]
    assert lab.started == [(1, 2), (2, 1)]


def test_a_request_stops_the_search(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        if run.number == 2:
            lab.ask("stop")
        return x(run) if run.number < 3 else FOREVER

    project = lab.run(behave)
    assert (project.state, statuses(project)[:3]) == ("stopped", ["completed", "completed", "queued"])
    assert list((lab.folder / "requests").iterdir()) == []
    assert statuses(lab.resume(x)) == ["completed"] * 6


def test_a_request_stops_some_and_the_search_goes_on(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        if run.number == 2:
            lab.ask("stop", 2, 77)
            return FOREVER
        return x(run)

    project = lab.run(behave, num_workers=2)
    assert statuses(project) == ["completed", "stopped", *["completed"] * 4]
    assert (project.experiments[1].fitness, project.experiments[1].reason) == (None, "stopped")
    assert [number for number, _ in lab.tells] == [1, 3, 4, 5, 6]
    assert fitnesses(lab.resume(x)) == [1, 2, 3, 4, 5, 6]
    assert lab.started == [(2, 2)]


def test_a_request_retries_under_the_same_number(lab: Lab) -> None:
    lab.run(lambda run: ValueError("bad") if run.number in (2, 4) else x(run))
    lab.ask("retry", 2, 1, 99)
    project = lab.resume(lambda run: 10 * x(run))
    assert lab.started == [(2, 2), (1, 2)]
    assert fitnesses(project) == [10, 20, 3, None, 5, 6]
    assert [e.attempt for e in project.experiments] == [2, 2, 1, 1, 1, 1]
    assert lab.tells[-2:] == [(2, 20), (1, 10)]
    assert [e.number for e in lab.resume(x).experiments] == [1, 2, 3, 4, 5, 6]
    assert lab.started == []


def test_a_retry_of_a_running_search_is_taken_up_at_once(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        if run.number == 3 and run.attempt == 1:
            lab.ask("retry", 1, 3, 5)  # 3 runs and 5 does not exist
        return x(run) + run.attempt

    assert fitnesses(lab.run(behave, "1:4"))[0] == 3
    assert lab.started == [(1, 1), (2, 1), (3, 1), (1, 2), (4, 1)]
    assert "#3 has not ended yet; retry it afterwards" in lab.watcher.notices


def test_one_that_was_stopped_is_retried_by_the_driver_at_work(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        if (run.number, run.attempt) == (1, 1):
            lab.ask("stop", 1)
            return FOREVER
        if run.number == 2:
            lab.ask("retry", 1)
        return x(run)

    assert statuses(lab.run(behave, "1:3")) == ["completed"] * 3
    assert lab.started == [(1, 1), (2, 1), (1, 2), (3, 1)]


def test_what_is_no_request_is_thrown_away(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        (lab.folder / "requests").mkdir(exist_ok=True)
        for index, text in enumerate(
            ["", "[]", '{"action": "explode"}', '{"action": "retry", "numbers": ["x"]}', "null"]
        ):
            (lab.folder / "requests" / f"{run.number}-{index}.json").write_text(text)
        return x(run)

    assert lab.run(behave).state == "done"
    assert len(list((lab.folder / "requests").iterdir())) <= 5  # those of the last moment


def test_a_retry_that_was_stopped_runs_again_on_resume(lab: Lab) -> None:
    lab.run(x)
    lab.ask("retry", 2)

    def behave(run: Run) -> Any:
        lab.ask("stop")
        return FOREVER

    assert lab.resume(behave).experiments[1].status == "stopped"
    assert statuses(lab.resume(x)) == ["completed"] * 6


def test_a_retry_that_was_cut_off_runs_again_on_resume(lab: Lab) -> None:
    lab.run(x)
    lab.ask("retry", 2)

    def behave(run: Run) -> Any:
        raise Crash

    with pytest.raises(Crash):
        lab.resume(behave)
    assert fitnesses(lab.resume(lambda run: 9.0)) == [1, 9, 3, 4, 5, 6]
    assert lab.started == [(2, 2)]


@pytest.mark.parametrize(
    ("signals", "stops", "last", "word"),
    [
        ([signal.SIGINT], [], "completed", "waiting for 1"),
        ([signal.SIGINT] * 2, [(2, False)], "stopped", "ending 1"),
        ([signal.SIGINT] * 3, [(2, True)], "stopped", "killing 1"),
        ([signal.SIGTERM], [(2, False)], "stopped", "ending 1"),
        ([signal.SIGHUP], [(2, False)], "stopped", "ending 1"),
    ],
)
def test_signals_drain_then_end_then_kill(lab: Lab, signals: list[int], stops: list[Any], last: str, word: str) -> None:
    asked = 0

    def behave(run: Run) -> Any:
        nonlocal asked
        if run.number < 2:
            return x(run)
        asked += 1
        if asked == 1:
            for number in signals:
                os.kill(os.getpid(), number)
        return x(run) if asked > 3 else FOREVER

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lab.run(behave)
    assert signal.getsignal(signal.SIGINT) is before
    project = Project("p")
    assert (project.state, statuses(project)[:2]) == ("interrupted", ["completed", last])
    assert lab.fake.stops == stops
    assert next(said for said in lab.watcher.notices if "running experiment" in said).startswith(word)
    assert statuses(lab.resume(x)) == ["completed"] * 6


# --- which workspaces stay --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "values", "kept"),
    [
        ("all", [3, 1, 5, 5, 2], [1, 2, 3, 4, 5]),
        ("best", [3, 1, 5, 5, 2], [3]),
        ("best", [None, 1, 0, None, 2], [5]),
        ("none", [3, 1, 5, 5, 2], []),
    ],
)
def test_keep_says_which_workspaces_stay(lab: Lab, keep: str, values: list[Any], kept: list[int]) -> None:
    def behave(run: Run) -> Any:
        for folder in ("workspace", "artifacts"):
            (Path(run.folder) / folder).mkdir(parents=True)
        value = values[run.number - 1]
        return ValueError("bad") if value is None else value

    lab.run(behave, "1:5", keep=keep)
    assert [n for n in range(1, 6) if (lab.folder / str(n) / "1" / "workspace").exists()] == kept
    assert all((lab.folder / str(n) / "1" / "artifacts").exists() for n in range(1, 6))


def test_a_failed_attempt_that_is_tried_again_leaves_no_workspace_behind(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        (Path(run.folder) / "workspace").mkdir(parents=True)
        return ValueError("bad") if run.attempt < 3 else x(run)

    lab.run(behave, "1:2", keep="best", retry_failed=2)
    assert sorted(str(path.relative_to(lab.folder)) for path in lab.folder.glob("*/*/workspace")) == ["2/3/workspace"]


def test_a_session_that_was_killed_has_no_state_of_an_earlier_one(lab: Lab) -> None:
    states = []

    def behave(run: Run) -> Any:
        with reading(lab.folder) as connection:
            states.append((session := read_session(connection)) and session.state)
        return x(run)

    assert lab.run(behave, "1:2").state == "done"
    lab.ask("retry", 1)
    assert lab.resume(behave).state == "done"
    assert states == [None] * 3


def test_the_best_of_an_earlier_session_stays_or_goes(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        (Path(run.folder) / "workspace").mkdir(parents=True)
        if run.number == 3 and lab.watcher.order[-1:] != [2]:
            lab.ask("stop")
        return {1: 5.0, 2: 1.0, 3: 2.0, 4: 9.0}[run.number]

    lab.run(behave, "0:9", optimizer="one-by-one", max_experiments=3, keep="best")
    assert (lab.folder / "1" / "1" / "workspace").exists()
    lab.resume(behave, max_experiments=4)
    assert [n for n in range(1, 5) if (lab.folder / str(n) / "1" / "workspace").exists()] == [4]


# --- what it hears ----------------------------------------------------------------------------------------------------


def test_a_second_word_about_an_attempt_is_ignored(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        ended = outcome_of(run)
        return [x(run), ended, outcome_of(run, exit_code=9), ended]

    project = lab.run(behave, num_workers=2)
    assert statuses(project) == ["completed"] * 6
    assert lab.watcher.order == [number for number, _ in lab.tells] == [1, 2, 3, 4, 5, 6]


def test_words_about_other_attempts_and_numbers_are_ignored(lab: Lab) -> None:
    late: list[Run] = []

    def behave(run: Run) -> Any:
        if run.number == 2 and run.attempt == 1:
            late.append(run)
            return ValueError("bad")
        if run.number == 2:
            return [x(run), outcome_of(late[0], exit_code=0), outcome_of(run)]
        return x(run)

    lab.run(behave)
    lab.ask("retry", 2)
    project = lab.resume(behave)
    assert fitnesses(project) == [1, 2, 3, 4, 5, 6]
    assert len(lab.tells) == 7


@pytest.mark.parametrize(
    ("metric", "direction", "fitness", "value", "mode"),
    [
        (None, None, 2.0, 2.0, "last"),
        (None, "min", -2.0, 2.0, "last"),
        ("loss", None, 2.0, 2.0, "last"),
        ("loss", "min", -2.0, 2.0, "last"),
        ("loss:min", None, -1.0, 1.0, "min"),
        ("loss:min", "max", 1.0, 1.0, "min"),
        ("loss:max", None, 3.0, 3.0, "max"),
        ("loss:max", "min", -3.0, 3.0, "max"),
        ("fitness:min", None, -1.0, 1.0, "min"),
    ],
)
def test_a_sign_is_applied_once_and_values_stay_as_logged(
    lab: Lab, metric: str | None, direction: str | None, fitness: float, value: float, mode: str
) -> None:
    project = lab.run(lambda run: [3.0, 1.0, 2.0], [1], metric=metric, direction=direction)
    (experiment,) = project.experiments
    assert (experiment.status, experiment.fitness) == ("completed", fitness)
    assert experiment.metric == {"name": (metric or "fitness").partition(":")[0], "mode": mode, "value": value}
    assert lab.tells == [(1, fitness)]


def test_the_best_of_a_minimised_metric_is_the_smallest(lab: Lab) -> None:
    project = lab.run(x, "1:4", metric="loss:min")
    assert project.best is not None
    assert (project.best.number, project.best.metric and project.best.metric["value"]) == (1, 1.0)


def test_a_bare_metric_is_said_to_be_maximised_once(lab: Lab) -> None:
    lab.run(x, metric="loss")
    assert [notice for notice in lab.watcher.notices if "maximised" in notice] == [
        "loss is maximised; for a loss write --metric=loss:min"
    ]


@pytest.mark.parametrize(
    ("metric", "optimizer", "status"),
    [(None, "grid", "completed"), ("loss:min", "grid", "failed"), (None, "one-by-one", "failed")],
)
def test_a_run_without_fitness_fails_only_where_one_is_needed(
    lab: Lab, metric: str | None, optimizer: str, status: str
) -> None:
    ranges = [1] if optimizer == "grid" else "0:9"
    (experiment,) = lab.run(lambda run: None, ranges, metric=metric, optimizer=optimizer, max_experiments=1).experiments
    assert (experiment.status, experiment.fitness, experiment.metric) == (status, None, None)
    assert experiment.reason == ("" if status == "completed" else f"no {'loss' if metric else 'fitness'} came")
    assert experiment.exit_code == 0
    assert lab.tells == [(1, None)]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("metric", "reports", "fitness"),
    [
        (None, [1.0, NAN], None),
        (None, [NAN, 1.0], 1.0),
        (None, [1.0, INF], None),
        (None, [1.0, -INF], None),
        ("loss", [1.0, NAN], None),
        ("loss", [NAN, 1.0], 1.0),
        ("loss:min", [NAN, 2.0, -INF, 1.0, NAN], -1.0),
        ("loss:min", [INF, 2.0], -2.0),
        ("loss:max", [2.0, INF, NAN, 1.0], 2.0),
        ("loss:max", [-INF, -3.0], -3.0),
        ("loss:min", [NAN, INF], None),
        ("loss:max", [NAN], None),
    ],
)
def test_what_is_not_finite(lab: Lab, metric: str | None, reports: list[float], fitness: float | None) -> None:
    (experiment,) = lab.run(lambda run: reports, [1], metric=metric).experiments
    assert (experiment.fitness, experiment.status) == (fitness, "failed" if fitness is None else "completed")
    assert ("nan" in experiment.reason or "inf" in experiment.reason) == (fitness is None)
    assert (experiment.metric is None) == (fitness is None)
    json.dumps(experiment.as_dict(), allow_nan=False)


def test_a_failed_run_has_no_fitness_whatever_it_reported(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        return [4.0, outcome_of(run, exit_code=3, reason="exit code 3: x")]

    (experiment,) = lab.run(behave, [1]).experiments
    assert (experiment.status, experiment.fitness, experiment.reason) == ("failed", None, "exit code 3: x")
    assert experiment.metric is not None
    assert experiment.metric["value"] == 4.0
    assert lab.tells == [(1, None)]


def test_an_optimizer_ends_what_reports_too_little(lab: Lab) -> None:
    def behave(run: Run) -> Any:
        return [6.0, x(run) * 2, outcome_of(run, exit_code=None, reason="stopped", stopped=x(run) * 2 < 5)]

    project = lab.run(behave, "0:9", optimizer="impatient", max_experiments=4)
    assert statuses(project) == ["pruned", "pruned", "failed", "failed"]
    assert [number for number, kill in lab.fake.stops] == [1, 2]
    assert [number for number, _ in lab.tells] == [1, 2, 3, 4]


def test_a_repeat_of_what_was_pruned_is_no_candidate_for_the_best(lab: Lab) -> None:
    options: dict[str, Any] = {"optimizer": "impatient", "options": {"repeat_from": 2}}
    project = lab.run(
        lambda run: [4.0, outcome_of(run, exit_code=None, stopped=True)], "0:9", max_experiments=4, **options
    )
    assert statuses(project) == ["pruned"] * 4
    assert lab.watcher.progress is not None
    assert (lab.watcher.progress.best, project.best) == (None, None)
    lab.resume(x, max_experiments=4)
    assert lab.watcher.progress.best is None


# --- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "workers"), [("grid", 1), ("random", 3), ("cma", 1), ("cma", 3)])
def test_wherever_the_driver_dies_nothing_is_done_twice_and_nothing_skipped(
    lab: Lab, optimizer: str, workers: int
) -> None:
    ranges, options = ("1:9", {}) if optimizer == "grid" else ("1:9:l", {"seed": 4, "max_experiments": 9})
    whole = lab.run(x, ranges, optimizer=optimizer, num_workers=workers, **options)
    values = [e.values for e in whole.experiments]
    launch.remove("p")
    ended: list[int] = []

    def behave(run: Run) -> Any:
        if len(ended) % 2 == 1 and ended[-1] != -run.number:
            ended.append(-run.number)
            raise Crash
        ended.append(run.number)
        return x(run)

    with pytest.raises(Crash):
        lab.run(behave, ranges, optimizer=optimizer, num_workers=workers, **options)
    for _ in range(9):
        try:
            project = lab.resume(behave)
            break
        except Crash:
            pass
    assert statuses(project) == ["completed"] * 9
    assert sorted(number for number in ended if number > 0) == list(range(1, 10))
    assert len(lab.tells) == 9
    assert {e.attempt for e in project.experiments} == {1}
    if workers == 1 or optimizer != "cma":
        assert [e.values for e in project.experiments] == values


def test_counts_go_on(lab: Lab) -> None:
    lab.run(lambda run: ValueError("bad") if run.number == 2 else x(run), "1:3")
    lab.ask("retry", 2)
    lab.resume(lambda run: x(run))
    assert lab.watcher.counts_at_begin == {"completed": 2, "failed": 1}
    progress = lab.watcher.progress
    assert progress is not None
    assert {status: count for status, count in progress.counts.items() if count} == {"completed": 3}
    assert (progress.finished, progress.session_finished, progress.total) == (3, 1, 3)


def test_the_best_so_far_follows_a_retry(lab: Lab) -> None:
    lab.run(x, "1:3")
    lab.ask("retry", 3)
    project = lab.resume(lambda run: 0.0)
    assert project.best is not None
    assert project.best.number == 2
    assert lab.watcher.progress is not None
    assert lab.watcher.progress.best is not None
    assert lab.watcher.progress.best.number == 2


def test_there_is_no_best_so_far_once_the_only_one_has_failed(lab: Lab) -> None:
    lab.run(x, "1:1")
    lab.ask("retry", 1)
    assert lab.resume(lambda run: ValueError("no data")).best is None
    assert lab.watcher.progress is not None
    assert lab.watcher.progress.best is None


def test_the_best_so_far_has_the_value_of_its_retry(lab: Lab) -> None:
    lab.run(x, "1:3")
    lab.ask("retry", 3)
    lab.resume(lambda run: 8.0)
    assert lab.watcher.progress is not None
    assert lab.watcher.progress.best is not None
    assert (lab.watcher.progress.best.fitness, lab.watcher.progress.best.attempt) == (8.0, 2)


def test_the_best_so_far_is_the_best_of_the_record(lab: Lab) -> None:
    project = lab.run(lambda run: 1.0, "1:4", order=newest, num_workers=2)
    assert project.best is not None
    assert lab.watcher.progress is not None
    assert lab.watcher.progress.best is not None
    assert lab.watcher.progress.best.number == project.best.number


def test_a_budget_may_grow_on_resume_and_is_kept(lab: Lab) -> None:
    assert len(lab.run(x, "0:9", optimizer="one-by-one", max_experiments=2).experiments) == 2
    assert len(lab.resume(x, max_experiments=4, num_workers=2).experiments) == 4
    assert lab.started == [(3, 1), (4, 1)]
    assert Project("p").settings["max_experiments"] == 4
    assert len(lab.resume(x).experiments) == 4


def test_what_stands_in_the_way_is_said(lab: Lab) -> None:
    lab.run(x, "1:2")
    with pytest.raises(ProjectError, match="project 'p' exists; continue it: studio resume p"):
        lab.run(x, "1:2")
    with pytest.raises(ProjectError, match="there is no project 'q'"):
        resume("q", host=lab.host())
    search = studio.Search({"x": [1, 2]}, project="loop")
    search.close()
    with pytest.raises(BadInput, match="is driven by a Python program"):
        resume("loop", host=lab.host())


# --- a backend that is lost ---------------------------------------------------------------------------------------------


class Lost(FakeBackend):
    """Goes away when experiment 2 runs, and answers nobody afterwards."""

    name = "lost"
    gone: ClassVar[bool] = False

    def open(self, project: Path) -> None:
        if self.gone:
            raise BadInput("nobody answers at lost:")

    def poll(self, timeout: float) -> list[Report | Outcome]:
        if 2 in self._running and not self.gone:
            type(self).gone = True
            self._stopped += self._running
            raise EndSearch("lost does not answer any more", "failed")
        return super().poll(timeout)


@pytest.fixture
def lost(lab: Lab) -> Lab:
    made = type("Lost", (Lost,), {"behave": staticmethod(x), "order": staticmethod(newest), "started": [], "stops": []})
    host = create_host(plugins=[made.plugin(), lab.fake.plugin()])
    lab.host, lab.fake = lambda: host, made  # type: ignore[method-assign]
    launch.run("train.py", hyperparams={"x": "1:3"}, project="p", backend="lost", host=host, observer=lab.watcher)
    return lab


def test_a_lost_backend_ends_the_search_with_the_command_to_go_on(lost: Lab) -> None:
    assert (Project("p").state, statuses(Project("p"))) == ("failed", ["completed", "stopped", "queued"])
    assert lost.fake.stops == [(2, False)]
    assert lost.watcher.notices[-2:] == [
        "lost does not answer any more",
        "the search ended with an error; continue with: studio resume p",
    ]


def test_it_goes_on_elsewhere_although_the_lost_one_does_not_answer(lost: Lab) -> None:
    assert fitnesses(resume("p", host=lost.host(), observer=lost.watcher, backend="fake")) == [1, 0, 0]
    assert (
        "nobody answers at lost. Nothing of this search was running there; it continues elsewhere"
        in lost.watcher.notices
    )
