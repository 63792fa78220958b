"""How things are printed: values, tables, JSON. Nothing from a run reaches a terminal with control characters in it."""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from studio.experiment import Experiment, plain
from studio.text import clean

_BEYOND_ASCII = re.compile(r"[^ -~\n]")


def harmless(text: str) -> str:
    """`text` for a terminal: lines and tabs stay, other control characters do not reach it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text.replace("\r\n", "\n"))


def short(value: Any) -> str:
    """A value for a table: floats with four digits, long arrays by their ends."""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        items = [short(item) for item in value]
        return "[" + ", ".join(items if len(items) <= 4 else [*items[:2], f"… {len(items)} …", items[-1]]) + "]"
    return clean(str(value))


def assignments(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={short(value)}" for name, value in values.items())


def minutes(seconds: float | None) -> str:
    """`0:07`, `12:30`, `3:05:00`"""
    if seconds is None:
        return ""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def metric_value(experiment: Experiment) -> str:
    return short(experiment.metric["value"]) if experiment.metric else ""


def print_json(data: Any) -> None:
    """Letters as they are; control and format characters, which `json` leaves beyond ASCII, and lone surrogates escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    print(_BEYOND_ASCII.sub(lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """On a terminal cut to its width; piped, never cut."""
    if not rows:
        return
    columns, rows = [clean(name) for name in columns], [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in [columns, *rows]:
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)]
        line = "  ".join(cells).rstrip()
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")


def experiment_rows(experiments: Sequence[Experiment], metric: str) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table of experiments: one column a hyperparameter, then what came of it."""
    names = list(dict.fromkeys(name for experiment in experiments for name in experiment.values))
    columns = ["#", "status", metric, *names, "time", "reason"]
    rows = [
        [
            str(e.number),
            e.status,
            metric_value(e),
            *(short(e.values.get(name, "")) for name in names),
            minutes(e.duration),
            clean(e.reason),
        ]
        for e in experiments
    ]
    return columns, rows


def _is_number(text: str) -> bool:
    if not text or ":" in text:
        return True  # empty cells and times are set right, with the numbers
    try:
        float(text)
    except ValueError:
        return False
    return True
