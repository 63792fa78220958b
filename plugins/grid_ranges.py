"""The ranges of grid search: every range is a list of values, with the end points of MATLAB.

    0.01:0.01:0.1   start:step:end        0.01, 0.02 ... 0.1; a bare middle number is a count
    1e-5:10:0.1                           if it is a whole number greater than the distance between the ends
    1e-5:u10:0.1    start:u10:end         ten values, evenly spaced (10u is the same)
    1e-5:l5:0.1     start:l5:end          five values, evenly spaced in their logarithm (5l is the same)
    0:3   :3        start:end             a step of 1
    2,5,6   adam,sgd   0.1                those values

Arithmetic is decimal, on the numbers as written, so that 0.01:0.01:0.1 has 0.03.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

from studio.errors import RangeError
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
from studio.space import Parameter

PRECISE = Context(prec=50)  # quotients and roots: far more than a double, also after LIMIT products
SHORT = Context(prec=15)  # digits that a double always keeps: 1e-5:l5:0.1 has 0.001, not 0.0010000000000000002
USAGE = "a grid is start:end, start:step:end, start:u10:end or, on a log scale, start:l5:end"


@hookimpl(trylast=True)
def studio_parse_range(name: str, text: str, grid: bool) -> Parameter | None:
    if not grid:
        return None
    with localcontext(EXACT):
        return _read(RangeText(name, text))


def _read(given: RangeText) -> Parameter:
    listed = read_values(given, grid=True)
    if listed is not None:
        return one_of(given.name, listed, words_notice(listed))
    asked = grid_range(given.text)
    if asked is None:
        raise _not_a_grid(given)
    asked, notice = _without_zero(given, asked)
    values = _values(given, asked)
    ints = asked.start.is_int_literal and asked.end.is_int_literal and all(map(is_whole, values))
    return one_of(given.name, [int(value) if ints else float(value) for value in values], notice)


def _values(given: RangeText, asked: GridRange) -> Sequence[Decimal]:
    if not asked.is_count:
        return _stepped(given, asked)
    count = _count(given, asked)
    if asked.start.value == asked.end.value:
        return [asked.start.value]
    spread = _logarithmic if asked.kind == "l" else _linear
    return spread(asked.start.value, asked.end.value, count)


# --- counts ----------------------------------------------------------------------------------------------------------


def _count(given: RangeText, asked: GridRange) -> int:
    assert asked.middle is not None
    start, end, middle = asked.start.text, asked.end.text, asked.middle
    if not is_whole(middle.value) or middle.value < 1:
        five = given.write(f"{start}:{asked.kind}5:{end}")
        raise given.error(f"{middle.text} is not a count; write {five} for 5 values")
    if middle.value == 1:
        both = given.write(f"{start}:{asked.kind or 'u'}2:{end}")
        raise given.error(f"a count of 1 leaves out an end; write {given.write(start)} for one value, {both} for two")
    _check_limit(given, asked, middle.value)
    return int(middle.value)


def _linear(start: Decimal, end: Decimal, count: int) -> list[Decimal]:
    sums = [start * (count - 1 - index) + end * index for index in range(count)]
    return [PRECISE.divide(value, Decimal(count - 1)) for value in sums]


def _logarithmic(start: Decimal, end: Decimal, count: int) -> list[Decimal]:
    low, high = sorted((start, end))
    value, values = start, [start]
    with localcontext(PRECISE):
        ratio = (end / start) ** (Decimal(1) / (count - 1))
        for _ in range(count - 2):
            value *= ratio
            values.append(min(max(SHORT.plus(value), low), high))
    return [*values, end]


def _without_zero(given: RangeText, asked: GridRange) -> tuple[GridRange, str]:
    """Return a log range whose ends are above 0, and a notice if an end of 0 was replaced."""
    if asked.kind != "l":
        return asked, ""
    low, high = sorted((asked.start, asked.end), key=lambda end: end.value)
    if low.value < 0 or high.value == 0:
        linear = f"{asked.start.text}:u10:{asked.end.text}" if low.value < high.value else low.text
        raise given.error(f"a log scale needs ends above 0; write {given.write(linear)} for a linear one")
    if low.value > 0:
        return asked, ""
    lowest = Number(spelled(high.value * SIX_DECADES), high.value * SIX_DECADES)
    asked = asked._replace(start=lowest) if asked.start.value == 0 else asked._replace(end=lowest)
    notice = f"a log scale has no 0; that end is read as {lowest.text}, six decades from {high.text}"
    return asked, given.saying(notice)


# --- steps -----------------------------------------------------------------------------------------------------------


def _stepped(given: RangeText, asked: GridRange) -> list[Decimal]:
    start, end = asked.start.value, asked.end.value
    step = asked.middle.value if asked.middle else Decimal(1)
    if asked.middle is None and 0 < abs(asked.distance) < 1:
        raise given.error(f"a step of 1 does not fit between the ends; write {given.write(_spread(asked))}")
    if step == 0:
        raise given.error(f"a step of 0 never reaches the end; write {given.write(_spread(asked))}")
    if asked.distance * step < 0:
        raise given.error(f"that step never reaches {asked.end.text}; write {given.write(_turned(asked))}")
    last = (end - start) // step
    _check_limit(given, asked, last + 1)
    return [start + index * step for index in range(int(last) + 1)]


def _turned(asked: GridRange) -> str:
    """Return the same steps in the other direction, unless there are too many or they would be read as a count."""
    step = asked.middle or Number("1", Decimal(1))
    text = step.text[1:] if step.text.startswith("-") else "-" + step.text.removeprefix("+")
    turned = asked._replace(middle=Number(text, -step.value))
    if turned.is_count or abs(asked.distance) >= LIMIT * abs(step.value):
        return _spread(asked)
    return f"{asked.start.text}:{text}:{asked.end.text}"


def _check_limit(given: RangeText, asked: GridRange, count: Decimal) -> None:
    if count > LIMIT:
        fewer = f"{asked.start.text}:{asked.kind or 'u'}10:{asked.end.text}"
        size = f"{int(count):,}" if count < 10**15 else f"{count:.0e}"
        raise given.error(f"{size} values are more than {LIMIT:,}; write {given.write(fewer)} for 10 of them")


# --- what to write instead -------------------------------------------------------------------------------------------


def _spread(asked: GridRange) -> str:
    """Return a grid between the ends of `asked`: logarithmic if they are two decades apart."""
    low, high = sorted((asked.start.value, asked.end.value))
    if low == high:
        return asked.start.text
    count = f"l{_decades(low, high)}" if low > 0 and high >= 100 * low else "u10"
    return f"{asked.start.text}:{count}:{asked.end.text}"


def _decades(low: Decimal, high: Decimal) -> int:
    """Return a number of values, at least 5, that includes each decade."""
    return max(5, high.adjusted() - low.adjusted() + 1)


def _not_a_grid(given: RangeText) -> RangeError:
    text, tilde, belief = given.text.rpartition("~")
    asked = optimizer_range(text if tilde else given.text)
    if tilde and grid_before_belief(given.text):
        return given.error(
            f"a belief ~{belief} needs a range, as in {given.name}=0:1~0.3; write {given.write(text)} for a grid"
        )
    if asked is None or not set(asked.flags) <= set(FLAGS):
        return misread(given, USAGE, most=3)
    if asked.length or "a" in asked.flags:
        return given.error("an array hyperparameter needs an optimizer such as cma (`--optimizer=cma`), not a grid")
    grid = _as_grid(asked)
    instead = given.write(grid)
    if tilde:
        return given.error(f"a belief ~{belief} is for a search (`--optimizer=auto`); write {instead} for a grid", grid)
    if asked.in_order[0] != asked.low:
        search = f"{given.name}={asked.high.text}:{asked.low.text}:{asked.flags}"
        return given.error(f"the lower end comes first, as in {search}; write {instead} for a grid", grid)
    return given.error(f"that is a range for a search (`--optimizer=auto`); write {instead} for a grid", grid)


def _as_grid(asked: OptimizerRange) -> str:
    low, high = asked.in_order
    if low.value == high.value:
        return low.text
    if "i" in asked.flags and is_whole(low.value) and is_whole(high.value):
        return _whole_grid(low, high, "l" in asked.flags)
    if "l" not in asked.flags or low.value < 0:
        return f"{low.text}:u10:{high.text}"
    lowest = low.value or high.value * SIX_DECADES
    return f"{low.text if low.value else spelled(lowest)}:l{_decades(lowest, high.value)}:{high.text}"


def _whole_grid(low: Number, high: Number, log: bool) -> str:
    if log and low.value >= 0 and high.value > 1:
        lowest = max(low.value, Decimal(1))
        decades = high.value.adjusted() - lowest.adjusted()
        values = _logarithmic(lowest, high.value, max(3, decades + 1))
        return ",".join(dict.fromkeys(str(int(value.to_integral_value())) for value in values))
    first, last = (end.text if end.is_int_literal else str(int(end.value)) for end in (low, high))
    distance = int(high.value - low.value)
    return f"{first}:{last}" if distance <= 1000 else f"{first}:{distance // 10}:{last}"
