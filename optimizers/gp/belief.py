"""The user's belief about the optimum, which the results may overrule.

    b   (d,)     believed positions, nan where there is no belief
    s            spread of a belief, as a share of the range
    pi(x)        product over coordinates of SHARE N(x; b, s) + (1 - SHARE), up to a constant

log EI + WEIGHT / n log pi(x), with n results: Hvarfner et al. (2022), "piBO: Augmenting Acquisition Functions with User Beliefs",
ICLR, equation 6. A wrong belief costs at most log(1 - SHARE) a coordinate, and that fades.
"""

import numpy as np

from studio.optimizers.gp.density import quantile
from studio.space import Floats

SPREAD, SHARE = 0.1, 0.8
WEIGHT = 10.0


class Belief:
    """A belief about the position of the optimum in some of the coordinates."""

    def __init__(self, b: Floats):
        self.b, self.counts = b, ~np.isnan(b)

    def log(self, A: Floats, n: int) -> Floats:
        """Return weighted logarithms, shape (m,), at the points `A`, shape (m, d)."""
        return np.asarray(WEIGHT / n * np.log(self._densities(A)).sum(1))

    def log_gradient(self, x: Floats, n: int) -> tuple[float, Floats]:
        """Return the log density at one point, and its gradient, shape (d,)."""
        density = self._densities(x[None])[0]
        slope = np.zeros(len(x))
        z = x[self.counts] - self.b[self.counts]
        slope[self.counts] = -(density - (1.0 - SHARE)) * z / SPREAD**2 / density
        return WEIGHT / n * float(np.log(density).sum()), WEIGHT / n * slope

    def draw(self, U: Floats) -> Floats:
        """Return points distributed as pi for uniform `U` in [0, 1], shape (..., d)."""
        near = np.nan_to_num(self.b) + SPREAD * quantile(U / SHARE)
        anywhere = (U - SHARE) / (1.0 - SHARE)
        return np.where(self.counts, np.clip(np.where(SHARE > U, near, anywhere), 0.0, 1.0), U)

    def _densities(self, A: Floats) -> Floats:
        z = (A[:, self.counts] - self.b[self.counts]) / SPREAD
        return np.asarray(SHARE * np.exp(-0.5 * z * z) + 1.0 - SHARE)
