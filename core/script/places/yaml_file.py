"""YAML: each value by its keys. ruamel.yaml finds the values; only the text of a value is replaced.

Numbers are written so that YAML 1.1 (PyYAML) and 1.2 read the same: `1.0e-05`, since PyYAML reads `1e-05` as a string.
"""

import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.json_file import joined
from studio.script.python_file import check_depth
from studio.script.scalar import Scalar

_SAFE = re.compile(r"[A-Za-z_][\w./+ -]*[\w./+-]|[A-Za-z_]", re.ASCII)
_SPECIAL = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none", "nan", "inf"}


def yaml_scalars(path: str, text: str) -> list[Scalar]:
    """Return every scalar of every document in `text`. Raises SubstitutionError if it does not parse.

    Scalars with an anchor or a tag are left out, as they mean more than their text.
    """
    import ruamel.yaml

    check_depth(path, text)
    found: list[Scalar] = []
    try:
        yaml = ruamel.yaml.YAML(typ="rt", pure=True)
        for node in yaml.compose_all(text):
            if node is not None:
                found += _scalars(text, node, [])
    except ruamel.yaml.error.MarkedYAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise SubstitutionError(f"{path}:{line}: not YAML: {error.problem or error}: correct this line") from None
    except (ruamel.yaml.error.YAMLError, RecursionError, ValueError) as error:
        raise SubstitutionError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    return found


def _scalars(text: str, root: Any, keys: list[str]) -> Iterator[Scalar]:
    import ruamel.yaml

    stack: list[tuple[Any, list[str], int]] = [(root, keys, 0)]  # the last item: end of the key
    seen: set[int] = set()
    while stack:
        node, path, key_end = stack.pop()
        if id(node) in seen:  # an alias: its value is at the anchor
            continue
        seen.add(id(node))
        if isinstance(node, ruamel.yaml.nodes.MappingNode):
            for key, value in reversed(node.value):
                if isinstance(key, ruamel.yaml.nodes.ScalarNode):
                    stack.append((value, [*path, str(key.value)], key.end_mark.index))
        elif isinstance(node, ruamel.yaml.nodes.SequenceNode):
            for index in reversed(range(len(node.value))):
                stack.append((node.value[index], [*path, f"[{index}]"], node.start_mark.index))
        elif path and node.end_mark.index >= node.start_mark.index and not _is_tagged(text, node):
            start, stop = node.start_mark.index, node.end_mark.index
            if node.anchor:
                shown = text[start:stop]
                start += len(shown) - len(re.sub(r"^&\S+\s*", "", shown))
            if node.style in ("|", ">"):
                continue
            if start == stop and (colon := text.find(":", key_end)) >= 0:  # an empty value: its mark is further down
                start = stop = colon + 1
            begin = start if text.isascii() else len(text[:start].encode())
            raw = text[start:stop]
            empty = not raw
            lead = " " if empty and text[start - 1 : start] == ":" else ""
            write = partial(write_yaml, quote=raw[:1] if raw[:1] in "'\"" else "", lead=lead)
            yield Scalar(joined(path), begin, begin + len(raw.encode()), node.start_mark.line + 1, _value(node), write)


def write_yaml(value: object, quote: str = "", lead: str = "") -> str:
    """Return `value` as one YAML scalar; a text keeps its kind of quotes."""
    value = plain(value)
    if value is None:
        return f"{lead}null"
    if isinstance(value, bool):
        return lead + ("true" if value else "false")
    if isinstance(value, int):
        return f"{lead}{value}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return lead + (".nan" if value != value else ".inf" if value > 0 else "-.inf")
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return lead + (f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}" if e else text)
    if not isinstance(value, str):
        raise SubstitutionError(f"{value!r} cannot be written as YAML: choose an int, float, str, bool or None")
    if not value.isprintable():
        return lead + _double_quoted(value)
    if quote == '"':
        return lead + _double_quoted(value)
    if quote == "'" or not _SAFE.fullmatch(value) or value.lower() in _SPECIAL:
        return lead + "'" + value.replace("'", "''") + "'"
    return lead + value


def _double_quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def _value(node: Any) -> object:
    """Return the value as YAML 1.2 reads it, and `1e-5` as a number."""
    raw = node.value
    if node.style in ("'", '"'):
        return raw
    tag = str(node.tag or "").rpartition(":")[2]
    if tag == "null" or raw in ("", "~", "null", "Null", "NULL"):
        return None
    if raw in ("true", "True", "TRUE"):
        return True
    if raw in ("false", "False", "FALSE"):
        return False
    try:
        return int(raw)
    except ValueError:
        pass
    try:
        return float(raw) if re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", raw) else raw
    except ValueError:
        return raw


def _is_tagged(text: str, node: Any) -> bool:
    return text[node.start_mark.index : node.start_mark.index + 1] == "!"
