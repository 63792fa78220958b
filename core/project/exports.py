"""All experiments as CSV or JSON text, in pieces."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from studio.experiment import Experiment
from studio.format import finite
from studio.project.table import cells, column_names, value_names

PIECE = 1 << 18  # characters that are written at once


def csv_text(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield a table for spreadsheets; arrays as JSON. A text that could be taken for a formula gets a quote before it."""
    names = value_names(experiments)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(name) for name in column_names(names)])
    for experiment in experiments:
        writer.writerow([_cell(cell) for cell in cells(experiment, names)])
        if buffer.tell() > PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def json_text(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Yield JSON with the objects of `studio runs list PROJECT --json`, one experiment per line."""
    for at, experiment in enumerate(experiments):
        yield f"{',' if at else '['}\n{json.dumps(finite(experiment.as_dict()), allow_nan=False)}"
    yield "\n]\n" if experiments else "[]\n"


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(finite(value))
    if not isinstance(value, str):
        return value
    value = value.encode(errors="replace").decode()  # a lone surrogate cannot be written to a file
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
