"""Pruning and stop rules: what is stopped, what the optimizer is told, and that a resumed search decides the same."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import studio
from studio.errors import BadInput
from studio.experiment import Outcome, Run
from studio.format import counted
from studio.interfaces import StoppedRun
from studio.plugins.pruning import FastPruner, SafePruner
from studio.project.project import Project
from studio.search import run as launch
from studio.search.ask_tell.pruning import Pruning
from studio.search.observer import Observer
from studio.search.resume import resume
from studio.testing.fakes import FakeBackend, fake_backend, outcome_of


def test_checkpoints_are_powers_of_three_apart() -> None:
    assert [count for count in range(1, 100) if SafePruner().decides_at(count)] == [5, 15, 45]
    assert [count for count in range(1, 100) if FastPruner().decides_at(count)] == [3, 9, 27, 81]


@pytest.mark.parametrize(
    ("fitness", "others", "stops"),
    [
        (0.0, [], False),
        (0.0, [1.0], False),  # two runs say nothing
        (0.5, [1.0, 0.0], True),
        (1.0, [0.5, 0.0], False),
        (1.0, [1.0, 1.0], False),  # equal runs go on
        (0.5, [1.0, 0.4, 0.3, 0.2, 0.1], False),
        (0.4, [1.0, 0.5, 0.3, 0.2, 0.1], True),
    ],
)
def test_a_third_goes_on(fitness: float, others: list[float], stops: bool) -> None:
    assert SafePruner().should_stop(5, fitness, others) is stops


def test_the_best_stopped_run_of_each_checkpoint_runs_again() -> None:
    stopped = [StoppedRun(2, 5, 0.1), StoppedRun(4, 5, 0.3), StoppedRun(7, 15, 0.2)]
    assert SafePruner().choose_reruns(stopped) == [4, 7]
    assert FastPruner().choose_reruns(stopped) == ()


class Below(studio.Pruner):
    """Stops what is below the best of the others at report 2."""

    name: ClassVar[str] = "below"
    after = 2

    def decides_at(self, reports: int) -> bool:
        return reports == 2

    def should_stop(self, reports: int, fitness: float, others: Sequence[float]) -> bool:
        return bool(others) and fitness < max(others)


def test_the_estimate_adds_the_gain_of_the_others_and_is_never_above_their_median() -> None:
    pruning = Pruning(Below())
    assert pruning.report(1, 2, 0.5) is False
    pruning.tell(1, 0.8, 10, pruned=False)
    assert pruning.report(2, 2, 0.3) is True
    pruning.tell(2, 0.3, 2, pruned=True)
    assert pruning.estimate(2) == pytest.approx(0.6)
    assert pruning.report(3, 2, 0.49) is True
    pruning.tell(3, 0.49, 2, pruned=True)
    assert pruning.estimate(3) == pytest.approx(0.79)
    pruning.tell(4, 0.1, 10, pruned=False)
    assert pruning.estimate(3) == pytest.approx(0.45)
    assert pruning.estimate(1) is None


def test_a_run_that_was_stopped_once_and_one_near_its_end_are_left_alone() -> None:
    pruning = Pruning(Below())
    pruning.report(1, 2, 0.5)
    pruning.report(2, 2, 0.3)
    pruning.tell(2, 0.3, 2, pruned=True)
    assert not pruning.is_checkpoint(2, 2)
    pruning.tell(1, 0.5, 2, pruned=False)
    assert pruning.usual_reports == 2
    assert pruning.report(3, 2, 0.1) is False


events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 12), st.floats(-1, 1), st.booleans()), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(events=events, optimizer=st.sampled_from(["random", "tpe"]), data=st.data())
def test_a_resumed_search_has_the_same_state_and_goes_on_alike(tmp_path_factory, events, optimizer, data) -> None:
    """Runs of random curves, several at once, some retried; then the journal alone gives the same search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(tmp_path_factory.mktemp("home")))
        options: dict[str, Any] = {"optimizer": optimizer, "seed": 3, "prune": "fast", "project": "p"}
        search = studio.Search({"x": "0:1", "y": "1e-3:1:l"}, **options)
        running: list[Any] = []
        for which, length, level, retried in events:
            while len(running) <= which:
                running.append(search.ask())
            suggestion = running.pop(which)
            for step in range(length):
                if search.report(suggestion, step, level + step / 10):
                    break
            search.tell(suggestion, level + step / 10)
            if retried:
                search.tell(suggestion, level + 2, pruned=False)
        assert search.pruning is not None
        before = vars(search.pruning) | {"pruner": None}, search.experiments, search.best
        following = search.ask()
        search.close()
        again = studio.Search({"x": "0:1", "y": "1e-3:1:l"}, **options)
        assert again.pruning is not None
        assert (vars(again.pruning) | {"pruner": None}, again.experiments[: len(before[1])], again.best) == before
        waiting = [again.suggestion(number).values for number in again.untold]
        assert following is not None
        assert following.values in waiting
        again.close()


def test_without_a_rule_reports_need_an_optimizer_that_takes_them() -> None:
    search = studio.Search({"x": "0:1"}, optimizer="random", seed=1)
    with pytest.raises(BadInput, match="does not take reports"):
        search.report(search.ask(), 1, 0.0)  # type: ignore[arg-type]


# --- a search with a backend that only pretends -----------------------------------------------------------------------


class Crash(BaseException):
    """The driver dies here."""


class Notices(Observer):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


class Lab:
    """Runs and resumes the project `p` with a fake backend."""

    def __init__(self) -> None:
        self.observer = Notices()
        self.fake: type[FakeBackend] = fake_backend(lambda run: 0.0)

    def _options(self, behave: Callable[[Run], Any]) -> dict[str, Any]:
        self.fake = fake_backend(behave)
        return {"host": studio.create_host(plugins=[self.fake.plugin()]), "observer": self.observer}

    def run(self, behave: Callable[[Run], Any], x: Any, **options: Any) -> Project:
        given = {"hyperparams": {"x": x}, "project": "p", "backend": "fake", "repeat": True, **self._options(behave)}
        return launch.run("train.py", **given, **options)

    def resume(self, behave: Callable[[Run], Any], **options: Any) -> Project:
        return resume("p", **self._options(behave), **options)


@pytest.fixture
def lab(home: Path, script: Callable[[str, str], Path]) -> Lab:
    script("train.py", "x = 1\nprint('fitness:', x)\n")
    return Lab()


def stopped(run: Run) -> Outcome:
    return outcome_of(run, exit_code=None, signal="SIGTERM", reason="stopped", stopped=True)


def curve(run: Run) -> list[Any]:
    """Twenty values around x; a third or later run that is bad has been stopped after the fifth, unless it runs again."""
    values = [run.values["x"] + step / 100 for step in range(20)]
    return values if run.attempt > 1 or run.number < 3 or run.values["x"] > 3 else [*values[:5], stopped(run)]


def test_a_bad_run_is_pruned_and_the_best_of_these_runs_again(lab: Lab) -> None:
    project = lab.run(curve, [2, 3, 1, 0, 4], prune="safe")
    assert [(e.status, e.attempt, e.reason) for e in project.experiments] == [
        ("completed", 1, ""),
        ("completed", 1, ""),
        ("completed", 2, ""),
        ("pruned", 1, "pruned at 5/20"),
        ("completed", 1, ""),
    ]
    assert {number for number, _ in lab.fake.stops} == {3, 4}
    assert project.best is not None
    assert project.best.number == 5
    assert [text for text in lab.observer.texts if "again" in text] == [
        "#3 did best among the stopped runs at a checkpoint; running again to the end",
        "pruning: 2 runs stopped early; 1 of them ran again to the end: none is the best",
    ]


@pytest.mark.parametrize("at", [(3, 1), (4, 1), (5, 1), (3, 2)])
def test_a_search_that_is_killed_at_any_run_ends_with_the_same_record(lab: Lab, at: tuple[int, int]) -> None:
    def dies(run: Run) -> Any:
        if (run.number, run.attempt) == at:
            raise Crash
        return curve(run)

    with pytest.raises(Crash):
        lab.run(dies, [2, 3, 1, 0, 4], prune="safe")
    project = lab.resume(curve)
    assert [(e.status, e.attempt) for e in project.experiments] == [
        ("completed", 1),
        ("completed", 1),
        ("completed", 2),
        ("pruned", 1),
        ("completed", 1),
    ]
    assert project.state == "done"


def test_a_run_that_diverges_has_failed(lab: Lab) -> None:
    project = lab.run(lambda run: [1.0, math.nan, math.inf, math.nan, stopped(run)], [1], prune="fast")
    (only,) = project.experiments
    assert (only.status, only.failure) == ("failed", "diverged")
    assert only.reason == "fitness diverged: its last values are nan or infinite"


def test_without_pruning_nothing_is_stopped(lab: Lab) -> None:
    lab.run(lambda run: [1.0, math.nan, math.nan, math.nan, math.nan], [1, 2, 3])
    assert lab.fake.stops == []


@pytest.mark.parametrize(("values", "advice"), [(1, ""), (4, "; to decide earlier, write --prune-after=1")])
def test_a_metric_that_comes_too_seldom_is_said_once(lab: Lab, values: int, advice: str) -> None:
    lab.run(lambda run: [1.0] * values, [1, 2, 3, 4], prune="safe")
    text = "--prune stops nothing here: the runs have"
    said = [each for each in lab.observer.texts if each.startswith(text)]
    assert said == [f"{text} {counted(values, 'value')} of fitness at most, and safe first decides at value 5{advice}"]


# --- rules that end a search ------------------------------------------------------------------------------------------


def finished(project: Project) -> int:
    """Return the number of experiments that have ended; others may have been asked for ahead."""
    return sum(experiment.status != "queued" for experiment in project.experiments)


def test_a_target_ends_the_search_and_a_resume_may_go_further(lab: Lab) -> None:
    project = lab.run(lambda run: run.values["x"], [1, 2, 3, 4], target=2)
    assert (project.state, finished(project)) == ("target", 2)
    assert "experiment 2 reached 2, and --target is 2" in lab.observer.texts
    assert "target reached; for more, give a target further on: studio resume p --target=VALUE" in lab.observer.texts
    assert finished(lab.resume(lambda run: run.values["x"])) == 2  # it is still reached
    assert finished(lab.resume(lambda run: run.values["x"], target=3)) == 3


def test_a_target_of_a_loss_is_reached_from_above(lab: Lab) -> None:
    project = lab.run(lambda run: run.values["x"], [4, 3, 2, 1], metric="fitness:min", target=3)
    assert finished(project) == 2


def test_patience_counts_experiments_without_a_gain(lab: Lab) -> None:
    project = lab.run(
        lambda run: -abs(run.number - 9), "0:1", optimizer="random", max_experiments=50, seed=1, patience=5
    )
    assert (project.state, finished(project)) == ("patience", 14)
    assert "no more gain; for more: studio resume p --patience=10" in lab.observer.texts
    project = lab.resume(lambda run: -abs(run.number - 9), patience=10)
    assert (project.state, finished(project)) == ("patience", 19)


def test_patience_waits_for_enough_experiments(lab: Lab) -> None:
    project = lab.run(lambda run: 0.0, "0:1", optimizer="random", max_experiments=50, seed=1, patience=1)
    assert finished(project) == 12  # 2 × dimensions + 10


def test_a_number_of_failures_ends_the_search(lab: Lab) -> None:
    def every_second(run: Run) -> Any:
        return ValueError("no luck") if run.number % 2 else 1.0

    project = lab.run(every_second, list(range(1, 9)), max_failures=2)
    assert (project.state, finished(project)) == ("failures", 3)
    assert "2 experiments failed, and --max-failures is 2" in lab.observer.texts
    assert "ended because of failures; continue with: studio resume p --max-failures=4" in lab.observer.texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune_after": 3}, "--prune-after 3 has no effect without --prune; add --prune"),
        ({"target": "nan"}, "--target 'nan' is not a number"),
        ({"patience": 0}, "--patience 0: at least 1 is needed"),
        ({"prune": ""}, "--prune '' names no rule; write --prune or --prune=fast"),
    ],
)
def test_a_wrong_option_is_one_line(lab: Lab, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        lab.run(curve, [1], **options)
    assert message in str(caught.value)
