import numpy as np
import pytest

from studio.optimizers.random_search import RandomSearch
from studio.space import Choice, Integer, Real, Space


def sample(space, count, seed=1):
    optimizer = RandomSearch(space, seed=seed)
    return [optimizer.ask().values for _ in range(count)]


def test_uniform_on_the_scale_of_each_range():
    space = Space([Real("lr", 1e-4, 1.0, log=True), Integer("layers", 1, 4), Choice("kind", ("a", "b"))])
    found = sample(space, 4000)
    assert np.mean([v["lr"] < 1e-2 for v in found]) == pytest.approx(0.5, abs=0.03)
    assert np.bincount([v["layers"] for v in found])[1:] == pytest.approx(1000, abs=100)
    assert np.mean([v["kind"] == "a" for v in found]) == pytest.approx(0.5, abs=0.03)


def test_unconstrained_is_normal_around_the_middle():
    found = [v["x"] for v in sample(Space([Real("x", 0.0, 8.0, unconstrained=True)]), 4000)]
    assert np.mean(found) == pytest.approx(4, abs=0.1)
    assert np.std(found) == pytest.approx(2, abs=0.1)
    assert max(found) > 8


def test_a_finite_space_goes_on():
    optimizer = RandomSearch(Space([Choice("a", (1, 2))]), seed=1)
    assert {optimizer.ask().values["a"] for _ in range(50)} == {1, 2}
    assert not optimizer.done
