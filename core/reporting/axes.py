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

MIN_LOG_DECADES = 2.0  # a list of positive numbers that spans at least this many decades is drawn on a log axis


@dataclass(frozen=True)
class Axis:
    """The axis of a hyperparameter.

    low, high  the ends of the range, or None if there are none; for an array, the ends for each element
    choices    the values of a choice, else empty
    length     the length of an array, else 0
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
        """The text beside the axis. An array has `‖name‖`, because its Euclidean norm is drawn."""
        return f"‖{self.name}‖" if self.kind == "array" else self.name

    @property
    def numeric(self) -> bool:
        """True if values are placed by their size, False if they are categories."""
        return self.kind != "choice" or all(is_number(choice) for choice in self.choices)


def axes_of(settings: Mapping[str, Any], experiments: Sequence[Experiment], host: Host) -> list[Axis]:
    """Return an axis for each hyperparameter, in the order of the settings.

    If no installed plugin can read a range, its axis is made from the values of the experiments.
    """
    ranges = settings.get("ranges") or {}
    axes: dict[str, Axis | None] = {}
    with contextlib.suppress(StudioError):  # the optimizer is not installed any more
        grid = host.optimizer(settings.get("optimizer") or "grid").grid
        for name, text in ranges.items():
            with contextlib.suppress(
                StudioError
            ):  # the plugin is not installed any more, or a program made the parameter
                (parameter,) = read_space({name: text}, host, grid=grid)
                axes[name] = _axis(parameter)
    names = dict.fromkeys([*ranges, *(name for experiment in experiments for name in experiment.values)])
    return [
        axes.get(name) or _axis_of_values(name, [e.values[name] for e in experiments if name in e.values])
        for name in names
    ]


def number(value: Any) -> float | None:
    """Return the number at which `value` stands on a numeric axis: of an array its norm; None if it is not a finite number."""
    if isinstance(value, list) and value and all(is_number(item) for item in value):
        value = math.hypot(*value)
    return float(value) if is_number(value) else None


def _axis(parameter: Parameter) -> Axis | None:
    """Return the axis of a built-in kind of parameter, None for other kinds."""
    if isinstance(parameter, Array):
        element = _axis(parameter.element)
        assert element is not None
        return Axis(parameter.name, "array", element.log, element.low, element.high, (), parameter.length)
    if isinstance(parameter, Real):
        low, high = (None, None) if parameter.unconstrained else (float(parameter.low), float(parameter.high))
        return Axis(parameter.name, "integer" if isinstance(parameter, Integer) else "real", parameter.log, low, high)
    if isinstance(parameter, Choice):
        return _axis_of_choices(parameter.name, [plain(value) for value in parameter.values])
    if isinstance(parameter, Constant):
        value = plain(parameter.value)
        if isinstance(value, list):
            return Axis(parameter.name, "array", length=len(value))
        return _axis_of_choices(parameter.name, [value])
    return None


def _axis_of_choices(name: str, values: Sequence[Any]) -> Axis:
    if not all(is_number(value) for value in values):
        return Axis(name, "choice", choices=tuple(values))
    return Axis(name, "choice", _is_wide(values), float(min(values)), float(max(values)), tuple(values))


def _axis_of_values(name: str, values: Sequence[Any]) -> Axis:
    if values and all(isinstance(value, list) for value in values):
        return Axis(name, "array", length=max(map(len, values)))
    if values and all(is_number(value) for value in values):
        return Axis(name, "integer" if all(isinstance(value, int) for value in values) else "real", _is_wide(values))
    return Axis(name, "choice", choices=tuple({repr(value): value for value in values}.values()))


def _is_wide(values: Sequence[float]) -> bool:
    """Return whether the values are better drawn on a log axis."""
    return min(values) > 0 and math.log10(max(values)) - math.log10(min(values)) >= MIN_LOG_DECADES
