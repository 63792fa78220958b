"""All processes of an experiment, found by process group and by a mark in their environment.

    STUDIO_MARKS = "|SESSION=FOLDER|"    a driver's session and the run's folder; a search inside a search appends its own

No process id is ever stored: after a restart of the machine it would belong to another process.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.system import watchdog
from studio.system.watchdog import MARK_VARIABLE, kill_tree, processes_of

__all__ = [
    "MARK_VARIABLE",
    "Watchdog",
    "has_own_session",
    "kill_tree",
    "mark_for",
    "output_within",
    "processes_of",
    "signal_tree",
]


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


def has_own_session(pid: int) -> bool:
    """Return whether `pid`, started in a new session and not waited for, has entered it; until then Ctrl-C reaches it."""
    try:
        return os.getsid(pid) == pid
    except OSError:  # macOS forgets the session of an ended process
        return True


def output_within(argv: Sequence[str], folder: Path, seconds: float, env: Mapping[str, str] | None = None) -> str:
    """Return the standard output of the command in `folder` after its end, or after `seconds`; all that it started is ended.

    `env` has more variables than this process has. The output is empty if the command cannot be started.
    """
    session = secrets.token_hex(4)
    variables = {**os.environ, **(env or {}), MARK_VARIABLE: mark_for(os.environ, session, str(folder))}
    with tempfile.TemporaryFile() as output:  # a pipe would be read until the last process that has it ends
        try:
            done = subprocess.Popen(
                argv,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return ""
        try:
            done.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill_tree(done.pid, str(folder), session)
            done.wait()
        output.seek(0)
        return output.read().decode(errors="replace")


class Watchdog:
    """A process that, when this one dies by whatever signal, kills all that `session` started below `folder`.

    Processes that a new driver started there are spared. The watchdog waits for the end of its standard input, which the
    kernel closes with its owner.
    """

    def __init__(self, folder: str, session: str):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, folder, session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )

    def dismiss(self) -> None:
        """End the watchdog without killing anything."""
        with contextlib.suppress(OSError):
            self._process.communicate(b"all is well")
