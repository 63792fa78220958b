"""Tree-structured Parzen estimator: search where good results are dense and others are not."""

from typing import ClassVar

import numpy as np

from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.gp.density import candidates_by_density
from studio.optimizers.gp.learner import Learner
from studio.space import Floats, Suggestion


class TPE(Learner):
    """A multivariate tree-structured Parzen estimator with a constant liar; never done.

        optimizer = TPE(space, seed=1)
        for _ in range(200):
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))

    The best results make one density l and all others another density g, each a mixture of kernels around its points and
    of the prior. Of some draws from l, the one with the largest l / g is suggested: it maximises the expected improvement.
    Pending suggestions and failures count as bad. The cost of a suggestion grows linearly with the results.

    The densities and their papers: `studio.optimizers.gp.density`.
    """

    name: ClassVar[str] = "tpe"
    related: ClassVar[tuple[str, ...]] = ("bohb", "hyperopt", "optuna")

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self._take_in(suggestion, fitness)

    def _next(self) -> Floats:
        points = self._designed()
        if points is None:
            points = self._candidates()
        new = points[self._new(points)]
        return np.asarray(new[0] if len(new) else points[0])

    def _candidates(self) -> Floats:
        """Return points to suggest, shape (m, d), the best one first."""
        X, y = self._points_and_costs()
        if not np.isfinite(y).any():
            return self._coordinates.spread(self._rng.random((1, self._coordinates.dimensions)))
        return candidates_by_density(self._coordinates, X, y, list(self._pending.values()), self._rng)


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [TPE]
