"""A value in a configuration file: its keys, its position, and how another value is written there."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scalar:
    """A value of a configuration file.

    keys         outermost first; the item of a list is `layers[0]`
    start, stop  offsets into the UTF-8 text
    value        as parsed by the format's parser
    write        returns the text of another value; SubstitutionError if the format cannot express it
    """

    keys: tuple[str, ...]
    start: int
    stop: int
    line: int
    value: object
    write: Callable[[object], str]
