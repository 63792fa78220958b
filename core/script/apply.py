"""Values written into the user's own files: where today's value stands, and not at the reads that a search replaces."""

from collections.abc import Mapping
from dataclasses import dataclass

from studio.errors import SubstitutionError
from studio.script.diff import unified_diff
from studio.script.places import Place, Places, apply_edits
from studio.script.places.place import Edit
from studio.script.program import Program


@dataclass(frozen=True)
class Applied:
    """What changes: path -> (text before, text after); and for names that stand in no file, how to pass them."""

    files: dict[str, tuple[bytes, bytes]]
    passed: dict[str, str]

    @property
    def diff(self) -> str:
        """One patch that `git apply` takes."""
        return "".join(
            unified_diff(path, before.decode(), after.decode()) for path, (before, after) in self.files.items()
        )


def apply_values(program: Program, values: Mapping[str, object]) -> Applied:
    """Return the files of `program` with `values` as their own. SubstitutionError for a name without a place."""
    places = Places(program)
    edits: list[tuple[Edit, str]] = []
    passed: dict[str, str] = {}
    for name, value in values.items():
        place = places.choose(name)
        home = place.home or (place if place.edits and place.kind != "variable" else None)
        if home is None:
            passed[name] = _as_passed(place, value)
        else:
            edits += [(edit, edit.write(value)) for edit in home.edits]
    texts = {edit.file: _text(program, edit.file) for edit, _ in edits}
    after = apply_edits(texts, edits)
    files = {path: (program.data(path) or b"", _encoded(program, path, text)) for path, text in after.items()}
    return Applied({path: pair for path, pair in files.items() if pair[0] != pair[1]}, passed)


def _as_passed(place: Place, value: object) -> str:
    if place.prefix.startswith("-"):
        return f"{place.prefix}={value}"
    if place.prefix == "env:":
        return f"{place.name}={value} in the environment"
    return f"{place.name} = {value}: {place}"


def _text(program: Program, path: str) -> str:
    if path.endswith((".py", ".ipynb")):
        return program.source(path).file.text
    try:
        return (program.data(path) or b"").decode()
    except UnicodeDecodeError:
        raise SubstitutionError(f"{path!r} is no UTF-8 text") from None


def _encoded(program: Program, path: str, text: str) -> bytes:
    return program.source(path).file.encode(text) if path.endswith((".py", ".ipynb")) else text.encode()
