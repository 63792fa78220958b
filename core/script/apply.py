"""Values written into the user's own files: at the assignments, not at the reads that a search replaces."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from studio.errors import SubstitutionError
from studio.experiment import is_number
from studio.script.diff import unified_diff
from studio.script.places import Draft, Edit, Place, Places, apply_edits
from studio.script.program import Program


@dataclass(frozen=True)
class Applied:
    """The changes: `files`, path -> (content before, content after), shown as `diff`; and for names that are in no file, how
    they are `passed`.
    """

    files: dict[str, tuple[bytes, bytes]]
    diff: str
    passed: dict[str, str]

    @property
    def patch(self) -> bytes:
        """The files as one patch for `git apply`, each in its own encoding."""
        keep = "surrogateescape"  # bytes that are not UTF-8
        pairs = {path: (old.decode(errors=keep), new.decode(errors=keep)) for path, (old, new) in self.files.items()}
        return "".join(unified_diff(path, *pair) for path, pair in pairs.items()).encode(errors=keep)


def apply_values(program: Program, values: Mapping[str, object]) -> Applied:
    """Return the files of `program` with `values` as their own. SubstitutionError for a name without a place, and an array."""
    if arrays := [name for name, value in values.items() if isinstance(value, list)]:
        raise SubstitutionError(f"{', '.join(arrays)}: an array is a file, among the artifacts of its experiment")
    places = Places(program)
    edits: list[tuple[Edit, str]] = []
    passed: dict[str, str] = {}
    for name, value in values.items():
        place = places.choose(name)
        home = place.home or (place if place.edits and place.kind != "variable" else None)
        if home is None:
            passed[name] = _as_passed(place, value)
        elif not _is_today(home, value):
            edits += [(edit, edit.write(value)) for edit in home.edits]
    before = {edit.file: program.text(edit.file) for edit, _ in edits}
    after = {path: text for path, text in apply_edits(before, edits).items() if text != before[path]}
    files = {path: (program.data(path) or b"", program.encoded(path, text)) for path, text in after.items()}
    shown = [unified_diff(path, *(program.shown(path, each) for each in (before[path], after[path]))) for path in after]
    return Applied(files, "".join(shown), passed)


def _is_today(home: Place, value: object) -> bool:
    """Return whether `value` stands there already, however it is written."""
    if home.varies:
        return False
    if is_number(home.value) and is_number(value):
        return math.isclose(home.value, value, rel_tol=1e-12)  # type: ignore[arg-type]
    return type(home.value) is type(value) and home.value == value


def _as_passed(place: Place, value: object) -> str:
    if place.prefix.startswith("-"):
        draft = Draft([], [])
        place.put(value, draft)
        words = shlex.join(draft.arguments)
        return f"pass it yourself: {words}" if words else f"leave {place.prefix} out"
    if place.prefix == "env:":
        return f"pass it yourself: {place.name}={value} in the environment"
    return f"pass it yourself: {place.name} = {value}: {place}"
