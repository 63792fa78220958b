"""What is known of an experiment while it runs, and the live value of its metric on its way into the record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from studio.execution.metric import Summary
from studio.experiment import Run
from studio.project.store import Store
from studio.search.observer import Progress

WRITE_EVERY = 0.3  # seconds: not once a report, and soon enough for who watches a page


@dataclass
class Slot:
    run: Run
    summary: Summary
    slot: int  # from 0, the lowest that was free
    written: float | None = None  # the metric value that the record has
    reports: int = 0
    pruned: bool = False  # the optimizer asked for its end


class LiveMetrics:
    def __init__(self, store: Store, clock: Callable[[], float]):
        self._store = store
        self._clock = clock
        self._written = clock()

    def write(self, slots: Mapping[int, Slot], progress: Progress) -> None:
        """Bring the values of running experiments into the record and before the user's eyes, where it is time."""
        if self._clock() - self._written < WRITE_EVERY:
            return
        self._written = self._clock()
        for number, slot in slots.items():
            if slot.summary.finite and slot.summary.value != slot.written:
                slot.written = slot.summary.value
                self._store.attempt_metric(number, slot.run.attempt, slot.written)
                values, started, _ = progress.running[number]
                progress.running[number] = (values, started, slot.written)
