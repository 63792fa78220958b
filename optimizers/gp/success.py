"""Probability that an experiment at a point does not fail, learned from failures so far.

    n, C             results that count; columns: `studio.optimizers.gp.coordinates`
    B    (n, C)      columns of their points, centred
    s    (n,)        +1 for success, -1 for failure
    f    (n,)        latent values, P(success) = cdf(f)
    G    (C, C)      prior covariance of the slopes of f
    g                latent mean / sqrt(1 + latent variance) at a new point, so that P(success there) = cdf(g)

Lack of memory and of time depend on the point. A crash may or may not: a model in which it does is weighted by its evidence
against one in which each experiment fails with the same probability, which then changes nothing.

Expectation propagation with a probit likelihood: Rasmussen and Williams (2006), section 3.6. (Laplace's approximation, section
3.4, was tried: it hardly believes the results themselves where a limit is sharp.)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.experiment import OF_THE_VALUES
from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.kernel import matern52, squared_distances
from studio.optimizers.gp.learner import Result
from studio.space import Floats

LATEST = 250  # results that count
SWEEPS, DAMPING = 40, 0.7
NEGLIGIBLE = 1e-3  # of the largest weight in the mixture
TOLERANCE = 1e-2  # of the latent means, where the sweeps end


@dataclass(frozen=True)
class Shape:
    """Prior of the latent function: standard deviations of its constant, of its slopes, of the slope that all sizes share,
    and of its bumps, and how wide those are in sqrt(d)."""

    constant: float
    slope: float
    shared: float
    bump: float
    width: float = 0.3


FEW, TOLERATED = 2, 0.04  # failures that say little; the share of failures above which no more is risked
# A limit of memory or time is near to a plane in logarithms. Mostly it depends on sizes, such as layers and batch, and grows with
# all of them. A region that crashes is a bump.
SIZES, PLANE, BUMPS = Shape(4.0, 10.0, 10.0, 0.5), Shape(2.0, 8.0, 0.0, 0.5), Shape(1.0, 3.0, 0.0, 3.0)


def chance_of_success(coordinates: Coordinates, results: Collection[Result]) -> "Chance | None":
    """Return the chance that neither a failure which the values cause comes nor another one; None if nothing failed. Lost
    experiments are missing values.
    """
    caused = [one for one in results if one.cost is not None or one.failure in OF_THE_VALUES]
    others = [one for one in results if one.cost is not None or one.failure not in (*OF_THE_VALUES, "lost")]
    factors = []
    for counted, depends in ((caused[-LATEST:], True), (others[-LATEST:], False)):
        failed = np.array([one.cost is None for one in counted])
        if failed.any():
            X = np.array([one.x for one in counted])
            factors.append(Success(coordinates, X, failed, depends=depends))
    return Chance(factors) if factors else None


class Chance:
    """The probability that an experiment succeeds in all respects. `frequent`: there were more failures than a search should
    tolerate.
    """

    def __init__(self, factors: Sequence["Success"]):
        self.factors = factors
        self.frequent = any(factor.frequent for factor in factors)

    def log(self, A: Floats) -> Floats:
        """Return logarithms, shape (m,), at the points `A`, shape (m, d)."""
        return np.sum([factor.log(A) for factor in self.factors], axis=0)

    def log_gradient(self, x: Floats) -> tuple[float, Floats]:
        """Return the logarithm at one point, and its gradient, shape (d,)."""
        values, gradients = zip(*[factor.log_gradient(x) for factor in self.factors], strict=True)
        return sum(values), np.sum(gradients, axis=0)


class Success:
    """P(success) as a mixture of models, weighted by their evidence.

    X          points, shape (n, d)
    failed     True for points that failed, shape (n,)
    depends    True if failures are known to depend on the point
    """

    def __init__(self, coordinates: Coordinates, X: Floats, failed: Floats, *, depends: bool):
        from scipy.special import betaln

        self._coordinates = coordinates
        signs = np.where(failed, -1.0, 1.0)
        n, losses = len(failed), int(np.count_nonzero(failed))
        sizes = coordinates.sizes[coordinates.owner]
        models = [
            Latent(coordinates.columns(X) - 0.5, signs, shape, sizes, coordinates.dimensions)
            for shape in (SIZES, PLANE, BUMPS)
            if shape is not SIZES or sizes.any()
        ]
        evidence = [model.log_evidence for model in models]
        # each experiment fails with the same probability, a priori uniform: evidence B(losses + 1, n - losses + 1)
        self.frequent = losses >= FEW and losses > TOLERATED * n
        self._rate = (n - losses + 1) / (n + 2)
        evidence.append(-np.inf if depends else float(betaln(losses + 1, n - losses + 1)))
        weights = np.exp(np.array(evidence) - max(evidence))
        weights[weights < NEGLIGIBLE] = 0.0
        self.weights = weights / weights.sum()
        self._counted = [(w, model) for w, model in zip(self.weights, models, strict=False) if w]

    def log(self, A: Floats) -> Floats:
        """Return the logarithm, shape (m,), of the probability of success at the points `A`, shape (m, d)."""
        from scipy.special import ndtr

        columns = self._coordinates.columns(A) - 0.5
        chance = np.full(len(A), self.weights[-1] * self._rate)
        for weight, model in self._counted:
            chance += weight * ndtr(model.at(columns))
        return np.log(np.maximum(chance, 1e-300))

    def log_gradient(self, x: Floats) -> tuple[float, Floats]:
        """Return the logarithm of the probability of success at `x`, and its gradient, shape (d,)."""
        from scipy.special import ndtr

        column = self._coordinates.columns(x[None])[0] - 0.5
        chance, slope = self.weights[-1] * self._rate, np.zeros(len(column))
        for weight, model in self._counted:
            g, by_column = model.gradient(column)
            chance += weight * float(ndtr(g))
            slope += weight * np.exp(-0.5 * g * g) / np.sqrt(2.0 * np.pi) * by_column
        chance = max(chance, 1e-300)
        owner = self._coordinates.owner
        slope[self._coordinates.nominal[owner]] = 0.0
        gradient = np.bincount(owner, slope, self._coordinates.dimensions) / chance
        return float(np.log(chance)), gradient


class Latent:
    """The latent function of one shape, given the signs at some points. `sizes`, shape (C,): which columns are sizes."""

    def __init__(self, B: Floats, s: Floats, shape: Shape, sizes: NDArray[np.bool_], d: int):
        from scipy.linalg import cho_solve, cholesky, solve_triangular
        from scipy.special import log_ndtr

        self.B, self.shape = B, shape
        self.scale = 1.0 / (shape.width * np.sqrt(d))
        steep = sizes if shape.shared else np.ones_like(sizes)
        self.G = shape.slope**2 * np.diag(steep) + shape.shared**2 * np.outer(sizes, sizes)
        n, K = len(s), self._covariances(B)
        # Sites N(f_i; nu_i / tau_i, 1 / tau_i) in place of the likelihoods: algorithm 3.5, all of them at once and damped.
        tau, nu = np.zeros(n), np.zeros(n)
        mean, variance = np.zeros(n), np.diag(K).copy()
        self.L, self.root = np.eye(n), np.zeros(n)
        for _ in range(SWEEPS):
            cavity_tau = np.maximum(1.0 / variance - tau, 1e-10)
            cavity_mean, cavity_variance = (mean / variance - nu) / cavity_tau, 1.0 / cavity_tau
            width = np.sqrt(1.0 + cavity_variance)
            z = s * cavity_mean / width
            log_cdf = log_ndtr(z)
            ratio = np.exp(-0.5 * z * z - 0.5 * np.log(2.0 * np.pi) - log_cdf)  # pdf / cdf
            new_mean = cavity_mean + s * cavity_variance * ratio / width  # equations 3.58
            new_variance = cavity_variance * (1.0 - cavity_variance * ratio * (z + ratio) / width**2)
            new_tau = np.maximum(1.0 / np.maximum(new_variance, 1e-12) - cavity_tau, 1e-10)
            new_nu = new_mean / np.maximum(new_variance, 1e-12) - cavity_mean * cavity_tau
            tau, nu = tau + DAMPING * (new_tau - tau), nu + DAMPING * (new_nu - nu)
            self.root = np.sqrt(tau)
            self.L = cholesky(np.eye(n) + self.root[:, None] * K * self.root, lower=True, check_finite=False)
            V = solve_triangular(self.L, self.root[:, None] * K, lower=True, check_finite=False)
            variance = np.maximum(np.diag(K) - np.einsum("ij,ij->j", V, V), 1e-10)  # equation 3.68
            before, mean = mean, K @ nu - V.T @ (V @ nu)
            if np.abs(mean - before).max() < TOLERANCE * (1.0 + np.abs(mean).max()):
                break
        self.weights = nu - self.root * cho_solve((self.L, True), self.root * (K @ nu), check_finite=False)
        # equations 3.73, 3.74 and 3.65
        both = tau + cavity_tau
        self.log_evidence = float(
            log_cdf.sum()
            + 0.5 * np.log1p(tau * cavity_variance).sum()
            - np.log(np.diag(self.L)).sum()
            + 0.5 * nu @ (mean - nu / both)
            + 0.5 * (cavity_mean * cavity_tau / both) @ (tau * cavity_mean - 2.0 * nu)
        )

    def at(self, A: Floats) -> Floats:
        """Return g, shape (m,), at the columns `A`, shape (m, C)."""
        from scipy.linalg import solve_triangular

        k = self._covariances(A)
        v = solve_triangular(self.L, (k * self.root).T, lower=True, check_finite=False)
        variance = np.maximum(self._own(A) - np.einsum("ij,ij->j", v, v), 0.0)
        return np.asarray((k @ self.weights) / np.sqrt(1.0 + variance))

    def gradient(self, x: Floats) -> tuple[float, Floats]:
        """Return g at one point, and its gradient by the columns, shape (C,)."""
        from scipy.linalg import cho_solve

        k = self._covariances(x[None])[0]
        difference = x - self.B
        _, dk = matern52(self.scale**2 * np.einsum("ij,ij->i", difference, difference))
        by_k = self.B @ self.G + 2.0 * (self.shape.bump * self.scale) ** 2 * dk[:, None] * difference
        solved = self.root * cho_solve((self.L, True), self.root * k, check_finite=False)
        total = 1.0 + max(float(self._own(x[None])[0] - k @ solved), 0.0)
        mean = float(k @ self.weights)
        by_variance = 2.0 * self.G @ x - 2.0 * solved @ by_k
        return mean / np.sqrt(total), self.weights @ by_k / np.sqrt(total) - 0.5 * mean * by_variance / total**1.5

    def _covariances(self, A: Floats) -> Floats:
        near, _ = matern52(self.scale**2 * squared_distances(A, self.B))
        return np.asarray(self.shape.constant**2 + A @ self.G @ self.B.T + self.shape.bump**2 * near)

    def _own(self, A: Floats) -> Floats:
        shape = self.shape
        return np.asarray(shape.constant**2 + np.einsum("ij,ij->i", A @ self.G, A) + shape.bump**2)
