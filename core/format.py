"""Text forms of numbers, times, money, sizes and messages, for the terminal, reports, files and the dashboard.

Numbers have four significant digits, whole numbers all of theirs. `dashboard/static/format.js` writes the same texts;
both are tested with the cases in `tests/data/shown.json`. Control characters in texts from a run are removed.
"""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from studio.experiment import NO_RESULT, Experiment, plain
from studio.text import clean

DIGITS = 4
WHOLE = 1e15  # whole numbers below it are shown with all digits; a browser cannot hold longer ones exactly
# fractions at or above LARGE, and below SMALL, are shown with an exponent
LARGE, SMALL = Decimal(10**6), Decimal("0.0001")
STATUSES = ("completed", "pruned", "failed", "stopped", "running", "queued")  # the order in which they are listed
FENCE = 1.5  # Tukey's fence: values farther than this many interquartile ranges from the quartile are off the scale
DECADES = 3.0  # a wider range of positive values is drawn on a log scale


def number(value: Any, digits: int = DIGITS) -> str:
    """Return `value` with `digits` significant digits: `0.2562`, `7.464e-5`, `65536`, `1235`. Ties round away from zero."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if value == int(value) and abs(value) < WHOLE:
        return str(int(value))
    exact = Decimal(value)
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).plus(exact)
    if not SMALL <= abs(rounded) < LARGE:
        sign, found, exponent = rounded.normalize().as_tuple()
        figures = "".join(map(str, found))
        mantissa = figures[0] + (f".{figures[1:]}" if figures[1:] else "")
        return f"{'-' if sign else ''}{mantissa}e{int(exponent) + len(figures) - 1}"
    if abs(rounded) >= 10 ** (digits - 1):
        rounded = exact.quantize(Decimal(1), ROUND_HALF_UP)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(value: Any) -> str:
    """Return a hyperparameter's value for a table: numbers as `number` writes them, long arrays by their ends."""
    value = plain(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value) if isinstance(value, float) or abs(value) < WHOLE else str(value)
    if isinstance(value, list):
        items = [short(item) for item in value]
        return "[" + ", ".join(items if len(items) <= 4 else [*items[:2], f"… {len(items)} …", items[-1]]) + "]"
    return clean(str(value))


def metric_value(experiment: Experiment) -> str:
    """Return the metric; empty without one, and for a run without a result, whatever it reported."""
    return number(experiment.metric["value"]) if experiment.metric and experiment.status not in NO_RESULT else ""


def before_end(status: str) -> str:
    """Return the words behind the last value of a run without a result, ` before it failed`; empty for any other run."""
    return f" before it {'failed' if status == 'failed' else 'was stopped'}" if status in NO_RESULT else ""


def assignments(values: Mapping[str, Any]) -> str:
    """Return `lr=0.01 opt=adam` for a dict of values."""
    return " ".join(f"{name}={short(value)}" for name, value in values.items())


def duration(seconds: float | None) -> str:
    """Return `0.3 s`, `0:07`, `12:30` or `3:05:00`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 0.95:
        return f"{number(max(0.0, seconds), 1)} s"
    minutes, rest = divmod(math.floor(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def about(seconds: float | None) -> str:
    """Return a rough length of time: `7 s`, `38 min`, `3.1 h` or `2.5 days`; empty for None."""
    if seconds is None:
        return ""
    for most, length, name in ((100, 1, "s"), (6000, 60, "min")):
        if seconds < most:
            return f"{math.floor(seconds / length + 0.5)} {name}"
    length, name = (3600, "h") if seconds < 172_800 else (86400, "days")
    return f"{math.floor(10 * seconds / length + 0.5) / 10:g} {name}"


def age(when: float | None) -> str:
    """Return how long ago `when`, in seconds since the epoch, is: `just now`, `5 min ago`, `23 h ago`."""
    if when is None:
        return ""
    passed = time.time() - when
    for length, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if passed >= length:
            return f"{math.floor(passed / length)} {name} ago"
    return "just now"


def money(dollars: float | None) -> str:
    """Return `$310`, `$1.20` or `$0.0042`; empty for None."""
    if dollars is None:
        return ""
    if 0 < dollars < 0.0001:
        return "under $0.0001"
    if dollars >= 100:
        return f"${math.floor(dollars + 0.5):,}"
    return f"${_fixed(dollars, 2)}" if dollars >= 0.1 or not dollars else f"${number(dollars, 2)}"


def byte_size(size: float) -> str:
    """Return `999 B`, `1.5 GB` or `214 kB`."""
    if size < 999.5:
        return f"{math.floor(size + 0.5)} B"
    for name in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or name == "TB":
            break
    return f"{_fixed(size, 1) if size < 9.95 else format(math.floor(size + 0.5), ',')} {name}"


def counted(count: int, noun: str) -> str:
    """Return `1 experiment` or `10,000 experiments`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counts(counts: Mapping[str, int]) -> str:
    """Return how many experiments are in each state, in the order of `STATUSES`: `75 completed, 16 pruned`."""
    return ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts.get(status))


def direction(sign: float) -> str:
    return "lower is better" if sign < 0 else "higher is better"


def clipped(text: str, most: int) -> str:
    """Return at most `most` characters of `text`, without control characters."""
    text = clean(text[: 2 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def finite(data: Any) -> Any:
    """Return `data` with None in place of each float that JSON cannot hold."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    return [finite(item) for item in data] if isinstance(data, list | tuple) else data


def json_text(data: Any, **options: Any) -> str:
    """Return JSON, with null for each number that it cannot hold. `options` are those of `json.dumps`."""
    try:
        return json.dumps(data, allow_nan=False, **options)
    except ValueError:
        return json.dumps(finite(data), allow_nan=False, **options)


def visible_range(values: Iterable[float], sign: float) -> tuple[float, float, bool]:
    """Return the ends of the axis that shows finite `values`, and whether it is logarithmic.

    Values far worse than the bulk, by Tukey's fence, lie beyond its end, so that they do not compress all others.
    """
    found = sorted(values)
    low, high = _fenced(found, sign)
    if found[0] > 0 and high / low > 10**DECADES:
        low, high = (10**end for end in _fenced([math.log10(value) for value in found], sign))
        return low, high, True
    return low, high, False


def _fenced(found: list[float], sign: float) -> tuple[float, float]:
    low, high = found[0], found[-1]
    lower, upper = (found[math.floor(part * (len(found) - 1) + 0.5)] for part in (0.25, 0.75))
    spread = upper - lower
    if len(found) < 5 or not spread or not math.isfinite(spread):
        return low, high
    return (low, min(high, upper + FENCE * spread)) if sign < 0 else (max(low, lower - FENCE * spread), high)


def _fixed(value: float, places: int) -> str:
    return str(Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def without_colours(text: str) -> str:
    """Return a log's text for a page: without terminal colours, other control characters replaced."""
    kept = _COLOURS.sub("", text.replace("\r\n", "\n"))
    return "".join(c if c.isprintable() or c in "\n\t" else "\n" if c == "\r" else "\ufffd" for c in kept)


_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z])")  # ECMA-48 CSI, and the charset of `tput sgr0`
