"""Grid search: every combination of the listed values, in order."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from studio.errors import BadInput
from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.space import Choice, Constant, Parameter, Space, Suggestion


class Grid(Optimizer):
    """All points of a grid, one after the other: the first hyperparameter varies slowest, the last one fastest, as in
    nested loops and `itertools.product`.

        optimizer = Grid(space, seed=1)             # the seed changes nothing
        while not optimizer.done:
            suggestion = optimizer.ask()

    `suggestion.point` is the index of the point, from 0. Points are computed when suggested, so that the size of the grid
    costs nothing. Raises BadInput for a hyperparameter with a range instead of values.
    """

    name: ClassVar[str] = "grid"
    related: ClassVar[tuple[str, ...]] = ("exhaustive", "grid-search", "sweep")
    grid: ClassVar[bool] = True
    needs_fitness: ClassVar[bool] = False

    def __init__(self, space: Space, *, seed: int):
        self._names = space.names
        self._values = [values_of(parameter) for parameter in space]
        self.size: int = math.prod(len(values) for values in self._values)
        self._next = 0

    def ask(self) -> Suggestion | None:
        if self.done:
            return None
        index = self._next
        self._next += 1
        if self._next == self.size:
            self.done = True
            self.done_reason = f"all {self.size:,} points of the grid were suggested"
        return Suggestion(values=self._point(index), point=index)

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        pass

    def _point(self, index: int) -> dict[str, Any]:
        # index = ((i_1 * n_2 + i_2) * n_3 + i_3) ...: its mixed-radix digits, the last hyperparameter first.
        chosen = []
        for values in reversed(self._values):
            index, digit = divmod(index, len(values))
            chosen.append(values[digit])
        return dict(zip(self._names, reversed(chosen), strict=True))


def values_of(parameter: Parameter) -> Sequence[Any]:
    """Return the values of `parameter` in a grid."""
    if isinstance(parameter, Choice):
        return parameter.values
    if isinstance(parameter, Constant) and not isinstance(parameter.value, np.ndarray):
        return (parameter.value,)
    raise BadInput(
        f"hyperparameter {parameter.name}: a grid needs a list or a step range, like {parameter.name}=1,2,3 or "
        f"{parameter.name}=0:0.1:1; for {kind(parameter)} choose another optimizer, --optimizer=cma or random"
    )


def kind(parameter: Parameter) -> str:
    is_array = hasattr(parameter, "length") or isinstance(parameter, Constant)
    return "an array" if is_array else "a continuous range"


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [Grid]
