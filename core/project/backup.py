"""A second copy of the record, by SQLite's own backup, and the way back from it.

projects/P/studio.db.backup   made when a driver begins and ends, and every minute between; whole at any time
"""

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from studio.errors import ProjectError, StoreError
from studio.experiment import FITNESS
from studio.format import counted
from studio.project.lock import take_lock
from studio.project.paths import backup, database
from studio.project.records import (
    RESTORE,
    checked_version,
    plain_errors,
    read_events,
    read_experiments,
    read_meta,
    reading,
)
from studio.project.store import Store

EVERY = 60.0  # seconds between two backups
SHARE = 50  # the time between backups of a large record is at least this many times the time of one

_SIDE_FILES = ("", "-wal", "-shm", "-journal")


class Backups:
    """The backups that a driver makes. StoreError where the record ends before its backup: a file of an earlier day was
    put in its place, or its write-ahead log was lost."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic):
        self._store, self._clock = store, clock
        self._due = clock()
        self._last = -1  # line of the journal that the backup has
        self._wrote = self._failed = False
        with contextlib.suppress(ProjectError):  # none yet, or one that cannot be read: a new one takes its place
            self._last = examine_backup(store.folder).last_event
        if self._last > store.last_event():
            raise StoreError(
                f"{database(store.folder)} is older than its backup{RESTORE.format(project=store.folder.name)}"
            )

    def write_if_due(self) -> str:
        """Make a backup where it is time and there is news. Returns why it failed, once until one succeeds again."""
        return self._write() if self._clock() >= self._due and self._store.last_event() != self._last else ""

    def write_last(self) -> str:
        """Make the backup of a session's end, unless nothing came of the session."""
        return self._write() if self._wrote or self._store.last_event() != self._last else ""

    def _write(self) -> str:
        """Make a backup. StoreError where the database is damaged: the backup before stays."""
        begun, last = self._clock(), self._store.last_event()
        part = backup(self._store.folder).with_suffix(".part")
        error = ""
        try:
            part.unlink(missing_ok=True)
            self._store.copy_to(part)
            self._store.check_fence()  # a driver that lost its project leaves the backup to its successor
            os.replace(part, backup(self._store.folder))
            self._last, self._wrote = last, True
        except (OSError, sqlite3.OperationalError) as problem:
            error = str(getattr(problem, "strerror", None) or problem)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        now = self._clock()
        self._due = now + max(EVERY, SHARE * (now - begun))
        said, self._failed = self._failed, bool(error)
        return f"no backup of the record could be written: {error}" if error and not said else ""


@dataclass(frozen=True)
class Backup:
    """Contents of a backup: `last_event` of its journal, and the experiments with an outcome."""

    last_event: int
    told: frozenset[int]
    made: float  # seconds since the epoch


def examine_backup(folder: Path) -> Backup:
    """Read the backup of the project in `folder` to its end. ProjectError where there is none, or it is damaged."""
    path = backup(folder)
    if not path.is_file():
        raise ProjectError(f"project {folder.name!r} has no backup of its record")
    try:
        with (
            plain_errors(folder),
            contextlib.closing(
                sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
            ) as connection,
        ):
            checked_version(connection, folder)
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise ProjectError("it is damaged")
            if read_meta(connection, "settings") is None:
                raise ProjectError("it has no settings")
            for _ in read_experiments(connection, folder, FITNESS):
                pass  # SQLite keeps what Studio never wrote: reading finds it
            last, told = 0, set()
            for event in read_events(connection):
                last = event.id
                if event.kind == "tell":
                    told.add(event.experiment)
    except (StoreError, ProjectError) as error:
        raise ProjectError(f"the backup {path} cannot be read: {error}") from error
    return Backup(last, frozenset(told), path.stat().st_mtime)


def restore(folder: Path) -> Backup:
    """Put the backup in the place of the database, which is kept beside it as `studio.db.before-N`.

    ProjectError without a backup that can be read, or where the database is well and knows more.
    """
    with take_lock(folder):
        held = examine_backup(folder)
        _check_gain(folder, held)
        part = database(folder).with_suffix(".part")
        try:
            shutil.copyfile(backup(folder), part)
            os.chmod(part, 0o600)
            kept = next(
                name for name in map("studio.db.before-{}".format, count(1)) if not any(folder.glob(f"{name}*"))
            )
            for suffix in _SIDE_FILES:  # the database first: without its log it would be whole and old
                file = Path(f"{database(folder)}{suffix}")
                if file.exists():
                    os.replace(file, folder / f"{kept}{suffix}")
            os.replace(part, database(folder))
        except OSError as error:
            raise StoreError(
                f"the backup of project {folder.name!r} could not be restored: {error.strerror}"
            ) from error
    return held


def _check_gain(folder: Path, held: Backup) -> None:
    with contextlib.suppress(StoreError), reading(folder) as connection:
        if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            lost = [event for event in read_events(connection) if event.kind == "tell" and event.id > held.last_event]
            if lost:
                raise ProjectError(
                    f"the record of project {folder.name!r} is complete, and its backup lacks "
                    f"{counted(len(lost), 'outcome')}: it was not restored"
                )
