"""Suggestions with values that were seen before: they are answered from the record instead of being run again."""

import json
from typing import Any

from studio.experiment import plain
from studio.space import Suggestion


class Repeats:
    """Which experiment had which values first, and which suggestions wait for one that still runs."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._waiting: dict[int, list[Suggestion]] = {}

    def note(self, number: int, values: dict[str, Any]) -> None:
        self._first.setdefault(_identity(values), number)

    def first_with(self, suggestion: Suggestion) -> int | None:
        """The number of another experiment with these values."""
        number = self._first.get(_identity(suggestion.values))
        return None if number == suggestion.number else number

    def wait(self, number: int, suggestion: Suggestion) -> None:
        self._waiting.setdefault(number, []).append(suggestion)

    def release(self, number: int) -> list[Suggestion]:
        """Those who waited for experiment `number`."""
        return self._waiting.pop(number, [])

    def forget(self, number: int, values: dict[str, Any]) -> None:
        """Experiment `number` gave no outcome: the next one with its values has to run."""
        if self._first.get(_identity(values)) == number:
            del self._first[_identity(values)]


def _identity(values: dict[str, Any]) -> str:
    return json.dumps({name: plain(value) for name, value in values.items()}, sort_keys=True)
