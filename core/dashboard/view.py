"""Which experiments the page without scripts shows, and in which order: there, states and sorting are links.

?state=failed&sort=val_loss,-lr     as static/view_state.js writes them; its queries and brushes are the script's own
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from studio.dashboard.experiment_table import Table

LIVE_FIRST = ("running", "queued")
NO_RESULT = ("failed", "stopped")  # what they reported before is none


def sort_keys(text: str, table: Table) -> list[str]:
    """Of `val_loss,-lr` the keys of columns; `-` before one turns it round. What is no column is left out."""
    known = {column.key for column in table.columns}
    ways = ([part, unquote(part)] for part in text.split(","))  # scripts escape the parts once more, links do not
    return [key for key in (next((way for way in two if way.removeprefix("-") in known), "") for two in ways) if key]


def rows_of(table: Table, state: str, sort: Sequence[str]) -> list[int]:
    """Rows in that state, or all where it is empty. Without keys the running ones come first, then the best."""
    status, fitness = table.lists["status"], table.lists["fitness"]
    rows = [at for at, own in enumerate(status) if not state or own == state]
    if not sort:
        return sorted(
            rows, key=lambda at: (status[at] not in LIVE_FIRST, fitness[at] is None, -(fitness[at] or 0.0), at)
        )
    for key in reversed(sort):  # missing last, whichever way it is sorted
        cells, turned = cells_of(table, key.removeprefix("-")), key.startswith("-")
        there = [at for at in rows if cells[at] is not None]
        there.sort(key=lambda at: order(cells[at]), reverse=turned)
        rows = there + [at for at in rows if cells[at] is None]
    return rows


def order(cell: Any) -> tuple[int, float, str]:
    """Numbers as numbers, before texts."""
    return (0, float(cell), "") if isinstance(cell, int | float) else (1, 0.0, str(cell))


def cells_of(table: Table, key: str) -> list[Any]:
    """All cells of a column; of the metric's, those that are results."""
    if key in table.values:
        return table.values[key]
    if not key.startswith("metric."):
        return table.lists[key]
    both = zip(table.measured, table.lists["status"], strict=True)
    return [None if status in NO_RESULT else value for value, status in both]
