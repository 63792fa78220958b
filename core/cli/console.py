"""Output of values, tables, JSON and files. Control characters from runs never reach a terminal."""

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
HEAD = 10  # characters of a column's name, if wider than its cells, on a terminal
LONG_HEAD = 40  # the same, where the terminal has room
CELL = 24  # characters of an optional column, on a terminal
LEFT = 3  # omitted columns listed by name
FLEXIBLE = 12  # minimum width of a flexible column
_BEYOND_ASCII = re.compile(r"[^ -~\n]")
_TIME = re.compile(r"\d+(:\d\d)+|[\d.]+ s|\$[\d.,]+")


def harmless(text: str) -> str:
    """Return `text` for a terminal: lines and tabs stay, other control characters are replaced."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text.replace("\r\n", "\n"))


def print_json(data: Any) -> None:
    """Print JSON; control and format characters beyond ASCII are escaped. An iterator is a list, printed item by item."""
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
    """Print a table: complete if piped; on a terminal without empty columns, and no wider than the terminal.

    Long names of columns are shortened as far as needed, then cells of `flexible` columns, then `optional` columns are omitted, which is
    reported on stderr.
    """
    if not rows:
        return
    columns, rows = [clean(name) for name in columns], [[clean(cell) for cell in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    cells = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    shown, width = list(range(len(columns))), None
    widths = [max(size, len(name)) for size, name in zip(cells, columns, strict=True)]
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        widths = [max(cells[i], min(widths[i], HEAD)) for i in range(len(columns))]
        shown = [i for i in shown if cells[i] and i not in optional]
        for i in set(optional) - set(flexible):
            widths[i] = min(widths[i], CELL)
        for i in flexible:
            room = width - _total(widths, [j for j in shown if j != i]) - len(GAP)
            widths[i] = min(
                widths[i], max(FLEXIBLE, room - _total(widths, [j for j in optional if cells[j] and j != i]) - len(GAP))
            )
        for i in sorted(optional):
            if cells[i] and _total(widths, [*shown, i]) <= width:
                shown = sorted([*shown, i])
        whole = all(i in shown or not cells[i] for i in optional)
        for i in shown if whole else ():
            room = min(len(columns[i]), LONG_HEAD, widths[i] + max(0, width - _total(widths, shown)))
            widths[i] = max(widths[i], room)
    for row in [columns, *rows]:
        parts = [_fitted(row[i], widths[i], right=numeric[i], end=i in flexible) for i in shown]
        line = GAP.join(parts).rstrip()
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")
    if left := [columns[i] for i in sorted(optional) if cells[i] and i not in shown]:
        sys.stdout.flush()
        names = ", ".join(left[:LEFT]) + (f" and {len(left) - LEFT} more" if len(left) > LEFT else "")
        print(f"studio: columns omitted: {names}; a wider terminal, a pipe or --json shows all", file=sys.stderr)


def brief(text: str) -> str:
    """Return `text`; on a terminal a long one loses its middle."""
    return _fitted(text, CELL, right=False, end=False).rstrip() if sys.stdout.isatty() else text


def _fitted(text: str, width: int, *, right: bool, end: bool) -> str:
    """Return `text` in `width` columns: one that is too long loses its end (`end=True`), else its middle."""
    if len(text) > width:
        tail = 0 if end else (width - 1) // 3
        text = f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"
    return text.rjust(width) if right else text.ljust(width)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] for i in shown) + len(GAP) * max(0, len(shown) - 1)


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
        return True  # empty cells and times are right-aligned, like numbers
    try:
        float(text)
    except ValueError:
        return False
    return True


def save(pieces: Iterable[str | bytes], given: str | None, usual: str | None) -> Path | None:
    """Write to the file `given`, else to `usual`; `-`, or neither, is standard output. Return the file; report it on stderr."""
    name = given or usual or "-"
    if name == "-":
        for piece in pieces:
            if isinstance(piece, str):
                sys.stdout.write(piece)
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(piece)
        return None
    path = Path(name)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # /dev/null or a pipe: not to be replaced
            path.write_bytes(b"".join(map(_encoded, pieces)))
        else:
            write_whole(Path(os.path.realpath(path)), map(_encoded, pieces))
    except OSError as error:
        raise BadInput(f"cannot write {name!r}: {error.strerror}; give another file with -o") from error
    say(f"wrote {name} ({byte_size(path.stat().st_size)})")
    return path


def _encoded(piece: str | bytes) -> bytes:
    return piece.encode(errors="replace") if isinstance(piece, str) else piece


def chosen_format(given: str, formats: Iterable[str]) -> str:
    formats = list(formats)
    if given not in formats:
        raise BadInput(f"--format {given!r} is not one of {', '.join(formats)}")
    return given
