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
from studio.optimizers.gp.kernel import squared_distances
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
    """A mixture of kernels around the centres `M`, shape (k, d), and of the prior, all of the same weight.

    The logarithm of a kernel is -1/2 r^2 and a constant, where r^2 is the distance of the columns of two points with the
    weights `w`: normal for numbers, and the share of equal values for choices.
    """

    def __init__(self, coordinates: Coordinates, M: Floats):
        k, d = M.shape
        self.coordinates, self.M = coordinates, M
        self.sigma = max(WIDTH * max(k, 1) ** (-1.0 / (d + 4)), NARROWEST)
        nominal = coordinates.nominal
        counts = np.array([1 if axis.levels is None else len(axis.levels) for axis in coordinates.axes])
        self.counts = np.where(nominal, counts, 1)
        self.other = min(1.0, 2.0 * self.sigma)  # share of a kernel over a choice that is spread over all values
        other = self.other / self.counts
        same = 1.0 - self.other + other
        w = np.where(nominal, 2.0 * np.log(same / other), self.sigma**-2.0)
        self.root_w = np.sqrt(w)[coordinates.owner]
        self.centres = coordinates.columns(M) * self.root_w
        low, high = self._ends(M)
        normal = -np.log(self.sigma * math.sqrt(2.0 * math.pi) * (high - low))
        self.constants = np.where(nominal, np.log(same), normal).sum(1)

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
        logs = self._logs(A)
        largest = logs.max(1)
        return np.asarray(largest + np.log(np.exp(logs - largest[:, None]).mean(1)))

    def log_gradient(self, x: Floats) -> tuple[float, Floats]:
        """Return the log density at `x`, and its gradient, shape (d,); 0 for choices."""
        logs = self._logs(x[None])[0]
        shares = np.exp(logs - logs.max())
        value = float(logs.max() + np.log(shares.mean()))
        shares /= shares.sum()
        pull = (shares[:-1] @ self.M - shares[:-1].sum() * x) / self.sigma**2
        wide = shares[-1] * (FREE_MEAN - x) / FREE_SPREAD**2
        return value, np.where(self.coordinates.nominal, 0.0, pull + np.where(self.coordinates.free, wide, 0.0))

    def _logs(self, A: Floats) -> Floats:
        """Return the logarithms, shape (m, k + 1), of the kernels and the prior."""
        kernels = self.constants - 0.5 * squared_distances(self.coordinates.columns(A) * self.root_w, self.centres)
        u = (A - FREE_MEAN) / FREE_SPREAD
        wide = -0.5 * u * u - math.log(FREE_SPREAD * math.sqrt(2.0 * math.pi))
        prior = np.where(self.coordinates.free, wide, -np.log(self.counts)).sum(1)
        return np.hstack([kernels, prior[:, None]])

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
