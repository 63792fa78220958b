"""Passing a value on the command line: as text, in place of the present one, or appended."""

from collections.abc import Sequence

from studio.errors import SubstitutionError
from studio.experiment import plain


def as_text(value: object) -> str:
    """Return `value` as text for the command line or the environment; booleans as Python's `True`, the common form."""
    return str(plain(value))


def as_switch(name: str, value: object) -> bool:
    """Return whether a flag is on, for True, False, 1, 0 and their texts. SubstitutionError for any other value."""
    known = {"true": True, "1": True, "1.0": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "0.0": False, "no": False, "off": False, "none": False, "": False}
    text = str(plain(value)).lower()
    if text not in known:
        raise SubstitutionError(f"{name} is a flag, which is on or off, and cannot be {value!r}; write true,false")
    return known[text]


def set_option(
    arguments: list[str], spellings: Sequence[str], new: Sequence[str], *, front: bool, width: int = 1
) -> None:
    """Put `new` in place of one of `spellings` and its `width` values, else at the front or the end."""
    at = index_of(arguments, spellings)
    if at is not None:
        stop = at + 1 + (0 if "=" in arguments[at] else width)
        arguments[at:stop] = new
    elif front:
        arguments[:0] = new
    else:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[end:end] = new


def given_text(arguments: Sequence[str], spellings: Sequence[str]) -> str | None:
    """The text that is given to one of `spellings` today; empty for a flag, None where it does not stand there."""
    at = index_of(arguments, spellings)
    if at is None:
        return None
    _, equals, text = arguments[at].partition("=")
    return text if equals else arguments[at + 1] if at + 1 < len(arguments) else ""


def index_of(arguments: Sequence[str], spellings: Sequence[str]) -> int | None:
    """Return the index of the last argument that is one of `spellings`, or begins with it and `=`; the last one counts."""
    stop = arguments.index("--") if "--" in arguments else len(arguments)
    for index in reversed(range(stop)):
        if arguments[index].partition("=")[0] in spellings:
            return index
    return None
