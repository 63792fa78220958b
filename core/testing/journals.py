"""Journals of an optimizer under test: made as by `Search`, with every step checked.

    journal of a search = [Asked(1, values, point), Asked(2, ...), Told(2, 0.7), Asked(3, ...), Told(1, None), ...]

With an optimizer that takes reports, each running suggestion gives one between two tells: Reported(1, step 1, 0.2, False).

Failed checks raise AssertionError with a message for the optimizer's author.
"""

import json
import math
import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.interfaces import Optimizer
from studio.space import Array, Parameter, Real, Space, Suggestion

Fitness = Callable[[Suggestion], float | None]


@dataclass(frozen=True)
class Asked:
    number: int
    suggestion: Suggestion


@dataclass(frozen=True)
class Told:
    suggestion: Suggestion  # as read from the store: values and point after JSON
    fitness: float | None


@dataclass(frozen=True)
class Reported:
    suggestion: Suggestion
    step: int
    fitness: float
    ended: bool  # the answer of `report`


Event = Asked | Told | Reported


def search(
    optimizer: Optimizer, space: Space, fitness: Fitness, count: int, outstanding: int = 4, vain: int = 1
) -> list[Event]:
    """Return the journal of a search for `count` suggestions, `outstanding` at a time, told in a fixed random order.

    `vain`: how many times in a row `ask` may return None before the next `tell`.
    """
    order = random.Random(0)
    journal: list[Event] = []
    running: list[Suggestion] = []
    asked = 0
    while True:
        while asked < count and len(running) < outstanding and (suggestion := ask(optimizer, space)) is not None:
            asked += 1
            journal.append(Asked(asked, replace(suggestion, number=asked)))
            running.append(stored(replace(suggestion, number=asked)))
        if not running:
            assert asked == count or optimizer.done, (
                f"ask() gave None after {asked} suggestions although all of them were told, and done is not set: "
                "the search would wait forever"
            )
            return journal
        if asked < count and len(running) < outstanding:
            for _ in range(vain - 1):
                assert ask(optimizer, space) is None, (
                    "ask() gave None and then a suggestion, but nothing was told in between"
                )
        reports = report_all(optimizer, running, fitness, len(journal))
        journal += reports
        ends = [Told(one.suggestion, one.fitness) for one in reports if one.ended]
        if not ends:
            suggestion = running[order.randrange(len(running))]
            ends = [Told(suggestion, fitness(suggestion))]
        for told in ends:
            running = [one for one in running if one is not told.suggestion]
            journal.append(told)
            tell(optimizer, told.suggestion, told.fitness)


def ask(optimizer: Optimizer, space: Space) -> Suggestion | None:
    """Return the result of `ask`, checked against the space."""
    with complaint("ask()"):
        suggestion = optimizer.ask()
    assert suggestion is None or isinstance(suggestion, Suggestion), (
        f"ask() must give a studio.Suggestion or None, not {suggestion!r}"
    )
    if suggestion is not None:
        check_names(space, suggestion)
        for parameter in space:
            check_value(parameter, suggestion.values[parameter.name])
        stored(suggestion)
    return suggestion


def tell(optimizer: Optimizer, suggestion: Suggestion, fitness: float | None) -> None:
    with complaint(f"tell(suggestion, {fitness!r})"):
        optimizer.tell(suggestion, fitness)


def report_all(optimizer: Optimizer, running: list[Suggestion], fitness: Fitness, time: int) -> list[Reported]:
    """Report once for each running suggestion, if the optimizer takes reports; values approach the fitness with time."""
    if not optimizer.takes("reports"):
        return []
    found = []
    for suggestion in running:
        assert suggestion.number is not None
        step = time - suggestion.number + 1  # steps are skipped, as by some scripts
        value = fitness(suggestion)
        now = (value if value is not None and math.isfinite(value) else 0.0) - 1 / step
        found.append(Reported(suggestion, step, now, report(optimizer, suggestion, step, now)))
    return found


def report(optimizer: Optimizer, suggestion: Suggestion, step: int, fitness: float) -> bool:
    with complaint(f"report(suggestion, {step}, {fitness!r})"):
        ended = optimizer.report(suggestion, step, fitness)
    assert isinstance(ended, bool | np.bool_), (
        f"report() must give True, to end the experiment, or False, not {ended!r}"
    )
    return bool(ended)


@contextmanager
def complaint(call: str) -> Any:
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{call} raised {type(error).__name__}: {error}") from error


def values_of(journal: list[Event]) -> list[str]:
    return [as_json(event.suggestion.values) for event in journal if isinstance(event, Asked)]


def as_json(value: Any) -> str:
    return json.dumps(value, default=plainer)


def plainer(value: Any) -> Any:
    if isinstance(value, Suggestion):
        return {"values": value.values, "point": value.point}
    return value.tolist()


def stored(suggestion: Suggestion) -> Suggestion:
    """Return the suggestion as a resumed search reads it from its journal."""
    try:
        point = json.loads(json.dumps(suggestion.point, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"suggestion.point must be JSON-able, {suggestion.point!r} is not: {error}") from error
    values = json.loads(as_json(suggestion.values))
    arrays = {name for name, value in suggestion.values.items() if isinstance(value, np.ndarray)}
    return Suggestion(
        values={name: np.array(value) if name in arrays else value for name, value in values.items()},
        point=point,
        number=suggestion.number,
    )


def check_names(space: Space, suggestion: Suggestion) -> None:
    assert set(suggestion.values) == set(space.names), (
        f"suggestion.values must have the names {sorted(space.names)}, not {sorted(suggestion.values)}"
    )


def check_value(parameter: Parameter, value: Any) -> None:
    where = f"a suggestion has {parameter.name}={value!r}"
    if isinstance(parameter, Array):
        assert isinstance(value, np.ndarray), f"{where}; it must be a numpy vector"
    else:
        assert not isinstance(value, np.generic), f"{where}; scalars must be Python's own, like {value!s}"
    if isinstance(parameter, Real):
        assert type(value) is parameter.dtype, f"{where}; it must be of type {parameter.dtype.__name__}"
    try:
        parameter.to_unit(value)
    except BadInput as error:
        raise AssertionError(f"{where}, outside of the space: {error}") from error


def check_equal(first: Suggestion, again: Suggestion, where: str) -> None:
    """Compare two suggestions as `studio resume` does: numbers to 1e-12."""
    assert set(first.values) == set(again.values), f"{where}: replay gave other names, {sorted(again.values)}"
    for name, value in first.values.items():
        other = again.values[name]
        is_number = isinstance(value, int | float | np.ndarray)
        equal = type(other) is type(value) and (
            np.allclose(other, value, 1e-12, 1e-12) if is_number else other == value
        )
        assert equal, f"{where}: {name} was {value!r}, on replay it is {other!r}"
