"""One value in a configuration file: its keys, where it stands, and how another is written there."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scalar:
    """One value.

    keys         from the outside; the item of a list is `layers[0]`
    start, stop  offsets into the UTF-8 text
    value        as the format's own parser gives it
    write        its text for another value; SubstitutionError for what the format cannot say
    """

    keys: tuple[str, ...]
    start: int
    stop: int
    line: int
    value: object
    write: Callable[[object], str]
