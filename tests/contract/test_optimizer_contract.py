"""The built-in optimizers keep the contract, and the contract catches every optimizer that does not."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from studio.interfaces import Optimizer
from studio.optimizers import auto
from studio.optimizers.auto import Auto
from studio.optimizers.cma_es import CMAES
from studio.optimizers.gp import design
from studio.optimizers.gp import optimizer as gp
from studio.optimizers.gp.optimizer import GaussianProcess
from studio.optimizers.grid import Grid
from studio.optimizers.random_search import RandomSearch
from studio.optimizers.sobol import Sobol
from studio.optimizers.tpe import TPE
from studio.space import Space, Suggestion
from studio.testing import OptimizerContract


class TestGrid(OptimizerContract):
    optimizer = Grid
    deterministic = True


class TestRandomSearch(OptimizerContract):
    optimizer = RandomSearch


class TestSobol(OptimizerContract):
    optimizer = Sobol


class TestCMAES(OptimizerContract):
    optimizer = CMAES


class TestTPE(OptimizerContract):
    optimizer = TPE


class TestGaussianProcess(OptimizerContract):
    optimizer = GaussianProcess
    asks = 8

    @pytest.fixture(autouse=True)
    def _small_design(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the model suggest after 4 points, or 5 where a choice has as many values: in each test."""
        monkeypatch.setattr(design, "SMALLEST", 4)
        monkeypatch.setattr(design, "LARGEST", 4)
        monkeypatch.setattr(gp, "FEWEST_TO_RECOMMEND", 4)


class TestAuto(TestGaussianProcess):
    optimizer = Auto

    @pytest.fixture(autouse=True)
    def _few_results(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let CMA-ES take over from the model within each test."""
        monkeypatch.setattr(auto, "MOST_RESULTS", 6)


class TestCMAESWithOptions(OptimizerContract):
    optimizer = CMAES
    options = {"popsize": 3, "sigma0": 0.5}


class Sound(Optimizer):
    """Keeps the contract: random points, drawn towards the best so far. Each class below breaks one thing of it."""

    name = "sound"

    def __init__(self, space: Space, *, seed: int):
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.best: list[float] | None = None
        self.best_fitness = -np.inf

    def ask(self) -> Suggestion | None:
        point = self.rng.random(self.space.dimensions)
        if self.best is not None:
            point = 0.9 * point + 0.1 * np.array(self.best)
        return self.space.suggestion(point)

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        if fitness is not None and np.isfinite(fitness) and fitness > self.best_fitness:
            self.best, self.best_fitness = suggestion.point, fitness

    def with_values(self, change: Any) -> Suggestion:
        """The next suggestion with `change` made to each value."""
        suggestion = Sound.ask(self)
        values = {name: change(value) for name, value in suggestion.values.items()}
        return Suggestion(values=values, point=suggestion.point)


class TestSound(OptimizerContract):
    optimizer = Sound


class LeavesTheRange(Sound):
    def ask(self):
        return self.with_values(lambda value: value + 10_000.0 if type(value) is float else value)


class GivesNaN(Sound):
    def ask(self):
        return self.with_values(lambda value: float("nan") if type(value) is float else value)


class ForgetsAName(Sound):
    def ask(self):
        suggestion = super().ask()
        return Suggestion(values=dict(list(suggestion.values.items())[1:]), point=suggestion.point)


class AddsAName(Sound):
    def ask(self):
        suggestion = super().ask()
        return Suggestion(values={**suggestion.values, "extra": 1}, point=suggestion.point)


class GivesNumpyScalars(Sound):
    def ask(self):
        return self.with_values(lambda value: np.float64(value) if type(value) is float else value)


class DrawsToRecommend(Sound):
    def recommend(self):
        self.rng.random()


class GivesFloatsForIntegers(Sound):
    def ask(self):
        return self.with_values(lambda value: float(value) if type(value) is int else value)


class GivesListsForArrays(Sound):
    def ask(self):
        return self.with_values(lambda value: value.tolist() if isinstance(value, np.ndarray) else value)


class InventsChoices(Sound):
    def ask(self):
        return self.with_values(lambda value: "rmsprop" if isinstance(value, str) else value)


class KeepsAnArrayAsPoint(Sound):
    def ask(self):
        suggestion = super().ask()
        return Suggestion(values=suggestion.values, point=np.array(suggestion.point))


class GivesADict(Sound):
    def ask(self):
        return super().ask().values


class BreaksInOneDimension(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.scale = 1 / (space.dimensions - 1)


class Repeats(Sound):
    def ask(self):
        return self.space.suggestion(np.full(self.space.dimensions, 0.5))


class RepeatsAfterAWhile(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.points = self.rng.random((10, space.dimensions))
        self.next = 0

    def ask(self):
        self.next += 1
        return self.space.suggestion(self.points[self.next % 10])


class IgnoresItsSeed(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=0)


class DrawsFromNumpy(Sound):
    def ask(self):
        return self.space.suggestion(np.random.random(self.space.dimensions))


class DrawsFromPython(Sound):
    def ask(self):
        return self.space.suggestion([random.random() for _ in range(self.space.dimensions)])


class SeedsNumpy(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        np.random.seed(seed)


class SeedsPython(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        random.seed(seed)


class WaitsForever(Sound):
    """A generation of 10, the next when 11 were told."""

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.left, self.told = 10, 0

    def ask(self):
        if self.left == 0:
            return None
        self.left -= 1
        return super().ask()

    def tell(self, suggestion, fitness):
        super().tell(suggestion, fitness)
        self.told += 1
        if self.told == 11:
            self.left, self.told = 10, 0


class Counts(Sound):
    """Knows the suggestions that are out."""

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.out: list[list[float]] = []

    def ask(self):
        suggestion = super().ask()
        self.out.append(suggestion.point)
        return suggestion

    def tell(self, suggestion, fitness):
        super().tell(suggestion, fitness)
        if suggestion.point in self.out:
            self.out.remove(suggestion.point)


class BreaksOnMany(Counts):
    def ask(self):
        if len(self.out) > 20:
            raise RuntimeError("too many suggestions are out")
        return super().ask()


class WantsResultsInOrder(Counts):
    def tell(self, suggestion, fitness):
        if self.out[0] != suggestion.point:
            raise RuntimeError("that is not the oldest suggestion")
        super().tell(suggestion, fitness)


class KnowsItsSuggestionsById(Sound):
    """Keeps a dict of pending objects, of which a resumed search has none."""

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.pending: dict[int, Suggestion] = {}

    def ask(self):
        suggestion = super().ask()
        self.pending[id(suggestion)] = suggestion
        return suggestion

    def tell(self, suggestion, fitness):
        super().tell(self.pending[id(suggestion)], fitness)


class WantsATuple(Sound):
    """The point is a tuple when asked; JSON makes it a list."""

    def ask(self):
        suggestion = super().ask()
        return Suggestion(values=suggestion.values, point=tuple(suggestion.point))

    def tell(self, suggestion, fitness):
        hash(suggestion.point)
        super().tell(suggestion, fitness)


class SharesStateBetweenInstances(Sound):
    instances = 0

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed + SharesStateBetweenInstances.instances)
        SharesStateBetweenInstances.instances += 1


class DrawsInVain(Counts):
    """Draws a number each time that it has nothing to suggest, with 5 suggestions out."""

    def ask(self):
        if len(self.out) >= 5:
            self.rng.random()
            return None
        return super().ask()


class GivesInTheEnd(Counts):
    """Suggests a sixth when it is asked three times."""

    vain = 0

    def ask(self):
        if len(self.out) >= 5 and self.vain < 2:
            self.vain += 1
            return None
        self.vain = 0
        return super().ask()


class KnowsThreeClasses(RandomSearch):
    """Breaks on a class of failure that it never heard of."""

    def tell(self, suggestion, fitness, failure=""):
        {"": 0, "memory": 1, "timeout": 2, "crash": 3}[failure]


class BreaksOnNone(Sound):
    def tell(self, suggestion, fitness):
        super().tell(suggestion, 0.0 + fitness)


class NeedsOneSuccess(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.results: list[float] = []

    def ask(self):
        if self.told and self.told % 8 == 0:
            max(self.results)
        return super().ask()

    told = 0

    def tell(self, suggestion, fitness):
        super().tell(suggestion, fitness)
        self.told += 1
        if fitness is not None:
            self.results.append(fitness)


class Averages(Sound):
    """A sum of all fitness, that steers the next point; NaN stays in it for ever."""

    total = 0.0

    def ask(self):
        return self.space.suggestion(np.tanh(self.total) * self.rng.random(self.space.dimensions))

    def tell(self, suggestion, fitness):
        self.total += fitness or 0.0


class Normalises(Sound):
    last = 1.0

    def tell(self, suggestion, fitness):
        if fitness is not None:
            1 / (fitness - self.last)
            self.last = fitness


class WantsOneTell(Counts):
    def tell(self, suggestion, fitness):
        self.out.remove(suggestion.point)


class KnowsItsOwnAlone(Sound):
    takes_known = True

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.out = set()

    def ask(self):
        suggestion = super().ask()
        self.out.add(str(suggestion.point))
        return suggestion

    def tell(self, suggestion, fitness):
        if str(suggestion.point) not in self.out:
            raise KeyError(suggestion.number)
        super().tell(suggestion, fitness)


class ChangesWhatItIsTold(Sound):
    def tell(self, suggestion, fitness):
        super().tell(suggestion, fitness)
        suggestion.values.clear()


class ReusesItsBuffer(Sound):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.point: list[float] = []

    def ask(self):
        suggestion = super().ask()
        self.point[:] = suggestion.point
        return Suggestion(values=suggestion.values, point=self.point)


class SaysItNeedsNoFitness(Sound):
    needs_fitness = False


class Sized(Sound):
    """Ends after 8."""

    size = 8
    given = 8

    def ask(self):
        if self.done:
            return None
        self.given -= 1
        self.done = self.given == 0
        return super().ask()


class TestSized(OptimizerContract):
    optimizer = Sized


class AsksForMore(Sized):
    given = 9


class AsksForLess(Sized):
    given = 7


class NeverSaysDone(Sized):
    def ask(self):
        if self.given == 0:
            return None
        self.given -= 1
        return Sound.ask(self)


class TakesReports(Sound):
    """Ends what is worse than half of all that came as far: the median rule of Google Vizier."""

    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.seen: dict[int, list[float]] = {}

    def report(self, suggestion: Suggestion, step: int, fitness: float) -> bool:
        seen = self.seen.setdefault(step // 50, [])
        seen.append(fitness)
        return len(seen) > 5 and fitness < float(np.median(seen))


class TestTakesReports(OptimizerContract):
    optimizer = TakesReports


class BreaksOnAReport(TakesReports):
    def report(self, suggestion, step, fitness):
        return fitness < self.seen[step]


class BreaksOnALateReport(TakesReports):
    def __init__(self, space, *, seed):
        super().__init__(space, seed=seed)
        self.ended: set[int] = set()

    def report(self, suggestion, step, fitness):
        if suggestion.number in self.ended:
            raise RuntimeError("that was ended")
        self.ended |= {suggestion.number} if super().report(suggestion, step, fitness) else set()
        return suggestion.number in self.ended


class AnswersInWords(TakesReports):
    def report(self, suggestion, step, fitness):
        return "stop" if super().report(suggestion, step, fitness) else "go on"


class PrunesAtRandom(TakesReports):
    def report(self, suggestion, step, fitness):
        return bool(np.random.random() < 0.2)


class PrunesByTheClock(TakesReports):
    reports = 0

    def report(self, suggestion, step, fitness):
        PrunesByTheClock.reports += 1
        return PrunesByTheClock.reports % 7 == 0


BROKEN = [
    (LeavesTheRange, "test_stays_in_every_kind_of_space", "outside of the space"),
    (GivesNaN, "test_stays_in_every_kind_of_space", "outside of the space"),
    (ForgetsAName, "test_stays_in_every_kind_of_space", "suggestion.values must have the names"),
    (AddsAName, "test_stays_in_every_kind_of_space", "suggestion.values must have the names"),
    (GivesNumpyScalars, "test_stays_in_every_kind_of_space", "scalars must be Python's own"),
    (GivesFloatsForIntegers, "test_stays_in_every_kind_of_space", "must be of type int"),
    (GivesListsForArrays, "test_stays_in_every_kind_of_space", "must be a numpy vector"),
    (InventsChoices, "test_stays_in_every_kind_of_space", "outside of the space"),
    (KeepsAnArrayAsPoint, "test_stays_in_every_kind_of_space", "must be JSON-able"),
    (GivesADict, "test_stays_in_every_kind_of_space", "must give a studio.Suggestion or None"),
    (BreaksInOneDimension, "test_stays_in_every_kind_of_space", "could not be made raised ZeroDivisionError"),
    (Repeats, "test_does_not_repeat_itself", "has the values of suggestion 1"),
    (RepeatsAfterAWhile, "test_does_not_repeat_itself", "suggestion 11 has the values of suggestion 1"),
    (IgnoresItsSeed, "test_seeds_make_a_difference", "use `seed`"),
    (DrawsFromNumpy, "test_same_seed_same_path", "generator of your own"),
    (DrawsFromPython, "test_same_seed_same_path", "generator of your own"),
    (SharesStateBetweenInstances, "test_same_seed_same_path", "generator of your own"),
    (DrawsFromNumpy, "test_leaves_global_generators_alone", "`numpy.random` changed"),
    (DrawsFromPython, "test_leaves_global_generators_alone", "`random` changed"),
    (SeedsNumpy, "test_leaves_global_generators_alone", "`numpy.random` changed"),
    (SeedsPython, "test_leaves_global_generators_alone", "`random` changed"),
    (WaitsForever, "test_one_outstanding_suggestion_is_enough", "would wait forever"),
    (SharesStateBetweenInstances, "test_one_outstanding_suggestion_is_enough", "on replay"),
    (WantsResultsInOrder, "test_replays_with_4_outstanding", "not the oldest"),
    (KnowsItsSuggestionsById, "test_replays_with_4_outstanding", "KeyError"),
    (WantsATuple, "test_replays_with_4_outstanding", "unhashable"),
    (SharesStateBetweenInstances, "test_replays_with_4_outstanding", "on replay"),
    (DrawsInVain, "test_replays_with_64_outstanding", "on replay"),
    (BreaksOnMany, "test_replays_with_64_outstanding", "too many"),
    (DrawsInVain, "test_none_from_ask_changes_nothing", "returned None changed"),
    (GivesInTheEnd, "test_none_from_ask_changes_nothing", "and then a suggestion"),
    (BreaksOnAReport, "test_answers_reports", "raised KeyError"),
    (BreaksOnALateReport, "test_answers_reports", "that was ended"),
    (AnswersInWords, "test_answers_reports", "must give True, to end the experiment, or False, not 'go on'"),
    (PrunesAtRandom, "test_leaves_global_generators_alone", "`numpy.random` changed"),
    (PrunesByTheClock, "test_replays_with_4_outstanding", "on replay report("),
    (BreaksOnNone, "test_survives_failures", "tell(suggestion, None) raised TypeError"),
    (KnowsThreeClasses, "test_survives_every_class_of_failure", "raised KeyError"),
    (NeedsOneSuccess, "test_survives_failures_only", "ask() raised ValueError"),
    (Averages, "test_survives_nan_and_infinity", "ask() raised ValueError"),
    (Normalises, "test_survives_equal_fitness", "ZeroDivisionError"),
    (WantsOneTell, "test_survives_a_second_tell", "raised ValueError"),
    (KnowsItsOwnAlone, "test_takes_known_values", "raised KeyError"),
    (DrawsToRecommend, "test_a_recommendation_changes_nothing", "after recommend()"),
    (ChangesWhatItIsTold, "test_does_not_change_suggestions", "changed after ask()"),
    (ReusesItsBuffer, "test_does_not_change_suggestions", "changed after ask()"),
    (SaysItNeedsNoFitness, "test_needs_no_fitness_if_it_says_so", "needs_fitness is False"),
    (AsksForMore, "test_size_is_how_many_it_asks_for", "size is 8, but ask() gave 9"),
    (AsksForLess, "test_size_is_how_many_it_asks_for", "size is 8, but ask() gave 7"),
    (NeverSaysDone, "test_size_is_how_many_it_asks_for", "done is not set"),
]


@pytest.mark.parametrize(("broken", "test", "complaint"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_the_contract_catches(broken: type[Optimizer], test: str, complaint: str) -> None:
    suite = type("Suite", (OptimizerContract,), {"optimizer": broken})()
    with pytest.raises(AssertionError) as caught:
        getattr(suite, test)()
    assert complaint in str(caught.value)


def contract_tests() -> Iterator[str]:
    return (name for name in vars(OptimizerContract) if name.startswith("test_"))


def test_every_test_of_the_contract_catches_something() -> None:
    assert set(contract_tests()) == {test for _, test, _ in BROKEN}
