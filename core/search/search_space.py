"""A `Space` from the user's ranges: each range goes to the plugin that parses it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput, RangeError
from studio.host import Host
from studio.space import Choice, Constant, Parameter, Real, Space
from studio.text import did_you_mean, parse_literal, split_items

GRID, SEARCH = "grid", "auto"  # the default optimizers


def range_to_search(ranges: Mapping[str, Any], host: Host) -> str:
    """Return the first of `ranges` that is not a grid but a range for optimizers, as `name=range`; empty if there is none."""
    for name, given in ranges.items():
        if isinstance(given, Parameter):
            if not isinstance(given, Choice | Constant):
                return name
        elif isinstance(given, str) and not _reads(name, given, host, grid=True):
            searched, tilde, _ = given.rpartition("~")  # a wrong belief is a mistake in a search
            texts = [given, *([searched] if tilde else [])]
            if any(_reads(name, text, host, grid=False) for text in texts) and "," not in given:
                return f"{name}={given}"
    return ""


def in_grammar(ranges: Mapping[str, Any], host: Host, *, grid: bool, was_grid: bool) -> dict[str, Any]:
    """Return `ranges` of a grid or of another optimizer, which `was_grid` says, as a grid or another optimizer takes them.

    One that cannot be written so stays as it is.
    """
    return {
        name: _in_grammar(name, given, host, grid, was_grid) if isinstance(given, str) else given
        for name, given in ranges.items()
    }


def _in_grammar(name: str, text: str, host: Host, grid: bool, was_grid: bool) -> str:
    try:
        parameter = host.parse_range(name, text, grid=grid)
    except RangeError as error:
        return error.instead or text
    if not grid and was_grid and type(parameter) is Real and _reads(name, text, host, grid=True):
        values = host.parse_range(name, text, grid=True)  # `0:3`: whole numbers for a grid
        return f"{text}:i" if isinstance(values, Choice) and isinstance(values.values[0], int) else text
    return text


def read_start(text: str, space: Space) -> dict[str, Any]:
    """Return the values of `--start-from lr=0.01,layers=3`; other hyperparameters get the middle of their range."""
    point = np.full(space.dimensions, 0.5)
    values = space.values(point)
    given: set[str] = set()
    for part in split_items(text):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise BadInput(f"--start-from {text!r}: {part.strip()!r} has no value; write for example lr=0.01,layers=3")
        if name not in space.names:
            raise BadInput(
                f"--start-from {text!r}: no hyperparameter is called {name}{did_you_mean(name, space.names)}"
            )
        if name in given:
            raise BadInput(f"--start-from {text!r}: {name} is given twice")
        given.add(name)
        values[name] = parse_literal(value)
    try:
        return space.checked(values)
    except BadInput as error:
        raise BadInput(f"--start-from {text!r}: {error}") from error


def _reads(name: str, text: str, host: Host, *, grid: bool) -> bool:
    try:
        host.parse_range(name, text, grid=grid)
    except RangeError:
        return False
    return True


def read_space(ranges: Mapping[str, Any], host: Host, *, grid: bool) -> Space:
    """Return the space of `ranges`: name -> range text, list of values, single value, or a `Parameter`."""
    return Space([_parameter(name, given, host, grid) for name, given in ranges.items()])


def _parameter(name: str, given: Any, host: Host, grid: bool) -> Parameter:
    if not isinstance(name, str) or not name.strip() or name != name.strip() or not name.isprintable() or "=" in name:
        raise RangeError(f"hyperparameter {name!r}={given}: name a variable, an option or another place, such as lr")
    if isinstance(given, Parameter):
        if given.name != name:
            raise RangeError(f"hyperparameter {name!r}: the parameter given for it is called {given.name!r}")
        return given
    if isinstance(given, str):
        return host.parse_range(name, given, grid=grid)
    if isinstance(given, list | tuple):
        return Choice(name, tuple(given)) if len(given) > 1 else Constant(name, _only(name, given))
    return Constant(name, given)


def _only(name: str, given: Any) -> Any:
    if not given:
        raise RangeError(f"hyperparameter {name!r}: an empty list of values")
    return given[0]
