"""Substitution of values into a program: places are found once, texts are spliced for each experiment.

names --Places.choose--> Place ...     values --put--> Draft --apply_edits--> files that change, arguments, environment
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.diff import unified_diff
from studio.script.literals import compiles
from studio.script.places import Draft, Edit, Place, Places, apply_edits
from studio.script.places.brackets import BRACKETS, check_brackets
from studio.script.places.given import KIND
from studio.script.program import Program
from studio.script.reads import Debug

_VALUES_FILE = "hyperparameters.json"  # a script with this name in its text reads all values from the file


@dataclass(frozen=True)
class Written:
    """Command and files of one experiment.

    files      changed files, path -> complete new content
    command    the command with the script
    arguments  arguments of the script
    env        variables added to the user's environment
    """

    files: dict[str, bytes]
    command: list[str]
    arguments: list[str]
    env: dict[str, str]


class Substitution:
    """The places of a search's hyperparameters: found once, filled for each experiment.

    program    the program that runs
    names      all hyperparameters, as given with `--hp`
    arrays     those of `names` whose values are numpy vectors; never written into the text
    shown      name of the script in messages

    Raises SubstitutionError for a file that cannot be rewritten faithfully, and for a name that has no place, or several.
    """

    def __init__(
        self,
        program: Program,
        names: Sequence[str],
        arrays: Collection[str] = (),
        shown: str | None = None,
    ) -> None:
        self.program = program
        self.places: dict[str, Place] = {}
        self._arrays = frozenset(arrays)
        self._shown = shown or program.script or next(iter(program.more), "")
        finder = Places(program, self._shown)
        check_brackets(program, names)
        everything = self._reads_values_file()
        for name in names:
            if name in self._arrays:
                if not everything:
                    self._check_array(name)
            elif not everything or finder.candidates(name):
                self.places[name] = finder.choose(name)
        _check_apart(self.places)
        self.notices = [place.note for place in self.places.values() if place.note]
        self._texts: dict[str, str] = {}
        self._fixed = list(self._spelt_out())
        if self.places:
            self._check()

    def write(self, values: Mapping[str, object], array_paths: Mapping[str, str] | None = None) -> Written:
        """Return the program with `values` in it; an array's place in an argument takes the path of its file.

        Raises SubstitutionError for a value that has no literal, or none that fits at its place.
        """
        draft = self._draft(values, array_paths or {})
        texts = apply_edits(self._texts_of(draft.edits), draft.edits)
        files = {path: self.program.encoded(path, text) for path, text in texts.items()}
        return Written(files, draft.command, draft.arguments, draft.env)

    def changes(self, values: Mapping[str, object]) -> dict[str, bytes]:
        """Return the changed files, path -> complete new content."""
        return self.write(values).files

    def diff(self, values: Mapping[str, object]) -> str:
        """Return `changes(values)` as a unified diff without colour, for `git apply`."""
        draft = self._draft(values, {})
        before = self._texts_of(draft.edits)
        after = apply_edits(before, draft.edits)
        return "".join(
            unified_diff(path, self.program.shown(path, before[path]), self.program.shown(path, text))
            for path, text in after.items()
        )

    def described(self) -> dict[str, str]:
        """Return name -> one line about the place of its value."""
        return {name: str(place) for name, place in self.places.items()}

    # --- one experiment ---

    def _draft(self, values: Mapping[str, object], array_paths: Mapping[str, str]) -> Draft:
        draft = Draft(list(self.program.command), list(self.program.arguments), dict(self.program.env))
        draft.brackets = {name: array_paths.get(name, f"{name}.npy") for name in self._arrays}
        for turn in range(3):
            for name, place in self.places.items():
                if _turn(place) == turn:
                    place.put(plain(values[name]), draft)
            if turn == 0:
                draft.fill(self.program.script_words)
        draft.edits += [(edit, edit.write(None)) for edit in self._fixed]
        return draft

    def _texts_of(self, edits: Sequence[tuple[Edit, str]]) -> dict[str, str]:
        for edit, _ in edits:
            if edit.file not in self._texts:
                self._texts[edit.file] = self.program.text(edit.file)
        return self._texts

    # --- the checks ---

    def _reads_values_file(self) -> bool:
        paths = [path for path in [self.program.script, *self.program.more] if path is not None]
        in_file = any(_VALUES_FILE.encode() in (self.program.data(path) or b"") for path in paths)
        return in_file or any(_VALUES_FILE in word for word in [*self.program.command, *self.program.arguments])

    def _check_array(self, name: str) -> None:
        texts = [*self.program.command, *self.program.arguments, *self.program.env.values()]
        if any(f"{{{name}}}" in text for text in texts):
            return
        if not any(name in source.reads.artifacts for source in self.program.parsed(self.program.python)):
            raise SubstitutionError(
                f"array hyperparameter {name!r} is read nowhere in {self._shown!r}; load it with "
                f"np.load(fs_tracker.get_artifact({name!r})), or append {{{name}}}, its path, to the command"
            )

    def _spelt_out(self) -> Iterator[Edit]:
        """Yield edits that keep the output of `{lr=}`, which prints its own text: `lr={0.1!r}`."""
        edits = [edit for place in self.places.values() for edit in place.edits]
        for path in dict.fromkeys(edit.file for edit in edits):
            source = self.program.python_source(path)
            if source is None:
                continue
            data = source.file.text.encode()
            for debug in source.reads.debugs:
                if any(edit.file == path and debug.start < edit.start < debug.equal for edit in edits):
                    yield from _spell_out(path, debug, data[debug.start + 1 : debug.stop].decode())

    def _check(self) -> None:
        """Check that files still compile with the value that is hardest to place, -0.5; it stands for all literals."""
        places = {name: place for name, place in self.places.items() if place.edits}
        edits = [
            (edit, edit.write(-0.5))
            for place in places.values()
            for edit in place.edits
            if self.program.python_source(edit.file) is not None
        ]
        edits += [(edit, edit.write(None)) for edit in self._fixed]
        before = self._texts_of(edits)
        for path, text in apply_edits(before, edits).items():
            if compiles(path, before[path]) is not None:
                continue  # broken, or newer than this interpreter: left to the script's own interpreter
            error = compiles(path, text)
            if error is not None:
                raise SubstitutionError(f"{path}:{error.lineno}: a number cannot replace the name here: {error.msg}")


def _turn(place: Place) -> int:
    """Return when a place takes its value: brackets first; then words of the command, as long as each stands where it stood."""
    return 0 if place.prefix == BRACKETS else 1 if place.kind == KIND else 2


def _spell_out(path: str, debug: Debug, shown: str) -> list[Edit]:
    if any(mark in shown for mark in ("\\", "\n", "\r", *debug.quotes)):
        raise SubstitutionError(
            f"{path}:{debug.line}: the text of {{{shown}}} cannot be written outside braces: write it without `=`"
        )
    text = shown.replace("{", "{{").replace("}", "}}")
    after = "!r" if debug.shows_repr else ""
    return [
        Edit(path, debug.start, debug.start + 1, lambda _: text + "{"),
        Edit(path, debug.equal, debug.stop, lambda _: after),
    ]


def _check_apart(places: Mapping[str, Place]) -> None:
    """Raise SubstitutionError for two names of one place, such as an option's short and long form."""
    names: dict[tuple[object, ...], str] = {}
    for name, place in places.items():
        first = names.setdefault(place.key, name)
        if first != name:
            raise SubstitutionError(f"{first} and {name} are both {place}; give one of them")
