"""Work in threads that end with the process: nobody who pressed Ctrl-C waits for an upload.

`concurrent.futures.ThreadPoolExecutor` has threads that the interpreter waits for at its end.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Background:
    """Runs functions, `threads` at a time, in the order in which they came."""

    def __init__(self, threads: int, name: str):
        self._threads, self._free, self._name = threads, threads, name
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Its result, or what it raised, comes with the future."""
        future: Future[Any] = Future()
        self._waiting.put((future, lambda: function(*arguments)))
        if self._free:  # a thread for each of the first ones
            self._free -= 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """What has not begun yet is cancelled, and nothing waits for what has."""
        with contextlib.suppress(queue.Empty):
            while (item := self._waiting.get_nowait()) is not None:
                item[0].cancel()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


class Once:
    """Says each text once."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
