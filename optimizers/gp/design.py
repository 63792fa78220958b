"""The first points, before there are results to learn from.

They lie around the middle of the ranges, as the optimum mostly does, since a range is chosen around what seems likely.

A scrambled Sobol sequence: Owen (1998), "Scrambling Sobol' and Niederreiter-Xing points", Journal of Complexity 14.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.optimizers.gp.belief import Belief
from studio.optimizers.gp.coordinates import Coordinates
from studio.space import Floats

SMALLEST, LARGEST = 8, 20
SPREAD = 0.3  # standard deviation of the points around the middle, in ranges
MOST_VALUES = 32  # choices with more values are not covered by the first suggestions
SPARE = 64  # points among which the one least likely to fail may be taken


class Design:
    """Initial design: max(8, d + 2) points, at most 20, or as many as the longest choice has values, so that each occurs.

    `points` has shape (size, 1 + SPARE, d): to avoid failures, a point may be replaced by one of its spares, which have the
    same choices.
    """

    def __init__(self, coordinates: Coordinates, rng: np.random.Generator):
        d = coordinates.dimensions
        chosen = [i for i, axis in enumerate(coordinates.axes) if axis.choice]
        counts = {i: len(levels) for i in chosen if (levels := coordinates.axes[i].levels) is not None}
        longest = max((count for count in counts.values() if count <= MOST_VALUES), default=0)
        self.size = max(min(max(SMALLEST, d + 2), LARGEST), longest)
        # Not more of the sequence: its points k, k + 8, k + 16 ... lie in the same eighth of each coordinate.
        spares = rng.random((SPARE, self.size, d))
        even = sequence(d, rng).random_base2(math.ceil(math.log2(self.size)))[: self.size]
        uniform = np.concatenate([even[None], spares])
        U = central(uniform)
        believed = ~np.isnan(coordinates.believed)
        if believed.any():
            U = np.where(believed, Belief(coordinates.believed).draw(uniform), U)
            U[:, 0, believed] = coordinates.believed[believed]
        points = coordinates.spread(U.reshape(-1, d)).reshape(U.shape)
        for i, count in counts.items():
            levels = coordinates.axes[i].levels
            assert levels is not None
            points[:, :, i] = levels[each_value(count, self.size, rng)]
        self.points: Floats = points.transpose(1, 0, 2)


def central(U: Floats) -> Floats:
    """Return points with the normal distribution around the middle, cut off at the ends of [0, 1], for uniform `U` of any shape."""
    from scipy.special import ndtr, ndtri

    low = ndtr(-0.5 / SPREAD)
    return np.asarray(0.5 + SPREAD * ndtri(low + U * (1.0 - 2.0 * low)))


def each_value(count: int, length: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """Return indices of `count` values, shape (length,): none comes again before all others came."""
    rounds = [rng.permutation(count) for _ in range(-(-length // count))]
    return np.concatenate(rounds)[:length]


def sequence(d: int, rng: np.random.Generator) -> Any:
    """Return a scrambled Sobol sequence, scipy.stats.qmc.Sobol."""
    from scipy.stats import qmc

    return qmc.Sobol(d, seed=rng)
