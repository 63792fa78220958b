"""Probability that an experiment at a point does not fail, learned from those that did.

    n, C             results that count; columns: `studio.optimizers.gp.coordinates`
    B    (n, C)      columns of their points, centred
    s    (n,)        +1 where it succeeded, -1 where it failed
    f    (n,)        latent values, P(success) = cdf(f)
    a    (n,)        K^-1 f at the mode
    g                latent mean / sqrt(1 + latent variance) at a new point, so that P(success there) = cdf(g)

Lack of memory and of time depend on the point. A crash may or may not: the model in which it does is weighed by its evidence
against the one in which each experiment fails with the same probability, which then changes nothing.

Laplace's approximation with a probit likelihood: Rasmussen and Williams (2006), sections 3.4 to 3.7.
"""

from dataclasses import dataclass

import numpy as np

from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.kernel import matern52, squared_distances
from studio.space import Floats

NEWTON_STEPS = 30
TOLERANCE = 1e-3  # of the latent values, where Newton's method ends


@dataclass(frozen=True)
class Shape:
    """Prior of the latent function: standard deviations of its constant, its slopes and its bumps, and how wide those are
    in sqrt(d). A limit of memory or time is near to a plane in logarithms, a region that crashes is a bump."""

    constant: float
    slope: float
    bump: float
    width: float


FEW, TOLERATED = 4, 0.05  # failures that say little; the share of failures that a search may have
SHAPES = (Shape(2.0, 8.0, 0.5, 0.3), Shape(1.0, 3.0, 3.0, 0.3))


class Success:
    """P(success) as a mixture of models, weighed by their evidence. Implements `acquisition.Chance`.

    X          points, shape (n, d)
    failed     which of them failed, shape (n,)
    depends    whether failures are known to depend on the point
    """

    def __init__(self, coordinates: Coordinates, X: Floats, failed: Floats, *, depends: bool):
        from scipy.special import betaln

        self._coordinates = coordinates
        signs = np.where(failed, -1.0, 1.0)
        n, losses = len(failed), int(np.count_nonzero(failed))
        self._models = [Latent(coordinates.columns(X) - 0.5, signs, shape, coordinates.dimensions) for shape in SHAPES]
        evidence = [model.log_evidence for model in self._models]
        # each experiment fails with one probability, a priori uniform: evidence B(losses + 1, n - losses + 1)
        self.frequent = losses >= FEW and losses > TOLERATED * n
        self._rate = (n - losses + 1) / (n + 2)
        evidence.append(-np.inf if depends else float(betaln(losses + 1, n - losses + 1)))
        weights = np.exp(np.array(evidence) - max(evidence))
        self.weights = weights / weights.sum()

    def log(self, A: Floats) -> Floats:
        """Logarithms, shape (m,), of the probability of success at the points `A`, shape (m, d)."""
        from scipy.special import ndtr

        columns = self._coordinates.columns(A) - 0.5
        chance = np.full(len(A), self.weights[-1] * self._rate)
        for weight, model in zip(self.weights, self._models, strict=False):
            chance += weight * ndtr(model.at(columns))
        return np.log(np.maximum(chance, 1e-300))

    def log_gradient(self, x: Floats) -> tuple[float, Floats]:
        """The same at one point, with its gradient, shape (d,)."""
        from scipy.special import ndtr

        column = self._coordinates.columns(x[None])[0] - 0.5
        chance, slope = self.weights[-1] * self._rate, np.zeros(len(column))
        for weight, model in zip(self.weights, self._models, strict=False):
            g, by_column = model.gradient(column)
            chance += weight * float(ndtr(g))
            slope += weight * np.exp(-0.5 * g * g) / np.sqrt(2.0 * np.pi) * by_column
        chance = max(chance, 1e-300)
        owner = self._coordinates.owner
        slope[self._coordinates.nominal[owner]] = 0.0
        gradient = np.bincount(owner, slope, self._coordinates.dimensions) / chance
        return float(np.log(chance)), gradient


class Latent:
    """The latent function of one shape, given the signs at some points."""

    def __init__(self, B: Floats, s: Floats, shape: Shape, d: int):
        from scipy.linalg import cho_solve, cholesky
        from scipy.special import log_ndtr

        self.B, self.shape = B, shape
        self.scale = 1.0 / (shape.width * np.sqrt(d))
        K = self._covariances(B)
        f = np.zeros(len(s))
        for _ in range(NEWTON_STEPS):  # algorithm 3.1
            log_cdf = log_ndtr(s * f)
            ratio = np.exp(-0.5 * f * f - 0.5 * np.log(2.0 * np.pi) - log_cdf)  # pdf / cdf
            slope, curvature = s * ratio, np.maximum(ratio * ratio + s * f * ratio, 1e-12)  # equations 3.16
            root = np.sqrt(curvature)
            L = cholesky(np.eye(len(s)) + root[:, None] * K * root, lower=True, check_finite=False)
            b = curvature * f + slope
            a = b - root * cho_solve((L, True), root * (K @ b), check_finite=False)
            moved = float(np.abs(K @ a - f).max())
            f = K @ a
            if moved < TOLERANCE:
                break
        self.L, self.root, self.slope = L, root, slope
        # equation 3.32
        self.log_evidence = float(-0.5 * a @ f + log_ndtr(s * f).sum() - np.log(np.diag(L)).sum())

    def at(self, A: Floats) -> Floats:
        """g, shape (m,), at the columns `A`, shape (m, C)."""
        from scipy.linalg import solve_triangular

        k = self._covariances(A)
        v = solve_triangular(self.L, (k * self.root).T, lower=True, check_finite=False)
        variance = np.maximum(self._own(A) - np.einsum("ij,ij->j", v, v), 0.0)
        return np.asarray((k @ self.slope) / np.sqrt(1.0 + variance))

    def gradient(self, x: Floats) -> tuple[float, Floats]:
        """g at one point, and its gradient by the columns, shape (C,)."""
        from scipy.linalg import cho_solve

        k = self._covariances(x[None])[0]
        difference = x - self.B
        _, dk = matern52(self.scale**2 * np.einsum("ij,ij->i", difference, difference))
        by_k = self.shape.slope**2 * self.B + 2.0 * (self.shape.bump * self.scale) ** 2 * dk[:, None] * difference
        weights = self.root * cho_solve((self.L, True), self.root * k, check_finite=False)
        total = 1.0 + max(float(self._own(x[None])[0] - k @ weights), 0.0)
        mean = float(k @ self.slope)
        by_variance = 2.0 * self.shape.slope**2 * x - 2.0 * weights @ by_k
        return mean / np.sqrt(total), self.slope @ by_k / np.sqrt(total) - 0.5 * mean * by_variance / total**1.5

    def _covariances(self, A: Floats) -> Floats:
        near, _ = matern52(self.scale**2 * squared_distances(A, self.B))
        shape = self.shape
        return shape.constant**2 + shape.slope**2 * A @ self.B.T + shape.bump**2 * near

    def _own(self, A: Floats) -> Floats:
        shape = self.shape
        return shape.constant**2 + shape.slope**2 * np.einsum("ij,ij->i", A, A) + shape.bump**2
