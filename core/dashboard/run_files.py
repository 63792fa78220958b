"""Files of a run, for listing and download, and its use of the machine. All paths from URLs are checked."""

import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from studio.experiment import Experiment
from studio.format import byte_size
from studio.system.files import open_regular
from studio.system.processes import processes_of

MOST = 500  # files that are listed
_TICKS = os.sysconf("SC_CLK_TCK")
# Studio's files, listed last
OWN = ("artifacts.json", "usage.json", "outcome.json", "hyperparameters.json", "machine.json")
LOOKED_AT = 20_000  # entries, so that a workspace with a million files does not block


def list_files(project: str, number: int, folder: Path, snapshot: Path) -> list[dict[str, Any]]:
    """The files of a run, as the API lists them: artifacts, models, logs; of the workspace those that were not copied there."""
    found: list[dict[str, Any]] = []
    if not is_own(folder):
        return found
    for path, size in _walk(folder):
        if path.startswith("workspace/") and (snapshot / path.removeprefix("workspace/")).exists():
            continue
        url = f"/api/projects/{project}/experiments/{number}/files/{quote(path)}?attempt={folder.name}"
        found.append({"path": path, "size": size, "url": url})
        if len(found) >= MOST:
            break
    return sorted(found, key=lambda file: (file["path"] in OWN, file["path"].startswith("workspace/"), file["path"]))


def is_own(folder: Path) -> bool:
    """Return whether PROJECT/NUMBER/ATTEMPT is a real folder: a run may have replaced it or its parent by links."""
    project = folder.parent.parent
    return os.path.realpath(folder) == os.path.join(os.path.realpath(project), folder.parent.name, folder.name)


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield paths and sizes of regular files below `folder`, without following links; a running script may remove files."""
    left = LOOKED_AT
    waiting = deque([""])
    while waiting and left > 0:
        inner = waiting.popleft()
        with suppress(OSError), os.scandir(folder / inner) as found:
            entries = sorted(islice(found, left), key=lambda entry: entry.name)
            left -= len(entries)
            for entry in entries:
                path = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        waiting.append(path)
                elif entry.is_file(follow_symlinks=False) and _is_text(path):
                    with suppress(OSError):
                        yield path, entry.stat(follow_symlinks=False).st_size


def _is_text(path: str) -> bool:
    """Return whether the name is UTF-8; others have no URL."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def open_file(folder: Path, path: str) -> BinaryIO | None:
    """Open the regular file `path` below `folder`; None for a folder, a device, a link or a path that leads outside."""
    if not is_own(folder) or not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        return None
    base = os.path.realpath(folder)
    meant = os.path.realpath(os.path.join(base, path))
    if os.path.commonpath([base, meant]) != base or os.path.normpath(os.path.join(base, path)) != meant:
        return None
    try:
        descriptor = open_regular(Path(meant), os.O_RDONLY)
    except (OSError, ValueError):
        return None
    if os.path.realpath(meant) == meant:
        return open(descriptor, "rb")
    os.close(descriptor)
    return None


def usage(folder: Path, experiment: Experiment, *, running: bool) -> dict[str, str]:
    """Return texts for the page, empty if unknown: from its processes while it runs, afterwards from the record."""
    found = _of_processes(folder) if running and sys.platform == "linux" else {}
    if experiment.cpu is not None:
        found["CPU time"] = f"{experiment.cpu:.1f} s"
    if experiment.memory is not None:
        found["peak memory"] = byte_size(experiment.memory)
    return found


def _of_processes(folder: Path) -> dict[str, str]:
    count, ticks, memory = 0, 0, 0
    for pid in processes_of(str(folder)):
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
