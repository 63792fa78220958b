"""Requests to a running driver, except to stop: pause, retry, more budget, values by hand."""

import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from studio.errors import BadInput
from studio.format import counted
from studio.project.inbox import Request
from studio.project.store import Store
from studio.search.ask_tell.search import Search
from studio.search.loop.attempts import Attempts
from studio.search.observer import Progress
from studio.search.plan.plan import Plan


class Control:
    """The control of a running search: starts the session in the record, carries out requests, records the changes.

    meta "taken": names of request files that were carried out, and perhaps not removed
    """

    def __init__(self, plan: Plan, search: Search, store: Store, attempts: Attempts, progress: Progress):
        self._plan, self._search, self._store = plan, search, store
        self._attempts, self._progress = attempts, progress
        self.paused = False
        self._pauses: list[list[float | None]] = []
        self.max_time = plan.settings.max_time
        store.begin_session(plan.settings.num_workers, progress.total, self.max_time)

    def rest(self, seconds: float) -> tuple[()]:
        """Sleep while paused with nothing running."""
        if self.paused:
            time.sleep(seconds)
        return ()

    @contextlib.contextmanager
    def taking(self, note: Path) -> Iterator[bool]:
        """Carry out the request in file `note` once: yield whether it is new, and remember it in the same commit.

        A driver that was killed between the commit and the removal has left the file behind.
        """
        with self._store.transaction():
            taken = [name for name in self._store.meta("taken") or () if (note.parent / name).exists()]
            yield note.name not in taken
            self._store.set_meta("taken", [*taken, note.name])
        note.unlink(missing_ok=True)

    def take(self, request: Request, running: Collection[int]) -> str:
        """Carry out a request other than stop; return a message for the user, or an empty text."""
        if request.action == "retry":
            return self._retry(request.numbers, running)
        if request.action == "queue":
            words = self._queue(request.values)
        elif request.action == "budget":
            words = self._add_budget(request.experiments, request.seconds)
        else:
            self._pause(request.action == "pause")
            words = "paused: no more experiments are started" if self.paused else "continuing"
        self._record()
        return words

    def _pause(self, paused: bool) -> None:
        if paused and not self.paused:
            self._pauses.append([time.time(), None])
        elif self.paused and not paused:
            self._pauses[-1][1] = time.time()
        self.paused = paused

    def _retry(self, numbers: Collection[int], running: Collection[int]) -> str:
        asked, untold = {experiment.number for experiment in self._search.experiments}, set(self._search.untold)
        words = []
        for number in numbers:
            if number in running or number in self._attempts:
                words.append(f"#{number} has not ended yet; retry it afterwards")
            elif number in asked and (number not in untold or self._was_stopped(number)):
                self._attempts.queue_retry(number)
        return "; ".join(words)

    def _was_stopped(self, number: int) -> bool:
        return self._store.experiment(number, self._plan.metric).status == "stopped"

    def _queue(self, values: dict[str, Any]) -> str:
        try:
            number = self._search.add(values)
        except BadInput as error:  # requests are checked before they are written, but other programs may write one
            return str(error)
        self._resize()
        return f"#{number} was added by hand"

    def _add_budget(self, experiments: int, seconds: float) -> str:
        words = []
        if experiments and self._search.max_experiments is not None:
            self._search.max_experiments += experiments
            self._resize()
            stored = self._store.meta("settings") or {}
            self._store.set_meta("settings", {**stored, "max_experiments": self._search.max_experiments})
            words.append(counted(experiments, "experiment"))
        if seconds and self.max_time is not None:
            self.max_time += seconds
            words.append(f"{seconds:g} s")
        return f"added to the budget: {', '.join(words)}" if words else ""

    def _resize(self) -> None:
        if self._progress.total is not None:
            self._progress.total = self._search.size

    def _record(self) -> None:
        self._store.change_session(self._progress.total, self.max_time, self._pauses)
