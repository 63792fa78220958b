"""Log expected improvement, times the probability of success and what the user believes.

    score(x) = log E[max(best - t(x), 0)] + log P(x does not fail) + weight log pi(x)

    z = (best - mean) / sd,   h(z) = pdf(z) + z cdf(z),   log EI = log h(z) + log sd

Ament et al. (2023), "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS, equation 8; the
product with a probability is that of Gelbart et al. (2014), "Bayesian Optimization with Unknown Constraints", UAI.
"""

import numpy as np

from studio.optimizers.gp.belief import Belief
from studio.optimizers.gp.fit import Posterior
from studio.optimizers.gp.success import Chance
from studio.space import Floats

LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))
TAIL, DEEP = -1.0, -1e3  # below these, h(z) is computed by the scaled complementary error function, and by pdf(z) / z^2


class Acquisition:
    """The score of points: expected improvement over the best of `model`, with a chance of success and a belief where given."""

    def __init__(self, model: Posterior, chance: Chance | None = None, belief: Belief | None = None):
        self.model, self.chance, self.belief = model, chance, belief

    def score(self, A: Floats) -> Floats:
        """Return scores, shape (m,), of the points `A`, shape (m, d)."""
        mean, sd = self.model.predict(A)
        score = log_h((self.model.best - mean) / sd) + np.log(sd)
        if self.belief is not None:
            score = score + self.belief.log(A, len(self.model.t))
        return score if self.chance is None else score + self.chance.log(A)

    def gradient(self, x: Floats) -> tuple[float, Floats]:
        """Return the score at `x` and its gradient, shape (d,): dh/dz = cdf(z), so that with z = (best - mean) / sd

        d log EI = (-cdf/h d mean + pdf/h d sd) / sd
        """
        from scipy.special import log_ndtr

        mean, sd, by_mean, by_sd = self.model.gradient(x)
        z = (self.model.best - mean) / sd
        log = float(log_h(np.array([z]))[0])
        cdf = np.exp(min(float(log_ndtr(z)) - log, 50.0))
        pdf = np.exp(min(-0.5 * z * z - LOG_SQRT_2PI - log, 50.0))
        score, gradient = log + float(np.log(sd)), (pdf * by_sd - cdf * by_mean) / sd
        if self.belief is not None:
            log_belief, by_belief = self.belief.log_gradient(x, len(self.model.t))
            score, gradient = score + log_belief, gradient + by_belief
        if self.chance is None:
            return score, gradient
        log_chance, by_chance = self.chance.log_gradient(x)
        return score + log_chance, gradient + by_chance


def log_h(z: Floats) -> Floats:
    """Return log(pdf(z) + z cdf(z)), elementwise, without cancellation: equation 9 of Ament et al."""
    from scipy.special import erfcx, ndtr

    direct = np.maximum(z, TAIL)
    direct = np.log(np.exp(-0.5 * direct * direct - LOG_SQRT_2PI) + direct * ndtr(direct))
    size = np.maximum(-z, -TAIL)
    share = 1.0 - np.sqrt(0.5 * np.pi) * size * erfcx(np.minimum(size, -DEEP) / np.sqrt(2.0))  # pdf(z) share = h(z)
    tail = np.where(z > DEEP, np.log(np.maximum(share, 1e-300)), -2.0 * np.log(size))
    return np.where(z > TAIL, direct, -0.5 * z * z - LOG_SQRT_2PI + tail)
