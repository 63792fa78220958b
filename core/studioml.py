"""Adapter for optimizer files of StudioML, the tool that Studio re-creates. They run unmodified.

Such a file has a class `Optimizer(hyperparameters, config, logger)` and works generation by generation:

    ask() -> [solution, ...]            a solution is a list of hyperparameter objects with `values` set, or a dict
    tell(population, fitnesses)         the same solutions with their fitnesses, larger is better
    stop() -> bool                      whether it is done

Protocol: studio/optimizer_plugins/cmaes.py and studio/hyperparameter.py of github.com/studioml/studio.
"""

import contextlib
import inspect
import logging
import math
import random
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from studio.errors import BadInput
from studio.interfaces import Optimizer
from studio.space import Array, Choice, Constant, Integer, Parameter, Real, Space, Suggestion


@dataclass
class Hyperparameter:
    """A hyperparameter for StudioML's optimizers. With `is_log` the ends are natural logarithms, `values` are not.

    index         position of its first coordinate in the vector of all
    values        None; in a solution, the value or numpy vector
    array_length  None for a scalar
    """

    name: str
    index: int
    values: Any = None
    min_range: float | None = None
    max_range: float | None = None
    array_length: int | None = None
    unbounded: bool = False
    is_log: bool = False
    rand_init: bool = False


def is_studioml_optimizer(candidate: object) -> bool:
    """Return whether a class follows StudioML's protocol: its constructor takes hyperparameters, config and logger."""
    if not inspect.isclass(candidate) or issubclass(candidate, Optimizer):
        return False
    if not all(callable(getattr(candidate, method, None)) for method in ("ask", "tell", "stop")):
        return False
    return list(inspect.signature(candidate).parameters)[:3] == ["hyperparameters", "config", "logger"]


def adapt(old: type, name: str) -> type[Optimizer]:
    """Return an `Optimizer` class that runs the StudioML class `old`."""
    return types.new_class(
        f"StudioML_{old.__name__}", (_Adapter,), {}, lambda body: body.update({"name": name, "old": old})
    )


class _Adapter(Optimizer):
    """Adapter that asks for a generation, hands it out one by one, and tells it when its last fitness is known.

    A failure counts as the worst fitness so far. StudioML's optimizers draw from the global generators of numpy and
    Python, which are seeded for them and restored for other code.
    """

    old: ClassVar[Any]

    def __init__(self, space: Space, *, seed: int, **config: Any):
        self._space = space
        self._waiting: deque[Suggestion] = deque()  # of this generation, not handed out yet
        self._generation: dict[int, Any] = {}  # solutions by running number, the suggestion's point
        self._fitnesses: dict[int, float | None] = {}  # of this generation, as far as known
        self._worst = math.inf
        self._count = 0
        self._state = _seeded(seed)
        with self._own_generators():
            self._old = self.old(hyperparameters_of(space), config, logging.getLogger("studio.optimizer"))
            self._next_generation()

    def ask(self) -> Suggestion | None:
        return self._waiting.popleft() if self._waiting else None

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        if suggestion.point not in self._generation:
            return  # a retry that ended after its generation was told
        self._fitnesses[suggestion.point] = fitness
        if len(self._fitnesses) < len(self._generation):
            return
        self._worst = min([self._worst, *(known for known in self._fitnesses.values() if known is not None)])
        failed = self._worst if math.isfinite(self._worst) else 0.0
        fitnesses = [self._fitnesses[number] for number in self._generation]
        with self._own_generators():
            self._old.tell(list(self._generation.values()), [failed if known is None else known for known in fitnesses])
            self._next_generation()

    def _next_generation(self) -> None:
        self._generation, self._fitnesses = {}, {}
        if self._old.stop():
            self.done, self.done_reason = True, "its stop() returned True"
            return
        for solution in self._old.ask():
            self._count += 1
            self._generation[self._count] = solution
            self._waiting.append(Suggestion(self._values(solution), self._count))
        if not self._generation:
            raise BadInput(f"optimizer {self.name}: ask() returned no solutions")

    def _values(self, solution: Any) -> dict[str, Any]:
        given = solution if isinstance(solution, dict) else {item.name: item.values for item in solution}
        return {parameter.name: _value(parameter, given[parameter.name]) for parameter in self._space}

    @contextlib.contextmanager
    def _own_generators(self) -> Iterator[None]:
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._state[0])
        np.random.set_state(self._state[1])
        try:
            yield
        finally:
            self._state = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])


def hyperparameters_of(space: Space) -> list[Hyperparameter]:
    """Return the space in StudioML's terms. BadInput for choices, which StudioML does not have."""
    found, index = [], 0
    for parameter in space:
        hyperparameter = _hyperparameter(parameter, index)
        index += hyperparameter.array_length or 1
        found.append(hyperparameter)
    return found


def _hyperparameter(parameter: Parameter, index: int) -> Hyperparameter:
    if isinstance(parameter, Constant):
        low = high = float(np.ravel(parameter.value)[0])
        length = len(parameter.value) if isinstance(parameter.value, np.ndarray) else None
        return Hyperparameter(parameter.name, index, min_range=low, max_range=high, array_length=length)
    element = parameter.element if isinstance(parameter, Array) else parameter
    if isinstance(parameter, Choice) or not isinstance(element, Real):
        raise BadInput(
            f"hyperparameter {parameter.name}: StudioML optimizers know numbers only; give it a range min:max"
        )
    ends = (np.log([element.low, element.high]) if element.log else np.array([element.low, element.high])).tolist()
    return Hyperparameter(
        parameter.name,
        index,
        min_range=ends[0],
        max_range=ends[1],
        array_length=parameter.length if isinstance(parameter, Array) else None,
        unbounded=element.unconstrained,
        is_log=element.log,
        rand_init=element.random_start,
    )


def _value(parameter: Parameter, value: Any) -> Any:
    """Return the value in the parameter's type and range: StudioML's optimizers leave ranges and return floats for integers."""
    if isinstance(parameter, Constant):
        return parameter.from_unit(np.empty(0))
    element = parameter.element if isinstance(parameter, Array) else parameter
    assert isinstance(element, Real)
    numbers = np.ravel(np.asarray(value, dtype=float))
    numbers = np.round(numbers) if isinstance(element, Integer) else numbers
    if not element.unconstrained:
        numbers = np.clip(numbers, element.low, element.high)
    numbers = numbers.astype(np.int64) if isinstance(element, Integer) else numbers
    return numbers if isinstance(parameter, Array) else element.dtype(numbers[0])


def _seeded(seed: int) -> tuple[Any, Any]:
    return random.Random(seed).getstate(), np.random.RandomState(seed).get_state()
