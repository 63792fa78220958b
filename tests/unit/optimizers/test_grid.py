import itertools
import tracemalloc

import numpy as np
import pytest

from studio.errors import BadInput
from studio.optimizers.grid import Grid
from studio.space import Array, Choice, Constant, Integer, Real, Space


def values(space):
    optimizer = Grid(space, seed=1)
    found = []
    while not optimizer.done:
        found.append(optimizer.ask())
    assert optimizer.ask() is None
    return [suggestion.values for suggestion in found]


def test_first_hyperparameter_varies_slowest():
    space = Space([Choice("a", (1, 2)), Constant("b", "x"), Choice("c", (0.1, 0.2, 0.3))])
    expected = [{"a": a, "b": b, "c": c} for a, b, c in itertools.product((1, 2), "x", (0.1, 0.2, 0.3))]
    assert values(space) == expected


@pytest.mark.parametrize("space", [Space([]), Space([Constant("a", 1)]), Space([Choice("a", (None,))])])
def test_one_point(space):
    assert Grid(space, seed=1).size == 1
    assert len(values(space)) == 1


def test_point_is_the_index():
    optimizer = Grid(Space([Choice("a", (1, 2, 3))]), seed=1)
    assert [optimizer.ask().point for _ in range(3)] == [0, 1, 2]


def test_a_million_points_cost_no_memory():
    space = Space([Choice(name, tuple(range(100))) for name in "abc"])
    tracemalloc.start()
    optimizer = Grid(space, seed=1)
    assert optimizer.size == 1_000_000
    for _ in range(1000):
        optimizer.ask()
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        (Real("lr", 0.0, 1.0), "a continuous range"),
        (Integer("lr", 1, 3), "a continuous range"),
        (Array("lr", Real("lr", 0.0, 1.0), 3), "an array"),
        (Constant("lr", np.zeros(3)), "an array"),
    ],
)
def test_ranges_are_refused_with_what_to_write(parameter, kind):
    with pytest.raises(BadInput, match=f"hyperparameter lr: .*lr=1,2,3 .*for {kind}.*=cma or random") as caught:
        Grid(Space([parameter]), seed=1)
    assert "\n" not in str(caught.value)
