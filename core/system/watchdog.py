"""All processes of an experiment, found by the mark in their environment; run as a program, the watchdog of a search.

Each search starts one, and few need it: this file imports next to nothing, so that it costs 10 ms of CPU and not 25.
"""

import os
import sys
import time

MARK_VARIABLE = "STUDIO_MARKS"
KILL = 9  # signal.SIGKILL; the module `signal` takes 6 ms


def kill_tree(group: int | None, folder: str, session: str | None = None) -> None:
    """Kill all processes of a run, again until none is found: a process may fork while it is being killed."""
    if group is not None:
        try:
            os.killpg(group, KILL)
        except (ProcessLookupError, PermissionError):
            pass
    for _ in range(20):
        found = processes_of(folder, session)
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, KILL)
            except (ProcessLookupError, PermissionError):
                pass


def processes_of(folder: str, session: str | None = None) -> list[int]:
    """Return the ids of living processes of a run in `folder` or below it; of `session` alone, if given."""
    place, who = os.fsencode(folder), None if session is None else os.fsencode(session)
    return [pid for pid, environment in _environments() if pid != os.getpid() and bears(environment, place, who)]


def bears(environment: bytes, folder: bytes, session: bytes | None) -> bool:
    """Return whether `environment`, of variables that are separated by zeros, has a mark of `folder` or of one below it."""
    variable, place = MARK_VARIABLE.encode() + b"=", b"=" + folder
    start = environment.find(variable)
    while start >= 0:
        if start == 0 or environment[start - 1] in b"\0 ":  # `ps` separates the variables by blanks
            marks = environment[start + len(variable) :].partition(b"\0")[0]
            at = marks.find(place)
            while at >= 0:
                _, bar, name = marks[:at].rpartition(b"|")
                known = name == session if session else name and not name.strip(b"0123456789abcdef")
                if bar and known and marks[at + len(place) :][:1] in (b"|", b"/"):
                    return True
                at = marks.find(place, at + 1)
        start = environment.find(variable, start + 1)
    return False


def _environments() -> list[tuple[int, bytes]]:
    found = []
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:  # zombies have an empty environment; processes of other users cannot be read
                    with open(f"/proc/{name}/environ", "rb") as file:
                        found.append((int(name), file.read()))
                except OSError:
                    pass
    else:
        import subprocess  # which Linux does without

        listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False).stdout
        for line in listing.splitlines():
            pid, _, rest = line.strip().partition(b" ")
            if pid.isdigit():
                found.append((int(pid), rest))
    return found


if __name__ == "__main__":
    if not sys.stdin.buffer.read():
        for pause in (0.0, 0.05, 0.2, 0.7):  # a script that was being started has no environment until its exec is over
            time.sleep(pause)
            kill_tree(None, sys.argv[1], sys.argv[2])
