import numpy as np
import pytest

from studio.errors import BadInput
from studio.optimizers.sobol import Sobol
from studio.space import Array, Real, Space


def sample(space, count):
    optimizer = Sobol(space, seed=1)
    return np.array([optimizer.ask().point for _ in range(count)])


def test_each_part_of_a_range_comes_equally_often():
    points = sample(Space([Array("x", Real("x", 0.0, 1.0), 4)]), 128)
    for column in points.T:
        assert (np.histogram(column, bins=128, range=(0.0, 1.0))[0] == 1).all()


def test_unconstrained_is_normal_around_the_middle():
    points = sample(Space([Real("x", 0.0, 8.0, unconstrained=True)]), 4096)[:, 0]
    assert np.quantile(points, [0.1587, 0.5, 0.8413]) == pytest.approx([0.25, 0.5, 0.75], abs=1e-3)
    assert points.min() < 0 < 1 < points.max()


def test_more_dimensions_than_the_sequence_has():
    with pytest.raises(BadInput, match=r"sobol: 30000 dimensions: .* 21201. Take random"):
        Sobol(Space([Array("x", Real("x", 0.0, 1.0), 30_000)]), seed=1)
