"""Texts: removal of control characters, literals as values, and near misses as hints."""

import difflib
import math
import re
from collections.abc import Iterable

_INT = re.compile(r"[+-]?\d{1,4000}", re.ASCII)  # int() refuses longer ones
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ITEM = re.compile(r"""\s*((?:[^,'"=]*=\s*)?(?:'[^']*'|"[^"]*")|[^,]*)\s*(,|\Z)""")
SHOWN = 20  # names that a hint lists
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False}

# ECMA-48: CSI; OSC, DCS, PM, APC and SOS with their text up to BEL or ST; a charset (`tput sgr0`); the other two-byte ones
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|[\]PX^_][^\x07\x1b\r\n]{0,4000}+(?:\x07|\x1b\\)|[()*+][0-9A-Za-z]|[6-9=>@-OQ-WYZ\\|}~cno])"
)


def clean(text: str) -> str:
    """Return `text` on one line, without control characters and escape sequences."""
    return "".join(c if c.isprintable() else " " for c in text)


def without_escapes(text: bytes) -> bytes:
    """Return `text` without its control sequences. A sequence that is cut off stays."""
    return _SEQUENCE.sub(b"", text) if b"\x1b" in text else text


def parse_literal(text: str) -> object:
    """Return the value that `text` writes: int, float, True, true, False, false, None, a quoted string, else the text itself.

    `nan`, `inf` and numbers that a float cannot hold stay text.
    """
    text = text.strip()
    if is_number(text):
        return int(text) if _INT.fullmatch(text) else float(text)
    if text in _WORDS:
        return _WORDS[text]
    return text[1:-1] if is_quoted(text) else text


def is_quoted(text: str) -> bool:
    """Return whether `text` is one quoted string. There are no escapes, so that paths with backslashes stay intact."""
    return len(text) >= 2 and text[0] in "'\"" and text.find(text[0], 1) == len(text) - 1


def split_items(text: str) -> list[str]:
    """Return the items between commas, except commas in quotes: `a,'b,c'`, or `x='b,c'`."""
    items, position, more = [], 0, True
    while more:
        match = _ITEM.match(text, position)
        assert match is not None  # it matches every text, at least emptily
        items.append(match[1].strip())
        position, more = match.end(), bool(match[2])
    return items


def is_number(text: str) -> bool:
    return bool(_FLOAT.fullmatch(text.strip())) and math.isfinite(float(text))


def did_you_mean(word: str, known: Iterable[str], meant: Iterable[str] = ()) -> str:
    """`; did you mean 'x'?` with those that are `meant` for certain, else the closest of `known`, in whatever case, or the
    whole list where nothing is close."""
    known = sorted(known)
    alike = {name.casefold(): name for name in reversed(known)}
    close = sorted(meant) or [
        alike[name] for name in difflib.get_close_matches(word.casefold(), alike, n=3, cutoff=0.6)
    ]
    if close:
        return "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    some = ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
    return f"; there are: {some}" if known else "; there are none"
