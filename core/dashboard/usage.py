"""What a run takes of the machine: while it runs, by its processes; afterwards, by what its runner wrote down."""

import contextlib
import json
import os
import sys
from pathlib import Path

from studio.dashboard.run_files import open_file
from studio.format import byte_size
from studio.system.processes import marked

LARGEST = 1 << 16  # bytes of usage.json
_TICKS = os.sysconf("SC_CLK_TCK")


def usage(folder: Path, *, running: bool) -> dict[str, str]:
    """Words for the page, empty where nothing is known."""
    found = _of_processes(folder) if running and sys.platform == "linux" else {}
    file = open_file(folder, "usage.json")  # a script may have put a link or a pipe there
    with (
        contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError),
        file or contextlib.nullcontext(),
    ):
        recorded = json.loads(b"{}" if file is None else file.read(LARGEST))
        found["CPU time"] = f"{float(recorded['cpu']):.1f} s"
        found["most memory"] = byte_size(int(recorded["memory"]))
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
