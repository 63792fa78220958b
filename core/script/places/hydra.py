"""Overrides of a Hydra application, `optimizer.lr=0.1` in its arguments. Interpolations and files stay unchanged."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import libcst as cst

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.constants import UNKNOWN
from studio.script.outline import Call, dotted, text_of
from studio.script.places.config_files import file_text, places_in
from studio.script.places.giving import given_text
from studio.script.places.options import Option, place_of_option
from studio.script.places.place import Draft, Place
from studio.script.places.typed_parsers import fields_of
from studio.script.program import Program, Source
from studio.text import parse_literal

_PLAIN = re.compile(r"[\w./+:-]+")


def find_overrides(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield keys of the configuration that `@hydra.main` names, of its default groups, and of registered dataclasses."""
    for source in program.parsed(program.own):
        for call in _mains(source):
            folder = _folder(program, source, call)
            name = text_of(call.keyword("config_name")) or next(iter(_texts(call)[1:2]), None)
            if folder is not None and name:
                for place in _of_file(program, folder, name, (), set()):
                    yield _today(place, program)
    for source in program.parsed(program.python, words):
        for option in _registered(program, source):
            place = place_of_option(option)
            yield _today(override(".".join([*place.within, place.name]), place), program)


def _today(place: Place, program: Program) -> Place:
    """Return `place` with its value in the present arguments."""
    key = ".".join([*place.within, place.name])
    text = given_text([argument.lstrip("+") for argument in program.arguments], (key,))
    return place if text is None else replace(place, value=parse_literal(text))


def override(key: str, known: Place | None = None) -> Place:
    """Return the place of `hydra:KEY`, even if no source mentions it."""
    *within, name = key.split(".")
    give = partial(_give, key)
    if known is None:
        return Place(name, tuple(within), "override", "", 0, UNKNOWN, f"{key}=VALUE", give=give, prefix="hydra:")
    return Place(
        name, tuple(within), "override", known.file, known.line, known.value, f"{key}={known.value}",
        give=give, home=known if known.edits else known.home, prefix="hydra:",
    )  # fmt: skip


def _give(key: str, value: object, draft: Draft) -> None:
    text = f"{key}={_written(value)}"
    for index, argument in enumerate(draft.arguments):
        if argument.partition("=")[0].lstrip("+") == key and "=" in argument:
            plus = argument[: len(argument) - len(argument.lstrip("+"))]
            draft.arguments[index] = plus + text
            return
    draft.arguments.append(text)


def _written(value: object) -> str:
    value = plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _mains(source: Source) -> Iterator[Call]:
    for function in source.outline.functions:
        for decorator in function.decorators:
            if isinstance(decorator, cst.Call) and dotted(decorator.func) in (
                "hydra.main",
                "main",
                "hydra_main",
                "hydra_runner",
            ):
                yield Call(dotted(decorator.func), decorator, ())
    yield from (call for call in source.outline.calls if call.last == "compose" and "hydra" in source.file.text)


def _texts(call: Call) -> list[str]:
    return [text for node in call.positionals if (text := text_of(node)) is not None]


def _folder(program: Program, source: Source, call: Call) -> str | None:
    given = text_of(call.keyword("config_path")) or next(iter(_texts(call)), None)
    for argument in program.arguments:  # Hydra also searches --config-dir
        if argument.startswith("--config-path="):
            given = argument.partition("=")[2]
    base = PurePosixPath(source.path).parent
    return str(base / given) if given else str(base)


def _of_file(program: Program, folder: str, name: str, within: tuple[str, ...], seen: set[str]) -> Iterator[Place]:
    for suffix in (".yaml", ".yml", ""):
        path = str(PurePosixPath(folder, f"{name.removesuffix('.yaml').removesuffix('.yml')}{suffix}"))
        text = file_text(program, path)
        if text is not None and suffix:
            break
    else:
        return
    if path in seen or len(seen) > 200:
        return
    seen.add(path)
    package = re.search(r"^#\s*@package\s+(\S+)", text, re.MULTILINE)
    if package:
        within = () if package[1] == "_global_" else tuple(package[1].split("."))
    try:
        places = list(places_in(path, text))
    except SubstitutionError:
        return
    group = PurePosixPath(path).parent
    for place in places:
        keys = [*place.within, place.name]
        if keys[0].startswith("defaults["):
            chosen = place.value
            if len(keys) == 1 and isinstance(chosen, str) and chosen != "_self_":
                yield from _of_file(program, str(group), chosen, within, seen)
            elif len(keys) == 2 and isinstance(chosen, str):
                kind = keys[1].removeprefix("override ").removeprefix("optional ")
                target, _, into = kind.partition("@")
                for argument in program.arguments:
                    if argument.startswith(f"{kind}="):
                        chosen = argument.partition("=")[2]
                base = folder if target.startswith("/") else str(group)
                inner = tuple(into.split(".")) if into else tuple(target.strip("/").split("/"))
                yield from _of_file(program, f"{base}/{target.strip('/')}", chosen, (*within, *inner), seen)
        elif keys[0] != "hydra" and "[" not in "".join(keys):
            yield override(".".join([*within, *keys]), place)


def _registered(program: Program, source: Source) -> Iterator[Option]:
    """Yield the fields of dataclasses given to `ConfigStore.store(name="config", node=Config)`."""
    if "ConfigStore" not in source.file.text:
        return
    for call in source.outline.calls:
        node = call.keyword("node")
        if call.last == "store" and node is not None:
            group = text_of(call.keyword("group")) or ""
            yield from fields_of(program, source, dotted(node), tuple(part for part in group.split("/") if part))
