"""What a run takes of the machine: while it runs, by its processes; afterwards, by the record."""

import contextlib
import os
import sys
from pathlib import Path

from studio.experiment import Experiment
from studio.format import byte_size
from studio.system.processes import marked

_TICKS = os.sysconf("SC_CLK_TCK")


def usage(folder: Path, experiment: Experiment, *, running: bool) -> dict[str, str]:
    """Words for the page, empty where nothing is known."""
    found = _of_processes(folder) if running and sys.platform == "linux" else {}
    if experiment.cpu is not None:
        found["CPU time"] = f"{experiment.cpu:.1f} s"
    if experiment.memory is not None:
        found["most memory"] = byte_size(experiment.memory)
    return found


def _of_processes(folder: Path) -> dict[str, str]:
    count, ticks, memory = 0, 0, 0
    for pid in marked(str(folder)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            )  # proc(5), from the third field on
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            count, ticks = count + 1, ticks + sum(map(int, fields[11:15]))
            memory += pages * os.sysconf("SC_PAGE_SIZE")
    return {
        "processes": str(count),
        "CPU time": f"{ticks / _TICKS:.1f} s",
        "memory now": byte_size(memory),
    } if count else {}  # fmt: skip
