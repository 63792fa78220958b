"""A project's database made anew from the copies beside the runs: what they say, whether it can be true, and the exchange."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import IO, Any

from studio.errors import ProjectError, StoreError
from studio.project.copies import META, WHOLE, copy_of
from studio.project.lock import take_lock
from studio.project.paths import database
from studio.project.store import Store, plain_errors, read_events, reading
from studio.system.files import write_json

_NONE = type(None)
_EVENT = {
    "id": (int,),
    "kind": (str,),
    "number": (int, _NONE),
    "values": (str, _NONE),
    "point": (str, _NONE),
    "fitness": (float, int, _NONE),
    "extra": (str, _NONE),
    "at": (float, int),
    "duration": (float, int, _NONE),
}
_ATTEMPT = {
    "number": (int,),
    "attempt": (int,),
    "status": (str,),
    "started": (float, int, _NONE),
    "finished": (float, int, _NONE),
    "duration": (float, int, _NONE),
    "exit_code": (int, _NONE),
    "signal": (str, _NONE),
    "reason": (str,),
    "failure": (str,),
    "metric": (float, int, _NONE),
}


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
    def missing(self) -> list[range]:
        """Numbers below the largest one that no copy speaks of."""
        asked = sorted({event["number"] for event in self.events if event["kind"] == "ask"})
        return [range(one + 1, other) for one, other in pairwise([0, *asked]) if other > one + 1]


def read_copies(folder: Path) -> Found:
    found = Found()
    taken: set[int] = set()  # ids of events
    for number, path in _files(folder):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            events, attempts = _rows(data["events"], number, _EVENT), _rows(data["attempts"], number, _ATTEMPT)
            ids = {event["id"] for event in events}
            if ids & taken or not _is_story(number, events, attempts):
                raise ValueError("not what a journal says of one experiment")
            meta = {name: data["meta"][name] for name in META} if number is None else {}
            if any(type(value) not in META[name] for name, value in meta.items()):
                raise ValueError("not the settings of a project")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            found.unreadable.append(str(path))
            continue
        taken |= ids
        found.meta.update(meta)
        found.events += events
        found.attempts += attempts
    found.events.sort(key=lambda event: event["id"])
    return found


def _rows(given: list[dict[str, Any]], number: int | None, types: dict[str, tuple[type, ...]]) -> list[dict[str, Any]]:
    """Rows as the database had them. ValueError, KeyError or TypeError for what it never held."""
    rows = [dict(row) for row in given]
    for row in rows:
        for name, allowed in types.items():
            value = row.get(name)
            if type(value) not in allowed or (type(value) is int and abs(value) >= 2**63):
                raise ValueError(f"{name} is {value!r}")
            if type(value) is str:
                value.encode()  # a lone surrogate is no text for a database
        if row["number"] != number or any(row[name] not in WHOLE for name in ("id", "attempt") if name in types):
            raise ValueError("of another experiment")
    return rows


def _is_story(number: int | None, events: list[dict[str, Any]], attempts: list[dict[str, Any]]) -> bool:
    """Whether experiment `number` can be told like that: asked first, and once; then reports and tells."""
    lines = sorted(events, key=lambda event: event["id"])
    kinds = [line["kind"] for line in lines]
    if number is None:
        right = set(kinds) <= {"restart"} and not attempts
    else:
        right = kinds[:1] == ["ask"] and set(kinds[1:]) <= {"report", "tell"}
    for line in lines:
        values, point, extra = (json.loads(line[name] or "null") for name in ("values", "point", "extra"))
        right &= math.isfinite(line["at"]) and (extra is None or type(extra) is dict)
        right &= {"ask": type(values) is dict, "report": "step" in (extra or {}), "restart": type(point) is int}.get(
            line["kind"], True
        )
    keys = [line["id"] for line in lines], [attempt["attempt"] for attempt in attempts]
    return right and all(len(set(column)) == len(column) for column in keys)


def rebuild(folder: Path) -> Found:
    """Make the database anew, from the copies. The one that was there is kept beside it, as `studio.db.before-N`.

    It is made in a folder of its own first: whatever ends this in between, the old one is there or the new one.
    """
    lock = take_lock(folder)
    try:
        found = read_copies(folder)
        if found.meta.get("settings") is None:
            raise ProjectError(
                f"project {folder.name!r} has no copy of its settings in {copy_of(folder, None)}; it cannot be rebuilt"
            )
        _check_gain(folder, found)
        fresh = folder / ".rebuild" / folder.name
        shutil.rmtree(fresh.parent, ignore_errors=True)
        try:
            _write(fresh, found, lock)
            _forget_through(folder)
            _exchange(fresh, folder)
            for path in found.unreadable:  # else the doctor finds them again and again
                os.replace(path, f"{path}.left-out")
        except OSError as error:
            raise StoreError(
                f"project {folder.name!r} could not be rebuilt: {error.strerror}; nothing was changed"
            ) from error
        finally:
            shutil.rmtree(fresh.parent, ignore_errors=True)
    finally:
        lock.close()
    return found


def _check_gain(folder: Path, found: Found) -> None:
    """StoreError where the database is well and knows of outcomes that the copies do not have."""
    with contextlib.suppress(StoreError), reading(folder) as connection:
        if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            told = {event["id"] for event in found.events if event["kind"] == "tell"}
            lost = {event.id for event in read_events(connection) if event.kind == "tell"} - told
            if lost:
                raise ProjectError(
                    f"the record of project {folder.name!r} is whole, and {len(lost)} of its outcomes have no copy: it stays"
                )


def _write(folder: Path, found: Found, lock: IO[str]) -> None:
    folder.mkdir(parents=True, mode=0o700)
    store = Store(folder, os.fdopen(os.dup(lock.fileno())))
    try:
        with plain_errors(folder), store.transaction():
            for table, rows in (("events", found.events), ("attempts", found.attempts)):
                for row in rows:
                    store.insert(table, row)
            for key, value in found.meta.items():
                if value is not None:
                    store.set_meta(key, value)
        os.chmod(database(folder), 0o600)
    finally:
        store.close()
    if Path(f"{database(folder)}-wal").exists():  # closing puts all into the database, where there is room for it
        raise StoreError(f"project {folder.name!r} could not be rebuilt; nothing was changed; is the disk full?")


def _forget_through(folder: Path) -> None:
    """The next driver writes all copies anew: those that were left out, and what fresh lines have in place of lost ones."""
    data = json.loads(copy_of(folder, None).read_text(encoding="utf-8"))
    write_json(copy_of(folder, None), {**data, "through": 0})


def _files(folder: Path) -> Iterator[tuple[int | None, Path]]:
    names = [entry.name for entry in folder.iterdir() if entry.name.isdecimal()]
    numbers = [int(name) for name in names if str(int(name)) == name and int(name) in WHOLE]
    for number in [None, *sorted(numbers)]:
        path = copy_of(folder, number)
        if path.is_file():
            yield number, path


def _exchange(fresh: Path, folder: Path) -> None:
    """Put the database of `fresh` into the place of the old one, whose files are renamed.

    The first renaming is the one of the database itself: without its log it would be whole and old.
    """
    kept = next(name for name in map("studio.db.before-{}".format, count(1)) if not any(folder.glob(f"{name}*")))
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = Path(f"{database(folder)}{suffix}")
        if file.exists():
            os.replace(file, folder / f"{kept}{suffix}")
    os.replace(database(fresh), database(folder))
