"""All processes of an experiment, found by process group and by a mark in their environment.

    STUDIO_MARKS = "|SESSION=FOLDER|"    a driver's session and the run's folder; a search inside a search appends its own

No process id is ever stored: after a restart of the machine it would belong to another process. Run as a program, this
file is the watchdog of a search.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

MARK_VARIABLE = "STUDIO_MARKS"


def mark_for(env: Mapping[str, str], session: str, folder: str) -> str:
    """Return the value of `STUDIO_MARKS` for a run in `folder`, started by `session` with environment `env`."""
    return f"{env.get(MARK_VARIABLE, '|')}{session}={folder}|"


def signal_tree(group: int | None, folder: str, number: int, session: str | None = None) -> None:
    """Send signal `number` to process group `group` and to every process that carries the mark of `folder`."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid in processes_of(folder, session):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group is None or os.getpgid(pid) != group:  # once each: a second SIGTERM would interrupt its clean-up
                os.kill(pid, number)


def kill_tree(group: int | None, folder: str, session: str | None = None) -> None:
    """Kill all processes of a run, again until none is found: a process may fork while it is being killed."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(20):
        found = list(processes_of(folder, session))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def has_own_session(pid: int) -> bool:
    """Return whether `pid`, started in a new session and not waited for, has entered it; until then Ctrl-C reaches it."""
    try:
        return os.getsid(pid) == pid
    except OSError:  # macOS forgets the session of an ended process
        return True


class Watchdog:
    """A process that, when this one dies by whatever signal, kills all that `session` started below `folder`.

    Processes that a new driver started there are spared. The watchdog waits for the end of its standard input, which the
    kernel closes with its owner.
    """

    def __init__(self, folder: str, session: str):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, folder, session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )

    def dismiss(self) -> None:
        """End the watchdog without killing anything."""
        with contextlib.suppress(OSError):
            self._process.communicate(b"all is well")


def processes_of(folder: str, session: str | None = None) -> Iterator[int]:
    """Yield the ids of living processes of a run in `folder` or below it; of `session` alone, if given."""
    who = b"[0-9a-f]+" if session is None else re.escape(session.encode())
    mark = MARK_VARIABLE.encode() + rb"=[^\0]*\|" + who + b"=" + re.escape(os.fsencode(folder)) + rb"[|/]"
    wanted = re.compile(rb"(?:^|[\0 ])" + mark)  # `ps` separates the variables by blanks
    for pid, environment in _environments():
        if wanted.search(environment) and pid != os.getpid():
            yield pid


def _environments() -> Iterator[tuple[int, bytes]]:
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            if name.isdecimal():
                # Zombies have an empty environment; processes of other users cannot be read.
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    yield int(name), file.read()
    else:
        listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False).stdout
        for line in listing.splitlines():
            pid, _, rest = line.strip().partition(b" ")
            if pid.isdigit():
                yield int(pid), rest


if __name__ == "__main__":  # the watchdog; this file imports only the standard library, to start in 15 ms
    if not sys.stdin.buffer.read():
        for pause in (0.0, 0.05, 0.2, 0.7):  # a script that was being started has no environment until its exec is over
            time.sleep(pause)
            kill_tree(None, sys.argv[1], sys.argv[2])
