"""Memory of a run: processes that the kernel killed for lack of it, and the peak of a tree of processes."""

import contextlib
from pathlib import Path

MOST_PROCESSES = 200  # of one run that are measured
CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # names the control group of this process
# Files with a line `oom_kill N`: cgroup v2, cgroup v1 (kernel: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst)
_COUNTERS = ("memory.events", "memory.oom_control")


def oom_kills(cgroup: Path | None = None) -> int:
    """Return a count that grows when the kernel kills a process for lack of memory.

    Counts this process's control group (or `cgroup`) and the whole machine. Always 0 if there is no counter, as on macOS.
    """
    group = cgroup or _own_cgroup()
    return sum(map(_count, [*(group / name for name in _COUNTERS), Path("/proc/vmstat")]))


def _count(file: Path) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _own_cgroup() -> Path:
    """Return the memory control group of this process from /proc/self/cgroup: `0::/PATH` (v2), `8:memory:/PATH` (v1)."""
    try:
        rows = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return CGROUPS
    for _, controllers, path in rows:
        if "memory" in controllers.split(","):
            return _existing(CGROUPS / "memory", path)
    return _existing(CGROUPS, next((path for number, _, path in rows if number == "0"), "/"))


def _existing(root: Path, path: str) -> Path:
    """Return the folder of a control group, or `root`: in a container the path may be one of the host, not visible here."""
    folder = root / path.lstrip("/")
    return folder if folder.is_dir() else root


def peak_of_tree(pid: int) -> int:
    """Return the peak memory in bytes of `pid` or any living descendant so far; 0 if it cannot be read.

    Linux: VmHWM in proc(5), which starts again with each exec.
    """
    peak, found = 0, [pid]
    for one in found:  # grows on the way
        with contextlib.suppress(OSError, ValueError):
            peak = max(peak, _high_water(one))
            found += [] if len(found) > MOST_PROCESSES else _children(one)
    return peak


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def _children(pid: int) -> list[int]:
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir())[:MOST_PROCESSES]
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
