"""Fit the Gaussian process to the results.

    n                      results
    d, C, owner            coordinates, columns and their owners: `studio.optimizers.gp.coordinates`
    X       (n, d)         points
    y       (n,)           costs, smaller is better
    t       (n,)           compressed costs, t = s log(1 + (y - min y) / s)
    Z       (n, C)         columns of the points
    w       (d,)           1 / length scale^2 of each coordinate
    theta   (d + 1,)       log w, log noise
    K       (n, n)         correlations + noise I = L L'
    beta, variance         mean and variance, which have a closed form
    alpha   (n,)           K^-1 (t - beta)

Maximum a posteriori: Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", chapter 5. The compression is
the logarithm with a shift of Box and Cox (1964), "An Analysis of Transformations", JRSS B 26, chosen by the likelihood as in
Snelson et al. (2003), "Warped Gaussian Processes", NeurIPS. Input warping (Snoek
et al. 2014) was measured and left out: docs/optimizers.md.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.kernel import Kernel, matern12, matern52, squared_distances, squared_exponential
from studio.space import Floats

KERNELS: tuple[Kernel, ...] = (matern52, matern12, squared_exponential)
# Prior median of a length scale, times sqrt(d), and the standard deviation of its logarithm.
LENGTH_SCALE, LENGTH_SPREAD = 0.6, 0.8
# Prior median of the noise as a share of the variance, and the standard deviation of its logarithm.
NOISE, NOISE_SPREAD = 1e-4, 3.0
NOISY = 1e-3  # share above which a best value may be luck
LOG_W_BOUNDS = (-8.0, 8.0)
LOG_NOISE_BOUNDS = (-14.0, 0.0)
# s as a share of the spread of y; infinity is no compression.
COMPRESSIONS = (np.inf, 1.0, 0.1, 0.01)
# Steps of L-BFGS from the prior median, and from the end of the last fit.
FIRST_STEPS, STEPS = 40, 15
# Every so many fits all kernels are compared; between, only the one that was chosen is fitted.
ALL_KERNELS = 3
JITTERS = (0.0, 1e-6, 1e-4, 1e-2)
WORST = 1e12  # largest cost, in spreads above the best


class Fit:
    """The hyperparameters of the model, kept from one fit to the next."""

    def __init__(self, coordinates: Coordinates):
        self.coordinates = coordinates
        d = coordinates.dimensions
        w_median = -2.0 * (np.log(LENGTH_SCALE) + 0.5 * np.log(d))
        self.median = np.append(np.full(d, w_median), np.log(NOISE))
        self.sd = np.append(np.full(d, 2.0 * LENGTH_SPREAD), NOISE_SPREAD)
        self.bounds = [LOG_W_BOUNDS] * d + [LOG_NOISE_BOUNDS]
        self.thetas = [self.median.copy() for _ in KERNELS]
        self.steps = FIRST_STEPS
        self.chosen = 0
        self.fits = 0

    def posterior(self, X: Floats, y: Floats, *, optimise: bool) -> "Posterior":
        """Return the model of the results `y`, shape (n,), at `X`, shape (n, d). `optimise`: fit the hyperparameters again."""
        columns = self.coordinates.columns(X)
        t = self._compressed(columns, y)
        if optimise:
            self._optimise(columns, t)
        return Posterior(self, KERNELS[self.chosen], self.thetas[self.chosen], X, t)

    def _compressed(self, columns: Floats, y: Floats) -> Floats:
        """Return the compression with the largest likelihood of y, which is that of t times the Jacobian prod dt/dy."""
        y = y - y.min()
        spread = max(float(np.median(y)), 1e-12 * max(1.0, float(y.max())))
        y = np.minimum(y / spread, WORST)
        choices = [y if s == np.inf else s * np.log1p(y / s) for s in COMPRESSIONS]
        log_jacobians = [0.0 if s == np.inf else -float(np.log1p(y / s).sum()) for s in COMPRESSIONS]
        kernel, theta = KERNELS[self.chosen], self.thetas[self.chosen]
        factor = Factor(self, kernel, theta, columns)
        losses = [factor.loss(t) - jacobian for t, jacobian in zip(choices, log_jacobians, strict=True)]
        return choices[int(np.argmin(losses))]

    def _optimise(self, columns: Floats, t: Floats) -> None:
        """Fit each smoothness from where its last fit ended; every third time take the one with the largest posterior."""
        from scipy.optimize import minimize

        losses = np.full(len(KERNELS), np.inf)
        for i in range(len(KERNELS)) if self.fits % ALL_KERNELS == 0 or self.fits < ALL_KERNELS else [self.chosen]:
            result: Any = minimize(
                self._loss,
                self.thetas[i],
                (KERNELS[i], columns, t),
                jac=True,
                method="L-BFGS-B",
                bounds=self.bounds,
                options={"maxiter": self.steps},
            )
            self.thetas[i] = result.x
            losses[i] = result.fun
        self.chosen = int(np.argmin(losses))
        self.steps = STEPS
        self.fits += 1

    def _loss(self, theta: Floats, kernel: Kernel, columns: Floats, t: Floats) -> tuple[float, Floats]:
        """Return -log posterior of `theta` up to a constant, and its gradient."""
        factor = Factor(self, kernel, theta, columns)
        z = (theta - self.median) / self.sd
        return factor.loss(t) + 0.5 * float(z @ z), factor.gradient(t) + z / self.sd


class Factor:
    """Factorised correlations of the points with `columns`, shape (n, C)."""

    def __init__(self, fit: Fit, kernel: Kernel, theta: Floats, columns: Floats):
        d = fit.coordinates.dimensions
        self.fit, self.theta = fit, theta
        self.w = np.exp(theta[:d])[fit.coordinates.owner]
        self.root_w = np.sqrt(self.w)
        self.noise = float(np.exp(theta[d]))
        self.Z = columns
        self.scaled = self.Z * self.root_w
        K, self.dK = kernel(squared_distances(self.scaled, self.scaled))
        self.L = factorised(K, self.noise)
        self.ones: Floats | None = None  # K^-1 1, computed when needed

    def solve(self, b: Floats) -> Floats:
        """Return K^-1 b for `b` of shape (n,) or (n, m)."""
        from scipy.linalg.lapack import dpotrs

        return np.asarray(dpotrs(self.L, b, lower=1)[0])

    def moments(self, t: Floats) -> tuple[float, float, Floats]:
        """Return beta = 1'K^-1 t / 1'K^-1 1, variance = (t - beta)'K^-1 (t - beta) / n, and alpha."""
        if self.ones is None:
            self.ones = self.solve(np.ones(len(t)))
        at = self.solve(t)
        beta = at.sum() / self.ones.sum()
        alpha = at - beta * self.ones
        return float(beta), max(float((t - beta) @ alpha) / len(t), 1e-300), alpha

    def loss(self, t: Floats) -> float:
        """Return -log likelihood = n/2 log variance + 1/2 log |K|, up to a constant."""
        _, variance, _ = self.moments(t)
        return 0.5 * len(t) * float(np.log(variance)) + float(np.log(np.diag(self.L)).sum())

    def gradient(self, t: Floats) -> Floats:
        """Return d loss / d theta = 1/2 sum_pq W_pq dK_pq / d theta, with W = K^-1 - alpha alpha' / variance.

        With M = W * dk/dr^2, elementwise, and its row sums m, that is for the weight of a column c
            d loss / d log w_c = 1/2 sum_pq M_pq w_c (Z_pc - Z_qc)^2 = w_c (m' Z_c^2 - Z_c' M Z_c)
        """
        from scipy.linalg.lapack import dpotri

        _, variance, alpha = self.moments(t)
        inverse = dpotri(self.L, lower=1)[0]
        W = inverse + inverse.T - np.outer(alpha, alpha) / variance  # dpotri leaves zeros above the diagonal
        np.fill_diagonal(W, np.diag(W) - np.diag(inverse))
        M = W * self.dK
        by_column = self.w * np.einsum("ij,ij->j", self.Z, M.sum(1)[:, None] * self.Z - M @ self.Z)
        by_w = np.bincount(self.fit.coordinates.owner, by_column, self.fit.coordinates.dimensions)
        return np.append(by_w, 0.5 * self.noise * np.trace(W))


def factorised(K: Floats, noise: float) -> Floats:
    """Return L with L L' = K + noise I, with as little more on the diagonal as rounding errors require."""
    from scipy.linalg import LinAlgError, cholesky

    for jitter in JITTERS:
        np.fill_diagonal(K, 1.0 + noise + jitter)
        try:
            return np.asarray(cholesky(K, lower=True, check_finite=False))
        except LinAlgError:
            continue
    return np.eye(len(K))  # a matrix that is not finite: these hyperparameters explain nothing


@dataclass(eq=False)
class Posterior:
    """The model of the compressed costs: mean and standard deviation at any point."""

    fit: Fit
    kernel: Kernel
    theta: Floats
    X: Floats
    t: Floats
    best: float = field(init=False)  # the value to improve on

    def __post_init__(self) -> None:
        self.factor = Factor(self.fit, self.kernel, self.theta, self.fit.coordinates.columns(self.X))
        self.beta, self.variance, self.alpha = self.factor.moments(self.t)
        self.noisy = self.factor.noise > NOISY
        # The smallest of noisy values is luck; the smallest mean is not.
        self.best = float(self.predict(self.X)[0].min() if self.noisy else self.t.min())

    def correlations(self, A: Floats) -> Floats:
        """Return correlations, shape (m, n), of the points `A`, shape (m, d), with the results."""
        return self.kernel(squared_distances(self._scaled(A), self.factor.scaled))[0]

    def nearness(self, A: Floats, B: Floats) -> Floats:
        """Return for each of the points `A`, shape (m, d), its largest correlation with one of the points `B`, shape (k, d)."""
        return np.asarray(self.kernel(squared_distances(self._scaled(A), self._scaled(B)))[0].max(1))

    def _scaled(self, A: Floats) -> Floats:
        return self.fit.coordinates.columns(A) * self.factor.root_w

    def predict(self, A: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation without noise, shapes (m,), at `A`: Rasmussen and Williams, 2.25 and 2.26."""
        from scipy.linalg import solve_triangular

        k = self.correlations(A)
        v = solve_triangular(self.factor.L, k.T, lower=True, check_finite=False)
        left = np.maximum(1.0 - np.einsum("ij,ij->j", v, v), 1e-10)
        return self.beta + k @ self.alpha, np.sqrt(self.variance * left)

    def gradient(self, x: Floats) -> tuple[float, float, Floats, Floats]:
        """Return mean and standard deviation at `x`, and their gradients, shape (d,); 0 for choices without order."""
        difference = self._scaled(x[None]) - self.factor.scaled
        k, dk = self.kernel(np.einsum("ij,ij->i", difference, difference))
        v = self.factor.solve(k)
        left = max(1.0 - float(k @ v), 1e-10)
        sd = float(np.sqrt(self.variance * left))
        # dk/dx_c = 2 dk/dr^2 w_c (x_c - Z_c)
        owner, d = self.fit.coordinates.owner, self.fit.coordinates.dimensions
        step = np.where(self.fit.coordinates.nominal[owner], 0.0, 2.0 * self.factor.root_w)
        by_mean = step * ((self.alpha * dk) @ difference)
        by_sd = -self.variance / sd * step * ((v * dk) @ difference)
        return (
            self.beta + float(k @ self.alpha),
            sd,
            np.bincount(owner, by_mean, d).astype(float),
            np.bincount(owner, by_sd, d).astype(float),
        )

    def with_pending(self, P: Floats) -> "Posterior":
        """Return the model after the pending points `P`, each with its own mean as result.

        Ginsbourger et al. (2010), "Kriging is well-suited to parallelize optimization", the kriging believer.
        """
        mean, _ = self.predict(P)
        return Posterior(self.fit, self.kernel, self.theta, np.vstack([self.X, P]), np.concatenate([self.t, mean]))
