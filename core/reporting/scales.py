"""Scales of charts: results in order, the best so far, and each hyperparameter against the result.

Results are those of the script; `sign` tells whether larger is better (fitness = sign * result).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.experiment import Experiment
from studio.format import number as label
from studio.format import visible_range
from studio.reporting.axes import Axis, number

WIDE = 1e300  # the longest axis; the shortest is its inverse, so that divisions do not overflow
MOST_CHOICES = 12  # categories with a place of their own
LONGEST_CHOICE = 200  # characters
GOLDEN = 0.618034  # spreads consecutive numbers over a category


@dataclass(frozen=True)
class Point:
    number: int
    value: float
    values: dict[str, Any]


def points_of(experiments: Sequence[Experiment], sign: float) -> list[Point]:
    """Return the experiments with a fitness, by number."""
    return [Point(e.number, sign * e.fitness, e.values) for e in experiments if e.fitness is not None]


def best_so_far(points: Sequence[Point], sign: float) -> list[Point]:
    """Return the points that were better than all before them."""
    found: list[Point] = []
    for point in points:
        if not found or sign * point.value > sign * found[-1].value:
            found.append(point)
    return found


@dataclass(frozen=True)
class Scale:
    """The axis of one hyperparameter, from 0 at its lower end to 1 at its upper end.

    It covers the range and all values outside of it. On a log axis, values without a logarithm are at the lower end.
    """

    axis: Axis
    low: float
    high: float
    log: bool
    choices: tuple[str, ...] = ()  # names of the values if they are categories

    def place(self, value: Any) -> float | None:
        if self.choices:
            name = choice_name(value)
            at = self.choices.index(name) if name in self.choices else len(self.choices) - 1
            return (at + 0.5) / len(self.choices)
        placed = number(value)
        if placed is None:
            return None
        if self.log and placed <= 0:  # given by hand, outside of the range: at the edge
            return 0.0
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(placed) - low) / (high - low)

    def spread(self, number: int) -> float:
        """Return the distance from the middle of its category at which the point of experiment `number` is drawn."""
        return (number * GOLDEN % 1 - 0.5) * 0.5 / len(self.choices) if self.choices else 0.0

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Return (place, label) of at most `most` ticks; `most` must be at least 2."""
        if self.choices:
            return [((at + 0.5) / len(self.choices), name) for at, name in enumerate(self.choices)]
        values = log_ticks(self.low, self.high, most) if self.log else even_ticks(self.low, self.high, most)
        whole = self.axis.kind == "integer"
        low, high = self._scaled(self.low), self._scaled(self.high)
        values = [value for value in values if not whole or value == round(value)]
        return [((self._scaled(value) - low) / (high - low), label(value)) for value in values]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def scale_of(axis: Axis, points: Sequence[Point]) -> Scale | None:
    """Return the scale; None if nothing can be drawn: no values, or a single one."""
    values = [point.values[axis.name] for point in points if axis.name in point.values]
    if not axis.numeric:
        names = dict.fromkeys([choice_name(choice) for choice in axis.choices] + [choice_name(v) for v in values])
        chosen = list(names)
        if len(chosen) > MOST_CHOICES:
            chosen = [*chosen[: MOST_CHOICES - 1], f"{len(chosen) - MOST_CHOICES + 1} others"]
        return Scale(axis, 0.0, 1.0, False, tuple(chosen)) if len(chosen) > 1 and values else None
    placed = [at for value in values if (at := number(value)) is not None]
    ends = [] if axis.kind == "array" else [end for end in (axis.low, axis.high) if end is not None]
    positive = [value for value in placed if value > 0]
    log = axis.log and bool(positive) and all(end > 0 for end in ends)
    placed = positive if log else placed
    if not placed:
        return None
    low, high = min(placed + ends), max(placed + ends)
    return Scale(axis, low, high, log) if 1 / WIDE < high - low <= WIDE else None


def value_scale(points: Sequence[Point], sign: float, metric: str) -> Scale:
    """Return the axis of the results; results far worse than most are beyond its end."""
    low, high, log = visible_range((min(WIDE, max(-WIDE, point.value)) for point in points), sign)
    if high - low < 1 / WIDE:
        size = abs(low) * 0.05 or 1.0
        low, high, log = low - size, high + size, False
    return Scale(Axis(metric, "real"), low, high, log)


def choice_name(value: Any) -> str:
    return str(value)[:LONGEST_CHOICE]


# --- ticks ------------------------------------------------------------------------------------------------------------


def even_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers in [low, high], evenly spaced."""
    if not low < high or not math.isfinite(high - low):
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next((step * by for by in (1, 2, 5, 10, 20, 50) if (high - low) / (step * by) < most), step * 100)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(at * step, digits) + 0.0 for at in range(first, last + 1)] if last - first < 100 else [low, high]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten in [low, high]; if they are too few, round numbers between them."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = list(range(first, last + 1))
    if len(powers) >= 2:
        return [10.0**power for power in powers[:: -(-len(powers) // most)]]
    between = [by * 10.0**power for power in range(first - 1, last + 1) for by in (1, 2, 5)]
    inside = [float(f"{value:.1g}") for value in between if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside if len(inside) >= 2 else [low, high]
