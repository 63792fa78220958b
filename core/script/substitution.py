"""Values into a script, by splicing its text; `reads` finds the places.

    files --find_reads--> pieces of text and reads, once per search
    values --literals--> the same pieces with values between them, once per experiment

A read takes the value when its name is bound by an assignment, or by nothing in sight; `scopes` says what fixes a name.
Names in patterns (`case lr.high:`) stay; annotations that are not strings take the value, like any other read.
"""

import difflib
import math
import re
import tokenize
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.reads import Debug, FileReads, Read, find_reads
from studio.text import did_you_mean

_VALUES_FILE = "hyperparameters.json"  # a script that names it reads all values from there
_BOM = b"\xef\xbb\xbf"


class Substitution:
    """Where the hyperparameters are read in the files of a search: parsed once, written per experiment by splicing.

    files      workspace path -> content; the script first, then what `--substitute` added. Only `*.py` is rewritten
    arguments  the script's own; `{name}` in one of them counts as a read, `hyperparameters.json` as one of all
    names      of all hyperparameters
    arrays     those of `names` whose values are numpy vectors; never written into the text
    script     which of `files` messages should name, the first by default

    Raises SubstitutionError for a file that cannot be rewritten faithfully, and for a name that is read nowhere.
    """

    warnings: list[str]  # names that are assigned more than once

    def __init__(
        self,
        files: Mapping[str, bytes],
        arguments: Sequence[str],
        names: Sequence[str],
        arrays: Collection[str] = (),
        script: str | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._arrays = frozenset(arrays)
        self._in_argument = re.compile("{(" + "|".join(map(re.escape, names)) + ")}") if names else None
        scalars = frozenset(names) - self._arrays
        self._files = [_File(path, data, scalars) for path, data in files.items() if path.endswith(".py")]
        self.warnings = [warning for file in self._files for warning in file.assigned_twice()]
        in_file = any(_VALUES_FILE.encode() in data for data in files.values())
        if not in_file and not any(_VALUES_FILE in argument for argument in arguments):
            shown = script if script is not None else next(iter(files), "")
            for name in names:
                self._check_read(name, shown)

    def changes(self, values: Mapping[str, object]) -> dict[str, bytes]:
        """The files that change, path -> whole new content.

        Raises SubstitutionError for a value that has no literal, or none that fits into an f-string around the read.
        """
        return {file.path: file.encode(file.render(values)) for file in self._files if file.places}

    def arguments(self, values: Mapping[str, object], array_paths: Mapping[str, str]) -> list[str]:
        """The script's arguments with the value for each `{name}`; for an array, the path of its file."""
        if self._in_argument is None:
            return list(self._arguments)

        def value(match: re.Match[str]) -> str:
            name = match[1]
            return array_paths[name] if name in self._arrays else str(plain(values[name]))

        return [self._in_argument.sub(value, argument) for argument in self._arguments]

    def diff(self, values: Mapping[str, object]) -> str:
        """`changes(values)` as a unified diff without colour."""
        return "".join(_diff(file.path, file.text, file.render(values)) for file in self._files if file.places)

    def _check_read(self, name: str, script: str) -> None:
        if any(f"{{{name}}}" in argument for argument in self._arguments):
            return
        if name in self._arrays:
            if not any(name in file.found.artifacts for file in self._files):
                raise SubstitutionError(
                    f"array hyperparameter {name!r} is read nowhere in {script!r}; load it with "
                    f"np.load(fs_tracker.get_artifact({name!r})), or append {{{name}}}, its path, to the command"
                )
        elif not any(place.name == name for file in self._files for place in file.places):
            raise SubstitutionError(f"hyperparameter {name!r} is read nowhere in {script!r}{self._advice(name)}")

    def _advice(self, name: str) -> str:
        options = {option for file in self._files for option in file.found.options}
        option = next((known for known in sorted(options) if known.replace("-", "_") == name.replace("-", "_")), None)
        if option is not None:
            return f"; append `--{option} {{{name}}}` to the command"
        for file in self._files:
            lines = [read.line for read in file.found.fixed if read.name == name]
            if lines:
                return (
                    f"; on {_lines(lines)} of {file.path!r} it is a parameter, loop variable, import or the like, "
                    f"which takes no value: read a variable of another name there, and search that one"
                )
        known = {word for file in self._files for word in file.found.words} - {name}
        close = difflib.get_close_matches(name, sorted(known))
        return did_you_mean(name, close) if close else f"; read it there, or append {{{name}}} to the command"


class _File:
    """One Python file as pieces: its own text, and between it the reads that take a value."""

    def __init__(self, path: str, data: bytes, names: Collection[str]) -> None:
        self.path = path
        self.encoding, self.text = _decode(path, data)
        self._bom = _BOM if data.startswith(_BOM) else b""
        if self.encode(self.text) != data:
            raise SubstitutionError(f"{path!r} does not come back from {self.encoding} byte for byte: save it as UTF-8")
        self.found: FileReads = find_reads(path, self.text)
        self.places = [read for read in self.found.free if read.name in names]
        self._pieces = list(self._split())
        if self.places:
            self._check()

    def assigned_twice(self) -> Iterator[str]:
        for name in sorted({place.name for place in self.places}):
            lines = self.found.assigned.get(name, [])
            if len(set(lines)) > 1:
                yield f"{name!r} is assigned on {_lines(lines)} of {self.path!r}; its reads all take the value searched"

    def render(self, values: Mapping[str, object]) -> str:
        return "".join(
            piece if isinstance(piece, str) else self._literal(piece, plain(values[piece.name]))
            for piece in self._pieces
        )

    def encode(self, text: str) -> bytes:
        return self._bom + text.encode(self.encoding)

    def _split(self) -> Iterator[str | Read]:
        data = self.text.encode()
        splices: list[tuple[int, int, str | Read]] = [(read.start, read.stop, read) for read in self.places]
        for debug in self.found.debugs:
            if any(debug.start < read.start < debug.equal for read in self.places):
                splices += self._spell_out(debug, data[debug.start + 1 : debug.stop].decode())
        position = 0
        for start, stop, new in sorted(splices, key=lambda splice: splice[0]):
            yield data[position:start].decode()
            yield new
            position = stop
        yield data[position:].decode()

    def _spell_out(self, debug: Debug, shown: str) -> list[tuple[int, int, str | Read]]:
        """`{lr=}` prints its own text: `lr={0.1!r}` keeps that."""
        if any(mark in shown for mark in ("\\", "\n", "\r", *debug.quotes)):
            raise SubstitutionError(
                f"{self.path}:{debug.line}: the text of {{{shown}}} cannot stand outside braces: write it without `=`"
            )
        text = shown.replace("{", "{{").replace("}", "}}")
        return [(debug.start, debug.start + 1, text + "{"), (debug.equal, debug.stop, "!r" if debug.shows_repr else "")]

    def _check(self) -> None:
        """What compiled still does, with the value that is hardest to place; other literals stand where it does."""
        if self._compiles(self.text) is not None:
            return  # broken, or newer than this interpreter: the script's own will tell
        error = self._compiles(self.render(dict.fromkeys((place.name for place in self.places), -0.5)))
        if error is not None:
            raise SubstitutionError(f"{self.path}:{error.lineno}: no number can stand here for the name: {error.msg}")

    def _compiles(self, text: str) -> SyntaxError | None:
        with warnings.catch_warnings(action="ignore"):
            try:
                compile(text, self.path, "exec", dont_inherit=True)
            except SyntaxError as error:
                return error
            except (RecursionError, MemoryError) as error:
                return SyntaxError(str(error))
        return None

    def _literal(self, place: Read, value: object) -> str:
        if type(value) is str:
            return self._string(place, value)
        if type(value) not in (int, float, bool, type(None)) or value != value:
            raise SubstitutionError(
                f"{place.name}={value!r} has no literal: choose an int, float, str, bool or None, or an array"
            )
        text = repr(value)
        if type(value) is float and math.isinf(value):
            text = text.replace("inf", "1e999")  # `inf` would be a name
        number = type(value) in (int, float)
        if number and (place.attribute or (place.tight and text.startswith("-"))):
            return f"({text})"
        return text

    def _string(self, place: Read, value: str) -> str:
        if not place.quotes:
            return repr(value) if self._encodes(value) else ascii(value)
        if value.isprintable() and "\\" not in value and self._encodes(value):
            for quote in ("'", '"', "'''", '"""'):
                text = f"{quote}{value}{quote}"
                clash = quote in value or value.endswith(quote[0]) or any(outer in text for outer in place.quotes)
                if not clash:
                    return text
        raise SubstitutionError(
            f"{self.path}:{place.line}: {place.name}={value!r} cannot be written into the f-string, "
            f"which has its quotes or needs a backslash: format another variable there (text = {place.name})"
        )

    def _encodes(self, value: str) -> bool:
        try:
            value.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True


def _decode(path: str, data: bytes) -> tuple[str, str]:
    """Encoding and text of a Python file, by its BOM or coding comment."""
    try:
        encoding = tokenize.detect_encoding(BytesIO(data).readline)[0].removesuffix("-sig")
        return encoding, data.removeprefix(_BOM).decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SubstitutionError(
            f"{path}:{line}: not {error.encoding}: save the file as UTF-8, "
            "or declare what it is in its first line, as `# -*- coding: latin-1 -*-` does"
        ) from None
    except (SyntaxError, LookupError) as error:
        raise SubstitutionError(
            f"{path!r} cannot be decoded ({error}): save it as UTF-8, or correct its `# -*- coding: … -*-` line"
        ) from None


def _diff(path: str, before: str, after: str) -> str:
    old, new = (re.split(r"\r\n?|\n", text) for text in (before, after))
    return "".join(f"{line}\n" for line in difflib.unified_diff(old, new, path, path, lineterm=""))


def _lines(lines: Sequence[int]) -> str:
    """`line 3`, `lines 3, 5 and 8`."""
    *most, last = map(str, sorted(set(lines)))
    return f"lines {', '.join(most)} and {last}" if most else f"line {last}"
