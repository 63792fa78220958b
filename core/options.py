"""A plugin's own options: read from the signature of its class, typed, and checked before anything starts."""

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from studio.errors import BadInput, PluginError
from studio.text import did_you_mean, literal

_GIVEN_BY_STUDIO = {"self", "space", "seed", "slots", "host", "settings", "project", "notice"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def options_of(piece: type) -> dict[str, inspect.Parameter]:
    """The options that class `piece` takes, by name, with resolved annotations. `**options` takes part as itself."""
    init: Any = piece.__init__  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(init)
    except (NameError, TypeError):  # an annotation only a type checker can resolve
        hints = {}
    parameters = inspect.signature(init).parameters.values()
    return {
        parameter.name: parameter.replace(annotation=hints.get(parameter.name, Any))
        for parameter in parameters
        if parameter.name not in _GIVEN_BY_STUDIO and parameter.kind is not parameter.VAR_POSITIONAL
    }


def split_pairs(pairs: Iterable[str], option: str = "-O") -> dict[str, str]:
    """`["popsize=8"]` as `{"popsize": "8"}`."""
    result: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise PluginError(f"{option} {pair!r} is not NAME=VALUE")
        if name in result:
            raise PluginError(f"{option} {name} is given twice")
        result[name] = value
    return result


def typed(piece: type, given: Mapping[str, Any], kind: str = "optimizer") -> dict[str, Any]:
    """`given` with texts turned into what the signature of `piece` says. PluginError for an unknown or impossible one."""
    known = options_of(piece)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    named = {name: parameter for name, parameter in known.items() if parameter.kind is not parameter.VAR_KEYWORD}
    title = f"{kind} {getattr(piece, 'name', piece.__name__)}"
    result = {}
    for name, value in given.items():
        if name in _GIVEN_BY_STUDIO:
            raise PluginError(f"{title}: {name} is no option of its own; Studio gives it (--seed, --num-workers)")
        if name in named:
            result[name] = _convert(value, named[name].annotation, f"{title}: option {name}")
        elif takes_any:
            result[name] = _untyped(value) if isinstance(value, str) else value
        elif named:
            raise PluginError(f"{title} has no option {name!r}{did_you_mean(name, named)}")
        else:
            raise PluginError(f"{title} has no option {name!r}: it takes none")
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in result:
            how = (
                f"write --backend={getattr(piece, 'name', 'NAME')}:/shared/dir"
                if (kind, name) == ("backend", "url")
                else f"give -O {name}=…"
            )
            raise PluginError(f"{title} needs an option: {how}")
    return result


def type_name(annotation: Any) -> str:
    """How a person writes the type: `int`, `float or None`."""
    if annotation is Any:
        return "any"
    members = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    if members:
        return " or ".join("None" if member is type(None) else type_name(member) for member in members)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _untyped(text: str) -> object:
    """For an option without a type: a literal, `true` and `false` in any case among them."""
    return text.lower() == "true" if text.lower() in ("true", "false") else literal(text)


def _convert(value: Any, annotation: Any, title: str) -> Any:
    if not isinstance(value, str):
        return value
    members = (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in (typing.Union, types.UnionType)
        else (annotation,)
    )
    for member in members:
        try:
            return _read(value, member)
        except ValueError:
            continue
    raise PluginError(f"{title}: {value!r} is not {type_name(annotation)}")


def _read(text: str, kind: Any) -> Any:
    """`text` as a `kind`, or ValueError."""
    if kind is type(None):
        if text.lower() in ("none", ""):
            return None
        raise ValueError(text)
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        return kind(text)
    if kind is str:
        return text
    if typing.get_origin(kind) is typing.Literal:
        for choice in typing.get_args(kind):
            if str(choice) == text:
                return choice
        raise ValueError(text)
    return literal(text)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_bytes(text: str, option: str) -> int:
    """`2GB`, `500 MB`, `10000` in bytes."""
    number = text.strip().lower().removesuffix("b").strip()
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = float(number.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        size = -1.0
    if not 0 < size < 10**18:
        raise BadInput(f"{option} {text!r} is no size; write for example 500MB or 2GB")
    return int(size)
