"""Random search."""

from typing import ClassVar

import numpy as np

from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.space import Space, Suggestion

SPREAD = 0.25  # standard deviation of unconstrained coordinates, in units of the range, as at the start of CMA-ES


class RandomSearch(Optimizer):
    """Independent random points; never done.

        optimizer = RandomSearch(space, seed=1)
        for _ in range(100):
            suggestion = optimizer.ask()

    Coordinates of the unit cube are uniform in [0, 1]: log scales, whole numbers and choices follow from there. An
    unconstrained one (flag `u`) is normal, centred in its range, with a standard deviation of a quarter of the range.

    Bergstra and Bengio (2012), "Random Search for Hyper-Parameter Optimization", JMLR 13.
    """

    name: ClassVar[str] = "random"
    related: ClassVar[tuple[str, ...]] = ("random-search", "randomized", "uniform")
    needs_fitness: ClassVar[bool] = False

    def __init__(self, space: Space, *, seed: int):
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._unconstrained = space.unconstrained

    def ask(self) -> Suggestion:
        uniform = self._rng.random(self._space.dimensions)
        normal = self._rng.normal(0.5, SPREAD, self._space.dimensions)
        return self._space.suggestion(np.where(self._unconstrained, normal, uniform))

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        pass


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [RandomSearch]
