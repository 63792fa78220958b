"""Signals that end a command.

While a search runs: Ctrl-C once drains, twice stops, three times kills; SIGTERM and SIGHUP start at the second step. Before
and after: Ctrl-C ends the command, even if a library swallows the exception. A signal that is ignored at the start stays
ignored: `nohup` ignores SIGHUP, and a shell ignores SIGINT for background commands of a script.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

WORDS = (  # one for each step, with "2 running experiments" in it
    "waiting for {} (Ctrl-C again ends them, once more kills them)",
    "ending {} (Ctrl-C once more kills them)",
    "killing {}",
)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], Any]

_interrupted = False  # whether Ctrl-C came since `remember_interrupts`
_heard = False  # whether `Interrupts.heard` was entered since then


def handle(numbers: Iterable[int], handler: Handler) -> dict[int, Any]:
    """Install `handler` for those signals that are not ignored, and return the previous handlers."""
    return {n: signal.signal(n, handler) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}


def remember_interrupts() -> None:
    """Make Ctrl-C raise KeyboardInterrupt as usual, and remember it for `check_interrupted`.

    An exception that a signal raises in a finalizer, a callback of the garbage collector or a C extension that is being
    imported is dropped there, and the program continues.
    """
    global _interrupted, _heard
    _interrupted = _heard = False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _interrupt)
    report = sys.unraisablehook

    def unraisable(dropped: Any) -> None:
        if not (_interrupted and issubclass(dropped.exc_type, KeyboardInterrupt)):
            report(dropped)

    sys.unraisablehook = unraisable


def was_interrupted() -> bool:
    """Return whether Ctrl-C came outside of `Interrupts.heard`."""
    return _interrupted


def were_heard() -> bool:
    """Return whether `Interrupts.heard` was entered: a search has begun."""
    return _heard


def check_interrupted() -> None:
    """Raise KeyboardInterrupt if an earlier one was swallowed."""
    if _interrupted:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


class Interrupts:
    """Counter of the signals that ask the driver to end; they raise no exception in its loop."""

    count = 0

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Count signals inside the block. Only the main thread can do that; in other threads nothing changes."""
        global _heard
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        check_interrupted()
        _heard = True
        before = handle(ENDING, self._hear)
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # else the kernel discards the exit codes of scripts
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count = self.count + 1 if number == signal.SIGINT else max(self.count + 1, 2)
