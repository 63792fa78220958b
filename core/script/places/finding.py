"""All places of a program in search order, and the place that a name refers to."""

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import PurePosixPath

from studio.errors import SubstitutionError
from studio.script.places import (
    brackets,
    config_files,
    constants,
    environment,
    given,
    hydra,
    options,
    positionals,
    variables,
    words,
)
from studio.script.places.command_parsers import absl, argparse, click, configurator, docopt, own_parser
from studio.script.places.place import Place
from studio.script.places.typed_parsers import lightning, signatures, tap, typer
from studio.script.program import Program
from studio.text import did_you_mean

Finder = Callable[[Program, Collection[str] | None], Iterator[Place]]

PARSERS = (argparse, click, typer, signatures, tap, lightning, absl, docopt, configurator, own_parser)

# A name refers to the first row that has it. Within a row it must be unique.
KINDS: tuple[tuple[Finder, ...], ...] = (
    (brackets.find_brackets,),
    (partial(options.find_options, parsers=PARSERS), hydra.find_overrides),
    (positionals.find_positionals, words.find_arguments),
    (given.find_given,),
    (variables.find_assigned, words.find_words),
    (constants.find_constants, variables.find_scopes),
    (variables.find_in_modules, constants.find_in_modules),
    (config_files.find_in_files,),
    (environment.find_variables,),
    (variables.find_computed,),
)
_OPTIONS, _GIVEN, _MODULES, _ENVIRONMENT = 1, 3, 6, 8  # rows of `KINDS`

SHOWN = 6  # names of the script that an error lists
FORMS = 12  # forms of a name with several places that an error lists
_PART = re.compile(r"[^.\[\]]+(?:\[\d+\])*|\[\d+\]")
_LINE = re.compile(r"(?:(?P<line>\d+):)?(?P<key>.*)", re.DOTALL)


class Places:
    """The places of a program, found on demand."""

    def __init__(self, program: Program, shown: str = "") -> None:
        self.program = program
        self._shown = shown or program.script or "the script"
        self._found: dict[tuple[int, str | None], list[Place]] = {}

    @cached_property
    def _near(self) -> "Places":
        """The places of the modules near the script, which come before those further away."""
        near = self.program.limited
        return self if len(near.modules) == len(self.program.modules) else Places(near)

    def every(self) -> list[Place]:
        """Return all places, in the order of `KINDS`, each with the shortest address that selects it."""
        rows = [self._row(row, None) for row in range(len(KINDS))]
        result: list[Place] = []
        seen: set[tuple[object, ...]] = set()
        for row in rows:
            for place in row:
                if place.key not in seen:
                    seen.add(place.key)
                    result.append(replace(place, address=self._address(place, lambda row, _: rows[row])))
        return result

    def choose(self, address: str) -> Place:
        """Return the place that `address` refers to. SubstitutionError if there is none, or more than one."""
        found = self.candidates(address)
        if len(found) == 1:
            return replace(found[0], address=address)
        if found:
            several = f"hyperparameter {address!r} may be any of these; write one of the forms:"
            raise SubstitutionError(several, tuple(self._forms(found)))
        raise SubstitutionError(f"hyperparameter {address!r} is read nowhere in {self._shown!r}{self._advice(address)}")

    def candidates(self, address: str) -> list[Place]:
        """Return the places that `address` may refer to: one if it is unambiguous, none if it is wrong."""
        if (special := self._special(address)) is not None:
            return special
        for exact in (True, False):
            for row in range(len(KINDS)):
                wanted = address if exact else address.upper()
                found = _matching(self._near._row(row, wanted), wanted) if row == _MODULES else []
                found = found or _matching(self._row(row, wanted), wanted)
                if found and not exact:
                    found = [place for place in found if place.name.isupper()]
                if found:
                    return _nearest(found, self.program)
        return []

    def _special(self, address: str) -> list[Place] | None:
        """Return the places of an address with a kind (`--lr`, `env:LR`, `file:key`); None for a plain name."""
        if address.startswith("-"):
            known = [p for p in self._row(_OPTIONS, _dashless(address)) if address in options.spellings_of(p)]
            known += [p for p in self._row(_GIVEN, None) if p.prefix == address]
            return known[:1] or [options.by_its_name(address, self.program.arguments)]
        head, colon, key = address.partition(":")
        if not colon:
            return None
        if head == "hydra":
            known = [p for p in self._row(_OPTIONS, key.rpartition(".")[2]) if p.prefix == "hydra:"]
            same = [p for p in known if ".".join([*p.within, p.name]) == key]
            return same[:1] or [hydra.override(key)]
        if head == "env":
            known = [p for p in self._row(_ENVIRONMENT, key) if p.name == key]
            return known[:1] or [environment.variable(key)]
        if head == given.ARGUMENT[:-1]:
            return given.numbered(self.program.arguments, address)
        return self._in_file(address, head, key)

    def _in_file(self, address: str, path: str, key: str) -> list[Place]:
        path = str(PurePosixPath(path))
        if self.program.data(path) is None:
            known = [*config_files.files_read(self.program), *(source.path for source in self.program.python)]
            raise SubstitutionError(f"{address}: there is no file {path!r}{did_you_mean(path, known)}")
        match = _LINE.fullmatch(key)
        assert match is not None
        line, key = match["line"], match["key"]
        if path.endswith(".py"):
            places = self._of_python(path, key)
        else:
            text = config_files.file_text(self.program, path)
            if text is None:
                raise SubstitutionError(f"{address}: {path!r} is not UTF-8 text")
            places = list(config_files.places_in(path, text))
            whole = [p for p in places if _plain_key(p) == key.replace("[", ".").replace("]", "")]
            if len(whole) == 1:
                return whole
        found = _matching(places, key)
        if line is not None:
            found = [place for place in found if place.line == int(line)]
        if not found:
            keys = [".".join([*place.within, place.name]) for place in places]
            raise SubstitutionError(f"{address}: there is no {key!r} in {path!r}{did_you_mean(key, keys)}")
        return found

    def _of_python(self, path: str, key: str) -> list[Place]:
        """Return places in one Python file, in search order."""
        known = {source.path for source in self.program.own}
        inner = self if path in known else Places(self.program.with_module(path))
        for row in range(2, len(KINDS)):
            found = [place for place in _matching(inner._row(row, key), key) if place.file == path and place.edits]
            if found:
                return found
        rows = [inner._row(row, None) for row in range(2, len(KINDS))]
        return [place for row in rows for place in row if place.file == path and place.edits]

    def _row(self, row: int, address: str | None) -> list[Place]:
        """Return places of one row that `address` may refer to; all for None."""
        key = (row, address)
        if key not in self._found:
            words: set[str] | None = None
            if address is not None:
                last = {_words(address)[-1].partition("[")[0], address}
                words = {form for word in last for form in (word, word.replace("-", "_"), word.replace("_", "-"))}
            found = [place for kind in KINDS[row] for place in kind(self.program, words)]
            if row == _GIVEN and found:
                told = [place for above in range(row) for place in self._row(above, None)]
                found = given.without_told(found, told, self.program.arguments)
            self._found[key] = found
        return self._found[key]

    def _address(self, place: Place, row_for: Callable[[int, str], list[Place]]) -> str:
        """Return the shortest address that `choose` takes for this place; `row_for(row, address)` holds what it may mean."""
        for address in _addresses(place):
            for row in range(len(KINDS)):
                found = _matching(row_for(row, address), address)
                if found:
                    if [one.key for one in _nearest(found, self.program)] == [place.key]:
                        return address
                    break
        return place.prefix if place.prefix.startswith("-") else f"{place.file}:{place.line}:{place.name}"

    def _forms(self, found: Sequence[Place]) -> Iterator[str]:
        """Yield, for each place of `found`, a line with the form that selects it."""
        for place in found[:FORMS]:
            yield f"{place}   --hp={self._address(place, self._row)}=…"
        if len(found) > FORMS:
            yield f"and {len(found) - FORMS:,} more: --hp=FILE:LINE:NAME=… takes any of them"

    def _advice(self, address: str) -> str:
        if reason := variables.unread(self.program, address):
            return reason
        for path in config_files.named_in_arguments(self.program):
            if PurePosixPath(path).suffix.lower() in config_files.FORMATS and self.program.data(path) is None:
                hint = did_you_mean(path, config_files.files_read(self.program))
                return f", and there is no file {path!r}, which the arguments name{hint}"
        named = [place.name for row in range(1, len(KINDS)) for place in self._near._row(row, None)]
        words = set(named)
        for source in self.program.own:
            words |= source.reads.words
        hint = did_you_mean(address, words - {address})
        if hint.startswith("; did you mean"):
            return hint
        own = ", ".join(list(dict.fromkeys(named))[:SHOWN])
        has = f"; it has {own}: studio inspect {shlex.quote(self._shown)} shows all" if own else ""
        return (
            f"{has}; read it there, or append {{{address}}} to the command, or name an option that Studio does not find:  "
            f"--hp=--{address}=…"
        )


def _words(address: str) -> list[str]:
    """Return `["Config", "layers[0]"]` for `Config.layers[0]`."""
    parts: list[str] = []
    for part in _PART.findall(address):
        if part.startswith("[") and parts:
            parts[-1] += part
        else:
            parts.append(part)
    return parts or [address]


def _matching(places: Sequence[Place], address: str) -> list[Place]:
    """Return the places whose name is the last part of `address`, with its other parts around them, in this order.

    A match of the complete address wins over one with a few of the parts.
    """
    *around, name = _words(address)
    name = options.known_as(name)
    found = []
    for place in places:
        names = {options.known_as(place.name), *place.also}
        if address == place.name:
            found.append(place)
        elif name in names:
            within = [options.known_as(part) for one in place.within for part in one.split(".")]
            rest = iter(within)
            if all(options.known_as(part) in rest for part in around):
                found.append(place)
    exact = [p for p in found if [x for one in p.within for x in one.split(".")] == around]
    return exact if around and exact else found


def _nearest(found: list[Place], program: Program) -> list[Place]:
    """Return an option that is not nested before nested ones; else places in the script before those in its modules, and
    in a configuration file that an argument names before those that are read without it."""
    unnested = [place for place in found if place.kind in ("option", "override") and not place.within]
    if unnested:
        return unnested[:1]
    own = {source.path for source in program.own}
    given = {str(PurePosixPath(text)) for text in config_files.named_in_arguments(program)}
    mine = [place for place in found if place.file in own] or [place for place in found if place.file in given]
    return mine or found


def _addresses(place: Place) -> Iterator[str]:
    """Yield forms that may select `place`, the shortest first."""
    if place.prefix.startswith("-"):
        yield place.name
        yield place.prefix
        return
    yield place.name
    parts = [part for one in place.within for part in one.split(".") if part]
    for part in reversed(parts):
        yield f"{part}.{place.name}"
    if parts:
        yield ".".join([*parts, place.name])
    if place.prefix:
        yield place.prefix + ".".join([*place.within, place.name])


def _dashless(address: str) -> str:
    return options.known_as(address.lstrip("-").rpartition(".")[2])


def _plain_key(place: Place) -> str:
    return ".".join([*place.within, place.name]).replace("[", ".").replace("]", "")
