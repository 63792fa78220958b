"""Nevergrad's optimizers for Studio: `studio run --optimizer=nevergrad -O name=NGOpt -O budget=100 …`.

ask    a candidate of a tuple with one variable per hyperparameter
tell   its loss, which is minus the fitness; for a failure one that is worse than all so far
"""

import contextlib
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import studio

WIDTH = 0.25  # first standard deviation of unconstrained coordinates, in units of the range
HOPELESS = 1e20  # loss of failures before the first success; Nevergrad clips at 5e20


class NevergradOptimizer(studio.Optimizer):
    """Any optimizer of Nevergrad's registry, by name; done when its budget is used up.

    name         as in nevergrad.optimizers.registry: NGOpt, OnePlusOne, TwoPointsDE, CMA, PSO …
    budget       number of suggestions; NGOpt chooses its algorithm by this
    num_workers  about how many are pending at a time, for the same choice

    Algorithms that wait for each result in a thread, such as Cobyla, are refused: they take one result at a time, and their
    thread outlives the search. NGOpt chooses them with num_workers=1; hence the 2.

    Choices and whole numbers are variables of Nevergrad's own. All else, the `Parameter`s of other plugins included, is
    searched by its coordinates in the unit cube, where log scales are linear; by unconstrained ones without bounds.
    The search starts in the middle of the ranges, or with the flag `r` at a random point.

    Nevergrad has no failures: a failure is told as a loss worse than the worst so far by the spread of all so far. The result
    of a retry counts as a further result, if the algorithm takes any.
    `suggestion.point` holds the number of the ask, and Nevergrad's numbers.
    """

    name = "nevergrad"

    def __init__(self, space: studio.Space, *, seed: int, name: str = "NGOpt", budget: int = 100, num_workers: int = 2):
        if budget < 1 or num_workers < 1:
            raise studio.StudioError(f"nevergrad: budget={budget} and num_workers={num_workers} must be at least 1")
        self.size = budget if space.dimensions else 1
        self._space = space
        self._generators = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()
        self._asked = 0
        self._out: dict[int, Any] = {}  # number of the ask -> candidate
        self._best = self._worst = math.nan  # losses
        with self._at_work() as nevergrad:
            ends = np.cumsum([parameter.dimensions for parameter in space])
            starts = np.split(space.start(np.random.default_rng(seed)), ends[:-1])
            variables = [variable_of(*of, nevergrad.p) for of in zip(space, starts, strict=False)]
            if space.dimensions == 0 or all(isinstance(variable, nevergrad.p.Constant) for variable in variables):
                variables.append(nevergrad.p.Scalar())  # Nevergrad needs something to search
            self._tuple = nevergrad.p.Tuple(*variables)
            self._tuple.random_state = np.random.RandomState(seed)
            self._optimizer = make(name, self._tuple, budget, num_workers, nevergrad.optimizers.registry)

    def ask(self) -> studio.Suggestion | None:
        if self.done:
            return None
        with self._at_work():
            candidate = self._optimizer.ask()
        self._asked += 1
        self._out[self._asked] = candidate
        if self._asked == self.size:
            self.done = True
            self.done_reason = f"its budget of {self.size} is used up; increase it with -O budget=N"
        numbers = plain(candidate.value)
        values = {parameter.name: value_at(parameter, n) for parameter, n in zip(self._space, numbers, strict=False)}
        return studio.Suggestion(values, {"ask": self._asked, "numbers": numbers})

    def tell(self, suggestion: studio.Suggestion, fitness: float | None) -> None:
        number, numbers = suggestion.point["ask"], suggestion.point["numbers"]
        candidate = self._out.get(number)
        with self._at_work() as nevergrad:
            if candidate is not None and plain(candidate.value) == numbers:
                del self._out[number]
            else:  # told before, or suggested by another optimizer
                candidate = self._tuple.spawn_child(
                    new_value=tuple(np.array(part) if isinstance(part, list) else part for part in numbers)
                )
            with contextlib.suppress(nevergrad.errors.TellNotAskedNotSupportedError):
                self._optimizer.tell(candidate, self._loss(fitness))

    def _loss(self, fitness: float | None) -> float:
        if fitness is None or not math.isfinite(fitness):
            if math.isnan(self._worst):
                return HOPELESS
            return min(HOPELESS, self._worst + (self._worst - self._best or abs(self._worst) or 1.0))
        loss = float(np.clip(-fitness, -HOPELESS, HOPELESS))
        self._best, self._worst = min(loss, self._best), max(loss, self._worst)  # of 1.0 and nan: 1.0
        return loss

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[Any]:
        """Provide Nevergrad, with the state of the global generators of this optimizer, since many algorithms draw from them,
        and without its warnings about inefficient settings and converged algorithms.
        """
        outside = random.getstate(), np.random.get_state()
        random.setstate(self._generators[0])
        np.random.set_state(self._generators[1])
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Could not import matplotlib", UserWarning)  # from the package cma
                import nevergrad

                # of numpy
                warnings.filterwarnings("ignore", "Conversion of an array with ndim > 0", DeprecationWarning)
                warnings.simplefilter("ignore", nevergrad.errors.NevergradWarning)
                yield nevergrad
        finally:
            self._generators = random.getstate(), np.random.get_state()
            random.setstate(outside[0])
            np.random.set_state(outside[1])


# --- parameters -------------------------------------------------------------------------------------------------------


def variable_of(parameter: studio.Parameter, start: np.ndarray, p: Any) -> Any:
    """Return a variable of Nevergrad that starts at `start`, a point of the unit cube of shape (dimensions,)."""
    if parameter.dimensions == 0:
        return p.Constant(0)
    if isinstance(parameter, studio.Choice):
        return p.Choice(range(len(parameter.values))) if len(parameter.values) > 1 else p.Constant(0)
    if is_whole(parameter):
        kind = p.Log if parameter.log else p.Scalar
        first = parameter.from_unit(start)
        return kind(init=first, lower=parameter.low, upper=parameter.high).set_integer_casting()
    if is_whole_array(parameter):
        low, high = parameter.element.low, parameter.element.high
        return p.Array(init=parameter.from_unit(start) * 1.0, lower=low, upper=high).set_integer_casting()
    if parameter.unconstrained:
        return p.Array(init=start).set_mutation(sigma=WIDTH)
    return p.Array(init=start, lower=0, upper=1)


def value_at(parameter: studio.Parameter, numbers: Any) -> Any:
    """Return the value for the script from Nevergrad's number, or list of numbers."""
    if isinstance(parameter, studio.Choice):
        return parameter.values[numbers]
    if is_whole(parameter):
        return numbers
    if is_whole_array(parameter):
        return np.array(numbers)
    return parameter.from_unit(np.array(numbers if parameter.dimensions else (), dtype=float))


def is_whole(parameter: studio.Parameter) -> bool:
    return type(parameter) is studio.Integer and not parameter.unconstrained


def is_whole_array(parameter: studio.Parameter) -> bool:
    return isinstance(parameter, studio.Array) and is_whole(parameter.element) and not parameter.element.log


# --- Nevergrad --------------------------------------------------------------------------------------------------------


def plain(values: Sequence[Any]) -> list[Any]:
    """Return Python's own numbers and lists, which JSON takes."""
    return [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in values]


def make(name: str, parameters: Any, budget: int, num_workers: int, registry: Any) -> Any:
    """Make the optimizer `name`. Raises StudioError if it is unknown or takes one result at a time."""
    if name not in registry:
        some = "NGOpt, OnePlusOne, TwoPointsDE, CMA, PSO"
        raise studio.StudioError(
            f"nevergrad has no optimizer {name!r}; there are {some}, and many more in its registry"
        )
    sequential = registry[name].no_parallelization
    if not sequential:
        optimizer = registry[name](parameters, budget=budget, num_workers=num_workers)
        sequential = waits(optimizer)
    if sequential:
        raise studio.StudioError(
            f"nevergrad: {name} with num_workers={num_workers} waits for each result in a thread, which Studio cannot "
            "resume; give another name, or -O num_workers=2"
        )
    return optimizer


def waits(optimizer: Any) -> bool:
    """Return whether the optimizer, or one that it uses, takes one result at a time."""
    others = [*getattr(optimizer, "optims", ()), getattr(optimizer, "optim", None)]
    return optimizer.no_parallelization or any(waits(other) for other in others if other is not None)


@studio.hookimpl
def studio_optimizers() -> list[type[studio.Optimizer]]:
    return [NevergradOptimizer]
