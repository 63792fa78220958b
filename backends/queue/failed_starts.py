"""Failed starts of workers, counted for each place: a machine, a zone of a cloud, a partition, a node.

A place where a worker fails rests, longer each time, and the search goes on in the other places. The search ends if too
many workers in a row fail: at once if none has ever worked and they failed in every place, else once none has worked for
`GIVE_UP_SECONDS`.
"""

from collections import Counter
from collections.abc import Callable

from studio.backends.queue.launcher import Launcher

FIRST_REST_SECONDS = 30.0  # of a place after a failed start there; doubled each time
MAX_REST_SECONDS = 300.0
GIVE_UP_SECONDS = 600.0  # without any worker that works, after which the search ends
MAX_TAKEN_AWAY = 6  # copies in a row that the engine may have taken away, after which nothing more is started


class FailedStarts:
    """The failed starts of the workers of one search, and what follows from them.

    say    tells the user, from any thread
    clock  monotonic, in seconds
    """

    def __init__(self, launcher: Launcher, say: Callable[[str], None], clock: Callable[[], float]):
        self._launcher, self._say, self._clock = launcher, say, clock
        self._in_a_row: list[tuple[str, str, bool]] = []  # place, reason, whether it was taken away; since one worked
        self._count: Counter[str] = Counter()  # failed starts of each place since a worker worked there
        self._rests_until: dict[str, float] = {}
        self._failing_since = 0.0
        self._worked_at: float | None = None  # when a worker last had an experiment

    def add(self, name: str) -> None:
        """Count the copy `name`, which ended before it ran an experiment. Tell the user once for each place."""
        place = self._launcher.place_of(name)
        reason = self._launcher.last_words(name) or "the engine does not say why"
        self._failing_since = self._failing_since if self._in_a_row else self._clock()
        self._in_a_row.append((place, reason, self._launcher.taken_away(name)))
        self._count[place] += 1
        rest = min(FIRST_REST_SECONDS * 2.0 ** (self._count[place] - 1), MAX_REST_SECONDS)
        self._rests_until[place] = self._clock() + rest
        if not place or self._count[place] == 1:
            elsewhere = f"; {place} is tried again later" if place and len(self._launcher.places()) != 1 else ""
            self._say(f"{name} ended before it ran an experiment: {reason}{elsewhere}")

    def worked(self, name: str) -> None:
        """Note that the copy `name` has taken an experiment."""
        place = self._launcher.place_of(name)
        if place and self._count[place]:
            self._say(f"{place} works again")
        self._count.pop(place, None)
        self._rests_until.pop(place, None)
        self._in_a_row.clear()
        self.still_works()

    def still_works(self) -> None:
        """Note that some worker has an experiment now."""
        self._worked_at = self._clock()

    def places_to_avoid(self) -> set[str]:
        """Return the places where no worker is started now; "" stands for an engine without places."""
        now, places = self._clock(), set(self._launcher.places())
        resting = {place for place, until in self._rests_until.items() if until > now}
        if self._worked_at is not None:
            return resting
        if places and places <= resting:  # the search begins: try each place as often as it takes to be sure
            few = self._launcher.max_failed_in_place
            resting = {place for place in resting if self._failed_in_a_row(place) >= few}
            resting = set() if places <= resting else resting
        return resting - {""}

    @property
    def nothing_works(self) -> bool:
        """True if too many workers in a row failed, in every place: then one worker at a time tries again."""
        return bool(self._too_many()) and self._everywhere()

    def end_reason(self) -> str:
        """Return why the search cannot go on, or "" if it can. Tell the user if it waits for a place to work again."""
        why, minutes = self._too_many(), f"{GIVE_UP_SECONDS / 60:.0f} minutes"
        if not why or (self._worked_at is None and self._everywhere()):
            return why
        if self._clock() - max(self._failing_since, self._worked_at or 0.0) >= GIVE_UP_SECONDS:
            return f"{why} (no worker has worked for {minutes})"
        if self._everywhere():
            self._say(f"no worker works now; the search ends if none does within {minutes}: {self._in_a_row[-1][1]}")
        return ""

    def _too_many(self) -> str:
        for taken_away, limit in ((False, self._launcher.max_failed_starts), (True, MAX_TAKEN_AWAY)):
            reasons = [reason for _, reason, taken in self._in_a_row if taken == taken_away]
            if len(reasons) >= limit:
                return f"{len(reasons)} workers in a row failed before they ran an experiment; no more are started: {reasons[-1]}"
        return ""

    def _everywhere(self) -> bool:
        few = self._launcher.max_failed_in_place
        return all(self._failed_in_a_row(place) >= few for place in self._launcher.places())

    def _failed_in_a_row(self, place: str) -> int:
        """Return how often workers failed in `place` since one worked anywhere; a copy without a place counts for all."""
        return sum(where in (place, "") for where, _, _ in self._in_a_row)
