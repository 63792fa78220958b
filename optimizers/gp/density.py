"""Densities of good and of other results, as in a tree-structured Parzen estimator.

d                 coordinates of `studio.optimizers.gp.coordinates`
X     (n, d)      points, and their costs y (n,), infinite for failures
M     (k, d)      centres of the kernels of a density
sigma             their width, the same in each coordinate

Bergstra et al. (2011), "Algorithms for Hyper-Parameter Optimization", NeurIPS, section 4; kernels over all coordinates
at once: Falkner et al. (2018), "BOHB", ICML, section 4.1; the width: Watanabe (2023), arXiv:2304.11127, section 3.3.
"""

import math
from collections.abc import Sequence

import numpy as np

from studio.optimizers.gp.coordinates import Coordinates
from studio.space import Floats

GOOD_SHARE, MOST_GOOD = 0.15, 25  # share of results that are good, and their largest number
CANDIDATES = 48  # draws from the good density, of which the best is suggested
WIDTH = 0.2  # width of a kernel in a range of 1, for one centre
NARROWEST = 0.01
FREE_MEAN, FREE_SPREAD = 0.5, 0.5  # the prior of unconstrained coordinates


def candidates_by_density(
    coordinates: Coordinates, X: Floats, y: Floats, pending: Sequence[Floats], rng: np.random.Generator
) -> Floats:
    """Return draws, shape (CANDIDATES, d), from the density of the good results, those first that are least among the others.
    Pending suggestions are among the others.
    """
    order = np.argsort(y, kind="stable")
    count = min(math.ceil(GOOD_SHARE * np.count_nonzero(np.isfinite(y))), MOST_GOOD)
    good = Density(coordinates, X[order[:count]])
    bad = Density(coordinates, np.vstack([X[order[count:]], *[x[None] for x in pending]]))
    candidates = coordinates.snap(good.draw(rng, CANDIDATES))
    return np.asarray(candidates[np.argsort(bad.log(candidates) - good.log(candidates), kind="stable")])


class Density:
    """A mixture of kernels around the centres `M`, shape (k, d), and of the prior, all of the same weight."""

    def __init__(self, coordinates: Coordinates, M: Floats):
        k, d = M.shape
        self.coordinates, self.M = coordinates, M
        self.sigma = max(WIDTH * max(k, 1) ** (-1.0 / (d + 4)), NARROWEST)
        counts = [1 if axis.levels is None else len(axis.levels) for axis in coordinates.axes]
        self.counts = np.where(coordinates.nominal, counts, 1)
        self.other = min(1.0, 2.0 * self.sigma)  # share of a kernel over a choice that is spread over all values

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw points, shape (count, d)."""
        d, free = self.coordinates.dimensions, self.coordinates.free
        which = rng.integers(0, len(self.M) + 1, count)
        prior = which == len(self.M)
        anywhere = self.coordinates.spread(rng.random((count, d)))
        anywhere[:, free] = rng.normal(FREE_MEAN, FREE_SPREAD, (count, d))[:, free]
        if not len(self.M):
            return anywhere
        centres = self.M[np.where(prior, 0, which)]
        low, high = self._ends(centres)
        points = centres + self.sigma * quantile(low + rng.random((count, d)) * (high - low))
        stays = rng.random((count, d)) >= self.other
        points = np.where(self.coordinates.nominal, np.where(stays, centres, anywhere), points)
        return np.where(prior[:, None], anywhere, points)

    def log(self, A: Floats) -> Floats:
        """Return log densities, shape (m,), at the points `A`, shape (m, d)."""
        z = (A[:, None] - self.M) / self.sigma
        low, high = self._ends(self.M)
        number = -0.5 * z * z - math.log(self.sigma * math.sqrt(2.0 * math.pi)) - np.log(high - low)
        same = np.abs(A[:, None] - self.M) < 1e-9
        choice = np.log(np.where(same, 1.0 - self.other, 0.0) + self.other / self.counts)
        kernels = np.where(self.coordinates.nominal, choice, number).sum(2)
        u = (A - FREE_MEAN) / FREE_SPREAD
        wide = -0.5 * u * u - math.log(FREE_SPREAD * math.sqrt(2.0 * math.pi))
        prior = np.where(self.coordinates.free, wide, -np.log(self.counts)).sum(1)
        logs = np.hstack([kernels, prior[:, None]])
        largest = logs.max(1)
        return largest + np.log(np.exp(logs - largest[:, None]).mean(1))

    def _ends(self, centres: Floats) -> tuple[Floats, Floats]:
        """Return the ends of each coordinate's range, as probabilities of the normal distribution around its centre."""
        from scipy.special import ndtr

        free = self.coordinates.free
        low = np.where(free, 0.0, ndtr((0.0 - centres) / self.sigma))
        high = np.where(free, 1.0, ndtr((1.0 - centres) / self.sigma))
        return low, high


def quantile(probability: Floats) -> Floats:
    """Return the quantiles of the standard normal distribution, elementwise; finite also for 0 and 1."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(probability, 1e-12, 1.0 - 1e-12)))
