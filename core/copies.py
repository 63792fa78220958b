"""A copy of the record beside the runs, from which a damaged or lost database is made anew.

projects/P/record.json     settings and seed; fresh starts of the optimizer
projects/P/7/record.json   what the journal says about experiment 7, with the places of its lines, and its attempts
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import ProjectError
from studio.home import database, write_json
from studio.lock import take_lock
from studio.store import Store, plain_errors

NAME = "record.json"
META = ("settings", "seed", "source", "optimizer_file")


class Copies:
    """Writes copies of what was committed. One that cannot be written stays due; the database has it."""

    def __init__(self, store: Store):
        self._store = store
        self._due: dict[int | None, None] = {None: None}

    def due(self, number: int) -> None:
        self._due[number] = None

    def write(self) -> str:
        """Write all that are due. Returns why one could not be written, else an empty text."""
        for number in list(self._due):
            data: dict[str, Any] = dict(self._store.rows_of(number))
            if number is None:
                data["meta"] = {key: self._store.meta(key) for key in META}
            try:
                path = copy_of(self._store.folder, number)
                path.parent.mkdir(exist_ok=True, mode=0o700)
                write_json(path, data)
            except OSError as error:
                return f"no copy of the record could be written beside the runs: {error.strerror}"
            del self._due[number]
        return ""


def copy_of(folder: Path, number: int | None) -> Path:
    return folder / NAME if number is None else folder / str(number) / NAME


@dataclass
class Found:
    """The copies of a project. `unreadable` ones are there and say nothing."""

    meta: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def told(self) -> set[int]:
        """The numbers of the experiments with an outcome."""
        return {event["number"] for event in self.events if event["kind"] == "tell"}

    @property
    def missing(self) -> list[int]:
        """Numbers below the largest one that no copy speaks of."""
        asked = {event["number"] for event in self.events if event["kind"] == "ask"}
        return sorted(set(range(1, max(asked, default=0))) - asked)


def read_copies(folder: Path) -> Found:
    found = Found()
    for number, path in _files(folder):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            events, attempts = [dict(row) for row in data["events"]], [dict(row) for row in data["attempts"]]
            if any(row["number"] != number or int(row.get("id", 1)) < 1 for row in [*events, *attempts]):
                raise ValueError("of another experiment")
            meta = dict(data["meta"]) if number is None else {}
        except (OSError, ValueError, KeyError, TypeError):
            found.unreadable.append(str(path))
            continue
        found.meta.update(meta)
        found.events += events
        found.attempts += attempts
    found.events.sort(key=lambda event: event["id"])
    return found


def rebuild(folder: Path) -> Found:
    """Make the database anew, from the copies. The one that was there is kept beside it, as `studio.db.before-N`."""
    lock = take_lock(folder)
    try:
        found = read_copies(folder)
        if found.meta.get("settings") is None:
            raise ProjectError(
                f"project {folder.name!r} has no copy of its settings in {copy_of(folder, None)}; it cannot be rebuilt"
            )
        kept = _set_aside(folder)
        try:
            _write(Store(folder, lock), found)
        except BaseException:
            _put_back(folder, kept)
            raise
    finally:
        lock.close()
    return found


def _write(store: Store, found: Found) -> None:
    with plain_errors(store.folder), store.transaction():
        for table, rows in (("events", found.events), ("attempts", found.attempts)):
            for row in rows:
                store.insert(table, row)
        for key, value in found.meta.items():
            if key in META and value is not None:
                store.set_meta(key, value)
    os.chmod(database(store.folder), 0o600)
    store.close()


def _files(folder: Path) -> Iterator[tuple[int | None, Path]]:
    for number in [None, *sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())]:
        path = copy_of(folder, number)
        if path.exists():
            yield number, path


_SUFFIXES = ("", "-wal", "-shm")  # the files of a SQLite database


def _set_aside(folder: Path) -> str:
    """Rename the database's files; returns what is now behind their names."""
    taken = sum(".before-" in path.name for path in folder.glob("studio.db.before-*"))
    kept = f".before-{taken + 1}"
    for suffix in _SUFFIXES:
        file = Path(f"{database(folder)}{suffix}")
        if file.exists():
            os.replace(file, f"{database(folder)}{kept}{suffix}")
    return kept


def _put_back(folder: Path, kept: str) -> None:
    for suffix in _SUFFIXES:
        Path(f"{database(folder)}{suffix}").unlink(missing_ok=True)
        file = Path(f"{database(folder)}{kept}{suffix}")
        if file.exists():
            os.replace(file, f"{database(folder)}{suffix}")
