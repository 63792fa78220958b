"""Parsing that both range grammars share: numbers, lists of values, and one-line errors.

    grid         start:end   start:step:end   start:l5:end   start:u10:end
    optimizer    min:max[:length][:flags]
    both         2,5,6   adam,sgd   0.1   adam   'a,b','c:d'

`grid_range` and `optimizer_range` check only the form; the two plugins interpret it.
"""

import math
import re
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import NamedTuple

from studio.errors import RangeError
from studio.space import Choice, Constant
from studio.text import is_number, is_quoted, parse_literal, split_items

LIMIT = 1_000_000  # values of a grid, numbers of an array: more are probably a typing error
SIX_DECADES = Decimal("1e-6")  # replaces an end of 0 on a log scale, as a fraction of the other end
EXACT = Context(prec=1400)  # exact for sums and products of any two doubles; used by both plugins
FLAGS = "urlai"
FLAG_WORDS = {"log": "l", "int": "i", "integer": "i", "log10": "l", "loguniform": "l"}  # as they are written elsewhere
BRACKETS = "()[]{}"
_CALL = re.compile(r"(?:\w+\.)*(\w+)\((.*)\)")
_LIKE_NUMBER = re.compile(r"[+-]?(?:\d|\.\d)", re.ASCII)
_BELIEVED = re.compile(r"([\w.+-]+)~([\w.+-]*)")
_END = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_ENDS = re.compile(rf"{_END}\s*(?:\.\.\.?|…|–|-|~|to|\.\.=|;|\s)\s*{_END}", re.ASCII)


class RangeText(NamedTuple):
    """The user's input, `name=text`."""

    name: str
    text: str

    def saying(self, message: str) -> str:
        return f"hyperparameter {_one_line(self.name)}={_one_line(self.text)}: {message}"

    def error(self, problem: str, instead: str = "") -> RangeError:
        return RangeError(self.saying(problem), instead)

    def write(self, text: str) -> str:
        """Return the text to type instead."""
        return f"`{self.name}={_one_line(text)}`"


class Number(NamedTuple):
    """A finite number as the user typed it, and its exact value (0 if too small for a double)."""

    text: str
    value: Decimal

    @property
    def is_int_literal(self) -> bool:
        return isinstance(parse_literal(self.text), int)


class GridRange(NamedTuple):
    start: Number
    kind: str  # "l": `middle` is a logarithmic count, "u": a linear count, "": bare or absent
    middle: Number | None
    end: Number

    @property
    def distance(self) -> Decimal:
        return self.end.value - self.start.value

    @property
    def is_count(self) -> bool:
        """True if `middle` counts values: it says so, or is a whole number greater than the distance."""
        if self.kind or self.middle is None:
            return bool(self.kind)
        return self.distance != 0 and is_whole(self.middle.value) and self.middle.value > abs(self.distance)


class OptimizerRange(NamedTuple):
    low: Number
    high: Number
    length: Number | None
    flags: str

    @property
    def in_order(self) -> tuple[Number, Number]:
        return (self.low, self.high) if self.low.value <= self.high.value else (self.high, self.low)


def number(text: str) -> Number | None:
    if not is_number(text):
        return None
    return Number(text, Decimal(text) if float(text) else Decimal(0))


def is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def spelled(value: Decimal) -> str:
    """Return the shortest plain text of `value`."""
    value = value.normalize()
    return f"{value:f}" if -7 <= value.adjusted() <= 15 else repr(float(value))


def grid_range(text: str) -> GridRange | None:
    """Parse `text` by the grid grammar; None if it does not fit."""
    parts = _parts(text)
    if len(parts) not in (2, 3):
        return None
    start, end = number(parts[0] or "0"), number(parts[-1])
    kind, middle = _count_or_step(parts[1]) if len(parts) == 3 else ("", None)
    if start is None or end is None or (len(parts) == 3 and middle is None):
        return None
    return GridRange(start, kind, middle, end)


def _count_or_step(text: str) -> tuple[str, Number | None]:
    if text[:1] in ("l", "u"):
        return text[0], number(text[1:])
    if text[-1:] in ("l", "u"):
        return text[-1], number(text[:-1])
    return "", number(text)


def optimizer_range(text: str) -> OptimizerRange | None:
    """Parse `text` by the grammar of plugin optimizers, with any letters as flags; None if it does not fit."""
    first, *rest = _parts(text)
    low, high = number(first), number(rest.pop(0)) if rest else None
    length = number(rest.pop(0)) if rest and is_number(rest[0]) else None
    flags = rest.pop(0) if rest and rest[0].isalpha() else ""
    return None if low is None or high is None or rest else OptimizerRange(low, high, length, flags)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(":")]


def one_of(name: str, values: Sequence[object], notice: str = "") -> Choice | Constant:
    return Choice(name, tuple(values), notice) if len(values) > 1 else Constant(name, values[0], notice)


def read_values(given: RangeText, *, grid: bool) -> list[object] | None:
    """Return the values of a list or of a single literal; None for a text with colons, which must be a range.

    Raises RangeError. `grid`: which grammar the error shows.
    """
    _check_name(given)
    if not given.text.strip():
        raise given.error(f"the range is empty; write a value, a list or a range, such as {given.write('0.1')}")
    items = split_items(given.text)
    bare = [item for item in items if not is_quoted(item)]
    _check_brackets(given, bare, grid)
    if len(items) == 1 and bare and ":" in given.text:
        for part in _parts(given.text):
            _check_plain(given, part)
        return None
    if len(items) == 1 and bare and bare[0].startswith("~") and is_number(bare[0][1:]):
        value = float(bare[0][1:])
        low, high = sorted((value / 10, value * 10)) if value else (-1.0, 1.0)
        around = given.write(f"{low:g}:{high:g}{bare[0]}")
        raise given.error(f"a belief {bare[0]} comes behind a range; write for example {around}")
    believed = _BELIEVED.fullmatch(items[-1]) if len(items) > 1 else None
    if believed:
        items = [*items[:-1], believed[1]]
        bare = [item for item in items if not is_quoted(item)]
    for item in bare:
        _check_like_number(given, item, grid)
    _check_items(given, items)
    _check_mixed(given, items)
    if believed:
        plain = given.write(",".join(items))
        raise given.error(
            f"a belief ~{believed[2]} needs a range, not a list; write {plain} (quotes would make it text)"
        )
    return [parse_literal(item) for item in items]


def _check_name(given: RangeText) -> None:
    name = given.name
    if not name.strip():
        raise given.error("the name before = is empty; write NAME=RANGE, such as `lr=0.1`")
    if name != name.strip() or not name.isprintable():
        raise given.error(f"{name!r} cannot be a name; write {name.strip()!r}, without blanks around it")


def _check_brackets(given: RangeText, bare: list[str], grid: bool) -> None:
    if not any(bracket in item for item in bare for bracket in BRACKETS):
        return
    if meant := _of_a_call(given.text, grid):
        raise given.error(f"that is a call of another program; write {given.write(meant)}")
    inner = given._replace(text=given.text.strip()[1:-1])
    plain = inner.text if _is_list(inner) else "1,2"
    raise given.error(f"lists are written without brackets, like {given.write(plain)}{_as_text(given)}")


def _of_a_call(text: str, grid: bool) -> str:
    """The range that `uniform(0, 1)`, `tune.loguniform(1e-5, 0.1)` or `choice([1, 2])` means; empty for anything else."""
    call = _CALL.fullmatch(text.strip())
    if call is None:
        return ""
    name, items = call[1].replace("_", "").casefold(), [item.strip() for item in call[2].strip("[]() ").split(",")]
    if name in ("choice", "categorical", "gridsearch", "suggestcategorical"):
        return "" if any(sign in call[2].strip("[]() ") for sign in [*BRACKETS, ":"]) else ",".join(items)
    if len(items) < 2 or not all(map(is_number, items[:2])):
        return ""
    low, high = items[:2]
    if float(low) >= float(high):
        return ""
    if name in ("linspace", "geomspace"):
        count = items[2] if len(items) > 2 and items[2].isdecimal() else "10"
        return f"{low}:{'u' if name == 'linspace' else 'l'}{count}:{high}" if grid else ""
    if name in ("loguniform", "reciprocal"):
        return f"{low}:{high}:l" if float(low) > 0 else ""
    if name in ("randint", "integers", "suggestint", "int", "qrandint"):
        whole = all(isinstance(parse_literal(end), int) for end in (low, high))
        return f"{low}:{high}:i" if whole else ""
    return _spread(low, high, grid) if name in ("uniform", "quniform", "suggestfloat", "float") else ""


def _is_list(given: RangeText) -> bool:
    try:
        return not any(bracket in given.text for bracket in BRACKETS) and read_values(given, grid=True) is not None
    except RangeError:
        return False


def grid_before_belief(text: str) -> GridRange | None:
    """Return the grid of `0.01:0.01:0.1~0.05`; None for any other text, and for two ends, which are a range as well."""
    asked = grid_range(text.rpartition("~")[0])
    return asked if asked is not None and asked.middle is not None else None


def _check_items(given: RangeText, items: list[str]) -> None:
    for item in items:
        if item and not is_quoted(item):
            _check_item(given, item)
    if not all(items):
        rest = ",".join(filter(None, items))
        plain = rest and ":" not in rest and not _texts_among_numbers(items)
        proposal = f"; write {given.write(rest)}" if plain else ""
        raise given.error(f"a value is missing beside a comma{proposal}")


def _check_item(given: RangeText, item: str) -> None:
    if item[0] in "'\"":
        raise given.error(f"quotes go around a whole value and must be closed, unlike in {_one_line(item)}")
    if grid_range(item) or optimizer_range(item):
        raise given.error(f"a list holds values, and {item} is a range; give it alone, or quoted as text: '{item}'")
    _check_plain(given, item)


def _check_plain(given: RangeText, part: str) -> None:
    """Refuse numbers that only Python accepts: nan, inf, 1e999, 1_000."""
    try:
        value = float(part)
    except ValueError:
        return
    if not math.isfinite(value):
        raise given.error(f"{part} is not a finite number (quotes would make it text)")
    if not is_number(part):
        raise given.error(f"{part} is not a valid number; write digits without underscores")


def _check_like_number(given: RangeText, item: str, grid: bool) -> None:
    """Refuse a text that begins like a number, as other programs write ranges: `0.1..0.5`, `10%`, `1e-4..1e-1`."""
    if is_number(item) or not _LIKE_NUMBER.match(item) or ":" in item:
        return
    if ends := _ENDS.fullmatch(item):
        raise given.error(f"{item} is not a valid range; write {given.write(_spread(ends[1], ends[2], grid))}")
    if item.endswith("%") and is_number(item[:-1]):
        part = spelled(Decimal(item[:-1].strip()) / 100)
        raise given.error(f"{item} is not a number; write {given.write(given.text.replace(item, part, 1).strip())}")
    try:
        float(item)
    except ValueError:
        quoted = given.text.replace(item, f"'{item}'", 1).strip()
        text = f'`"{given.name}={quoted}"`' if "'" not in item else "quotes around it"
        raise given.error(f"{_one_line(item)} begins like a number but is not one; for a text, write {text}") from None


def _spread(low: str, high: str, grid: bool) -> str:
    """Return a range between two numbers; on a log scale if they are two decades apart."""
    if float(low) > float(high):
        low, high = high, low
    wide = float(low) > 0 and float(high) >= 100 * float(low)
    if grid:
        return f"{low}:{'l5' if wide else 'u10'}:{high}"
    return f"{low}:{high}:l" if wide else f"{low}:{high}"


def _check_mixed(given: RangeText, items: Sequence[str]) -> None:
    """Refuse `0.1,foo`: a mistake, unless the text has quotes."""
    if texts := _texts_among_numbers(items):
        quoted = ",".join(f"'{item}'" if item in texts else item for item in items)
        raise given.error(
            f'{_one_line(texts[0])} is a text among numbers; if intended, write `"{given.name}={quoted}"`'
        )


def _texts_among_numbers(items: Sequence[str]) -> list[str]:
    """Return the items that are texts without quotes, if others are numbers."""
    texts = [item for item in items if item and isinstance(parse_literal(item), str) and not is_quoted(item)]
    return texts if any(is_number(item) for item in items) else []


def words_notice(values: Sequence[object]) -> str:
    """Return a notice on `yes,no`, which are texts, or ""."""
    words = [str(value) for value in values if str(value).lower() in ("yes", "no", "on", "off")]
    if len(values) != 2 or len(words) != 2:
        return ""
    return f"{words[0]} and {words[1]} are texts; for a switch write true,false"


def misread(given: RangeText, usage: str, most: int) -> RangeError:
    """Return the error for a text with colons that fits no grammar. `usage`: the right one, of at most `most` parts."""
    parts = _parts(given.text)
    if flag := FLAG_WORDS.get(parts[-1].casefold()):
        return given.error(f"{parts[-1]} is not understood; write {given.write(':'.join([*parts[:-1], flag]))}")
    if parts[0] and not is_number(parts[0]):
        return given.error(f"{_one_line(parts[0])} is not a number; {usage}{_as_text(given)}")
    if len(parts) > most:
        return given.error(f"{len(parts)} parts are too many; {usage}")
    if not all(parts[1:]):
        return given.error(f"a number is missing beside a colon; {usage}")
    stranger = next((part for part in parts if part and not is_number(part)), given.text)
    return given.error(f"{_one_line(stranger)} is not understood; {usage}")


def _as_text(given: RangeText) -> str:
    quote = next((quote for quote in "'\"" if quote not in given.text), "")
    text = f"{given.name}={quote}{given.text.strip()}{quote}"
    if not quote or not text.isprintable():
        return ""
    return f"; a text needs its own quotes: `{text}`" + (f', in a shell "{text}"' if quote == "'" else "")


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)
