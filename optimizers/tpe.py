"""Tree-structured Parzen estimator: search where good results are dense and others are not."""

import math
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
    takes_known: ClassVar[bool] = True

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self._take_in(suggestion, fitness)

    def _next(self) -> Floats:
        costs = np.array([math.inf if one.cost is None else one.cost for one in self._results.values()])
        known = np.isfinite(costs)
        if self._count < self._design.size:
            return np.asarray(self._design.points[self._count, 0])
        if not known.any():
            return self._coordinates.spread(self._rng.random((1, self._coordinates.dimensions)))[0]
        X = np.array([one.x for one in self._results.values()])
        pending = list(self._pending.values())
        candidates = candidates_by_density(self._coordinates, X, costs, pending, self._rng)
        seen = {x.tobytes() for x in (*X, *pending)}
        new = [x for x in candidates if x.tobytes() not in seen]
        return np.asarray(new[0] if new else candidates[0])


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [TPE]
