"""The interface of a `Launcher`: an engine that starts copies of one command, each of which is a worker."""

import math
import re
import shlex
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from studio.errors import BadInput, StudioError
from studio.experiment import Resources

TIMEOUT = 60.0  # seconds for one command of an engine
LOG_TAIL = 2000  # bytes


class LauncherError(StudioError):
    """An engine did not respond, or refused; a retry may help."""


class Refused(LauncherError):
    """An engine will never accept the request: the user has to change something."""


@dataclass(frozen=True)
class Copy:
    """A copy of the command, as reported by its engine. `reason`: why it waits, in the engine's words."""

    state: Literal["waiting", "running", "ending"]
    reason: str = ""


class Launcher(ABC):
    """Launcher of copies of one command. Not called in the driver's thread; every method may raise `LauncherError`.

    `{name}` in a command stands for the copy's name, used by `alive`, which has only letters, digits and . _ -.
    All copies carry the name of their search, so that a new driver finds those of an earlier one.

    poll_interval        seconds between two calls of `alive`, suited to the engine
    max_failed_starts    copies in a row that end before they run an experiment, after which no more are started
    max_failed_in_place  the same for each of `places`, all of which must have failed as often
    start_timeout        seconds in which a running copy has to report; one that does not is ended
    end_timeout          seconds that the engine may take to end all copies
    """

    poll_interval: ClassVar[float] = 5.0
    max_failed_starts: ClassVar[int] = 3
    max_failed_in_place: ClassVar[int] = 3
    start_timeout: ClassVar[float] = math.inf
    end_timeout: ClassVar[float] = 60.0

    @abstractmethod
    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        """Start `n` more copies, or queue them in the engine, and return their names; fewer if there is no room for now.

        `alive` has these names from now on until the copies end. If a response was lost, only `alive` knows the copies.
        What the engine needs to find them is on disk before it is asked.
        """

    @abstractmethod
    def alive(self) -> dict[str, Copy]:
        """Return all copies of this search that exist or may exist, by name, including those of an earlier driver."""

    @abstractmethod
    def end(self, names: Collection[str] | None = None) -> None:
        """End those copies, or all of this search, including waiting ones. A missing copy is no error."""

    def interrupt(self) -> None:  # noqa: B027 - most engines take one request
        """Start no more copies, also in a call of `start` that is under way. From any thread."""

    def places(self) -> Collection[str]:
        """Return the places between which `start` can choose, such as machines or zones; empty if they are unknown."""
        return ()

    def place_of(self, name: str) -> str:
        """Return the place of a copy, also after it has ended; "" if it is unknown, or if there is only one."""
        return ""

    def avoid(self, places: Collection[str]) -> None:  # noqa: B027 - most engines choose the place themselves
        """Start no copies in these places, where earlier ones failed, until the next call."""

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        """Return the text that `start` would send."""
        return ""

    def last_words(self, name: str) -> str:
        """Return why that copy ended: the engine's reason and the end of its log, in one line, or ""."""
        return ""

    def taken_away(self, name: str) -> bool:
        """Return whether the engine may have taken that copy away, which is no fault of it: more of these may fail in a row."""
        return False


def run_tool(argv: Sequence[str], *, input: str | None = None) -> str:
    """Run an engine's command and return its standard output.

    Raises BadInput if it is not installed, `LauncherError` if it fails or takes longer than a minute; both quote it.
    """
    try:
        done = subprocess.run(
            argv,
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL if input is None else None,
            start_new_session=True,  # a Ctrl-C is the driver's to hear
        )
    except FileNotFoundError:
        raise BadInput(f"{argv[0]} is not installed on this machine, or is not in PATH") from None
    except subprocess.TimeoutExpired:
        raise LauncherError(f"{argv[0]} did not respond within {TIMEOUT:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-500:]
        raise LauncherError(f"{argv[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def worker_command(url: str, *, idle: float, slots: int = 1, program: Sequence[str] = ()) -> list[str]:
    """Return the command of a worker of this search. `program`: how to run Studio there; default: this installation."""
    beside = shutil.which("studio", path=str(Path(sys.executable).parent))
    how = list(program) or [beside or "studio"]
    return [*how, "worker", url, "--name={name}", f"--idle={idle:.10g}s", *([f"--slots={slots}"] if slots > 1 else [])]


def shell_line(command: Sequence[str], name: str) -> str:
    """Return `command` as a line for a shell, with `name`, such as `"$SLURM_JOB_ID"`, for `{name}`."""
    return " ".join(_quoted(word, name) for word in command)


def tail(log: Path) -> str:
    """Return the end of that log, or "" if there is none."""
    try:
        return log.read_bytes()[-LOG_TAIL:].decode(errors="replace")
    except OSError:
        return ""


def last_line(*texts: str) -> str:
    """Return the words of `texts`, joined in one line: reasons first, then the end of a log."""
    lines = [" | ".join(line.strip() for line in text.splitlines()[-6:] if line.strip()) for text in texts]
    return re.sub(r"\s+", " ", "; ".join(line for line in lines if line))[-1000:]


def _quoted(word: str, name: str) -> str:
    return name.join(shlex.quote(part) if part else "" for part in word.split("{name}")) or "''"
