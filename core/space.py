"""Search spaces: the kinds of `Parameter`, the `Space` they span, and a `Suggestion` from it.

Optimizers work on points of the unit cube. Scales, whole numbers, choices and arrays are handled here, once:

    value --to_unit--> u in [0, 1]^dimensions --from_unit--> value        (the identity, to 1e-12)
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.errors import BadInput, RangeError

Floats = NDArray[np.float64]

LARGEST_FLOAT = float(np.finfo(float).max)
SMALLEST = float(np.finfo(float).tiny)  # the end of an unconstrained log scale; below it doubles lose digits
SLACK = 1e-12  # how far outside a range rounding may put a value, relative to its end
LARGEST_INTEGER = 10**12  # above it, neighbours on a log scale have the same double in the unit cube


class Parameter(ABC):
    """A hyperparameter: a name and a map between its values and `dimensions` coordinates of the unit cube.

    A range parser may bring its own subclass; only the members here are used.
    """

    name: str
    dimensions: int = 1
    unconstrained: bool = False  # flag `u`: coordinates outside [0, 1] are allowed
    random_start: bool = False  # flag `r`: optimizers start from a random point instead of the middle
    notice: str = ""  # shown once to the user if the range was read in a way that may surprise

    @abstractmethod
    def from_unit(self, u: Floats) -> Any:
        """Return the value at `u`, shape (dimensions,). Coordinates outside [0, 1] are clipped, unless `unconstrained`."""

    @abstractmethod
    def to_unit(self, value: Any) -> Floats:
        """Return the point, shape (dimensions,), that `from_unit` maps to `value`. BadInput if it is outside the range."""


@dataclass(frozen=True)
class Real(Parameter):
    """A float in [low, high], evenly spread or, with `log`, evenly spread in its logarithm."""

    name: str
    low: float
    high: float
    log: bool = False
    unconstrained: bool = False
    random_start: bool = False
    notice: str = ""
    belief: float | None = None  # the value around which the user expects the best one

    dtype: ClassVar[type] = float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise RangeError(f"hyperparameter {self.name}: {self.low!r} to {self.high!r} is not a range")
        if self.log and self.low <= 0:
            raise RangeError(f"hyperparameter {self.name}: a log scale needs a lower end above 0, not {self.low!r}")
        if not np.isfinite(self.high - self.low):
            raise RangeError(f"hyperparameter {self.name}: {self.low!r} to {self.high!r} is wider than a float")

    def from_unit(self, u: Floats) -> Any:
        return self.dtype(self.decode(np.asarray(u, dtype=float).reshape(1))[0])

    def to_unit(self, value: Any) -> Floats:
        array = np.asarray(value)
        if array.size != 1:
            raise BadInput(f"hyperparameter {self.name}: needs one number, not {value!r}")
        return self.encode(array.reshape(1))

    def decode(self, u: Floats) -> NDArray[Any]:
        """Return the values at `u`, elementwise, any shape."""
        if not self.unconstrained:
            u = np.clip(u, 0.0, 1.0)
        low, high = self._scaled_ends
        with np.errstate(over="ignore"):
            values = self._unscale(low + u * (high - low))
        if self.unconstrained:
            return np.clip(values, SMALLEST if self.log else -LARGEST_FLOAT, LARGEST_FLOAT)
        return np.where(u <= 0, self.low, np.where(u >= 1, self.high, np.clip(values, self.low, self.high)))

    def encode(self, values: NDArray[Any]) -> Floats:
        """Return the coordinates of `values`, elementwise, any shape."""
        values = self._checked(values)
        low, high = self._scaled_ends
        u = (self._scale(values) - low) / (high - low)
        return u if self.unconstrained else np.clip(u, 0.0, 1.0)

    @functools.cached_property
    def _scaled_ends(self) -> tuple[float, float]:
        ends = self._scale(np.array([self.low, self.high]))
        return float(ends[0]), float(ends[1])

    def _scale(self, values: Floats) -> Floats:
        return np.log(values) if self.log else values

    def _unscale(self, scaled: Floats) -> Floats:
        return np.exp(scaled) if self.log else scaled

    def _checked(self, values: NDArray[Any]) -> Floats:
        try:
            numbers = values.astype(float)
        except (TypeError, ValueError, OverflowError):
            shown = values.tolist()[0] if values.size == 1 else values.tolist()
            raise BadInput(f"hyperparameter {self.name}: {shown!r} is not a number") from None
        outside = ~np.isfinite(numbers)
        if not self.unconstrained:
            size = max(abs(self.low), abs(self.high))
            below = SLACK * (self.low if self.log else size)  # on a log scale the lower end may be far smaller
            outside |= (numbers < self.low - below) | (numbers > self.high + SLACK * size)
        elif self.log:
            outside |= numbers <= 0
        if outside.any():
            first = values[outside].tolist()[0]
            raise BadInput(f"hyperparameter {self.name}: {first!r} is outside {self.low!r}:{self.high!r}")
        return numbers


@dataclass(frozen=True)
class Integer(Real):
    """A whole number in [low, high], both included. Every number has its own cell of [0, 1].

    The cells are equal, or with `log` lie between the logarithms of the half-way points.
    """

    dtype: ClassVar[type] = int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low != round(self.low) or self.high != round(self.high):
            raise RangeError(
                f"hyperparameter {self.name}: whole numbers need whole ends, not {self.low!r}:{self.high!r}"
            )
        if max(abs(self.low), abs(self.high)) > LARGEST_INTEGER:
            raise RangeError(f"hyperparameter {self.name}: whole numbers go up to {LARGEST_INTEGER:,}")

    def decode(self, u: Floats) -> NDArray[Any]:
        if not self.unconstrained:
            u = np.clip(u, 0.0, 1.0)
        low, high = self._scaled_ends
        with np.errstate(over="ignore"):
            values = np.floor(self._unscale(low + u * (high - low)) + 0.5)
        if self.unconstrained:
            values = np.clip(values, 1 if self.log else -LARGEST_INTEGER, LARGEST_INTEGER)
        else:
            values = np.clip(values, self.low, self.high)
        return values.astype(np.int64)

    @functools.cached_property
    def _scaled_ends(self) -> tuple[float, float]:
        ends = self._scale(np.array([self.low - 0.5, self.high + 0.5]))
        return float(ends[0]), float(ends[1])

    def _checked(self, values: NDArray[Any]) -> Floats:
        numbers = super()._checked(values)
        broken = numbers != np.round(numbers)
        if broken.any():
            raise BadInput(f"hyperparameter {self.name}: {values[broken].tolist()[0]!r} is not a whole number")
        if (np.abs(numbers) > LARGEST_INTEGER).any():
            raise BadInput(f"hyperparameter {self.name}: whole numbers go up to {LARGEST_INTEGER:,}")
        return numbers


@dataclass(frozen=True)
class Array(Parameter):
    """A numpy vector of `length` numbers, each as `element` describes; handed to the script as an artifact."""

    name: str
    element: Real
    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise RangeError(f"hyperparameter {self.name}: an array needs a length of at least 1, not {self.length}")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.length

    @property
    def unconstrained(self) -> bool:  # type: ignore[override]
        return self.element.unconstrained

    @property
    def random_start(self) -> bool:  # type: ignore[override]
        return self.element.random_start

    @property
    def notice(self) -> str:  # type: ignore[override]
        return self.element.notice

    def from_unit(self, u: Floats) -> NDArray[Any]:
        return self.element.decode(np.asarray(u, dtype=float).reshape(self.length))

    def to_unit(self, value: Any) -> Floats:
        array = np.asarray(value)
        if array.shape != (self.length,):
            raise BadInput(
                f"hyperparameter {self.name}: needs {self.length} numbers, not an array of shape {array.shape}"
            )
        return self.element.encode(array)


@dataclass(frozen=True)
class Choice(Parameter):
    """A choice of one of several values of any kind, in the order given; each has an equal cell of [0, 1]."""

    name: str
    values: tuple[Any, ...]
    notice: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise RangeError(f"hyperparameter {self.name}: a choice needs at least one value")

    def from_unit(self, u: Floats) -> Any:
        count = len(self.values)
        return self.values[int(np.clip(np.floor(float(np.asarray(u).reshape(())) * count), 0, count - 1))]

    def to_unit(self, value: Any) -> Floats:
        for index, known in enumerate(self.values):
            if type(known) is type(value) and known == value:  # 1, 1.0 and True are three choices
                return np.array([(index + 0.5) / len(self.values)])
        raise BadInput(f"hyperparameter {self.name}: {value!r} is not one of {', '.join(map(repr, self.values))}")


@dataclass(frozen=True, eq=False)
class Constant(Parameter):
    """A single value, a scalar or a numpy vector; no dimensions."""

    name: str
    value: Any
    notice: str = ""
    dimensions: int = field(default=0, init=False)

    def from_unit(self, u: Floats) -> Any:
        return self.value.copy() if isinstance(self.value, np.ndarray) else self.value

    def to_unit(self, value: Any) -> Floats:
        if not np.array_equal(value, self.value):
            raise BadInput(f"hyperparameter {self.name}: {value!r} is not its one value {self.value!r}")
        return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """Values that an optimizer suggests.

    values   what the script gets: name -> int, float, str, bool, None, or numpy vector
    point    what the optimizer needs with the result: any JSON-able value, such as the unrounded vector
    number   number in the search, from 1; set by `Search`
    """

    values: dict[str, Any]
    point: Any = None
    number: int | None = None


class Space:
    """The hyperparameters of a search, in order, as one unit cube of `dimensions` coordinates."""

    def __init__(self, parameters: Sequence[Parameter]):
        names = [parameter.name for parameter in parameters]
        for name in names:
            if names.count(name) > 1:
                raise RangeError(
                    f"hyperparameter {name} is given twice; list its values as one range, like {name}=1,2,3"
                )
        self.parameters = tuple(parameters)
        self.names = tuple(names)
        self.dimensions = sum(parameter.dimensions for parameter in parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __repr__(self) -> str:
        return f"Space({list(self.parameters)!r})"

    @functools.cached_property
    def array_names(self) -> list[str]:
        """Names of the hyperparameters whose values are numpy arrays, which reach a script as a file."""
        # a plugin's own kind of parameter is recognised by its values
        values = self.values(np.full(self.dimensions, 0.5))
        return [name for name, value in values.items() if isinstance(value, np.ndarray)]

    @functools.cached_property
    def combinations(self) -> float:
        """The number of different values of all hyperparameters together; infinite for a range of real numbers."""
        counts = 1.0
        for parameter in self.parameters:
            element, length = (parameter.element, parameter.length) if isinstance(parameter, Array) else (parameter, 1)
            if isinstance(parameter, Choice):
                counts *= len(parameter.values)
            elif isinstance(element, Integer) and not element.unconstrained:
                counts *= math.prod([element.high - element.low + 1.0] * length)
            elif not isinstance(parameter, Constant):
                return math.inf
        return counts

    def suggestion(self, point: ArrayLike) -> Suggestion:
        """Return the suggestion at `point`, shape (dimensions,)."""
        point = self._as_point(point)
        return Suggestion(values=self.values(point), point=point.tolist())

    def values(self, point: ArrayLike) -> dict[str, Any]:
        """Return the values at `point`, shape (dimensions,), by name."""
        point = self._as_point(point)
        return {parameter.name: parameter.from_unit(part) for parameter, part in self._parts(point)}

    def point(self, values: Mapping[str, Any]) -> Floats:
        """Return the point, shape (dimensions,), of `values`; BadInput if one is outside its range or missing."""
        missing = [name for name in self.names if name not in values]
        if missing:
            raise BadInput(f"no value for hyperparameter {', '.join(missing)}")
        parts = [parameter.to_unit(values[parameter.name]) for parameter in self.parameters]
        return np.concatenate(parts) if parts else np.empty(0)

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` as the kinds of hyperparameters have them, whole numbers as ints; BadInput as for `point`."""
        near = self.values(self.point(values))
        return {name: float(values[name]) if type(value) is float else value for name, value in near.items()}

    def start(self, rng: np.random.Generator) -> Floats:
        """Return the start of an optimizer, shape (dimensions,): believed values, else the middle, or random coordinates under the
        flag `r`.
        """
        drawn = rng.random(self.dimensions)
        start, beliefs = np.where(self._mask("random_start"), drawn, 0.5), self.beliefs
        return np.where(np.isnan(beliefs), start, beliefs)

    @property
    def beliefs(self) -> Floats:
        """Coordinates around which the user expects the best point, shape (dimensions,); nan where nothing was said."""
        found = []
        for parameter in self.parameters:
            element = parameter.element if isinstance(parameter, Array) else parameter
            belief = element.belief if isinstance(element, Real) else None
            unit = np.nan if belief is None else float(element.to_unit(belief)[0])
            found += [unit] * parameter.dimensions
        return np.array(found)

    @property
    def unconstrained(self) -> NDArray[np.bool_]:
        """Mask of the coordinates that may leave [0, 1], shape (dimensions,)."""
        return self._mask("unconstrained")

    def _mask(self, attribute: str) -> NDArray[np.bool_]:
        flags = [getattr(parameter, attribute) for parameter in self.parameters for _ in range(parameter.dimensions)]
        return np.array(flags, dtype=bool)

    def _parts(self, point: Floats) -> Iterator[tuple[Parameter, Floats]]:
        start = 0
        for parameter in self.parameters:
            yield parameter, point[start : start + parameter.dimensions]
            start += parameter.dimensions

    def _as_point(self, point: ArrayLike) -> Floats:
        array = np.asarray(point, dtype=float)
        if array.shape != (self.dimensions,):
            raise ValueError(f"a point of this space has shape ({self.dimensions},), not {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"a point must be finite, not {array.tolist()}")
        return array
