"""Attempts of experiments: the latest of each, those to continue from an earlier session, and waiting retries."""

from collections import deque
from collections.abc import Iterator

from studio.experiment import UNFINISHED, Experiment
from studio.project.store import Store


class Attempts:
    """The attempts of all experiments. `retries`: class of failure -> number of automatic retries."""

    def __init__(self, store: Store, retries: dict[str, int]):
        self._store = store
        self._retries = retries
        self._latest: dict[int, int] = {}
        # experiments whose latest attempt waits, or was interrupted with an earlier driver
        self._reusable: set[int] = set()
        self._waiting: deque[int] = deque()

    def __contains__(self, number: int) -> bool:
        """Return whether experiment `number` waits for another attempt."""
        return number in self._waiting

    def __iter__(self) -> Iterator[int]:
        return iter(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next(self) -> int:
        return self._waiting.popleft()

    def start(self, number: int, snapshot: str, slot: int) -> int:
        """Start the next attempt of experiment `number` and return its number.

        An interrupted attempt keeps its number: the backend attaches to it, or repeats it.
        """
        if number in self._reusable:
            self._reusable.remove(number)
        else:
            self._latest[number] = self._latest.get(number, 0) + 1
        self._store.attempt_started(number, self._latest[number], snapshot, slot)
        return self._latest[number]

    def set_answered(self, number: int) -> None:
        """Record that experiment `number` was answered from the record, as its first attempt."""
        self._latest[number] = 1

    def queue_retry(self, number: int) -> int:
        """Queue a retry of experiment `number`, for this or a later driver. Return the attempt's number."""
        self._latest[number] = self._latest.get(number, 0) + 1
        self._reusable.add(number)
        self._store.attempt_queued(number, self._latest[number])
        self._waiting.append(number)
        return self._latest[number]

    def retries_left(self, number: int, failure: str) -> int:
        """Return how many retries experiment `number` has left, including one for the recorded failure of this class."""
        return self._retries.get(failure, 0) - self._store.failures(number, failure) + 1

    def restore(self, experiment: Experiment, *, untold: bool) -> None:
        """Restore the attempts of `experiment` from an earlier session. The search itself asks `untold` ones again."""
        if experiment.folder is None:
            return
        self._latest[experiment.number] = experiment.attempt
        unended = experiment.status in UNFINISHED
        if unended:
            self._reusable.add(experiment.number)
        if (unended or experiment.status == "stopped") and not untold:
            self._waiting.append(experiment.number)
