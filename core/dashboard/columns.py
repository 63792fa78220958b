"""The columns of a project's table: hyperparameters, with kind and scale, and outcomes."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from studio.experiment import Metric, is_number
from studio.format import LARGE, SMALL, WHOLE
from studio.host import Host
from studio.reporting.axes import Axis, axes_of

LISTS = (  # the outcome of each experiment
    "number",
    "status",
    "fitness",
    "started",
    "finished",
    "duration",
    "slot",
    "reason",
    "failure",
    "attempts",
    "exit_code",
    "cost",
)
STATES = ("number", "status", "fitness", "started", "finished", "duration", "slot", "reason", "attempts", "exit_code")
NUMBERS = (int, float)
BEYOND = 1e300  # whole numbers may have any length
_DIGITS = re.compile(r"-?\d+(\.\d+)?$")
LABELS = {"number": "#", "exit_code": "Exit", "duration": "Time"}


@dataclass(frozen=True)
class Column:
    """A column as sent to the pages; `docs/api.md` describes the fields.

    key           where its cells are: the name of a list, of a hyperparameter, or `metric.NAME`
    kind          `metric`, `param` or `state`
    log           whether its axis is logarithmic, from `min` to `max`
    choices       the values of a category; None for numbers
    array         the length of an array, whose cells are its norm; 0 for any other value
    """

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
    """Return the table's columns: metric, hyperparameters in declared order, outcome columns."""
    metrics = [Column(f"metric.{metric.name}", "metric", metric.name)]
    states = [Column(key, "state", LABELS.get(key, key.capitalize())) for key in STATES]
    return [*metrics, *map(_column, axes_of(settings, (), host)), *states]


def value_column(name: str) -> Column:
    """Return a column for a hyperparameter whose range is unknown."""
    return Column(key_of(name), "param", key_of(name))


def key_of(name: str) -> str:
    """Return the column key of `name`; `values.NAME` if an outcome column has that name."""
    return f"values.{name}" if name in LISTS or name.startswith(("values.", "metric.")) else name


def name_of(key: str) -> str:
    return key.removeprefix("values.")


def _column(axis: Axis) -> Column:
    """Return the column of a hyperparameter: a numeric axis, or categories."""
    column = value_column(axis.name)
    if axis.kind == "array":
        return replace(column, label=axis.label, array=axis.length)
    if not axis.numeric:
        return replace(column, choices=list(axis.choices))
    whole = axis.kind == "integer" or (bool(axis.choices) and all(type(choice) is int for choice in axis.choices))
    return replace(column, log=axis.log, integer=whole, min=axis.low, max=axis.high)


def column_form(values: Iterable[Any]) -> tuple[int, int]:
    """Return (digits behind the point, characters) of a column of numbers, so that their points stand below each other.

    The same as `columnForm` of static/format.js.
    """
    found = [value for value in values if value and isinstance(value, NUMBERS) and -BEYOND < value < BEYOND]
    numbers = np.array(found, dtype=float)
    sizes = np.abs(numbers)
    broken = sizes[sizes != np.floor(sizes)]  # not whole
    shown = broken[(broken >= float(SMALL)) & (broken < float(LARGE))]
    places = max(0, 3 - math.floor(math.log10(shown.min()) + 1e-9)) if shown.size else 0
    most = sizes.max(initial=0.0)
    whole = 1 + math.floor(math.log10(most) + 1e-9) if 1 <= most < WHOLE else 1
    exponent = shown.size < broken.size or bool((sizes < float(SMALL)).any())
    wide = max(whole + (1 + places if places else 0), 8 if exponent else 1) + bool((numbers < 0).any())
    return places, min(14, wide)


def place_class(shown: str, places: int) -> str:
    """Return the class that moves a number to its place: as many digits as it has fewer than its column."""
    if not _DIGITS.match(shown):  # an exponent, an array, no number
        return ""
    own = len(shown.partition(".")[2])
    return (f" a{places - own}" if places > own else "") + (" whole" if places and not own else "")


def table_value(value: Any) -> Any:
    """Return a value as a cell of the table: an array as its Euclidean norm, floats with eight digits."""
    if isinstance(value, float):
        return round_8(value)
    if isinstance(value, list):
        return round_8(math.hypot(*value)) if all(is_number(item) for item in value) else str(value)
    return value


def round_8(value: float | None) -> float | None:
    """Return `value` with eight significant digits, enough for a table in half the bytes; None if not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.8g}")
