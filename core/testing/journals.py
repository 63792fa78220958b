"""Journals of an optimizer under test: made as `Search` would, with every step checked.

    journal of a search = [Asked(1, values, point), Asked(2, ...), Told(2, 0.7), Asked(3, ...), Told(1, None), ...]

What fails raises AssertionError, in words for the optimizer's author.
"""

import json
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
    suggestion: Suggestion  # as it comes out of the store: values and point went through JSON
    fitness: float | None


def search(
    optimizer: Optimizer, space: Space, fitness: Fitness, count: int, outstanding: int = 4, vain: int = 1
) -> list["Asked | Told"]:
    """The journal of a search for `count` suggestions, `outstanding` at a time, told in a random order that depends on
    nothing else. `vain` is how many times in a row None is taken from `ask` before the next `tell`."""
    order = random.Random(0)
    journal: list[Asked | Told] = []
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
        suggestion = running.pop(order.randrange(len(running)))
        told = Told(suggestion, fitness(suggestion))
        journal.append(told)
        tell(optimizer, suggestion, told.fitness)


def ask(optimizer: Optimizer, space: Space) -> Suggestion | None:
    """What `ask` gives, checked against the space."""
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


@contextmanager
def complaint(call: str) -> Any:
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{call} raised {type(error).__name__}: {error}") from error


def values_of(journal: list[Asked | Told]) -> list[str]:
    return [as_json(event.suggestion.values) for event in journal if isinstance(event, Asked)]


def as_json(value: Any) -> str:
    return json.dumps(value, default=plainer)


def plainer(value: Any) -> Any:
    if isinstance(value, Suggestion):
        return {"values": value.values, "point": value.point}
    return value.tolist()


def stored(suggestion: Suggestion) -> Suggestion:
    """The suggestion as a resumed search gets it from its journal."""
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
    """As `studio resume` compares: numbers to 1e-12."""
    assert set(first.values) == set(again.values), f"{where}: replay gave other names, {sorted(again.values)}"
    for name, value in first.values.items():
        other = again.values[name]
        is_number = isinstance(value, int | float | np.ndarray)
        equal = type(other) is type(value) and (
            np.allclose(other, value, 1e-12, 1e-12) if is_number else other == value
        )
        assert equal, f"{where}: {name} was {value!r}, on replay it is {other!r}"
