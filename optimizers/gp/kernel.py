"""Correlations of two points at the scaled distance r, and their derivatives by r^2.

    r^2(x, x') = sum_i w_i (x_i - x'_i)^2,     w_i = 1 / length scale_i^2

Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", section 4.2.
"""

from collections.abc import Callable

import numpy as np

from studio.space import Floats

Kernel = Callable[[Floats], tuple[Floats, Floats]]

ROUGH = 1e-4  # distance below which the derivative of a rough kernel, which grows without bound, is constant


def matern12(r2: Floats) -> tuple[Floats, Floats]:
    """Return k = exp(-r), continuous and nowhere smooth (equation 4.18), and its derivative by r^2."""
    r = np.sqrt(r2)
    k = np.exp(-r)
    return k, -k / (2.0 * np.maximum(r, ROUGH))


def matern52(r2: Floats) -> tuple[Floats, Floats]:
    """Return k = (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r), twice differentiable (equation 4.17), and its derivative."""
    r = np.sqrt(5.0 * r2)
    e = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * e, -(5.0 / 6.0) * (1.0 + r) * e


def squared_exponential(r2: Floats) -> tuple[Floats, Floats]:
    """Return k = exp(-r^2 / 2), infinitely smooth (equation 4.9), and its derivative by r^2."""
    k = np.exp(-0.5 * r2)
    return k, -0.5 * k


def squared_distances(A: Floats, B: Floats) -> Floats:
    """Return |a|^2 + |b|^2 - 2 a'b for all pairs, shape (m, n)."""
    squares = np.einsum("ij,ij->i", A, A)[:, None] + np.einsum("ij,ij->i", B, B) - 2.0 * A @ B.T
    return np.maximum(squares, 0.0)
