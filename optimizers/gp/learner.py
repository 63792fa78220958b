"""`Learner`: what optimizers share that model their results, in the coordinates of the model."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.interfaces import Optimizer
from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.design import Design
from studio.space import Floats, Space, Suggestion


@dataclass(eq=False)
class Result:
    """Cost (minus the fitness) of a suggestion, or None and the class of its failure."""

    x: Floats
    cost: float | None
    failure: str


class Learner(Optimizer):
    """An optimizer that asks its subclass for `_next()` and keeps what is told."""

    def __init__(self, space: Space, *, seed: int):
        self._space = space
        self._results: dict[Any, Result] = {}
        self._pending: dict[tuple[float, ...], Floats] = {}  # point -> x, in the order in which they were asked for
        self._count = 0  # suggestions made
        self._rng = np.random.default_rng(seed)
        self._coordinates = Coordinates(space)
        self._design = Design(self._coordinates, self._rng)

    def ask(self) -> Suggestion | None:
        if self.done:
            return None
        x = self._next()
        self._count += 1
        suggestion = self._space.suggestion(self._coordinates.decode(x))
        self._pending[tuple(suggestion.point)] = x
        return suggestion

    @abstractmethod
    def _next(self) -> Floats:
        """The position, shape (d,), that is suggested next."""

    def _take_in(self, suggestion: Suggestion, fitness: float | None, failure: str = "") -> Floats:
        """Keep a result, in place of an earlier one of the same suggestion; return its position, shape (d,)."""
        point = tuple(suggestion.point)
        self._pending.pop(point, None)
        cost = None if fitness is None or not math.isfinite(fitness) else -float(fitness)
        x = self._coordinates.snap(self._coordinates.encode(point)[None])[0]
        self._results[suggestion.number, point] = Result(x, cost, failure or "crash")
        return np.asarray(x)
