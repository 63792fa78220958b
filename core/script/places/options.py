"""Options that the script defines: the value is passed on the command line, and the script stays unchanged.

    source --parsers--> Option ... --find--> Place     `train.py:7 --lr (0.01)`

To support another library, add a function to `PARSERS` that yields `Option`s.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import libcst as cst

from studio.errors import SubstitutionError
from studio.script.constants import UNKNOWN, constant
from studio.script.outline import Named
from studio.script.places.constants import place_of
from studio.script.places.giving import as_switch, as_text, given_text, index_of, set_option
from studio.script.places.place import Bounds, Draft, Place
from studio.script.program import Program, Source
from studio.text import parse_literal

Style = Literal["=", " ", "on", "off", "pair", "bool"]


@dataclass(frozen=True)
class Option:
    """An option of a program.

    spellings  as it is typed, the preferred one first: `--learning-rate`, `-l`
    names      names of a hyperparameter that refer to it: its own, and the variable it is stored in
    source     the file that defines it, at `node`
    default    the node of its default, if it is in the text
    style      how a value is passed:
               "="     --lr=0.1
               " "     --lr 0.1
               "on"    --flag, or nothing
               "off"   --no-flag stored as `flag`: present for False
               "pair"  --flag, or the spelling in `negative`
               "bool"  --flag=1, and --flag= for False, as `type=bool` needs it
    front      belongs before a subcommand
    choices    the values that it takes, where they are listed
    bounds     the least and the greatest number that it takes, where they are named
    whole      whether it takes whole numbers alone
    required   whether the program does not start without it
    within     the parts around the last one of a nested name: `optim` of `--optim.lr`
    """

    spellings: tuple[str, ...]
    names: tuple[str, ...]
    source: Source
    node: cst.CSTNode
    default: cst.BaseExpression | None = None
    style: Style = "="
    negative: str = ""
    front: bool = False
    within: tuple[str, ...] = ()
    value: object = UNKNOWN  # the default if it is not a constant in the text
    choices: tuple[object, ...] = ()
    bounds: Bounds = (None, None)
    whole: bool = False
    required: bool = False


Parser = Callable[[Program, Source], Iterator[Option]]


def find_options(program: Program, words: Collection[str] | None, parsers: Collection[Parser]) -> Iterator[Place]:
    """Yield options that the script or its modules define; one that several subcommands have is one place."""
    seen: set[str] = set()
    for source in program.parsed(program.python, words):
        for parser in parsers:
            for option in parser(program, source):
                if option.spellings[0] in seen:
                    continue
                seen.add(option.spellings[0])
                if words is None or any(known_as(name) in words for name in option.names):
                    place = place_of_option(option)
                    yield replace(place, value=_today(option, program.arguments, place.value))


def _today(option: Option, arguments: Sequence[str], default: object) -> object:
    """Return the option's value in the present arguments, else its default."""
    if option.style in ("on", "off", "pair"):
        at = index_of(arguments, (*option.spellings, option.negative))
        if at is None:
            return default
        return arguments[at] != option.negative and option.style != "off"
    text = given_text(arguments, option.spellings)
    return default if text is None else bool(text) if option.style == "bool" else parse_literal(text)


def spellings_of(place: Place) -> tuple[str, ...]:
    """Return all spellings of the option at `place`; empty for a place that is no option."""
    give = place.give
    return give.args[0] if isinstance(give, partial) and give.func is give_option else ()


def known_as(name: str) -> str:
    """Return `learning_rate` for `learning-rate`."""
    return name.replace("-", "_")


def place_of_option(option: Option) -> Place:
    source, spelling = option.source, option.spellings[0]
    line = source.file.line(option.node)
    value = constant(option.default) if option.default is not None else option.value
    if option.style in ("on", "pair") and value is UNKNOWN:
        value = False
    elif option.style == "off" and option.default is None:
        value = True
    home = None
    if option.default is not None and constant(option.default) is not UNKNOWN:
        named = Named(option.names[0], (), "default", option.default, value, option.node)
        home = place_of(source, named)
    shown = spelling if value is UNKNOWN else f"{spelling} ({value!r} by default)"
    scale = "flag" if option.style in ("on", "off", "pair", "bool") else ""
    return Place(
        known_as(option.names[0]).rpartition(".")[2],
        option.within,
        "option",
        source.path,
        line,
        value,
        shown,
        give=partial(give_option, option.spellings, option.style, option.negative, option.front),
        home=home,
        prefix=spelling,
        scale=scale,
        choices=option.choices,
        bounds=option.bounds,
        whole=option.whole,
        required=option.required,
        also=tuple(known_as(name) for name in option.names[1:]),
    )


def give_option(
    spellings: tuple[str, ...], style: Style, negative: str, front: bool, value: object, draft: Draft
) -> None:
    """Pass `value` among the arguments, in place of the present one."""
    spelling, arguments = spellings[0], draft.arguments
    every = (*spellings, negative) if negative else spellings
    if style in ("on", "off", "pair"):
        on = as_switch(spelling, value)
        new = {"on": [spelling] * on, "off": [spelling] * (not on), "pair": [spelling if on else negative]}[style]
        set_option(arguments, every, new, front=front, width=0)
    elif style == "bool":
        set_option(arguments, every, [f"{spelling}=1" if as_switch(spelling, value) else f"{spelling}="], front=front)
    else:
        text = as_text(value)
        joined = style == "=" and spelling.startswith("--")
        if not joined and text.startswith("-") and not _is_negative(text):
            raise SubstitutionError(f"{spelling} {text!r}: a value that begins with - would be read as an option")
        set_option(arguments, every, [f"{spelling}={text}"] if joined else [spelling, text], front=front)


def _is_negative(text: str) -> bool:
    return text[1:2].isdigit() or text[1:2] == "."


def by_its_name(spelling: str, arguments: Collection[str]) -> Place:
    """Return the place of `--hp=--learning_rate=…`, an option that no source mentions, in the style of the others."""
    given = list(arguments)
    spaced = any(
        a.startswith("--") and "=" not in a and i + 1 < len(given) and not given[i + 1].startswith("-")
        for i, a in enumerate(given)
    )
    joined = any(a.startswith("--") and "=" in a for a in given)
    text = given_text(given, (spelling,))
    style: Style = " " if (spaced and not joined) or not spelling.startswith("--") else "="
    return Place(
        spelling.lstrip("-"),
        (),
        "option",
        "",
        0,
        UNKNOWN if text is None else parse_literal(text),
        f"{spelling}{style}VALUE",
        give=partial(_give_unseen, spelling, style),
        prefix=spelling,
    )


def _give_unseen(spelling: str, style: Style, value: object, draft: Draft) -> None:
    give_option((spelling,), style, "", False, value, draft)
