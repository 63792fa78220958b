"""The columns of a project's table: which hyperparameters there are, of which kind, on which scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from studio.axes import DECADES, is_number
from studio.errors import StudioError
from studio.experiment import Metric, plain
from studio.host import Host
from studio.ranges import read_space
from studio.space import Array, Choice, Constant, Integer, Parameter, Real

STATES = ("number", "status", "fitness", "started", "finished", "duration", "slot", "reason", "attempts", "exit_code")
LABELS = {"number": "#", "exit_code": "Exit", "duration": "Time"}


@dataclass(frozen=True)
class Column:
    """As the pages get it; `studio.ui` says what each part is."""

    key: str
    kind: str
    label: str
    log: bool = False
    choices: list[Any] | None = None
    integer: bool = False
    array: int = 0
    min: float | None = None
    max: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def columns_of(settings: Mapping[str, Any], metric: Metric, host: Host) -> list[Column]:
    metrics = [Column(f"metric.{metric.name}", "metric", metric.name)]
    states = [Column(key, "state", LABELS.get(key, key.capitalize())) for key in STATES]
    return [*metrics, *parameter_columns(settings, host), *states]


def parameter_columns(settings: Mapping[str, Any], host: Host) -> list[Column]:
    """One for each hyperparameter, in the order in which they were given."""
    ranges = settings.get("ranges") or {}
    try:
        grid = host.optimizer(settings.get("optimizer") or "grid").grid
        return [column_of(parameter) for parameter in read_space(ranges, host, grid=grid)]
    except StudioError:  # its plugin is not here any more, or a program had ranges of its own kind
        return [_listed(name, given if isinstance(given, list) else []) for name, given in ranges.items()]


def column_of(parameter: Parameter) -> Column:
    name = parameter.name
    if isinstance(parameter, Array):
        return Column(name, "param", f"‖{name}‖", array=parameter.length)
    if isinstance(parameter, Real):
        low, high = (None, None) if parameter.unconstrained else (float(parameter.low), float(parameter.high))
        whole = isinstance(parameter, Integer)
        return Column(name, "param", name, log=parameter.log, integer=whole, min=low, max=high)
    if isinstance(parameter, Choice):
        return _listed(name, parameter.values)
    if isinstance(parameter, Constant):
        value = plain(parameter.value)
        return (
            Column(name, "param", f"‖{name}‖", array=len(value)) if isinstance(value, list) else _listed(name, [value])
        )
    return Column(name, "param", name)


def _listed(name: str, values: Sequence[Any]) -> Column:
    """Numbers have an axis; anything else is a category."""
    if values and all(is_number(value) for value in values):
        low, high = float(min(values)), float(max(values))
        log = low > 0 and math.log10(high) - math.log10(low) >= DECADES
        return Column(name, "param", name, log=log, integer=all(type(v) is int for v in values), min=low, max=high)
    return Column(name, "param", name, choices=[plain(value) for value in values] or None)


def shown(value: Any) -> Any:
    """A value as a cell of the table: arrays as their Euclidean norm, floats with eight digits."""
    if isinstance(value, float):
        return trimmed(value)
    if isinstance(value, list):
        return trimmed(math.hypot(*value)) if all(is_number(item) for item in value) else str(value)
    return value


def trimmed(value: float | None) -> float | None:
    """Eight significant digits: what a table needs, in half the bytes."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")
