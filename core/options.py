"""Options: how one is spelled, parsed and written back, and which options a plugin declares.

An option is a field of a dataclass, made by `option`: the fields of `studio.settings.Settings` are the options of `studio
run`, those of a backend's `Options` become options of the same command. An optimizer's are the parameters of its class.
"""

import dataclasses
import functools
import inspect
import math
import operator
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import BadInput, PluginError
from studio.text import did_you_mean, parse_literal

_GIVEN_BY_STUDIO = {"self", "space", "seed"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

# --- one option -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """Spelling of a field on the command line, and how it is parsed and written back.

    names    as typed; the first one stands in errors and in a command that is written back. Empty: `--FIELD`
    keyword  the argument of `studio.run`, if it is not the field's name
    parse    (text or value, the option's name) -> the stored value; raises BadInput. None: by the type of the field
    write    stored value -> the text, or texts, after the name
    resume   whether `studio resume` may change it
    secret   its value is left out of commands that are written back
    many     repeatable. None: by the type of the field
    """

    metavar: str
    help: str
    group: str = ""
    names: tuple[str, ...] = ()
    keyword: str = ""
    parse: Callable[[Any, str], Any] | None = None
    write: Callable[[Any], str | list[str]] | None = None
    resume: bool = False
    secret: bool = False
    many: bool | None = None


def option(default: Any, metavar: str, help: str, **more: Any) -> Any:
    """Return a dataclass field that is an option of the command line; `more` are further fields of `Option`.

    A list or dict as `default` is copied for each instance; `dataclasses.MISSING` makes the option required.
    """
    metadata = {"option": Option(metavar, help, **more)}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Field:
    """A field of a class of options, with its type and its spelling."""

    name: str
    annotation: Any
    default: Any  # dataclasses.MISSING: required
    option: Option
    names: tuple[str, ...]

    @property
    def flag(self) -> str:
        """Name of the option in errors and in commands."""
        return self.names[0]

    @property
    def keyword(self) -> str:
        return self.option.keyword or self.name

    @property
    def is_switch(self) -> bool:
        """Return whether the option is typed without a value."""
        return self.annotation is bool

    @property
    def is_repeatable(self) -> bool:
        if self.option.many is not None:
            return self.option.many
        return any(typing.get_origin(member) in (list, dict) for member in _members(self.annotation))

    def read(self, given: Any) -> Any:
        """Return the value to store for `given`, a text of the command line or a value of a program. Raises BadInput."""
        if self.option.parse is not None:
            return self.option.parse(given, self.flag)
        return read_as(self.annotation, given, self.flag)

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give this value."""
        if self.is_switch:
            return [self.flag] if value else []
        texts = self.option.write(value) if self.option.write else write_plain(value)
        glue = "=" if self.flag.startswith("--") else ""
        return [f"{self.flag}{glue}{text}" for text in ([texts] if isinstance(texts, str) else texts)]


@functools.cache
def fields_of(cls: type, prefix: str = "") -> dict[str, Field]:
    """Return the options among the fields of dataclass `cls`, by field name; `--PREFIX-FIELD` with a prefix."""
    hints = typing.get_type_hints(cls)
    start = f"--{prefix}-" if prefix else "--"
    result = {}
    for field in dataclasses.fields(cls):
        if (made := field.metadata.get("option")) is not None:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            names = made.names or (start + field.name.replace("_", "-"),)
            result[field.name] = Field(field.name, hints[field.name], default, made, names)
    return result


def read_options(fields: Mapping[str, Field], given: Mapping[str, Any], owner: str = "studio.run") -> dict[str, Any]:
    """Return the values to store for `given`, by field; None means not given. BadInput for an unknown or impossible one."""
    known = {field.keyword: field for field in fields.values()}
    result = {}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known) if known else ": it takes none"
            raise BadInput(f"{owner} has no option {name!r}{hint}")
        if value is not None:
            result[known[name].name] = known[name].read(value)
    return result


def words_of(fields: Mapping[str, Field], values: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line for those of `values` that differ from their defaults."""
    words: list[str] = []
    for name, field in fields.items():
        if name in values and values[name] != field.default:
            words += field.words(values[name])
    return words


# --- texts to values, and back ----------------------------------------------------------------------------------------


def read_as(annotation: Any, given: Any, flag: str) -> Any:
    """Return `given` as a value of type `annotation`. Raises BadInput, which names `flag`, if it cannot be read."""
    members = _members(annotation)
    if given is None and type(None) in members:
        return None
    for member in (member for member in members if member is not type(None)):
        try:
            return _read_given(given, member, flag)
        except (ValueError, TypeError):
            continue
    if int in members:
        raise BadInput(f"{flag} {given!r} is not a whole number")
    if any(typing.get_origin(member) is typing.Literal for member in members):
        choices = [str(choice) for member in members for choice in typing.get_args(member)]
        raise BadInput(f"{flag} {given!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")
    raise BadInput(f"{flag} {given!r} is not {_wanted(annotation)}")


def _read_given(given: Any, kind: Any, flag: str) -> Any:
    """Return `given` as a `kind`; raises ValueError or TypeError if it is none."""
    origin = typing.get_origin(kind)
    if origin is list:
        item = (typing.get_args(kind) or (Any,))[0]
        items = [given] if isinstance(given, str | os.PathLike) or not isinstance(given, Iterable) else list(given)
        return [_read_given(each, item, flag) for each in items]
    if origin is dict:
        if isinstance(given, Mapping):
            return dict(given)
        return split_pairs([given] if isinstance(given, str) else given, flag)
    if isinstance(given, str):
        return _read(given, kind)
    if kind is int and not isinstance(given, bool):
        return operator.index(given)
    if kind is float and not isinstance(given, bool):
        return float(given)
    if kind is str:
        return os.fspath(given)
    if kind is Any or (kind is bool and isinstance(given, bool)):
        return given
    if origin is typing.Literal and given in typing.get_args(kind):
        return given
    raise TypeError(given)


def count_parser(least: int = 0, words: str = "") -> Callable[[Any, str], int]:
    """Return a parser for whole numbers of at least `least`."""

    def parse(given: Any, flag: str) -> int:
        number: int = read_as(int, given, flag)
        if number < least:
            raise BadInput(f"{flag} {number}: {words or ('0 or more' if not least else f'at least {least}')} is needed")
        return number

    return parse


def write_plain(value: Any) -> str | list[str]:
    """Return a number, text, list of texts or dict as options of that type are typed."""
    if isinstance(value, dict):
        return [f"{name}={item}" for name, item in value.items()]
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union; any other type is its only member."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


# --- what a plugin's class takes --------------------------------------------------------------------------------------


def options_of(piece: type) -> dict[str, inspect.Parameter]:
    """Return the options that class `piece` takes, by name, with resolved annotations, `**options` included."""
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


def split_pairs(pairs: Iterable[str], flag: str = "-O") -> dict[str, str]:
    """Return `["popsize=8"]` as `{"popsize": "8"}`."""
    result: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise PluginError(f"{flag} {pair!r} is not NAME=VALUE")
        if name in result:
            raise PluginError(f"{flag} {name} is given twice")
        result[name] = value
    return result


def convert_options(piece: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with texts converted to the types in the signature of `piece`. PluginError for an unknown or wrong one."""
    known = options_of(piece)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    named = {name: parameter for name, parameter in known.items() if parameter.kind is not parameter.VAR_KEYWORD}
    title = f"optimizer {getattr(piece, 'name', piece.__name__)}"
    result = {}
    for name, value in given.items():
        if name in _GIVEN_BY_STUDIO:
            raise PluginError(f"{title}: {name} is not an option; Studio sets it (--seed, --num-workers)")
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
            raise PluginError(f"{title} needs an option: give -O {name}=…")
    return result


def type_name(annotation: Any) -> str:
    """Return the type as a person writes it: `int`, `float or None`."""
    if annotation is Any:
        return "any"
    members = _members(annotation)
    if len(members) > 1:
        return " or ".join("None" if member is type(None) else type_name(member) for member in members)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _wanted(annotation: Any) -> str:
    """Return what an error asks for: `a number`."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "None"}
    return " or ".join(words.get(member) or type_name(member) for member in _members(annotation))


def _untyped(text: str) -> object:
    """Return the value of an option without a type: a literal; `true` and `false` in any case are booleans."""
    return text.lower() == "true" if text.lower() in ("true", "false") else parse_literal(text)


def _convert(value: Any, annotation: Any, title: str) -> Any:
    if not isinstance(value, str):
        return value
    for member in _members(annotation):
        try:
            return _read(value, member)
        except ValueError:
            continue
    raise PluginError(f"{title}: {value!r} is not {_wanted(annotation)}")


def _read(text: str, kind: Any) -> Any:
    """Return `text` as a `kind`; raises ValueError if it is none."""
    if kind is type(None):
        if text.lower() in ("none", ""):
            return None
        raise ValueError(text)
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        number = kind(text)
        if "_" in text or not math.isfinite(number):
            raise ValueError(text)
        return number
    if kind is str:
        return text
    if typing.get_origin(kind) is typing.Literal:
        for choice in typing.get_args(kind):
            if str(choice) == text:
                return choice
        raise ValueError(text)
    return parse_literal(text)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_bytes(given: str | int, flag: str) -> int:
    """Return the bytes of `2GB`, `500 MB` or `10000`."""
    text = str(given).strip().lower().removesuffix("b").strip()
    unit = text[-1:] if text[-1:] in _UNITS else ""
    try:
        size = float(text.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        size = -1.0
    if not 0 < size < 10**18:
        raise BadInput(f"{flag} {given!r} is not a size; write for example 500MB or 2GB")
    return int(size)


def write_bytes(size: int) -> str:
    """Return a size in the form that `parse_bytes` reads, exactly: 2GB, 1500MB, 1234."""
    unit = next(unit for unit in ("t", "g", "m", "k", "") if size % _UNITS[unit] == 0)
    return f"{size // _UNITS[unit]}{unit.upper()}{'B' if unit else ''}"
