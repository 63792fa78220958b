"""`{NAME}` in the arguments of the script, in a command, or in a value of `--env`."""

import re
from collections.abc import Collection, Iterator
from functools import partial

from studio.errors import SubstitutionError
from studio.script.constants import UNKNOWN
from studio.script.places.giving import as_text
from studio.script.places.place import Draft, Place
from studio.script.program import Program
from studio.text import did_you_mean

BRACKETS = "{}"  # the prefix of these places
_NAMES = re.compile(r"\{([^{}\s]+)\}")


def find_brackets(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield one place for each name in brackets, wherever it occurs."""
    command = [word for word in program.command if word not in program.script_words]
    texts = [*command, *program.arguments, *(f"{name}={value}" for name, value in program.env.items())]
    for name in dict.fromkeys(match for text in texts for match in _NAMES.findall(text)):
        shown = next(text for text in texts if f"{{{name}}}" in text)
        yield Place(name, (), "argument", "", 0, UNKNOWN, shown, give=partial(_give, name), prefix=BRACKETS)


def _give(name: str, value: object, draft: Draft) -> None:
    draft.brackets[name] = as_text(value)


def check_brackets(program: Program, names: Collection[str]) -> None:
    """Raise SubstitutionError for `{learnig_rate}`, which is close to the name of a hyperparameter but is none."""
    for place in find_brackets(program, None):
        if place.name in names or not names:
            continue
        hint = did_you_mean(place.name, names)
        if hint.startswith("; did you mean"):
            raise SubstitutionError(f"{{{place.name}}} in {place.shown!r} is not a hyperparameter{hint}")
