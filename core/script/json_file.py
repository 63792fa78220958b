"""JSON, also with comments and trailing commas: each value by its keys."""

import json
import math
import re
from collections.abc import Iterator
from functools import partial

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.scalar import Scalar

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)|(?P<text>"(?:\\.|[^"\\])*")|(?P<mark>[\[\]{}:,])|(?P<word>[^\s\[\]{}:,"]+)""",
    re.DOTALL,
)


def json_scalars(path: str, text: str) -> list[Scalar]:
    """Return every value of `text` except lists and objects. Raises SubstitutionError for invalid JSON."""
    found: list[Scalar] = []
    keys: list[str] = []  # of the open objects and lists; "" while a key is expected
    open_: list[str] = []
    counts: list[int] = []
    key: str | None = None
    offset = 0
    for start, kind, token in _tokens(path, text):
        offset = start
        if token in ("{", "["):
            keys.append(_key(open_, counts, key))
            open_.append(token)
            counts.append(0)
            key = None
        elif token in ("}", "]"):
            if not open_ or (open_[-1] == "{") != (token == "}"):
                raise _broken(path, text, offset)
            open_.pop()
            counts.pop()
            keys.pop()
            key = None
        elif token == ",":
            if counts:
                counts[-1] += 1
            key = None
        elif token == ":":
            continue
        elif open_ and open_[-1] == "{" and key is None:
            if kind != "text":
                raise _broken(path, text, offset)
            key = json.loads(token)
        else:
            try:
                value = json.loads(token)
            except ValueError:
                raise _broken(path, text, offset) from None
            full = _path([*keys, _key(open_, counts, key)])
            if not full:
                continue
            line = text.count("\n", 0, start) + 1
            begin = start if text.isascii() else len(text[:start].encode())
            stop = begin + len(token.encode())
            found.append(Scalar(full, begin, stop, line, value, partial(write_json, ascii_only=text.isascii())))
    if open_:
        raise _broken(path, text, offset)
    return found


def write_json(value: object, ascii_only: bool = False) -> str:
    """Return `value` as JSON text."""
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SubstitutionError(f"{value!r} cannot be written as JSON")
    return json.dumps(value, ensure_ascii=ascii_only)


def _tokens(path: str, text: str) -> Iterator[tuple[int, str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _broken(path, text, position)
        position = match.end()
        if match.lastgroup != "skip":
            yield match.start(), match.lastgroup or "", match[0]


def _key(open_: list[str], counts: list[int], key: str | None) -> str:
    if not open_:
        return ""
    return f"[{counts[-1]}]" if open_[-1] == "[" else key or ""


def _path(keys: list[str]) -> tuple[str, ...]:
    """Return `("model", "layers[0]")` for `["", "model", "layers", "[0]"]`."""
    return joined(keys[1:])


def joined(keys: list[str]) -> tuple[str, ...]:
    """Return the keys with the indices of lists joined to the key before them."""
    result: list[str] = []
    for key in keys:
        if key.startswith("[") and key.endswith("]") and result:
            result[-1] += key
        else:
            result.append(key)
    return tuple(result)


def _broken(path: str, text: str, position: int) -> SubstitutionError:
    return SubstitutionError(f"{path}:{text.count(chr(10), 0, position) + 1}: not JSON: correct this line")
