"""`Launcher`: an engine that starts copies of one command, each of which is a worker."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from studio.errors import BadInput, StudioError
from studio.experiment import Resources

TIMEOUT = 60.0  # seconds for one command of an engine
LOG_TAIL = 2000  # bytes


class LauncherError(StudioError):
    """An engine gave no answer, or refused; asking again may help."""


class Refused(LauncherError):
    """An engine will never carry that out as it is: a person has to change something."""


@dataclass(frozen=True)
class Copy:
    """One copy of the command, as its engine tells of it. `reason`: why it waits, in the engine's words."""

    state: Literal["waiting", "running", "ending"]
    reason: str = ""


class Launcher(ABC):
    """Starts copies of one command. Its thread is not the driver's; every method may raise `LauncherError`.

    `{name}` in a command stands for the copy's own name, which `alive` uses, and which has letters, digits and . _ - only.
    All copies carry the name of their search, so that a driver that starts again finds those of the one before.

    poll_interval  seconds between two calls of `alive`, as the engine likes it
    """

    poll_interval: ClassVar[float] = 5.0

    @abstractmethod
    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        """Start `n` more copies, or leave them to the engine to start when it can. Their names, which `alive` has from now
        on until they are gone; where an answer was lost, `alive` alone tells which there are."""

    @abstractmethod
    def alive(self) -> dict[str, Copy]:
        """All copies of this search that exist or may, by name, those of an earlier driver included."""

    @abstractmethod
    def end(self, names: Collection[str] | None = None) -> None:
        """Ask those copies to end, or all of this search, waiting ones included. One that is gone is no error."""

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        """What `start` would send: pure text."""
        return ""

    def last_words(self, name: str) -> str:
        """Why that copy ended: the engine's reason and the end of its log, in one line, or ""."""
        return ""


def run_tool(argv: Sequence[str], *, input: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """The standard output of an engine's own command. BadInput where it is not installed, `LauncherError` where it
    fails or takes longer than a minute; both quote it."""
    try:
        done = subprocess.run(
            argv,
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL if input is None else None,
            start_new_session=True,  # a Ctrl-C is the driver's to hear
        )
    except FileNotFoundError:
        raise BadInput(f"{argv[0]} is not installed on this machine, or is not in PATH") from None
    except subprocess.TimeoutExpired:
        raise LauncherError(f"{argv[0]} gave no answer within {TIMEOUT:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-500:]
        raise LauncherError(f"{argv[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def worker_command(url: str, *, idle: float, slots: int = 1, program: Sequence[str] = ()) -> list[str]:
    """The command of a worker of this search. `program`: what runs Studio there; by default this installation."""
    beside = shutil.which("studio", path=str(Path(sys.executable).parent))
    how = list(program) or [beside or "studio"]
    return [*how, "worker", url, "--name={name}", f"--idle={idle:g}s", *([f"--slots={slots}"] if slots > 1 else [])]


def shell_line(command: Sequence[str], name: str) -> str:
    """`command` as a line for a shell, with `name`, such as `"$SLURM_JOB_ID"`, for `{name}`."""
    return " ".join(_quoted(word, name) for word in command)


def tail(log: Path) -> str:
    """The end of that log, or "" without one."""
    try:
        return log.read_bytes()[-LOG_TAIL:].decode(errors="replace")
    except OSError:
        return ""


def last_line(*texts: str) -> str:
    """The words of `texts` that are not blank, joined in one line: reasons first, then the end of a log."""
    lines = [" | ".join(line.strip() for line in text.splitlines()[-6:] if line.strip()) for text in texts]
    return re.sub(r"\s+", " ", "; ".join(line for line in lines if line))[-1000:]


def _quoted(word: str, name: str) -> str:
    return name.join(shlex.quote(part) if part else "" for part in word.split("{name}")) or "''"
