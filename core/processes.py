"""All processes of an experiment, however far they strayed: found by process group and by a mark in their environment.

Run as a program, this file is the watchdog of a search.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

MARK = "STUDIO_FOLDER"  # the environment variable by which a process is known to belong to a run; its value is the run's folder


def signal_tree(group: int | None, folder: str, number: int) -> None:
    """Send signal `number` to process group `group` and to every process that carries the mark of `folder`."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid in marked(folder):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group is None or os.getpgid(pid) != group:  # once each: a second SIGTERM would cut off its tidying up
                os.kill(pid, number)


def kill_tree(group: int | None, folder: str) -> None:
    """Kill until a scan finds nothing: a process may fork while it is being killed."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(20):
        found = list(marked(folder))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


class Watchdog:
    """A process that outlives this one by a moment: when this one dies, by whatever signal, it kills all marked ones below `folder`.

    It waits for the end of its standard input, which the kernel closes with its owner.
    """

    def __init__(self, folder: str):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def dismiss(self) -> None:
        """Nothing runs any more: it need not look."""
        with contextlib.suppress(OSError):
            self._process.communicate(b"all is well")


def marked(folder: str) -> Iterator[int]:
    """The ids of the living processes whose environment says `STUDIO_FOLDER=folder`, or a folder below it."""
    wanted = f"{MARK}={folder}".encode()
    for pid, environment in _environments():
        at = environment.find(wanted)
        if (
            at >= 0
            and environment[at + len(wanted) : at + len(wanted) + 1] in (b"", b"\0", b"/", b" ")
            and pid != os.getpid()
        ):
            yield pid


def _environments() -> Iterator[tuple[int, bytes]]:
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            if name.isdecimal():
                # Zombies have an empty environment; processes of others cannot be read.
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    yield int(name), file.read()
    else:
        listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False).stdout
        for line in listing.splitlines():
            pid, _, rest = line.strip().partition(b" ")
            if pid.isdigit():
                yield int(pid), rest


if __name__ == "__main__":  # the watchdog; this file is the standard library alone, so that it starts in 15 ms
    if not sys.stdin.buffer.read():
        kill_tree(None, sys.argv[1])
