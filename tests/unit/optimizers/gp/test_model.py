"""The pieces of the model: coordinates, kernels, fit, acquisition, success; gradients are checked by differences."""

import math

import numpy as np
import pytest

from studio.optimizers.gp.acquisition import Acquisition, log_h
from studio.optimizers.gp.belief import Belief
from studio.optimizers.gp.coordinates import Coordinates, choice_axis
from studio.optimizers.gp.design import Design
from studio.optimizers.gp.fit import KERNELS, Factor, Fit
from studio.optimizers.gp.kernel import squared_distances
from studio.optimizers.gp.success import Chance, Success
from studio.space import Array, Choice, Integer, Real, Space

MIXED = Space(
    [
        Real("x", -1.0, 3.0),
        Real("lr", 1e-5, 0.1, log=True),
        Integer("layers", 1, 8),
        Choice("width", (256, 32, 64, 128)),
        Choice("kind", ("a", "b", "c")),
    ]
)


def results(count, space=MIXED, seed=0):
    """Points of the model, and costs that are smallest at 0.4 and for the first kind."""
    coordinates = Coordinates(space)
    X = coordinates.spread(np.random.default_rng(seed).random((count, coordinates.dimensions)))
    return coordinates, X, ((X - 0.4) ** 2).sum(1) + 0.1 * np.sin(9 * X).sum(1)


def slopes(function, x, step=1e-6):
    """Central differences of a function of a vector."""
    steps = step * np.eye(len(x))
    return np.array([(function(x + e) - function(x - e)) / (2 * step) for e in steps])


# -- coordinates


@pytest.mark.parametrize(
    ("values", "positions"),
    [
        ((32, 64, 128, 256), [0.125, 0.375, 0.625, 0.875]),  # even on a log scale
        ((256, 32, 128, 64), [0.125, 0.375, 0.625, 0.875]),
        ((0, 1, 3), [1 / 6, 1 / 6 + 2 / 9, 5 / 6]),  # no logarithm of 0
        ((0.1, 0.2, 0.3), [1 / 6, 1 / 2, 5 / 6]),
    ],
)
def test_a_list_of_numbers_has_distances(values, positions):
    axis = choice_axis(values)
    assert not axis.nominal
    assert axis.levels == pytest.approx(positions)
    cells = (np.arange(len(values)) + 0.5) / len(values)
    assert [values[list(cells).index(u)] for u in axis.unit] == sorted(values)


@pytest.mark.parametrize(
    "values",
    [
        *[(True, False), ("a", "b", "c"), (1, "a", 2), (1, 1.0, 2), (1, None, 3), (1.0, math.nan, 2.0)],
        *[(1, 2, 10**400), (-1e308, 0.0, 1e308), (0.0, 1e-9, 1.0)],  # no scale has room for all of them
    ],
)
def test_other_lists_have_no_order(values):
    axis = choice_axis(values)
    assert axis.nominal
    assert len(set(np.round(axis.levels, 6))) == len(values)


@pytest.mark.parametrize(
    "parameter",
    [
        Integer("n", 1, 1_000_000, log=True),
        Integer("n", -50_000, 50_000),
        Integer("n", 1, 10**12, log=True),
        Integer("n", 0, 10**12),
        Integer("n", 0, 10, unconstrained=True),
        Integer("n", 1, 10, log=True, unconstrained=True),
    ],
    ids=str,
)
def test_a_position_of_a_whole_number_has_a_value_of_its_own(parameter):
    coordinates = Coordinates(Space([parameter]))
    U = np.random.default_rng(1).random((4000, 1)) ** 3
    U = 3.0 * U - 1.0 if parameter.unconstrained else U
    X = coordinates.snap(np.vstack([U, U + 1e-6]))
    assert np.array_equal(coordinates.snap(X), X)
    assert len(np.unique(X)) == len(set(parameter.decode(X).ravel().tolist()))


def test_points_go_there_and_back():
    coordinates = Coordinates(MIXED)
    for u in np.random.default_rng(1).random((50, MIXED.dimensions)):
        x = coordinates.snap(coordinates.encode(u)[None])[0]
        back = coordinates.decode(x)
        assert coordinates.snap(coordinates.encode(back)[None])[0] == pytest.approx(x, abs=1e-12)
        assert MIXED.values(back)["kind"] == MIXED.values(u)["kind"]
        assert MIXED.values(back)["width"] == MIXED.values(u)["width"]
        assert MIXED.values(back)["layers"] == MIXED.values(u)["layers"]


def test_different_choices_are_at_distance_one():
    coordinates = Coordinates(Space([Choice("kind", ("a", "b", "c"))]))
    columns = coordinates.columns(coordinates.everything())
    assert squared_distances(columns, columns) == pytest.approx(1 - np.eye(3))


def test_each_choice_occurs_in_the_design():
    space = Space([*MIXED, Choice("many", tuple("abcdefghijkl"))])
    for seed in range(5):
        coordinates = Coordinates(space)
        points = Design(coordinates, np.random.default_rng(seed)).points[:, 0]
        values = [space.values(coordinates.decode(x)) for x in points]
        for name, count in (("many", 12), ("kind", 3), ("width", 4)):
            assert len({value[name] for value in values}) == count


def test_points_are_even_on_the_scale_of_the_range():
    space = Space([Integer("width", 64, 1024, log=True), Integer("layers", 1, 8), Choice("batch", (1, 2, 100))])
    coordinates = Coordinates(space)
    points = coordinates.spread(np.random.default_rng(1).random((2000, 3)))
    values = [space.values(coordinates.decode(x)) for x in points]
    assert np.median([value["width"] for value in values]) == pytest.approx(256, rel=0.1)
    for name, count in (("layers", 8), ("batch", 3)):
        _, counts = np.unique([value[name] for value in values], return_counts=True)
        assert counts == pytest.approx(2000 / count, rel=0.2)


@pytest.mark.parametrize(("dimensions", "size"), [(2, 8), (10, 12), (19, 20), (40, 20)])
def test_the_design_grows_with_the_space(dimensions, size):
    space = Space([Array("x", Real("x", 0.0, 1.0), dimensions)])
    assert Design(Coordinates(space), np.random.default_rng(1)).size == size


def test_the_first_points_lie_around_the_middle_and_reach_the_ends():
    coordinates = Coordinates(Space([Array("x", Real("x", 0.0, 1.0), 6)]))
    first = np.concatenate([Design(coordinates, np.random.default_rng(seed)).points[:, 0] for seed in range(40)])
    assert np.mean(abs(first - 0.5) < 0.25) == pytest.approx(0.66, abs=0.03)  # of the normal distribution, cut off
    assert first.mean(0) == pytest.approx(0.5, abs=0.03)
    assert first.min() < 0.03
    assert first.max() > 0.97


def test_spares_of_a_point_lie_everywhere():
    points = Design(Coordinates(Space([Array("x", Real("x", 0.0, 1.0), 4)])), np.random.default_rng(1)).points
    assert points[:, 1:].min(1).max() < 0.2
    assert points[:, 1:].max(1).min() > 0.8


# -- kernels and fit


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_fall_from_one_by_their_derivative(kernel):
    r2 = np.array([0.05, 0.3, 1.0, 4.0])
    _, derivative = kernel(r2)
    assert kernel(np.zeros(1))[0][0] == 1.0
    assert derivative == pytest.approx((kernel(r2 + 1e-6)[0] - kernel(r2 - 1e-6)[0]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_of_the_posterior_is_exact(kernel):
    coordinates, X, y = results(25)
    fit = Fit(coordinates)
    columns = coordinates.columns(X)
    theta = fit.median + np.random.default_rng(2).normal(0.0, 0.5, len(fit.median))
    _, gradient = fit._loss(theta, kernel, columns, y)
    assert gradient == pytest.approx(slopes(lambda at: fit._loss(at, kernel, columns, y)[0], theta), rel=1e-4, abs=1e-5)


def test_mean_and_variance_are_the_most_likely():
    coordinates, X, y = results(20)
    fit = Fit(coordinates)
    factor = Factor(fit, KERNELS[0], fit.median, coordinates.columns(X))
    beta, variance, _ = factor.moments(y)
    K = factor.L @ factor.L.T

    def loss(beta, variance):
        rest = y - beta
        return rest @ np.linalg.solve(K, rest) / variance + len(y) * math.log(variance)

    for other in ((beta + 0.1, variance), (beta - 0.1, variance), (beta, 1.2 * variance), (beta, 0.8 * variance)):
        assert loss(beta, variance) < loss(*other)


def test_the_model_passes_through_what_it_knows():
    coordinates, X, y = results(40)
    model = Fit(coordinates).posterior(X, y, optimise=True)
    mean, sd = model.predict(X)
    assert mean == pytest.approx(model.t, abs=0.1 * np.ptp(model.t))
    far_mean, far_sd = model.predict(coordinates.spread(np.random.default_rng(9).random((50, 5))))
    assert sd.mean() < far_sd.mean()
    assert far_mean.std() > 0


@pytest.mark.parametrize("y", [np.zeros(10), np.array([1e300, *range(9)]), np.repeat([1.0, 2.0], 5)])
def test_strange_costs_do_not_break_the_fit(y):
    coordinates, X, _ = results(10)
    model = Fit(coordinates).posterior(X, y, optimise=True)
    assert np.isfinite(np.array(model.predict(X))).all()


def test_repeated_values_agree_with_the_noise():
    coordinates, X, y = results(15)
    X, y = np.repeat(X, 4, axis=0), np.repeat(y, 4) + np.random.default_rng(3).normal(0.0, 0.2, 60)
    model = Fit(coordinates).posterior(X, y, optimise=True)
    assert model.noisy
    assert model.best > model.t.min()  # the smallest value is luck


def test_pending_points_are_told_their_mean():
    coordinates, X, y = results(30)
    model = Fit(coordinates).posterior(X[:-4], y[:-4], optimise=True)
    mean, sd = model.predict(X[-4:])
    after_mean, after_sd = model.with_pending(X[-4:]).predict(X[-4:])
    assert after_mean == pytest.approx(mean, abs=1e-3 * np.ptp(model.t))
    assert (after_sd < sd / 3).all()


# -- acquisition


def test_log_h_is_exact_where_it_can_be_and_smooth_where_not():
    from scipy.stats import norm

    z = np.linspace(-4, 4, 9)
    assert np.exp(log_h(z)) == pytest.approx(norm.pdf(z) + z * norm.cdf(z), rel=1e-6)
    deep = log_h(np.linspace(-40, -5, 400))
    assert np.isfinite(deep).all()
    assert (np.diff(deep) > 0).all()


@pytest.mark.parametrize(("failing", "believed"), [(False, False), (True, False), (True, True)])
def test_the_gradient_of_the_score_is_exact(failing, believed):
    coordinates, X, y = results(25)
    model = Fit(coordinates).posterior(X, y, optimise=True)
    chance = Chance([Success(coordinates, X, X[:, 0] > 0.6, depends=depends) for depends in (False, True)])
    belief = Belief(np.array([0.3, np.nan, 0.6, np.nan, np.nan])) if believed else None
    acquisition = Acquisition(model, chance if failing else None, belief)
    for x in coordinates.spread(np.random.default_rng(4).random((5, 5))):
        value, gradient = acquisition.gradient(x)
        assert value == pytest.approx(acquisition.score(x[None])[0], rel=1e-6)
        numbers = ~coordinates.nominal

        def score(part, x=x, numbers=numbers):
            point = x.copy()
            point[numbers] = part
            return acquisition.gradient(point)[0]

        assert gradient[numbers] == pytest.approx(slopes(score, x[numbers]), rel=1e-3, abs=1e-4)
        assert (gradient[coordinates.nominal] == 0).all()


# -- success


def test_a_limit_is_learned_from_few_failures():
    coordinates, X, _ = results(16, Space([Array("x", Real("x", 0.0, 1.0), 3)]))
    chance = Success(coordinates, X, X.sum(1) > 1.7, depends=True)
    low, high = np.exp(chance.log(np.array([[0.2, 0.2, 0.2], [0.9, 0.9, 0.9]])))
    assert low > 0.9
    assert high < 0.1


def test_a_sharp_limit_of_sizes_is_known_from_ten():
    """The model guesses from the first failures that larger numbers need more memory."""
    space = Space([*(Integer(name, 1, 64, log=True) for name in "abc"), *(Real(name, 0.0, 1.0) for name in "de")])
    coordinates, X, _ = results(310, space, seed=3)
    failed = X[:, :3].sum(1) > 1.5
    chance = Success(coordinates, X[:10], failed[:10], depends=True)
    assert (np.exp(chance.log(X[:10]))[~failed[:10]] > 0.9).all()
    assert np.mean((chance.log(X[10:]) < np.log(0.5)) == failed[10:]) > 0.85


def test_failures_by_chance_change_nothing():
    coordinates, X, _ = results(60)
    chance = Success(coordinates, X, np.random.default_rng(1).random(60) < 0.5, depends=False)
    assert np.ptp(chance.log(X)) < 0.25
    assert chance.weights[-1] > 0.5


def test_crashes_that_cluster_are_known_from_single_ones():
    coordinates, X, _ = results(60)
    assert Success(coordinates, X, X[:, 1] > 0.7, depends=False).weights[-1] < 0.01
    assert Success(coordinates, X, np.arange(60) == 7, depends=False).weights[-1] > 0.2
