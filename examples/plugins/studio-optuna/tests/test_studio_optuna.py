import os
import subprocess
import sys
import warnings
from typing import ClassVar

import numpy as np
import optuna
import pytest
import studio_optuna
from studio_optuna import OptunaOptimizer

import studio
from studio.testing.optimizers import OptimizerContract

SPACE = {"lr": "1e-5:0.1:l", "layers": "1:8:i", "kind": ["adam", "sgd"], "w": "0:1:3:a", "far": "0:1:u"}


class TestTPE(OptimizerContract):
    optimizer = OptunaOptimizer


class TestMultivariateTPE(OptimizerContract):
    optimizer = OptunaOptimizer
    options: ClassVar = {"multivariate": True, "constant_liar": True, "n_startup_trials": 4}


class TestCmaEs(OptimizerContract):
    optimizer = OptunaOptimizer
    options: ClassVar = {"sampler": "CmaEsSampler"}


class TestRandom(OptimizerContract):
    optimizer = OptunaOptimizer
    options: ClassVar = {"sampler": "RandomSampler"}


class TestQMC(OptimizerContract):
    optimizer = OptunaOptimizer
    options: ClassVar = {"sampler": "QMCSampler"}


class TestNSGAII(OptimizerContract):
    optimizer = OptunaOptimizer
    options: ClassVar = {"sampler": "NSGAIISampler", "population_size": 6}
    test_does_not_repeat_itself = None  # a child of the genetic algorithm may equal a parent


def search(space=SPACE, count=20, **options):
    return studio.Search(space, optimizer=OptunaOptimizer, seed=3, options=options, max_experiments=count)


def fresh(**options):
    return OptunaOptimizer(search().space, seed=3, **options)


def test_finds_the_optimum():
    found = search({"x": "-1:1", "n": "1:8:i", "kind": ["a", "b", "c"]}, 60, multivariate=True)
    for suggestion in found:
        x, n, kind = (suggestion.values[name] for name in ("x", "n", "kind"))
        found.tell(suggestion, -((x - 0.3) ** 2) - (n - 6) ** 2 / 10 - (kind != "b"))
    assert found.best.fitness > -0.05


def test_unconstrained_goes_where_it_likes():
    found = search({"x": "0:1:u"}, 60)
    for suggestion in found:
        found.tell(suggestion, -abs(suggestion.values["x"] - 5))
    assert found.best.values["x"] > 2


def test_a_range_of_another_plugin():
    class Circle(studio.Parameter):
        name, dimensions = "angle", 2

        def from_unit(self, u):
            return float(np.arctan2(*(u - 0.5)))

        def to_unit(self, value):
            return 0.5 + 0.5 * np.array([np.sin(value), np.cos(value)])

    suggestion = OptunaOptimizer(studio.Space([Circle()]), seed=1).ask()
    assert -np.pi <= suggestion.values["angle"] <= np.pi


def test_states():
    optimizer = fresh(pruner="MedianPruner", pruner_n_startup_trials=1, pruner_n_warmup_steps=1)
    first, second, third = optimizer.ask(), optimizer.ask(), optimizer.ask()
    for step in range(3):
        assert not optimizer.report(first, step, 1.0)
    optimizer.tell(first, 1.0)
    assert not optimizer.report(second, 0, 0.5)
    assert optimizer.report(second, 1, 0.1)
    assert optimizer.report(second, 1, 0.2), "a step that comes twice, after the end was asked for"
    optimizer.tell(second, 0.2)
    optimizer.tell(third, None)
    optimizer.tell(third, 0.7)
    states = [(trial.state.name, trial.value) for trial in optimizer._study.trials]
    assert states == [("COMPLETE", 1.0), ("PRUNED", 0.1), ("FAIL", None), ("COMPLETE", 0.7)]
    assert not optimizer.report(second, 2, 0.1), "it was told already"


def test_no_pruner_ends_nothing():
    optimizer = fresh()
    for value in (1.0, -1e9):
        suggestion = optimizer.ask()
        assert not optimizer.report(suggestion, 1, value)
        optimizer.tell(suggestion, value)


def test_hyperband_draws_the_same_each_time():
    paths = []
    for _ in range(2):
        optimizer = fresh(pruner="HyperbandPruner")
        path = []
        for number in range(30):
            suggestion = optimizer.ask()
            ends = [optimizer.report(suggestion, step, (number * 7 % 10) * step) for step in range(4)]
            path.append((suggestion.point, ends))
            optimizer.tell(suggestion, number * 7 % 10)
        paths.append(path)
    assert paths[0] == paths[1]


def test_is_told_what_another_one_asked():
    """`--accept-changes`: a fresh optimizer gets the stored points, some of them after its own first asks."""
    old, new = fresh(), fresh(n_startup_trials=3)
    suggestions = [old.ask() for _ in range(6)]
    for suggestion in suggestions[:3]:
        new.tell(suggestion, 1.0)
    asked = [new.ask() for _ in range(3)]
    for suggestion in suggestions[3:]:
        new.tell(suggestion, 2.0)
    for suggestion in asked:
        new.tell(suggestion, 3.0)
    assert sorted(trial.value for trial in new._study.trials) == [1.0] * 3 + [2.0] * 3 + [3.0] * 3


def test_a_sampler_that_comes_to_its_end():
    found = search({"n": "1:3:i", "kind": ["a", "b"]}, None, sampler="BruteForceSampler")
    for suggestion in found:
        found.tell(suggestion, 1.0)
    assert len({str(experiment.values) for experiment in found.experiments}) == 6 == len(found.experiments)


@pytest.mark.parametrize("sampler", ["TPESampler", "CmaEsSampler", "QMCSampler", "NSGAIISampler"])
def test_the_same_in_another_process(sampler):
    """The order of sets differs there."""
    program = f"""
import studio, studio_optuna
found = studio.Search({SPACE!r}, optimizer=studio_optuna.OptunaOptimizer, seed=3, options={{"sampler": {sampler!r}}},
    max_experiments=30)
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
        ({"sampler": "TPE"}, "optuna has no sampler 'TPE'; there are: BruteForceSampler, CmaEsSampler, "),
        ({"sampler": "BaseSampler"}, "optuna has no sampler 'BaseSampler'"),
        ({"n_starup_trials": 3}, "TPESampler has no option 'n_starup_trials'; there are: .*n_startup_trials"),
        ({"sampler": "GridSampler"}, "GridSampler cannot be made: .*search_space"),
        ({"pruner": "Median"}, "optuna has no pruner 'Median'; there are: HyperbandPruner, "),
        ({"pruner_x": 1}, "NopPruner has no option 'x'; there are: none"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(studio.StudioError, match=message):
        search(**options)


def test_leaves_optuna_as_it_was():
    level = optuna.logging.get_verbosity()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(multivariate=True).ask()
    assert not caught
    assert optuna.logging.get_verbosity() == level
    assert studio_optuna.studio_optimizers() == [OptunaOptimizer]
