"""A copy of the record beside the runs, from which a damaged or lost database is made anew: `studio.project.rebuilding`.

projects/P/record.json     settings and seed; fresh starts of the optimizer
projects/P/7/record.json   what the journal says about experiment 7, with the places of its lines, and its attempts
"""

import json
from pathlib import Path
from typing import Any

from studio.errors import StoreError
from studio.project.paths import COPY, database
from studio.project.store import Store
from studio.system.files import write_json

WHOLE = range(1, 2**63)  # the numbers of experiments and lines

META = {
    "settings": (dict,),
    "seed": (int, type(None)),
    "source": (dict, type(None)),
    "optimizer_file": (str, type(None)),
    "environment": (dict, type(None)),
    "baseline": (dict, type(None)),
}


class Copies:
    """Writes copies of what was committed. One that cannot be written stays due, in later sessions, too; the database has it.

    The copy of the project says through which event all copies are there. StoreError where the journal ends before it:
    a backup was put in its place, or its write-ahead log was lost.
    """

    def __init__(self, store: Store):
        self._store = store
        self._through = copied_through(store.folder)
        if self._through and next(store.events(after=self._through - 1, until=self._through), None) is None:
            raise StoreError(
                f"{database(store.folder)} is older than the copies beside the runs; make it anew from them:"
                f" studio doctor {store.folder.name} --rebuild"
            )
        self._due: dict[int | None, None] = {None: None}
        self._behind: dict[int | None, None] = {}  # whose copies lack lines
        self._failed = False

    def due(self, number: int) -> None:
        self._due[number] = None

    def write(self) -> str:
        """Write all that are due. Returns why one could not be written, once until it works again; else an empty text."""
        through = self._find_due()
        for number in list(self._due):
            data: dict[str, Any] = dict(self._store.rows_of(number))
            if number is None:
                data |= {"meta": {key: self._store.meta(key) for key in META}, "through": through}
            try:
                path = copy_of(self._store.folder, number)
                path.parent.mkdir(exist_ok=True, mode=0o700)
                write_json(path, data)
            except OSError as error:
                said, self._failed = self._failed, True
                return "" if said else f"no copy of the record could be written beside the runs: {error.strerror}"
            del self._due[number]
        self._through, self._failed = through, False
        return ""

    def _find_due(self) -> int:
        """What the journal has and no copy has yet; reports can wait for the next ask or tell. Returns the last event."""
        through, news = self._through, bool(self._due)
        for event in self._store.events(after=self._through):
            through, news = event.id, news or event.kind != "report"
            self._behind[event.number] = None
        if news:
            self._due |= self._behind
            self._behind.clear()
            self._due.pop(None, None)
            self._due[None] = None  # the last one, which says that the others are there
        return through


def copy_of(folder: Path, number: int | None) -> Path:
    return folder / COPY if number is None else folder / str(number) / COPY


def copied_through(folder: Path) -> int:
    """The last event that all copies are there for; 0 where they do not say."""
    try:
        through = json.loads(copy_of(folder, None).read_text(encoding="utf-8"))["through"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # none yet, or not readable: then all are due
        return 0
    return through if type(through) is int and through in WHOLE else 0
