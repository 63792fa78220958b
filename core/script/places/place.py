"""A place where a value goes, and the changes of one experiment.

a kind's `find(program, wanted)` --> Place ...        Place.put(value, draft) --> edits of texts, arguments, environment
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from studio.errors import SubstitutionError
from studio.experiment import plain


@dataclass(frozen=True)
class Edit:
    """A span of a file's UTF-8 text, and the function that returns its text for a value."""

    file: str
    start: int
    stop: int
    write: Callable[[object], str]


@dataclass
class Draft:
    """Changes of one experiment.

    command    the command with the script
    arguments  arguments of the script
    env        environment variables
    edits      edits of files, with their texts
    brackets   texts for `{name}` in command, arguments and environment
    """

    command: list[str]
    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[Edit, str]] = field(default_factory=list)
    brackets: dict[str, str] = field(default_factory=dict)

    def fill(self, keep: Collection[str] = ()) -> None:
        """Replace the names in brackets, each once: brackets in a value stay, and the words `keep` of the command."""
        if self.brackets:
            known = re.compile("{(" + "|".join(map(re.escape, self.brackets)) + ")}")

            def filled(text: str) -> str:
                return known.sub(lambda match: self.brackets[match[1]], text)

            self.command = [word if word in keep else filled(word) for word in self.command]
            self.arguments = [filled(word) for word in self.arguments]
            self.env = {name: filled(text) for name, text in self.env.items()}


Bounds = tuple[float | None, float | None]
Give = Callable[[object, Draft], None]


@dataclass(frozen=True)
class Place:
    """A place where the value of a hyperparameter can go.

    name      the last part of its address, its name in the script: `C`
    within    the names around it, outermost first: `("clf", "SVC")`; an address has any of these in this order
    kind      its kind, for the user: `keyword`, `option`
    file      path below the source; empty for an environment variable that no file reads
    line      from 1; 0 if unknown
    value     the present value, or `UNKNOWN`
    shown     the text that would change, with the present value: `SVC(C=1.0)`
    edits     spans that take the value
    give      passes the value by the arguments or the environment
    home      where the value of today stands in a file, for a place that is none: the assignment of a variable whose
              reads are replaced, the default of an option. `studio apply` writes there
    also      other names that refer to it: `learning_rate` for `-l`
    prefix    beginning of an address: `--` of an option, `hydra:`, `env:`, `config.yaml:`
    note      a notice for the user, shown once
    scale     "flag" for a place that is on or off, "running" for a variable that is added to, or multiplied
    choices   the values that the script takes there, where it names them
    bounds    the least and the greatest number that the script takes there, where it names them
    whole     whether the script takes whole numbers alone there
    required  whether the script does not start without it
    varies    whether other values than `value` stand there, too: reads of a variable with two constants
    """

    name: str
    within: tuple[str, ...]
    kind: str
    file: str
    line: int
    value: object
    shown: str
    edits: tuple[Edit, ...] = ()
    give: Give | None = None
    home: "Place | None" = None
    also: tuple[str, ...] = ()
    prefix: str = ""
    note: str = ""
    scale: str = ""
    varies: bool = False
    choices: tuple[object, ...] = ()
    bounds: Bounds = (None, None)
    whole: bool = False
    required: bool = False
    address: str = ""  # the shortest form that selects it among the places of its script

    def __str__(self) -> str:
        where = f"{self.file}:{self.line} " if self.line else f"{self.file} " if self.file else ""
        return f"{where}{self.shown}"

    @property
    def key(self) -> tuple[object, ...]:
        """Identity of the place within its program."""
        return self.kind, self.file, self.line, self.within, self.name, tuple(edit.start for edit in self.edits)

    def check(self, value: object) -> None:
        """Raise SubstitutionError for a value that the script would refuse here, by what it declares."""
        value = plain(value)
        if self.whole and type(value) is not int:
            raise SubstitutionError(
                f"{self} takes whole numbers, not {value!r:.12}; for a range of them write {self.name}=1:8:i"
            )
        if self.choices and not any(value == one or _alike(value, one) for one in self.choices):
            texts = [f"'{one}'" if "," in str(one) else str(one) for one in self.choices]
            raise SubstitutionError(f"{self} does not take {value!r}; write {self.name}={','.join(texts)}")

    def put(self, value: object, draft: Draft) -> None:
        """Put `value` here. SubstitutionError for a value that does not fit."""
        self.check(value)
        for edit in self.edits:
            draft.edits.append((edit, edit.write(value)))
        if self.give is not None:
            self.give(value, draft)


def _alike(value: object, choice: object) -> bool:
    return str(value).casefold() == str(choice).casefold()


def apply_edits(texts: Mapping[str, str], edits: list[tuple[Edit, str]]) -> dict[str, str]:
    """Return the changed `texts`, with the `edits` in them. SubstitutionError if two values need one span."""
    result: dict[str, str] = {}
    for file in dict.fromkeys(edit.file for edit, _ in edits):
        data = texts[file].encode()
        pieces, position = [], 0
        for edit, text in sorted(((e, t) for e, t in edits if e.file == file), key=lambda one: one[0].start):
            if edit.start < position:
                line = data.count(b"\n", 0, edit.start) + 1
                raise SubstitutionError(f"{file}:{line}: two hyperparameters go to this place: search one of them")
            pieces += [data[position : edit.start], text.encode()]
            position = edit.stop
        result[file] = b"".join([*pieces, data[position:]]).decode()
    return result


def lines_of(lines: Sequence[int]) -> str:
    """Return `line 3` or `lines 3, 5 and 8`."""
    *most, last = map(str, sorted(set(lines)))
    return f"lines {', '.join(most)} and {last}" if most else f"line {last}"
