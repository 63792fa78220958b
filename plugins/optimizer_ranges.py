"""The ranges of plugin optimizers: `min:max[:length][:flags]`, flags in any order.

    u   unconstrained: min and max only set where to start and how wide     else within [min, max]
    r   start from a random point of the range                              else from the middle
    l   log scale                                                           else linear
    a   a numpy array of `length` numbers                                   else a scalar
    i   whole numbers, both ends included                                   else real numbers

`~VALUE` behind it says where the best value is expected: 1e-5:0.1:l~3e-4.

As in 0:1:10:urla, 0:5:l, 5:5:10:alu, -1:1:u, 1:8:i. A list such as adam,sgd,rmsprop is a choice.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from studio.errors import BadInput, RangeError
from studio.hookspecs import hookimpl
from studio.plugins.range_text import (
    EXACT,
    FLAGS,
    LIMIT,
    SIX_DECADES,
    GridRange,
    Number,
    OptimizerRange,
    RangeText,
    grid_before_belief,
    grid_range,
    is_whole,
    misread,
    one_of,
    optimizer_range,
    read_values,
    spelled,
    words_notice,
)
from studio.space import LARGEST_INTEGER, Array, Constant, Integer, Parameter, Real
from studio.text import is_number, parse_literal

GRID_TEXT = "that is a grid; this optimizer takes min:max[:length][:flags]"
USAGE = "a range is min:max[:length][:flags], with flags among u r l a i"


@hookimpl(trylast=True)
def studio_parse_range(name: str, text: str, grid: bool) -> Parameter | None:
    if grid:
        return None
    with localcontext(EXACT):
        return _read(RangeText(name, text))


def _read(given: RangeText) -> Parameter:
    range_text, tilde, belief = given.text.rpartition("~")
    if grid := grid_before_belief(given.text):
        span = _from_grid(grid)
        inside = is_number(belief) and grid.start.value <= Decimal(belief) <= grid.end.value
        instead = f"{span}~{belief}" if inside and optimizer_range(span) is not None else span
        raise given.error(f"a belief ~{belief} needs a range, not a grid; write {given.write(instead)}", instead)
    if tilde and optimizer_range(range_text) is not None:
        return _believed(given, _read(RangeText(given.name, range_text)), range_text, belief.strip())
    listed = read_values(given, grid=False)
    if listed is not None:
        return one_of(given.name, listed, words_notice(listed))
    asked = optimizer_range(given.text)
    if asked is None:
        raise _not_a_range(given)
    if ("a" in asked.flags) != (asked.length is not None):
        raise _array_or_scalar(given, asked)
    if problem := _problem(asked):
        raise given.error(f"{problem}; write {given.write(_mended(asked))}")
    return _parameter(given, asked)


def _believed(given: RangeText, parameter: Parameter, range_text: str, belief: str) -> Parameter:
    element = parameter.element if isinstance(parameter, Array) else parameter
    if not isinstance(element, Real):
        raise given.error(f"a constant needs no belief; write {given.write(range_text)}")
    try:
        value: Any = parse_literal(belief)
        element.to_unit(value)
    except BadInput as error:
        number, colon, flags = belief.partition(":")
        if colon and is_number(number) and optimizer_range(f"{range_text}:{flags}") is not None:
            raise given.error(f"a belief comes last; write {given.write(f'{range_text}:{flags}~{number}')}") from error
        meant = float(belief) if is_number(belief) else float(element.from_unit(np.array([0.5])))
        nearest = min(max(meant, element.low), element.high)
        example = f"{range_text}~{math.floor(nearest) if isinstance(element, Integer) else f'{nearest:.3g}'}"
        raise given.error(f"{belief!r} behind ~ is no value of the range; write {given.write(example)}") from error
    element = replace(element, belief=float(value))
    return replace(parameter, element=element) if isinstance(parameter, Array) else element


def _problem(asked: OptimizerRange) -> str:
    low, high = asked.in_order
    if unknown := [flag for flag in asked.flags if flag not in FLAGS]:
        return f"unknown flag {unknown[0]}; flags are {' '.join(FLAGS)}"
    if repeated := [flag for flag in asked.flags if asked.flags.count(flag) > 1]:
        return f"flag {repeated[0]} is given twice"
    if asked.length and not _is_length(asked.length):
        return f"{asked.length.text} is not a length between 1 and {LIMIT:,}"
    if "i" in asked.flags and not (is_whole(low.value) and is_whole(high.value)):
        return "flag i needs whole ends"
    if "i" in asked.flags and not _fit_integers(low, high):
        return f"whole numbers go up to {LARGEST_INTEGER:,}"
    if "l" in asked.flags and not _fit_log(low, high):
        return "a log scale needs a lower end of at least 0 and an upper end above 0"
    if not _has_room(low, high, asked.flags):
        return f"there is no room for a step of 1 around {low.text}, as equal ends with flag u need"
    return "" if asked.low == low else "the lower end comes first"


def _is_length(length: Number) -> bool:
    return is_whole(length.value) and 1 <= length.value <= LIMIT


def _fit_integers(low: Number, high: Number) -> bool:
    return max(-low.value, high.value) <= LARGEST_INTEGER


def _fit_log(low: Number, high: Number) -> bool:
    return low.value >= 0 and high.value > 0


def _has_room(low: Number, high: Number, flags: str) -> bool:
    """Return whether equal ends with the flag `u` can have the ends of `_around`."""
    value = float(low.value)
    if "u" not in flags or value != float(high.value):
        return True
    if "i" in flags:
        return abs(value) <= LARGEST_INTEGER / 8
    return 1e-300 <= value <= 1e300 if "l" in flags else abs(value) <= 1e15


# --- what is built --------------------------------------------------------------------------------------------------


def _parameter(given: RangeText, asked: OptimizerRange) -> Parameter:
    element = _element(given, asked)
    if asked.length is None:
        return element
    length = int(asked.length.value)
    if isinstance(element, Constant):
        return Constant(given.name, np.full(length, element.value), element.notice)
    return Array(given.name, element, length)


def _element(given: RangeText, asked: OptimizerRange) -> Real | Constant:
    whole, log, unconstrained = (flag in asked.flags for flag in "ilu")
    low, notice = asked.low.value, ""
    if log and low == 0:
        low = Decimal(1) if whole else asked.high.value * SIX_DECADES
        notice = given.saying(f"a log scale has no 0; its lower end is read as {spelled(low)}")
    ends = float(low), float(asked.high.value)
    if ends[0] == ends[1]:
        if not unconstrained:
            return Constant(given.name, int(low) if whole else ends[0], notice)
        ends = _around(ends[0], asked.flags)
    kind = Integer if whole else Real
    return kind(given.name, *ends, log, unconstrained, "r" in asked.flags, notice)


def _around(value: float, flags: str) -> tuple[float, float]:
    """Return ends with `value` in the middle, for which a quarter of the scaled distance, the first step of CMA-ES, is 1."""
    if "l" not in flags:
        return value - 2, value + 2
    if "i" not in flags:
        return value * math.exp(-2), value * math.exp(2)
    # the cells of whole numbers end half-way to their neighbours, and `value` is in the middle of those ends
    low = max(1.0, float(round(value * math.exp(-2))))
    return low, float(round(value**2 / (low - 0.5) - 0.5))


# --- what to write instead ------------------------------------------------------------------------------------------


def _mended(asked: OptimizerRange) -> str:
    """Return the nearest valid range."""
    low, high = asked.in_order
    flags = "".join(flag for flag in dict.fromkeys(asked.flags) if flag in FLAGS)
    if "i" in flags:
        inner = _rounded(low, math.ceil), _rounded(high, math.floor)
        if inner[0].value <= inner[1].value and _fit_integers(*inner):
            low, high = inner
        else:
            flags = flags.replace("i", "")
    if not _fit_log(low, high):
        flags = flags.replace("l", "")
    if not _has_room(low, high, flags):
        flags = flags.replace("u", "")
    length = asked.length if asked.length and _is_length(asked.length) else Number("10", Decimal(10))
    return _join(low, high, length if "a" in flags else None, flags)


def _rounded(number: Number, towards: Callable[[Decimal], int]) -> Number:
    if is_whole(number.value):
        return number
    whole = towards(number.value)
    return Number(str(whole), Decimal(whole))


def _join(low: Number, high: Number, length: Number | None, flags: str) -> str:
    return ":".join(filter(None, [low.text, high.text, length.text if length else "", flags]))


def _array_or_scalar(given: RangeText, asked: OptimizerRange) -> RangeError:
    grid = grid_range(given.text)
    scalar = _from_grid(grid) if grid else _mended(asked._replace(length=None, flags=asked.flags.replace("a", "")))
    if asked.length and grid and (not _is_length(asked.length) or asked.low.value > asked.high.value):
        return given.error(f"{GRID_TEXT}; write {given.write(scalar)}", scalar)
    problem = "a length needs flag a" if asked.length else "flag a needs a length"
    array = _mended(asked._replace(flags=asked.flags + "a"))
    text = f"{problem}; write {given.write(array)} for an array, or {given.write(scalar)} for one number"
    return given.error(text, scalar if grid else "")


def _not_a_range(given: RangeText) -> RangeError:
    grid = grid_range(given.text)
    if grid is None:
        return misread(given, USAGE, most=4)
    span = _from_grid(grid)
    return given.error(f"{GRID_TEXT}; write {given.write(span)}", span)


def _from_grid(grid: GridRange) -> str:
    """Return the range that spans the values of `grid`."""
    asked = OptimizerRange(grid.start, grid.end, None, "")
    low, high = asked.in_order
    if low.value == high.value:
        return low.text
    return _mended(asked._replace(flags=grid.kind.replace("u", "") + ("i" if _gives_ints(grid) else "")))


def _gives_ints(grid: GridRange) -> bool:
    if not (grid.start.is_int_literal and grid.end.is_int_literal):
        return False
    if grid.middle is None or not grid.is_count:
        return grid.middle is None or is_whole(grid.middle.value)
    gaps = grid.middle.value - 1
    if grid.kind != "l":
        return gaps > 0 and is_whole(grid.distance / gaps)
    low, high = sorted((grid.start.value, grid.end.value))
    if low <= 0 or not 1 <= gaps <= 40:  # 2**40 is already more than whole numbers go up to
        return False
    ratio = round(float(high / low) ** (1 / float(gaps)))
    return low * ratio ** int(gaps) == high
