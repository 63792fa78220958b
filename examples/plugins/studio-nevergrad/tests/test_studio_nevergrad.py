import os
import subprocess
import sys
from typing import ClassVar

import pytest
from studio_nevergrad import HOPELESS, NevergradOptimizer

import studio
from studio.testing.optimizers import OptimizerContract

SPACE = {"lr": "1e-5:0.1:l", "layers": "1:8:i", "kind": ["adam", "sgd"], "w": "0:1:3:a", "far": "0:1:u"}


class TestNGOpt(OptimizerContract):
    optimizer = NevergradOptimizer


class TestDE(OptimizerContract):
    optimizer = NevergradOptimizer
    options: ClassVar = {"name": "LhsDE", "num_workers": 8}  # draws from the global generators


class TestPortfolio(OptimizerContract):
    optimizer = NevergradOptimizer
    options: ClassVar = {"name": "PortfolioDiscreteOnePlusOne"}


def search(space=SPACE, **options):
    return studio.Search(space, optimizer=NevergradOptimizer, seed=3, options=options)


def fresh(**options):
    return NevergradOptimizer(search().space, seed=3, **options)


@pytest.mark.parametrize("num_workers", [2, 16])
def test_finds_the_optimum(num_workers):
    found = search({"x": "-1:1", "n": "1:8:i", "kind": ["a", "b", "c"]}, num_workers=num_workers)
    for suggestion in found:
        x, n, kind = (suggestion.values[name] for name in ("x", "n", "kind"))
        found.tell(suggestion, -((x - 0.3) ** 2) - (n - 6) ** 2 / 10 - (kind != "b"))
    assert len(found.experiments) == 100
    assert found.best.fitness > -0.05


def test_unconstrained_goes_where_it_likes():
    found = search({"x": "0:1:u"})
    for suggestion in found:
        found.tell(suggestion, -abs(suggestion.values["x"] - 5))
    assert found.best.values["x"] > 2


def test_ends_with_its_budget():
    found = search(budget=5)
    for suggestion in found:
        found.tell(suggestion, 1.0)
    assert (found.size, len(found.experiments)) == (5, 5)
    assert found.done_reason == "its budget of 5 is used up; increase it with -O budget=N"


def test_failures_are_worse_than_all_before():
    optimizer = fresh()
    losses = [optimizer._loss(fitness) for fitness in (None, 3.0, None, 1.0, 5.0, None, float("nan"), -1e300, None)]
    assert losses == [HOPELESS, -3.0, 0.0, -1.0, -5.0, 3.0, 3.0, HOPELESS, HOPELESS]


def test_is_told_what_another_one_asked():
    """With `--accept-changes` a fresh optimizer gets the stored points, some of them after its own first asks."""
    old, new = fresh(), fresh(name="OnePlusOne")
    suggestions = [old.ask() for _ in range(6)]
    for suggestion in suggestions[:3]:
        new.tell(suggestion, 1.0)
    asked = [new.ask() for _ in range(3)]
    for suggestion in suggestions[3:]:
        new.tell(suggestion, 2.0)
    for suggestion in asked:
        new.tell(suggestion, 3.0)
    assert new._optimizer.num_tell == 9
    assert not new._out


@pytest.mark.parametrize("name", ["NGOpt", "CMA", "PSO", "TwoPointsDE"])
def test_the_same_in_another_process(name):
    """The order of sets differs there."""
    program = f"""
import studio, studio_nevergrad
found = studio.Search({SPACE!r}, optimizer=studio_nevergrad.NevergradOptimizer, seed=3, options={{"name": {name!r}}})
for suggestion in found:
    found.tell(suggestion, -suggestion.values["lr"] - suggestion.values["layers"])
print([experiment.values for experiment in found.experiments])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "NGOptt"}, "nevergrad has no optimizer 'NGOptt'; there are NGOpt, "),
        ({"budget": 0}, "budget=0 and num_workers=2 must be at least 1"),
        ({"name": "Cobyla"}, "Cobyla with num_workers=2 waits for each result in a thread"),
        ({"name": "MultiDS"}, "MultiDS with num_workers=2 waits for each result"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(studio.StudioError, match=message):
        search(**options)


def test_algorithms_that_wait_are_refused_within_others():
    with pytest.raises(studio.StudioError, match=r"NGOpt with num_workers=1 waits for each result .* -O num_workers=2"):
        search({"x": "0:1:3:a"}, num_workers=1)
