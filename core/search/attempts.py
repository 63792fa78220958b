"""The attempts of each experiment: which is the latest, which go on from an earlier session, which wait to be made."""

from collections import deque
from collections.abc import Iterator

from studio.experiment import Experiment
from studio.project.store import Store


class Attempts:
    """`retries`: class of failure -> how often it is tried again by itself."""

    def __init__(self, store: Store, retries: dict[str, int]):
        self._store = store
        self._retries = retries
        self._latest: dict[int, int] = {}
        self._begun: set[int] = set()  # whose latest attempt waits, or was cut off with an earlier driver
        self._waiting: deque[int] = deque()

    def __contains__(self, number: int) -> bool:
        """Whether experiment `number` waits for another attempt."""
        return number in self._waiting

    def __iter__(self) -> Iterator[int]:
        return iter(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next(self) -> int:
        return self._waiting.popleft()

    def begin(self, number: int, snapshot: str, slot: int) -> int:
        """The attempt that experiment `number` makes now. One that was cut off is the same one: the backend attaches
        to it, or repeats it."""
        if number in self._begun:
            self._begun.remove(number)
        else:
            self._latest[number] = self._latest.get(number, 0) + 1
        self._store.attempt_started(number, self._latest[number], snapshot, slot)
        return self._latest[number]

    def answered(self, number: int) -> None:
        """Experiment `number` was answered from the record: that is its first attempt."""
        self._latest[number] = 1

    def again(self, number: int) -> int:
        """Experiment `number` will be tried again, by whichever driver is at work then. Returns the attempt's number."""
        self._latest[number] = self._latest.get(number, 0) + 1
        self._begun.add(number)
        self._store.attempt_queued(number, self._latest[number])
        self._waiting.append(number)
        return self._latest[number]

    def left(self, number: int, failure: str) -> int:
        """How often experiment `number` may still be tried again after it failed in that way, which is in the record."""
        return self._retries.get(failure, 0) - self._store.failures(number, failure) + 1

    def take_up(self, experiment: Experiment, *, untold: bool) -> None:
        """What an earlier session left of `experiment`. The search asks for `untold` ones again, of itself."""
        if experiment.folder is None:
            return
        self._latest[experiment.number] = experiment.attempt
        unended = experiment.status in ("running", "queued")
        if unended:
            self._begun.add(experiment.number)
        if (unended or experiment.status == "stopped") and not untold:
            self._waiting.append(experiment.number)
