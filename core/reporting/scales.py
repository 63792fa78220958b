"""Scales of charts: the order of results, the best result so far, and positions on the axis of a hyperparameter.

Results are numbers as the script printed them. `sign` is 1 if larger results are better, else -1 (fitness = sign * result).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.experiment import Experiment
from studio.format import number as label
from studio.format import visible_range
from studio.reporting.axes import Axis, number

MAX_LENGTH = 1e300  # of an axis; the minimum is 1 / MAX_LENGTH, so that divisions do not overflow
MAX_CHOICES = 12  # categories of an axis; further ones share one place
MAX_CHOICE = 200  # characters of the name of a category
GOLDEN = 0.618034  # the golden ratio spreads consecutive experiments over the width of a category


@dataclass(frozen=True)
class Point:
    """The result of one experiment: its number, its result and the values of its hyperparameters."""

    number: int
    value: float
    values: dict[str, Any]


def points_of(experiments: Sequence[Experiment], sign: float) -> list[Point]:
    """Return a point for each experiment with a fitness, in order of number."""
    return [Point(e.number, sign * e.fitness, e.values) for e in experiments if e.fitness is not None]


def best_so_far(points: Sequence[Point], sign: float) -> list[Point]:
    """Return the points that were better than all points before them."""
    best: list[Point] = []
    for point in points:
        if not best or sign * point.value > sign * best[-1].value:
            best.append(point)
    return best


@dataclass(frozen=True)
class Scale:
    """Positions on the axis of one hyperparameter, from 0 at the lower end to 1 at the upper end.

    The axis covers the range and all values outside of it. On a log axis, values of 0 and below are at the lower end.
    """

    axis: Axis
    low: float
    high: float
    log: bool
    choices: tuple[str, ...] = ()  # names of the values if they are categories

    def place(self, value: Any) -> float | None:
        """Return the position of `value`; None if it is not a number on a numeric axis."""
        if self.choices:
            name = choice_name(value)
            at = self.choices.index(name) if name in self.choices else len(self.choices) - 1
            return (at + 0.5) / len(self.choices)
        position = number(value)
        if position is None:
            return None
        if self.log and position <= 0:  # a user added the value by hand, outside of the range
            return 0.0
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(position) - low) / (high - low)

    def spread(self, number: int) -> float:
        """Return the distance between the point of experiment `number` and the middle of its category; 0 on a numeric axis."""
        return (number * GOLDEN % 1 - 0.5) * 0.5 / len(self.choices) if self.choices else 0.0

    def ticks(self, max_count: int) -> list[tuple[float, str]]:
        """Return (position, label) of at most `max_count` ticks, which must be at least 2. Each category has a tick."""
        if self.choices:
            return [((at + 0.5) / len(self.choices), name) for at, name in enumerate(self.choices)]
        values = log_ticks(self.low, self.high, max_count) if self.log else even_ticks(self.low, self.high, max_count)
        is_whole = self.axis.kind == "integer"
        low, high = self._scaled(self.low), self._scaled(self.high)
        values = [value for value in values if not is_whole or value == round(value)]
        return [((self._scaled(value) - low) / (high - low), label(value)) for value in values]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def scale_of(axis: Axis, points: Sequence[Point]) -> Scale | None:
    """Return the scale of an axis; None if nothing can be drawn, because there are no values or only one."""
    values = [point.values[axis.name] for point in points if axis.name in point.values]
    if not axis.numeric:
        names = list(dict.fromkeys([choice_name(choice) for choice in [*axis.choices, *values]]))
        if len(names) > MAX_CHOICES:
            names = [*names[: MAX_CHOICES - 1], f"{len(names) - MAX_CHOICES + 1} others"]
        return Scale(axis, 0.0, 1.0, False, tuple(names)) if len(names) > 1 and values else None
    positions = [at for value in values if (at := number(value)) is not None]
    ends = [] if axis.kind == "array" else [end for end in (axis.low, axis.high) if end is not None]
    positive = [position for position in positions if position > 0]
    log = axis.log and bool(positive) and all(end > 0 for end in ends)
    positions = positive if log else positions
    if not positions:
        return None
    low, high = min(positions + ends), max(positions + ends)
    return Scale(axis, low, high, log) if 1 / MAX_LENGTH < high - low <= MAX_LENGTH else None


def value_scale(points: Sequence[Point], sign: float, metric: str) -> Scale:
    """Return the scale of the results. Results that are much worse than most results are beyond its end."""
    low, high, log = visible_range((min(MAX_LENGTH, max(-MAX_LENGTH, point.value)) for point in points), sign)
    if high - low < 1 / MAX_LENGTH:
        size = abs(low) * 0.05 or 1.0
        low, high, log = low - size, high + size, False
    return Scale(Axis(metric, "real"), low, high, log)


def choice_name(value: Any) -> str:
    """Return the name of a category, cut to `MAX_CHOICE` characters."""
    return str(value)[:MAX_CHOICE]


# --- ticks ------------------------------------------------------------------------------------------------------------


def even_ticks(low: float, high: float, max_count: int) -> list[float]:
    """Return round numbers in [low, high] at even intervals, at most `max_count`."""
    if not low < high or not math.isfinite(high - low):
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / max_count))
    step = next((step * by for by in (1, 2, 5, 10, 20, 50) if (high - low) / (step * by) < max_count), step * 100)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(at * step, digits) + 0.0 for at in range(first, last + 1)] if last - first < 100 else [low, high]


def log_ticks(low: float, high: float, max_count: int) -> list[float]:
    """Return powers of ten in [low, high], or other round numbers if [low, high] holds fewer than two powers."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = list(range(first, last + 1))
    if len(powers) >= 2:
        return [10.0**power for power in powers[:: -(-len(powers) // max_count)]]
    between = [by * 10.0**power for power in range(first - 1, last + 1) for by in (1, 2, 5)]
    inside = [float(f"{value:.1g}") for value in between if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside if len(inside) >= 2 else [low, high]
