"""The axis of each hyperparameter, for charts and exports."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from studio.errors import StudioError
from studio.experiment import Experiment, is_number, plain
from studio.host import Host
from studio.search.search_space import read_space
from studio.space import Array, Choice, Constant, Integer, Parameter, Real

DECADES = 2.0  # a list of positive numbers that spans this many is drawn on a log axis


@dataclass(frozen=True)
class Axis:
    """The axis of a hyperparameter.

    low, high  the ends of its range, or None; for an array those of its elements
    choices    the values of a choice, else empty
    length     length of an array, else 0
    """

    name: str
    kind: Literal["real", "integer", "choice", "array"]
    log: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    length: int = 0

    @property
    def label(self) -> str:
        """Label of the axis; an array is drawn by its Euclidean norm."""
        return f"‖{self.name}‖" if self.kind == "array" else self.name

    @property
    def numeric(self) -> bool:
        """True if values are placed by their size; else they are categories."""
        return self.kind != "choice" or all(is_number(choice) for choice in self.choices)


def axes_of(settings: Mapping[str, Any], experiments: Sequence[Experiment], host: Host) -> list[Axis]:
    """Return an axis for each hyperparameter, in declared order.

    If no plugin reads a range any more, its axis is made from the observed values.
    """
    ranges = settings.get("ranges") or {}
    known: dict[str, Axis | None] = {}
    with contextlib.suppress(StudioError):  # the plugin is gone
        grid = host.optimizer(settings.get("optimizer") or "grid").grid
        for name, given in ranges.items():
            with contextlib.suppress(StudioError):  # of a plugin that is gone, or of a program's own kind
                (parameter,) = read_space({name: given}, host, grid=grid)
                known[name] = _axis(parameter)
    seen = dict.fromkeys(name for experiment in experiments for name in experiment.values)
    names = dict.fromkeys([*ranges, *seen])
    return [
        known.get(name) or _observed(name, [e.values[name] for e in experiments if name in e.values]) for name in names
    ]


def number(value: Any) -> float | None:
    """Return the position of `value` on a numeric axis: arrays by their norm; None if it is not a finite number."""
    if isinstance(value, list) and value and all(is_number(item) for item in value):
        value = math.hypot(*value)
    return float(value) if is_number(value) else None


def _axis(parameter: Parameter) -> Axis | None:
    if isinstance(parameter, Array):
        element = _axis(parameter.element)
        assert element is not None
        return Axis(parameter.name, "array", element.log, element.low, element.high, (), parameter.length)
    if isinstance(parameter, Real):
        low, high = (None, None) if parameter.unconstrained else (float(parameter.low), float(parameter.high))
        return Axis(parameter.name, "integer" if isinstance(parameter, Integer) else "real", parameter.log, low, high)
    if isinstance(parameter, Choice):
        return _listed(parameter.name, [plain(value) for value in parameter.values])
    if isinstance(parameter, Constant):
        value = plain(parameter.value)
        if isinstance(value, list):
            return Axis(parameter.name, "array", length=len(value))
        return _listed(parameter.name, [value])
    return None


def _listed(name: str, values: Sequence[Any]) -> Axis:
    if not all(is_number(value) for value in values):
        return Axis(name, "choice", choices=tuple(values))
    return Axis(name, "choice", _is_wide(values), float(min(values)), float(max(values)), tuple(values))


def _observed(name: str, values: Sequence[Any]) -> Axis:
    if values and all(isinstance(value, list) for value in values):
        return Axis(name, "array", length=max(map(len, values)))
    if values and all(is_number(value) for value in values):
        return Axis(name, "integer" if all(isinstance(value, int) for value in values) else "real", _is_wide(values))
    return Axis(name, "choice", choices=tuple({repr(value): value for value in values}.values()))


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and math.log10(max(values)) - math.log10(min(values)) >= DECADES
