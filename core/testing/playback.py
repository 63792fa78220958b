"""Playback of recorded files to a metric reader, in pieces, with a time limit, a count of bytes read, and comparisons."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from studio.experiment import Report, Run


class TooLong(BaseException):
    pass


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong after `seconds`, even during a blocking system call. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def place(run: Run, path: str) -> Path:
    return Path(run.folder, path)


def append(run: Run, path: str, data: bytes) -> None:
    target = place(run, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "ab") as file:
        file.write(data)


def files(run: Run) -> dict[str, bytes]:
    """Return relative path -> contents of all files of `run`, in order."""
    found = sorted(path for path in Path(run.folder).rglob("*") if path.is_file())
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in found}


def bytes_read() -> int:
    with open("/proc/self/io", "rb", buffering=0) as file:
        return int(file.read(1000).split()[1])


def values_of(reports: list[Report]) -> list[float]:
    return [report.value for report in reports]


def check(got: list[Report] | list[float], expected: Sequence[float], why: str) -> None:
    values = [item.value if isinstance(item, Report) else item for item in got]
    same = list(map(repr, values)) == list(map(repr, map(float, expected)))  # nan equals nan
    assert same, f"reported {short(values)}, written {short(expected)}: {why}"


def short(values: Sequence[float]) -> str:
    return str(list(values)) if len(values) <= 20 else f"{len(values)} values"
