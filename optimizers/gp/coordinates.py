"""The space in the coordinates of the model.

d               dimensions of the space
u   (d,)        a point of the unit cube, as in `Suggestion.point`
x   (d,)        the same point in the model; differs from u if a list of numbers is ordered by size
X   (n, d)      several points
C               columns of the kernel: one for a number, one for each value of a choice without order
owner   (C,)    the coordinate of each column
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.space import Array, Choice, Floats, Integer, Parameter, Space

MOST_LEVELS = 20_000  # whole numbers with more values are continuous in the model
# Distance from the best point within which an unconstrained coordinate is searched, in widths of its range.
HALF_BOX = 0.5
ROUNDING = 7  # decimals of a continuous coordinate, so that rounding errors do not change a replay
EXACT = 12  # decimals of the position of a value


@dataclass(frozen=True, eq=False)
class Axis:
    """A coordinate: continuous, or with `levels`.

    levels    the positions x of its values, ascending; None: continuous
    unit      the coordinate u of each level of a choice
    nominal   values without order: two values are equal or different, and nothing else
    free      unconstrained: may leave [0, 1]
    size      whole numbers: more of something, which may need more memory and time
    whole     whole numbers that are too many for levels: continuous, and each position is the centre of a value
    """

    levels: Floats | None = None
    unit: Floats | None = None
    nominal: bool = False
    free: bool = False
    size: bool = False
    whole: Integer | None = None

    @property
    def choice(self) -> bool:
        return self.nominal or self.unit is not None


class Coordinates:
    """The axes of a space in the model, and conversions to and from the unit cube."""

    def __init__(self, space: Space):
        self.axes = [axis for parameter in space for axis in axes_of(parameter)]
        self.dimensions = len(self.axes)
        self.nominal = np.array([axis.nominal for axis in self.axes], dtype=bool)
        self.free = np.array([axis.free for axis in self.axes], dtype=bool)
        self.sizes = np.array([axis.size for axis in self.axes], dtype=bool)
        self.believed = space.beliefs
        self.continuous = np.array([axis.levels is None for axis in self.axes], dtype=bool)
        self.size = math.inf if self.continuous.any() else space.combinations  # number of points
        levels = [axis.levels if axis.nominal and axis.levels is not None else np.zeros(1) for axis in self.axes]
        self.owner = np.repeat(np.arange(self.dimensions), [len(each) for each in levels])
        self._level = np.concatenate(levels) if levels else np.empty(0)  # of each column that belongs to a choice
        self._hot = self.nominal[self.owner] if levels else np.empty(0, dtype=bool)

    def encode(self, u: Any) -> Floats:
        """Return the position x, shape (d,), of the point `u`."""
        x = np.array(u, dtype=float)
        for i, axis in enumerate(self.axes):
            if axis.unit is not None and axis.levels is not None:
                x[i] = axis.levels[np.argmin(np.abs(axis.unit - x[i]))]
        return x

    def decode(self, x: Floats) -> Floats:
        """Return the point u, shape (d,), of the position `x`."""
        u = x.copy()
        for i, axis in enumerate(self.axes):
            if axis.unit is not None and axis.levels is not None:
                u[i] = axis.unit[np.argmin(np.abs(axis.levels - x[i]))]
        return u

    def snap(self, X: Floats) -> Floats:
        """Return the nearest valid positions, shape (n, d): within the range, discrete ones on a level, whole numbers on a value."""
        X = np.asarray(np.round(np.where(self.free, X, np.clip(X, 0.0, 1.0)), ROUNDING), dtype=float)
        for i, axis in enumerate(self.axes):
            if axis.levels is not None:
                middles = (axis.levels[1:] + axis.levels[:-1]) / 2
                X[:, i] = axis.levels[np.searchsorted(middles, X[:, i])]
            elif axis.whole is not None:
                X[:, i] = centres(axis.whole, axis.whole.decode(X[:, i]))
        return X

    def spread(self, U: Floats) -> Floats:
        """Return positions, shape (n, d), for uniform `U` in [0, 1]. All values of a choice are equally likely; whole numbers are
        so on the scale of their range, under `l` in the logarithm.
        """
        X = U.copy()
        for i, axis in enumerate(self.axes):
            if axis.levels is not None and axis.choice:
                count = len(axis.levels)
                X[:, i] = axis.levels[np.minimum((U[:, i] * count).astype(int), count - 1)]
        return self.snap(X)

    def box(self, best: Floats) -> tuple[Floats, Floats]:
        """Return the lower and upper ends, shape (d,), of the search for a maximum; unconstrained ones follow the best."""
        low = np.where(self.free, np.minimum(0.0, best - HALF_BOX), 0.0)
        high = np.where(self.free, np.maximum(1.0, best + HALF_BOX), 1.0)
        return low, high

    def columns(self, X: Floats) -> Floats:
        """Return the columns of the kernel, shape (n, C). A choice without order has one column per value, 1/sqrt(2) for the chosen
        one, so that the squared distance of two different values is 1.
        """
        Z = X[:, self.owner]
        if self.nominal.any():
            Z[:, self._hot] = (np.abs(Z[:, self._hot] - self._level[self._hot]) < 1e-9) / np.sqrt(2.0)
        return Z

    def everything(self) -> Floats:
        """Return all points of a finite space, shape (size, d)."""
        grids = np.meshgrid(*[axis.levels for axis in self.axes if axis.levels is not None], indexing="ij")
        return np.stack([grid.ravel() for grid in grids], axis=1)


def axes_of(parameter: Parameter) -> list[Axis]:
    """Return the coordinates of one hyperparameter."""
    if isinstance(parameter, Array):
        return axes_of(parameter.element) * parameter.length
    if isinstance(parameter, Choice):
        return [choice_axis(parameter.values)]
    if isinstance(parameter, Integer) and not parameter.unconstrained:
        low, high = int(parameter.low), int(parameter.high)
        if high - low < MOST_LEVELS:
            return [Axis(centres(parameter, np.arange(low, high + 1)), size=True)]
    if isinstance(parameter, Integer):
        return [Axis(free=parameter.unconstrained, size=True, whole=parameter)]
    return [Axis(free=parameter.unconstrained)] * parameter.dimensions


def centres(parameter: Integer, values: NDArray[Any]) -> Floats:
    """Return the positions of whole numbers, shape (n,)."""
    return np.round(parameter.encode(values), EXACT)


def choice_axis(values: tuple[Any, ...]) -> Axis:
    """Return the axis of a choice. Numbers are ordered, on the scale with the most even gaps; other values
    have no order, nor have numbers that are too far apart for one scale."""
    count = len(values)
    cells = (np.arange(count) + 0.5) / count
    numbers = as_floats(values)
    if count < 3 or numbers is None:
        return Axis(cells, nominal=True)
    order = np.argsort(numbers)
    scales = [np.array(numbers)[order]]
    if scales[0][0] > 0:
        scales.append(np.log(scales[0]))
    even = min(scales, key=unevenness)
    levels = cells[0] + (even - even[0]) / (even[-1] - even[0]) * (cells[-1] - cells[0])
    if np.diff(levels).min() < 2 * 10.0**-ROUNDING:  # `snap` could not tell them apart
        return Axis(cells, nominal=True)
    return Axis(levels, cells[order], size=all(type(value) is int for value in values))


def as_floats(values: tuple[Any, ...]) -> list[float] | None:
    """Return the values as floats, or None if not all are different numbers with finite differences."""
    if not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        return None
    finite = all(map(math.isfinite, numbers)) and math.isfinite(max(numbers) - min(numbers))
    return numbers if finite and len(set(numbers)) == len(numbers) else None


def unevenness(positions: NDArray[np.float64]) -> float:
    """Return the largest gap of ascending positions, in smallest gaps."""
    gaps = np.diff(positions)
    return float(gaps.max() / max(gaps.min(), 1e-300))
