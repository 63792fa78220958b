"""Densities of `tpe`: they are densities on the space, and draws follow them."""

import numpy as np
import pytest

from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.density import CANDIDATES, Density, candidates_by_density, quantile
from studio.space import Choice, Integer, Real, Space

MIXED = Space(
    [
        Real("lr", 1e-5, 0.1, log=True),
        Real("free", 0.0, 1.0, unconstrained=True),
        Integer("layers", 1, 8),
        Integer("steps", 1, 10**6),
        Choice("width", (32, 64, 128)),
        Choice("kind", ("a", "b", "c")),
    ]
)


def density(parameter, centres):
    return Density(Coordinates(Space([parameter])), np.reshape(centres, (-1, 1)))


@pytest.mark.parametrize("centres", [[], [0.0], [0.5, 0.52, 0.97]], ids=str)
@pytest.mark.parametrize("unconstrained", [False, True])
def test_a_density_of_a_number_has_an_integral_of_one(centres, unconstrained):
    of = density(Real("x", 0.0, 1.0, unconstrained=unconstrained), centres)
    low, high = (-4.0, 5.0) if unconstrained else (0.0, 1.0)
    edges = np.linspace(low, high, 20_001)
    at = (edges[1:] + edges[:-1]) / 2
    mass = np.exp(of.log(at[:, None])) * (edges[1] - edges[0])
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)
    drawn = of.draw(np.random.default_rng(1), 20_000)[:, 0]
    for quarter in (0.25, 0.5, 0.75):
        assert np.mean(drawn < at[np.searchsorted(mass.cumsum(), quarter)]) == pytest.approx(quarter, abs=0.015)


def test_a_density_of_a_choice_has_a_sum_of_one_and_prefers_its_centres():
    of = density(Choice("kind", ("a", "b", "c", "d")), [0.375, 0.375, 0.875])
    shares = np.exp(of.log(np.array([[0.125], [0.375], [0.625], [0.875]])))
    assert shares.sum() == pytest.approx(1.0)
    assert shares[1] > shares[3] > shares[0] == pytest.approx(shares[2])
    drawn = of.draw(np.random.default_rng(1), 20_000)[:, 0]
    assert [np.mean(drawn == x) for x in (0.125, 0.375, 0.625, 0.875)] == pytest.approx(shares, abs=0.015)


def test_candidates_are_points_of_the_space_the_best_first():
    coordinates, rng = Coordinates(MIXED), np.random.default_rng(1)
    X = coordinates.spread(rng.random((60, 6)))
    y = ((X - 0.5) ** 2).sum(1)
    y[::7] = np.inf
    points = candidates_by_density(coordinates, X, y, list(X[:3]), rng)
    assert points.shape == (CANDIDATES, 6)
    assert np.array_equal(coordinates.snap(points), points)
    inside = ~coordinates.free
    assert (points[:, inside] >= 0).all()
    assert (points[:, inside] <= 1).all()
    numbers = points[:, [0, 2, 3, 4]]
    assert ((numbers[:12] - 0.5) ** 2).sum(1).mean() < ((numbers[-12:] - 0.5) ** 2).sum(1).mean()


def test_quantiles_are_finite():
    assert quantile(np.array([0.5, 0.8413447460685429])) == pytest.approx([0.0, 1.0])
    assert np.isfinite(quantile(np.array([0.0, 1.0]))).all()
