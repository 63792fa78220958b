"""`Learner`: what optimizers share that model their results, in the coordinates of the model."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from studio.interfaces import Optimizer
from studio.optimizers.gp.coordinates import Coordinates
from studio.optimizers.gp.design import Design
from studio.space import Floats, Space, Suggestion


@dataclass(eq=False)
class Result:
    """Cost (minus the fitness) of a suggestion, or None and the class of its failure."""

    suggestion: Suggestion
    x: Floats
    cost: float | None
    failure: str


class Learner(Optimizer):
    """An optimizer that asks its subclass for `_next()` and keeps what is asked and told."""

    takes_known: ClassVar[bool] = True

    def __init__(self, space: Space, *, seed: int):
        self._space = space
        self._results: dict[Any, Result] = {}
        self._pending: dict[tuple[float, ...], Floats] = {}  # point -> x, in the order in which they were asked for
        self._asked: set[bytes] = set()  # positions that were asked for or told
        self._count = 0  # suggestions made
        self._foreign = 0  # positions that were told and not asked for
        self._rng = np.random.default_rng(seed)
        self._coordinates = Coordinates(space)
        self._design = Design(self._coordinates, self._rng)

    def ask(self) -> Suggestion | None:
        if self.done:
            return None
        x = self._next()
        self._asked.add(key(x))
        self._count += 1
        suggestion = self._space.suggestion(self._coordinates.decode(x))
        self._pending[tuple(suggestion.point)] = x
        return suggestion

    @abstractmethod
    def _next(self) -> Floats:
        """Return the position, shape (d,), that is suggested next."""

    def _designed(self) -> Floats | None:
        """Return the next point of the design and its spares, shape (m, d); None after the last one, or if as many results are
        known from others.
        """
        over = self._count >= self._design.size or self._foreign >= self._design.size
        return None if over else self._design.points[self._count]

    def _new(self, points: Floats) -> NDArray[np.bool_]:
        """Return which of the points, shape (m, d), were neither asked for nor told yet."""
        return np.array([key(point) not in self._asked for point in points], dtype=bool)

    def _take_in(self, suggestion: Suggestion, fitness: float | None, failure: str = "") -> None:
        """Keep a result, in place of an earlier one of the same suggestion."""
        point = tuple(suggestion.point)
        told: Any = suggestion.number, point
        if suggestion.number is None and point not in self._pending and told not in self._results:
            told = object()  # known from an earlier search, which may have several results at one point
        self._pending.pop(point, None)
        cost = None if fitness is None or not math.isfinite(fitness) else -float(fitness)
        x = self._coordinates.snap(self._coordinates.encode(point)[None])[0]
        self._results[told] = Result(suggestion, x, cost, failure or "crash")
        if key(x) not in self._asked:
            self._foreign += 1
            self._asked.add(key(x))

    def _points_and_costs(self) -> tuple[Floats, Floats]:
        """Return the positions, shape (n, d), and costs, shape (n,), of all results; failures cost infinity."""
        results = self._results.values()
        X = np.array([result.x for result in results])
        return X, np.array([math.inf if result.cost is None else result.cost for result in results])


def key(x: Floats) -> bytes:
    """Return a position as a key: positions are rounded, and -0 is 0."""
    return (x + 0.0).tobytes()
