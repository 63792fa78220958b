"""Output of values, tables, JSON and files. Control characters in the output of scripts never reach a terminal."""

import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from studio.cli.usage import say
from studio.errors import BadInput
from studio.experiment import Experiment
from studio.format import byte_size, duration, json_text, metric_value, money, short
from studio.project.table import value_names
from studio.system.files import write_whole
from studio.text import clean

GAP = "  "  # between columns
# The following widths are in characters and apply on a terminal only.
NAME_WIDTH = 10  # of a column's name that is wider than the cells of the column
MAX_NAME_WIDTH = 40  # the same, if the terminal has room
OPTIONAL_WIDTH = 24  # of the cells of an optional column
MIN_FLEXIBLE_WIDTH = 12  # of a flexible column
MAX_OMITTED_NAMES = 3  # omitted columns that a message lists by name
_BEYOND_ASCII = re.compile(r"[^ -~\n]")
_TIME = re.compile(r"\d+(:\d\d)+|[\d.]+ s|\$[\d.,]+")


def harmless(text: str) -> str:
    """Return `text` for a terminal: line ends and tabs stay, other control characters are replaced by U+FFFD."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text.replace("\r\n", "\n"))


def print_json(data: Any) -> None:
    """Print `data` as JSON, with control and format characters beyond ASCII escaped. An iterator is printed as a list, item
    by item."""
    if not isinstance(data, Iterator):
        print(_escaped(data))
        return
    before = "["
    for item in data:
        print(before + _escaped([item])[1:-2], end="")
        before = ","
    print("\n]" if before == "," else "[]")


def _escaped(data: Any) -> str:
    text = json_text(data, indent=2, ensure_ascii=False)
    return _BEYOND_ASCII.sub(lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    flexible: Collection[int] = (),
    optional: Collection[int] = (),
) -> None:
    """Print a table. `flexible` and `optional` are numbers of columns, from 0.

    If the output is not a terminal, the table is complete. On a terminal it has no empty columns and is no wider than the
    terminal: first long names of columns are shortened, then cells of `flexible` columns, then `optional` columns are
    omitted. A message on stderr names the omitted columns.
    """
    if not rows:
        return
    columns, rows = [clean(name) for name in columns], [[clean(cell) for cell in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    cell_widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    visible, width = list(range(len(columns))), None
    widths = [max(cell_width, len(name)) for cell_width, name in zip(cell_widths, columns, strict=True)]
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        widths = [max(cell_widths[i], min(widths[i], NAME_WIDTH)) for i in range(len(columns))]
        visible = [i for i in visible if cell_widths[i] and i not in optional]
        for i in set(optional) - set(flexible):
            widths[i] = min(widths[i], OPTIONAL_WIDTH)
        for i in flexible:
            room = width - _total(widths, [j for j in visible if j != i]) - len(GAP)
            others = [j for j in optional if cell_widths[j] and j != i]
            widths[i] = min(widths[i], max(MIN_FLEXIBLE_WIDTH, room - _total(widths, others) - len(GAP)))
        for i in sorted(optional):
            if cell_widths[i] and _total(widths, [*visible, i]) <= width:
                visible = sorted([*visible, i])
        is_complete = all(i in visible or not cell_widths[i] for i in optional)
        for i in visible if is_complete else ():
            room = min(len(columns[i]), MAX_NAME_WIDTH, widths[i] + max(0, width - _total(widths, visible)))
            widths[i] = max(widths[i], room)
    for row in [columns, *rows]:
        cells = [_padded(row[i], widths[i], right=numeric[i], keep_start=i in flexible) for i in visible]
        line = GAP.join(cells).rstrip()
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")
    if omitted := [columns[i] for i in sorted(optional) if cell_widths[i] and i not in visible]:
        sys.stdout.flush()
        more = len(omitted) - MAX_OMITTED_NAMES
        names = ", ".join(omitted[:MAX_OMITTED_NAMES]) + (f" and {more} more" if more > 0 else "")
        print(f"studio: columns omitted: {names}; a wider terminal, a pipe or --json shows all", file=sys.stderr)


def brief(text: str) -> str:
    """Return `text`, on a terminal without its middle if it is long."""
    return _padded(text, OPTIONAL_WIDTH, right=False, keep_start=False).rstrip() if sys.stdout.isatty() else text


def _padded(text: str, width: int, *, right: bool, keep_start: bool) -> str:
    """Return `text` in exactly `width` characters. Text that is too long loses its end if `keep_start`, else its middle."""
    if len(text) > width:
        tail = 0 if keep_start else (width - 1) // 3
        text = f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"
    return text.rjust(width) if right else text.ljust(width)


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    """Return the width of a table with these columns, gaps included."""
    return sum(widths[i] for i in columns) + len(GAP) * max(0, len(columns) - 1)


def print_experiments(experiments: Sequence[Experiment], metric: str) -> None:
    """Print a table of experiments: a column for each hyperparameter, then the outcome."""
    names = value_names(experiments)
    columns = ["#", "status", metric, *names, "time", "reason"]
    rows = [
        [
            str(e.number),
            e.status,
            metric_value(e),
            *(short(e.values.get(name, "")) for name in names),
            duration(e.duration),
            clean(e.reason),
        ]
        for e in experiments
    ]
    costs = [experiment.cost for experiment in experiments]
    if any(cost is not None for cost in costs):
        at = columns.index("time")
        columns.insert(at, "cost")
        for row, cost in zip(rows, costs, strict=True):
            row.insert(at, money(cost))
    last = len(columns) - 1
    print_table(columns, rows, flexible=[last], optional=range(3, last - 1))


def _is_number(text: str) -> bool:
    if not text or _TIME.fullmatch(text):
        return True  # because empty cells and times are right-aligned, as numbers are
    try:
        float(text)
    except ValueError:
        return False
    return True


def save(parts: Iterable[str | bytes], output: str | None, default: str | None) -> Path | None:
    """Write `parts` to the file `output`, or to `default` if `output` is None, and report the file on stderr. Return its path.

    `-` is standard output, and so is None for both; then the result is None. BadInput if the file cannot be written.
    """
    name = output or default or "-"
    if name == "-":
        for part in parts:
            if isinstance(part, str):
                sys.stdout.write(part)
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(part)
        return None
    path = Path(name)
    try:
        if (
            path.exists() and not path.is_file() and not path.is_dir()
        ):  # /dev/null or a pipe, which must not be replaced
            path.write_bytes(b"".join(map(_encoded, parts)))
        else:
            write_whole(Path(os.path.realpath(path)), map(_encoded, parts))
    except OSError as error:
        raise BadInput(f"cannot write {name!r}: {error.strerror}; give another file with -o") from error
    say(f"wrote {name} ({byte_size(path.stat().st_size)})")
    return path


def _encoded(part: str | bytes) -> bytes:
    return part.encode(errors="replace") if isinstance(part, str) else part


def check_format(format_: str, formats: Iterable[str]) -> str:
    """Return `format_`. BadInput if it is not one of `formats`."""
    formats = list(formats)
    if format_ not in formats:
        raise BadInput(f"--format {format_!r} is not one of {', '.join(formats)}")
    return format_
