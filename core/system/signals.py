"""Ctrl-C once drains, twice ends, a third time kills; SIGTERM and SIGHUP begin at the second step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

WORDS = (  # of each step
    "waiting for {} running experiments (Ctrl-C again ends them, once more kills them)",
    "ending {} running experiments (Ctrl-C once more kills them)",
    "killing {} running experiments",
)


class Interrupts:
    """Counts the signals that ask the driver to end, instead of letting them fly through its loop."""

    count = 0

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Signals are counted inside. Only the main thread may do that: elsewhere nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]  # as under nohup, or & in a script
        before = {number: signal.signal(number, self._hear) for number in heard}
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # the kernel would forget how scripts ended
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count = self.count + 1 if number == signal.SIGINT else max(self.count + 1, 2)
