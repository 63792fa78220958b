"""The journal of a program's own loop, `Search(project=…)`: made or resumed, and checked against what it was begun with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from studio.errors import BadInput
from studio.experiment import plain
from studio.project import paths as home
from studio.project.store import Store
from studio.space import Parameter, Space
from studio.system import files as disk

# The journals that programs opened in this process: a cell of a notebook that is run again takes over from itself.
_OPENED: WeakValueDictionary[str, Store] = WeakValueDictionary()


def open_for_program(name: str, settings: dict[str, Any]) -> Store:
    """The journal of project `name`, new or resumed; what was asked for must not have changed."""
    folder = home.project_folder(name)
    earlier = _OPENED.pop(str(folder), None)
    if earlier is not None:
        earlier.close()
    _OPENED[str(folder)] = journal = _open(name, folder, settings)
    last = journal.session()
    if last is None or last.state is None:  # else it is over, until more is asked for
        journal.begin_session()
    return journal


def _open(name: str, folder: Path, settings: dict[str, Any]) -> Store:
    if not home.database(folder).is_file():
        disk.make_folder(folder)
        return Store.create(folder, settings)
    journal = Store.open(folder)
    stored = journal.meta("settings")
    for key in ("ranges", "optimizer", "options"):
        if stored.get(key) != settings[key]:
            journal.close()
            raise BadInput(
                f"project {name!r} was begun with {key} {stored.get(key)!r}, not {settings[key]!r}; choose another project name"
            )
    return journal


class End:
    """Writes down that a program's own search is over, or goes on after all: for those who look at its project."""

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


def written(space: Space | Mapping[str, Any]) -> dict[str, Any]:
    """The ranges as the journal keeps them, to compare on resume."""
    items = [(parameter.name, parameter) for parameter in space] if isinstance(space, Space) else space.items()
    result = {}
    for name, given in items:
        result[name] = repr(given) if isinstance(given, Parameter) else as_json(given, f"hyperparameter {name}")
    return result


def as_json(given: Any, about: str) -> Any:
    """`given` as it comes back from the journal: tuples as lists, numpy's numbers as Python's. BadInput for what the journal
    cannot keep."""
    given = plain(given)
    if isinstance(given, list | tuple):
        return [as_json(one, about) for one in given]
    if isinstance(given, Mapping):
        return {str(key): as_json(one, about) for key, one in given.items()}
    if not isinstance(given, str | int | float | bool | None):
        raise BadInput(
            f"{about}: a project keeps texts, numbers, True, False, None and lists of them, not {given!r:.100};"
            " give one of these, or leave project= out"
        )
    return given
