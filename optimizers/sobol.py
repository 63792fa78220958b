"""Sobol search: a quasi-random sequence that fills the space evenly."""

from typing import ClassVar

import numpy as np

from studio.errors import BadInput
from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.gp.density import quantile
from studio.optimizers.gp.design import sequence
from studio.optimizers.random_search import SPREAD
from studio.space import Floats, Space, Suggestion

BLOCK = 64  # points drawn at once; a power of two keeps the sequence balanced


class Sobol(Optimizer):
    """A scrambled Sobol sequence; never done.

        optimizer = Sobol(space, seed=1)
        for _ in range(128):            # powers of two fill the space most evenly
            suggestion = optimizer.ask()

    Coordinates of the unit cube are those of the sequence, from scipy.stats.qmc. An unconstrained one (flag `u`) follows a
    normal distribution with the middle of its range as mean and a quarter of it as standard deviation.

    Sobol (1967); scrambled as in Matousek (1998), "On the L2-discrepancy for anchored boxes", Journal of Complexity 14.
    """

    name: ClassVar[str] = "sobol"
    aliases: ClassVar[tuple[str, ...]] = ("quasi-random",)
    related: ClassVar[tuple[str, ...]] = ("halton", "latin-hypercube", "lhs", "qmc")
    needs_fitness: ClassVar[bool] = False

    def __init__(self, space: Space, *, seed: int):
        self._space = space
        self._unconstrained = space.unconstrained
        self._block: list[Floats] = []
        try:
            self._sequence = sequence(space.dimensions, np.random.default_rng(seed))
        except ValueError as error:
            raise BadInput(f"sobol: {space.dimensions} dimensions: {error} Take random") from None

    def ask(self) -> Suggestion:
        if not self._block:
            self._block = list(self._sequence.random(BLOCK)[::-1])
        point = self._block.pop()
        return self._space.suggestion(np.where(self._unconstrained, normal(point), point))

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        pass


def normal(point: Floats) -> Floats:
    """Return the point with the same quantiles in the distribution of unconstrained coordinates."""
    return 0.5 + SPREAD * quantile(point)


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [Sobol]
