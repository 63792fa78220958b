"""Numbers and words that stand in the command, of any program: `-c 1`, `-O2`, `--rate=0.2`, `NAME=3`, `100`.

A number is named by the option before it; one without an option is `arg:3`, the third argument. What the text of the script
tells of its options goes first: `places_of_words` leaves out the words that another place gives.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from studio.errors import SubstitutionError
from studio.script.places.giving import as_text
from studio.script.places.place import Draft, Place
from studio.script.program import Program
from studio.text import is_number, parse_literal

ARGUMENT = "arg:"  # the prefix of an argument without a name
KIND = "in the command"
_JOINED = re.compile(r"(?P<option>--?[A-Za-z][\w.-]*)=(?P<value>.+)", re.DOTALL)
_ATTACHED = re.compile(r"(?P<option>-[A-Za-z])(?P<value>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.+)", re.DOTALL)
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
_BRACES = re.compile(r"\{[^{}\s]+\}")


def find_given(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield the words of the arguments that are values, each with the option before it, if there is one."""
    found = list(_values(program.arguments))
    spellings = [spelling for _, _, _, spelling in found]
    for at, head, text, spelling in found:
        place = _place(at, head, text, spelling, named=spellings.count(spelling) == 1)
        if words is None or {place.name, place.name.replace("-", "_")} & set(words):
            yield place


def _values(arguments: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Yield the index of each argument that has a value, what stands before the value there, the value, and its option."""
    option = ""  # the word before, if it may take a value
    for at, word in enumerate(arguments):
        before, option = option, ""
        if _BRACES.search(word):
            continue
        if match := _JOINED.fullmatch(word) or _ATTACHED.fullmatch(word):
            yield at, word[: match.start("value")], match["value"], match["option"]
        elif _OPTION.fullmatch(word):
            option = word
        elif before:
            yield at, "", word, before
        elif match := _ASSIGNED.fullmatch(word):
            yield at, word[: match.start("value")], match["value"], match["name"]
        elif is_number(word):
            yield at, "", word, ""


def _place(at: int, head: str, text: str, spelling: str, *, named: bool) -> Place:
    *within, name = spelling.lstrip("-").split(".") if named and spelling else [f"{ARGUMENT}{at + 1}"]
    shown = head + text if head else f"{spelling} {text}" if spelling else f"argument {at + 1}, {text}"
    prefix = spelling if named and spelling.startswith("-") else ""
    give = partial(_give, at, head, "" if head else spelling)
    return Place(name, tuple(within), KIND, "", 0, parse_literal(text), shown, give=give, prefix=prefix)


def _give(at: int, head: str, spelling: str, value: object, draft: Draft) -> None:
    text = as_text(value)
    if spelling and text.startswith("-") and not text[1:2].isdigit() and text[1:2] != ".":
        raise SubstitutionError(f"{spelling} {text!r}: a value that begins with - would be read as an option")
    if at < len(draft.arguments):
        draft.arguments[at] = head + text
    else:  # to show what to pass
        draft.arguments += [word for word in (spelling, head + text) if word]


def numbered(arguments: Sequence[str], address: str) -> list[Place]:
    """Return the place of `arg:3`, the third argument. SubstitutionError if there are fewer."""
    number = address.removeprefix(ARGUMENT)
    at = int(number) - 1 if number.isdecimal() else -1
    if not 0 <= at < len(arguments):
        has = f"{len(arguments)} arguments" if len(arguments) != 1 else "one argument"
        raise SubstitutionError(f"{address}: the command has {has} after the program; write arg:1 for the first")
    head, text, spelling = next((each[1:] for each in _values(arguments) if each[0] == at), ("", arguments[at], ""))
    return [_place(at, head, text, spelling, named=False)]


def without_told(given: Sequence[Place], told: Sequence[Place], arguments: Sequence[str]) -> list[Place]:
    """Return those of the `given` places whose word is given by none of the places that the script's text tells."""
    taken: set[int] = set()
    for place in told:
        if place.give is None:
            continue
        for value in ("\0", True, False):  # a flag takes no text
            draft = Draft([], list(arguments))
            try:
                place.give(value, draft)
            except SubstitutionError:
                continue
            changed = len(draft.arguments) != len(arguments)
            kept = set(draft.arguments) if changed else set()
            taken |= {
                at
                for at, word in enumerate(arguments)
                if (word not in kept if changed else word != draft.arguments[at])
            }
    return [place for place in given if _index(place) not in taken]


def _index(place: Place) -> int:
    assert isinstance(place.give, partial)
    return int(place.give.args[0])
