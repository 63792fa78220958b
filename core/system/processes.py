"""All processes of an experiment, however far they strayed: found by process group and by a mark in their environment.

    STUDIO_MARKS = "|SESSION=FOLDER|"    a driver's session and the run's folder; a search inside a search appends its own

No process id is ever stored: after a restart of the machine it would belong to somebody else. Run as a program, this
file is the watchdog of a search.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

MARKS = "STUDIO_MARKS"


def marks(env: Mapping[str, str], session: str, folder: str) -> str:
    """The value of `STUDIO_MARKS` for a run in `folder`, started by `session` with environment `env`."""
    return f"{env.get(MARKS, '|')}{session}={folder}|"


def signal_tree(group: int | None, folder: str, number: int, session: str | None = None) -> None:
    """Send signal `number` to process group `group` and to every process that carries the mark of `folder`."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid in marked(folder, session):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group is None or os.getpgid(pid) != group:  # once each: a second SIGTERM would cut off its tidying up
                os.kill(pid, number)


def kill_tree(group: int | None, folder: str, session: str | None = None) -> None:
    """Kill until a scan finds nothing: a process may fork while it is being killed."""
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(20):
        found = list(marked(folder, session))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def has_own_session(pid: int) -> bool:
    """Whether `pid`, started in a session of its own and not waited for yet, came so far; until then Ctrl-C reaches it."""
    try:
        return os.getsid(pid) == pid
    except OSError:  # macOS forgets the session of what has ended
        return True


class Watchdog:
    """A process that outlives this one by a moment: when this one dies, by whatever signal, it kills all that `session`
    started below `folder`; not what a new driver, which may be at work already, started there.

    It waits for the end of its standard input, which the kernel closes with its owner.
    """

    def __init__(self, folder: str, session: str):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, folder, session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def dismiss(self) -> None:
        """Nothing runs any more: it need not look."""
        with contextlib.suppress(OSError):
            self._process.communicate(b"all is well")


def marked(folder: str, session: str | None = None) -> Iterator[int]:
    """The ids of the living processes that belong to a run in `folder`, or below it; of that session alone, where given."""
    who = b"[0-9a-f]+" if session is None else re.escape(session.encode())
    mark = MARKS.encode() + rb"=[^\0]*\|" + who + b"=" + re.escape(os.fsencode(folder)) + rb"[|/]"
    wanted = re.compile(rb"(?:^|[\0 ])" + mark)  # `ps` parts the variables by blanks
    for pid, environment in _environments():
        if wanted.search(environment) and pid != os.getpid():
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
        kill_tree(None, sys.argv[1], sys.argv[2])
