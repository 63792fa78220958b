"""`gp` and `auto`: what they ask for, and what they make of failures, noise and plateaus."""

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from studio.optimizers.auto import Auto
from studio.optimizers.cma_es import CMAES
from studio.optimizers.gp.optimizer import GaussianProcess, Stall
from studio.optimizers.tpe import TPE
from studio.space import Array, Choice, Constant, Integer, Real, Space

PLANE = Space([Real("x", -1.0, 1.0), Real("y", -1.0, 1.0)])
MEMORY = Space(
    [
        Integer("depth", 1, 24),
        Integer("width", 16, 1024, log=True),
        Integer("batch", 4, 256, log=True),
        Real("lr", 0, 1),
    ]
)


def valley(values):
    return -((values["x"] - 0.3) ** 2) - (values["y"] + 0.4) ** 2


def search(optimizer, fitness, count, failure=lambda values: ""):
    """Fitnesses and suggestions of a search; fitness None where `failure` names one."""
    told = []
    for number in range(1, count + 1):
        suggestion = optimizer.ask()
        if suggestion is None:
            break
        kind = failure(suggestion.values)
        value = None if kind else fitness(suggestion.values)
        told.append((value, suggestion))
        optimizer.tell(suggestion, value, failure=kind) if kind else optimizer.tell(suggestion, value)
        assert number == len(told)
    return told


def best(told):
    return max(value for value, _ in told if value is not None)


def test_a_valley_is_found_in_thirty():
    assert best(search(GaussianProcess(PLANE, seed=1), valley, 30)) > -1e-4


def test_no_suggestion_comes_twice():
    space = Space([Integer("a", 1, 9), Choice("b", ("x", "y")), Choice("c", (1, 2, 4))])
    told = search(GaussianProcess(space, seed=1), lambda values: float(values["a"]), 100)
    assert len(told) == 9 * 2 * 3
    assert len({str(suggestion.values) for _, suggestion in told}) == len(told)


@pytest.mark.parametrize("kind", [GaussianProcess, TPE])
@pytest.mark.parametrize("unconstrained", [False, True])
def test_no_whole_number_of_a_million_comes_twice(kind, unconstrained):
    space = Space([Integer("n", 1, 1_000_000, log=True, unconstrained=unconstrained)])
    told = search(kind(space, seed=1), lambda values: -abs(math.log(values["n"] / 12_345)), 40)
    assert len({suggestion.values["n"] for _, suggestion in told}) == 40


def test_a_finite_space_ends():
    optimizer = Auto(Space([Choice("a", (1, 2, 4)), Choice("b", (True, False)), Constant("c", 1)]), seed=1)
    told = search(optimizer, lambda values: values["a"], 20)
    assert len(told) == 6
    assert (optimizer.done, optimizer.done_reason) == (True, "all 6 combinations of values were suggested")


def test_points_outside_the_range_are_reached_where_it_is_free():
    space = Space([Real("x", 0.0, 1.0, unconstrained=True)])
    told = search(GaussianProcess(space, seed=1), lambda values: -abs(values["x"] - 3.0), 40)
    assert best(told) > -0.05


def test_what_does_not_fit_into_memory_is_asked_for_no_more():
    def failure(values):
        return "memory" if values["depth"] * values["width"] ** 2 * values["batch"] > 2e7 else ""

    def fitness(values):
        return math.log(values["depth"] * values["width"]) - (values["lr"] - 0.5) ** 2

    told = search(GaussianProcess(MEMORY, seed=1), fitness, 60, failure)
    failed = [value is None for value, _ in told]
    assert sum(failed[:12]) <= 3
    assert sum(failed[12:]) <= 3  # of 48, where the best lies at the limit; of random points half fail
    assert best(told) > 8.7  # the best that fits has 9.30


def test_few_failures_do_not_keep_it_from_the_best():
    """Two that did not fit say little about the rest: the search stays where it is good."""
    optimizer = GaussianProcess(PLANE, seed=1)
    told = search(optimizer, valley, 30, lambda values: "memory" if values["x"] > 0.8 else "")
    assert best(told) > -1e-3


def test_lost_experiments_are_missing_values():
    optimizer, other = GaussianProcess(PLANE, seed=1), GaussianProcess(PLANE, seed=1)
    for number in range(25):
        one, two = optimizer.ask(), other.ask()
        assert one.point == two.point
        if number % 5 == 4:
            optimizer.tell(one, None, failure="lost")
            other.tell(two, None, failure="lost")
        else:
            optimizer.tell(one, valley(one.values))
            other.tell(two, valley(two.values))
    assert optimizer._chance is None


def test_a_plateau_is_left():
    """Every second suggestion looks elsewhere when the best point yields nothing more."""
    told = search(GaussianProcess(PLANE, seed=1), lambda values: max(valley(values), -0.01), 80)
    late = np.array([[s.values["x"], s.values["y"]] for _, s in told[40:]])
    assert np.ptp(late, axis=0).min() > 1.0


def test_three_of_four_leave_a_best_value_that_came_four_times():
    stall, first = Stall(), [5.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    stall.note(np.array(first))
    assert [stall.leaves(asked, 9, 2) for asked in range(4)] == [False] * 4
    stall.note(np.array([*first, 1.0 + 1e-5]))
    assert [stall.leaves(asked, 10, 2) for asked in range(4)] == [False, True, True, True]
    stall.note(np.array([*first, 1.0 + 1e-5, 0.9]))
    assert [stall.leaves(asked, 11, 2) for asked in range(4)] == [False] * 4


@pytest.mark.parametrize("seed", range(4))
def test_many_outstanding_lie_apart(seed):
    optimizer = GaussianProcess(PLANE, seed=seed)
    search(optimizer, valley, 20)
    points = np.array([optimizer.ask().point for _ in range(16)])
    distances = np.abs(points[:, None] - points).max(2)[np.triu_indices(16, 1)]
    assert np.median(distances) > 0.01
    assert distances.min() > 0.001


def test_the_same_choices_are_not_suggested_for_ever():
    space = Space([Choice("kind", ("good", "bad", "worse")), Real("x", 0.0, 1.0)])
    penalty = {"good": 0.0, "bad": 5.0, "worse": 9.0}
    told = search(GaussianProcess(space, seed=1), lambda v: -((v["x"] - 0.3) ** 2) - penalty[v["kind"]], 100)
    kinds = [suggestion.values["kind"] for _, suggestion in told]
    assert max(len(list(run)) for _, run in itertools.groupby(kinds[30:])) <= 20
    assert kinds.count("good") > 70


def test_the_recommended_is_less_lucky_than_the_best_seen():
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        optimizer = GaussianProcess(PLANE, seed=seed)
        seen, recommended = (-math.inf, None), None
        for number in range(1, 41):
            suggestion = replace(optimizer.ask(), number=number)
            fitness = valley(suggestion.values) + rng.normal(0.0, 0.3)
            optimizer.tell(suggestion, fitness)
            seen = (fitness, suggestion) if fitness > seen[0] else seen
            if number % 20 == 0:
                recommended = optimizer.recommend()
        gains.append(valley(recommended.values) - valley(seen[1].values))
    assert np.mean(gains) > 0.02


def test_without_noise_the_best_seen_is_recommended():
    optimizer = GaussianProcess(PLANE, seed=1)
    search(optimizer, valley, 20)
    assert optimizer.recommend() is None


@pytest.mark.parametrize(("belief", "bound"), [(0.31, -1e-4), (-0.9, -1e-3)])
def test_a_belief_helps_and_may_be_wrong(belief, bound):
    space = Space([Real("x", -1.0, 1.0, belief=belief), Real("y", -1.0, 1.0)])
    told = search(GaussianProcess(space, seed=1), valley, 30)
    assert told[0][1].values["x"] == pytest.approx(belief, abs=1e-5)
    near = np.mean([abs(suggestion.values["x"] - belief) < 0.4 for _, suggestion in told[:8]])
    assert near > 0.5
    assert best(told) > bound


def test_points_of_another_optimizer_are_taken():
    """A resumed search with --accept-changes, or one that learns from another."""
    optimizer = GaussianProcess(PLANE, seed=1)
    rng = np.random.default_rng(2)
    for _ in range(20):
        suggestion = PLANE.suggestion(rng.random(2))
        optimizer.tell(suggestion, valley(suggestion.values))
    assert best(search(optimizer, valley, 12)) > -1e-3  # no design any more


@pytest.mark.parametrize("kind", [GaussianProcess, TPE])
def test_two_known_results_of_one_point_are_two_and_a_retry_is_none(kind):
    optimizer, known = kind(PLANE, seed=1), PLANE.suggestion([0.3, 0.3])
    own = optimizer.ask()
    for suggestion, fitness in [(known, 1.0), (own, None), (own, 2.0), (known, 3.0), (replace(known, number=1), 4.0)]:
        optimizer.tell(suggestion, fitness)
    assert [result.cost for result in optimizer._results.values()] == [-1.0, -2.0, -3.0, -4.0]


def test_auto_hands_over_to_cma(caplog):
    caplog.set_level("INFO")
    optimizer = Auto(PLANE, seed=1)
    rng = np.random.default_rng(2)
    for _ in range(400):
        suggestion = PLANE.suggestion(rng.random(2))
        optimizer.tell(suggestion, valley(suggestion.values))
    assert isinstance(optimizer._engine, GaussianProcess)
    told = search(optimizer, valley, 80)
    assert isinstance(optimizer._engine, CMAES)
    assert [record.getMessage() for record in caplog.records] == [
        "auto: 400 experiments have results; CMA-ES continues from the best of them"
    ]
    assert np.mean([value for value, _ in told[:10]]) > -0.15  # near the best, not in the middle
    assert best(told) > -1e-5


def test_auto_ends_with_the_last_point_of_a_finite_space_beyond_the_results_of_the_model(monkeypatch):
    monkeypatch.setattr("studio.optimizers.auto.MOST_RESULTS", 20)
    optimizer, seen = Auto(Space([Integer("a", 1, 20), Choice("b", (True, False))]), seed=1), []
    while (suggestion := optimizer.ask()) is not None:
        seen.append(tuple(suggestion.values.values()))
        optimizer.tell(suggestion, -abs(suggestion.values["a"] - 7.0))
    assert optimizer.done
    assert len(seen) == len(set(seen)) == 40


@pytest.mark.parametrize("failure", ["memory", "timeout", "crash"])
def test_auto_keeps_the_model_where_the_values_make_experiments_fail(failure, monkeypatch):
    monkeypatch.setattr("studio.optimizers.auto.MOST_RESULTS", 20)
    optimizer = Auto(PLANE, seed=1)
    for number in range(21):
        suggestion, fails = optimizer.ask(), number == 3
        optimizer.tell(suggestion, None if fails else valley(suggestion.values), failure=failure if fails else "")
    optimizer.ask()
    assert isinstance(optimizer._engine, CMAES if failure == "crash" else GaussianProcess)


def test_auto_keeps_the_model_of_noise_and_its_recommendation(monkeypatch):
    monkeypatch.setattr("studio.optimizers.auto.MOST_RESULTS", 30)
    optimizer, rng = Auto(PLANE, seed=1), np.random.default_rng(1)
    for number in range(1, 41):
        suggestion = replace(optimizer.ask(), number=number)
        optimizer.tell(suggestion, valley(suggestion.values) + rng.normal(0.0, 0.3))
    assert optimizer.recommend() is not None


@pytest.mark.parametrize(("length", "engine"), [(20, GaussianProcess), (21, CMAES)])
def test_auto_takes_cma_for_many_dimensions(length, engine):
    assert isinstance(Auto(Space([Array("x", Real("x", 0.0, 1.0), length)]), seed=1)._engine, engine)


@pytest.mark.parametrize("module", ["auto", "gp.optimizer", "sobol", "tpe"])
def test_modules_load_no_scipy(module):
    program = (
        f"import sys, studio.optimizers.{module}; assert not {{'scipy', 'cma', 'threadpoolctl'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
