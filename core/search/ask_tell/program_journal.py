"""The project of a program's own search: a journal without a driver, whose ranges must be the same on resume."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from studio.errors import BadInput
from studio.experiment import plain
from studio.project.paths import database, project_folder
from studio.project.store import Store
from studio.space import Parameter, Space
from studio.system.files import make_folder

# Journals opened by programs in this process: a notebook cell that is run again takes over from its earlier run.
_OPENED: WeakValueDictionary[str, Store] = WeakValueDictionary()


def open_for_program(
    name: str, space: Space | Mapping[str, Any], optimizer: str, options: Mapping[str, Any], seed: int | None
) -> Store:
    """Return the journal of project `name`, new or resumed. BadInput if ranges, optimizer or options have changed."""
    own = _as_json(dict(options), "options")
    settings = {"ranges": _written(space), "optimizer": optimizer, "options": own, "seed": seed}
    folder = project_folder(name)
    earlier = _OPENED.pop(str(folder), None)
    if earlier is not None:
        earlier.close()
    _OPENED[str(folder)] = journal = _open(name, folder, settings)
    last = journal.session()
    if last is None or last.state is None:  # else it has ended, until more is asked for
        journal.begin_session()
    return journal


def _open(name: str, folder: Path, settings: dict[str, Any]) -> Store:
    if not database(folder).is_file():
        make_folder(folder)
        return Store.create(folder, settings)
    journal = Store.open(folder)
    stored = journal.meta("settings")
    for key in ("ranges", "optimizer", "options"):
        if stored.get(key) != settings[key]:
            journal.close()
            raise BadInput(
                f"project {name!r} uses {key} {stored.get(key)!r}, not {settings[key]!r};"
                f" give the same {key} or another project name"
            )
    return journal


class SessionEnd:
    """Recorder of the end of a program's own search, or of its continuation, for readers of the project."""

    def __init__(self, journal: Store | None):
        self._journal = journal
        session = None if journal is None else journal.session()
        self._over = session is not None and session.state is not None

    def note(self, over: bool) -> None:
        if self._journal is None or over == self._over:
            return
        self._over = over
        if over:
            self._journal.end_session("done")
        else:
            self._journal.begin_session()


def _written(space: Space | Mapping[str, Any]) -> dict[str, Any]:
    """Return the ranges as the journal keeps them, to compare on resume."""
    items = [(parameter.name, parameter) for parameter in space] if isinstance(space, Space) else space.items()
    result = {}
    for name, given in items:
        result[name] = repr(given) if isinstance(given, Parameter) else _as_json(given, f"hyperparameter {name}")
    return result


def _as_json(given: Any, about: str) -> Any:
    """Return `given` as it is read back from the journal: tuples as lists, numpy's numbers as Python's.

    Raises BadInput for a value that the journal cannot keep.
    """
    given = plain(given)
    if isinstance(given, list | tuple):
        return [_as_json(one, about) for one in given]
    if isinstance(given, Mapping):
        return {str(key): _as_json(one, about) for key, one in given.items()}
    if not isinstance(given, str | int | float | bool | None):
        raise BadInput(
            f"{about}: a project can store texts, numbers, True, False, None and lists of them, not {given!r:.100};"
            " give one of these, or leave out project="
        )
    return given
