"""What a failure leads to, for each class of failure; and when a search should stop because nothing works any more."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import BadInput
from studio.experiment import FAILURES, Experiment
from studio.text import did_you_mean

FIRST = 5  # that many fail and nothing ever completed
IN_A_ROW = 20  # or that many fail one after the other
RETRIES = {"lost": 3}  # by default: that a machine is gone says nothing about the script

_ALL: list[str] = list(FAILURES)

Given = int | str | Mapping[str, Any] | Sequence[str] | None


def parse_retries(given: Given) -> dict[str, int]:
    """How often each class of failure is tried again: `2` for all, `memory=0`, `lost=5,timeout=1`, or several of these."""
    retries = dict.fromkeys(_ALL, 0) | RETRIES
    for part, failure, text in _by_class(given, "--retry-failed"):
        if not text.isdecimal() or len(text) > 9:
            raise BadInput(f"--retry-failed {part!r} is no number of retries; write for example 2, or memory=0,lost=5")
        retries |= dict.fromkeys([failure] if failure else _ALL, int(text))
    return retries


def parse_endings(given: Given) -> list[str]:
    """The classes of failure that end the search: `stop`, `continue`, `crash=stop,timeout=continue`, or several of these."""
    ends = dict.fromkeys(_ALL, False)
    for part, failure, text in _by_class(given, "--on-failure"):
        if text not in ("continue", "stop"):
            raise BadInput(f"--on-failure {part!r} is neither continue nor stop; for one class write crash=stop")
        ends |= dict.fromkeys([failure] if failure else _ALL, text == "stop")
    return [failure for failure, stops in ends.items() if stops]


def _by_class(given: Given, option: str) -> list[tuple[str, str | None, str]]:
    """(as it was given, class or None for all, what is said of it), in order."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        given = [f"{failure}={value}" for failure, value in given.items()]
    texts = given if isinstance(given, Sequence) and not isinstance(given, str) else [str(given)]
    found: list[tuple[str, str | None, str]] = []
    for part in (part.strip() for text in texts for part in str(text).split(",")):
        failure, equals, value = (word.strip() for word in part.rpartition("="))
        if equals and failure not in FAILURES:
            raise BadInput(f"{option} {part!r}: {failure!r} is no class of failure{did_you_mean(failure, FAILURES)}")
        found.append((part, failure if equals else None, value))
    return found


class FailureWatch:
    def __init__(self) -> None:
        self._reasons: deque[str] = deque(maxlen=IN_A_ROW)
        self.any_completed = False

    def hopeless(self, experiment: Experiment) -> str:
        """Takes note of an experiment that ended; the word to the user when the search should be given up, else empty."""
        if experiment.status == "completed":
            self.any_completed = True
            self._reasons.clear()
        elif experiment.status == "failed":
            self._reasons.append(experiment.reason)
        if len(self._reasons) < (IN_A_ROW if self.any_completed else FIRST):
            return ""
        reason, often = Counter(self._reasons).most_common(1)[0]
        return f"giving up: {len(self._reasons)} experiments failed one after the other, {often} of them with: {reason}"
