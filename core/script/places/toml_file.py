"""TOML: each value by its keys. tomlkit finds the values; only the text of a value is replaced."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.json_file import joined
from studio.script.python_file import check_depth
from studio.script.scalar import Scalar


def toml_scalars(path: str, text: str) -> list[Scalar]:
    """Return every value of `text` except tables and arrays. Raises SubstitutionError if it does not parse."""
    import tomlkit
    import tomlkit.exceptions

    check_depth(path, text)
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        raise SubstitutionError(f"{path}:{error.line}: not TOML: {error}: correct this line") from None
    except (tomlkit.exceptions.TOMLKitError, RecursionError, ValueError) as error:
        raise SubstitutionError(f"{path}: not TOML: {error}") from None
    found: list[Scalar] = []
    for keys, item, put in _items(document, []):
        value = item.unwrap() if hasattr(item, "unwrap") else item
        if not isinstance(value, str | int | float | bool):
            continue
        span = _span(document, text, item, put)
        if span is not None:
            line = text.count("\n", 0, span[0]) + 1
            start = len(text[: span[0]].encode())
            stop = start + len(text[span[0] : span[1]].encode())
            quote = text[span[0]] if text[span[0]] in "'\"" else '"'
            found.append(Scalar(joined(keys), start, stop, line, value, partial(write_toml, quote=quote)))
    return found


def _items(container: Any, keys: list[str]) -> Iterator[tuple[list[str], Any, Any]]:
    if isinstance(container, dict):
        pairs: Any = list(container.items())
    else:
        pairs = list(enumerate(container))
    for key, item in pairs:
        name = f"[{key}]" if isinstance(key, int) else str(key)
        if isinstance(item, dict | list):
            yield from _items(item, [*keys, name])
        else:
            yield [*keys, name], item, (container, key)


_MARK = "studio-was-here-1f0c"


def _span(document: Any, text: str, item: Any, put: Any) -> tuple[int, int] | None:
    """Return the position of `item`: put a mark in its place, and find the mark in the output."""
    import tomlkit

    container, key = put
    try:
        marked = tomlkit.item(_MARK)
        container[key] = marked
        changed = tomlkit.dumps(document)
        container[key] = item
    except Exception:
        return None
    written = f'"{_MARK}"'
    start = changed.find(written)
    if start < 0 or text[:start] != changed[:start]:
        return None
    rest = changed[start + len(written) :]
    stop = len(text) - len(rest)
    return (start, stop) if text[stop:] == rest and stop > start else None


def write_toml(value: object, quote: str = '"') -> str:
    """Return `value` as one TOML value; a text keeps its kind of quotes if possible."""
    value = plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "nan" if value != value else "inf" if value > 0 else "-inf"
        text = repr(value)
        return text if "." in text or "e" in text else f"{text}.0"
    if isinstance(value, str):
        if quote == "'" and value.isprintable() and "'" not in value:
            return f"'{value}'"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    raise SubstitutionError(f"{value!r} cannot be written as TOML: choose an int, float, str or bool")
