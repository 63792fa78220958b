"""Daemon threads: they end with the process, so that Ctrl-C does not wait for an upload.

The interpreter waits at exit for threads of `concurrent.futures.ThreadPoolExecutor`.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Background:
    """Runner of functions in `threads` daemon threads, in order of submission."""

    def __init__(self, threads: int, name: str):
        self._threads, self._free, self._name = threads, threads, name
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run the function in a thread; return a future of its result or exception."""
        future: Future[Any] = Future()
        self._waiting.put((future, lambda: function(*arguments)))
        if self._free:  # a thread for each of the first ones
            self._free -= 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Cancel functions that have not started, without waiting for the others."""
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
    """A function that passes on each text once."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
