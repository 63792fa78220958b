"""Cost of cloud machines, written beside the runs by the backend and read without any plugin.

projects/P/cost.json           {"dollars": cost of all machines of the search at the last check}
projects/P/7/1/machine.json    {"machine": name of the machine of that attempt, ...}
"""

import json
import math
import os
from pathlib import Path

from studio.execution.log_cap import open_regular

OF_PROJECT, OF_ATTEMPT = "cost.json", "machine.json"


def cost_of_project(folder: Path) -> float | None:
    """Return the cost in dollars; None without machines, or if a price is not known."""
    return _dollars(folder / OF_PROJECT)


def _dollars(file: Path) -> float | None:
    try:
        with open(open_regular(file, os.O_RDONLY), encoding="utf-8") as opened:  # a script may have put a pipe there
            dollars = json.load(opened)["dollars"]
        return float(dollars) if dollars is not None and math.isfinite(dollars) else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
