"""What the machines of both simulators have in place of a network, and of a clock of their own."""

import contextlib
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

LONGEST_HELD = 60.0  # seconds, in case that nobody lets a request go

UV = r"""#!/bin/bash
# `uv venv [...] FOLDER` and `uv pip install [...]` without a network: what comes out is the environment of the tests
case "$1 ${2-}" in
"pip install")
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
    --python) shift ;;
    -r) shift; [ -f "$1" ] || exit 2
      if grep '^no-such-package' "$1"; then echo "no solution found: it was not found in the package registry" >&2; exit 1; fi ;;
    /*) [ -f "${1%%\[*}" ] || exit 2 ;;
    no-such-package*) echo "no solution found: $1 was not found in the package registry" >&2; exit 1 ;;
    esac
    shift
  done ;;
"venv "*)
  mkdir -p "${!#}/bin"
  for each in python python3 studio; do
    printf '#!/bin/sh\nPYTHONPATH=%s${PYTHONPATH:+:$PYTHONPATH} exec "OURS/%s" "$@"\n' 'PATHS' "$each" >"${!#}/bin/$each"
    chmod +x "${!#}/bin/$each"
  done ;;
*) exit 2 ;;
esac
"""

# As sitecustomize.py it moves the clock that Python programs see. What has passed is measured right, as on a real one.
CLOCK = """
import datetime
import time

OFF = {seconds!r}
seconds, nanoseconds, gmtime, localtime, Real = time.time, time.time_ns, time.gmtime, time.localtime, datetime.datetime
time.time = lambda: seconds() + OFF
time.time_ns = lambda: nanoseconds() + int(OFF * 1e9)
time.gmtime = lambda at=None: gmtime(time.time() if at is None else at)
time.localtime = lambda at=None: localtime(time.time() if at is None else at)


class Kind(type):
    def __instancecheck__(self, it):
        return isinstance(it, Real)


class Shifted(Real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return Real.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return Real.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


datetime.datetime = Shifted
"""


def install(folder: Path, shutdown: str, poweroff: str, clock: float) -> dict[str, str]:
    """Programs into `folder`/bin, and the environment of what runs there. `clock`: seconds that it is wrong by."""
    for name in ("bin", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    uv = UV.replace("OURS", str(Path(sys.executable).parent)).replace("PATHS", os.environ.get("PYTHONPATH", ""))
    for name, text in {"shutdown": shutdown, "poweroff": poweroff, "uv": uv}.items():
        file = folder / "bin" / name
        file.write_text(text)
        file.chmod(0o755)
    found = {
        "PATH": f"{folder}/bin:/usr/bin:/bin",
        "HOME": f"{folder}/home",
        "TMPDIR": f"{folder}/tmp",
        "LANG": "C.UTF-8",
    }
    return found | ({"PYTHONPATH": wrong_clock(folder / "clock", clock)} if clock else {})


def wrong_clock(folder: Path, seconds: float) -> str:
    """A PYTHONPATH whose Python programs have a clock that is wrong by that."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK.format(seconds=seconds))
    return str(folder)


@dataclass
class Wrong:
    """What is wrong with the next `times` machines; None: with all."""

    mute: bool = False
    clock: float = 0.0
    times: int | None = None

    def next(self) -> tuple[bool, float]:
        if self.times == 0:
            return False, 0.0
        if self.times is not None:
            self.times -= 1
        return self.mute, self.clock


def running(variable: str) -> dict[str, list[int]]:
    """Process ids by the value that `variable` has in their environment. One look for all machines: it reads all of /proc."""
    found: dict[str, list[int]] = defaultdict(list)
    name = f"{variable}=".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:  # ended, or another user's
                data = b"\0" + file.read()
                if (at := data.find(b"\0" + name)) >= 0:
                    found[data[at + 1 + len(name) :].partition(b"\0")[0].decode()].append(int(entry))
    return found
