"""Checks of STUDIO_HOME and its projects: problems and how to fix them, as shown by `studio doctor`."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.errors import StudioError
from studio.experiment import FITNESS
from studio.format import age, byte_size, clipped, counted
from studio.project import inbox
from studio.project.backup import Backup, examine_backup
from studio.project.lock import is_locked
from studio.project.paths import backup, database, projects_folder, studio_home
from studio.project.records import read_events, read_experiments, read_meta, reading
from studio.system.files import is_full, is_network_disk, make_folder
from studio.system.processes import processes_of

WAL_RESET_FIXED = (3, 51, 3)  # https://www.sqlite.org/releaselog/3_51_3.html: needs two writers at once; Studio has one


@dataclass(frozen=True)
class Finding:
    """A result of a check. `mend` is the command or action that fixes it; empty if there is no problem."""

    about: str
    text: str
    mend: str = ""


def examine_home() -> Iterator[Finding]:
    home = studio_home()
    try:
        make_folder(projects_folder())
    except StudioError as error:
        yield Finding("home", str(error), "set STUDIO_HOME to a folder that you can write to")
        return
    free = byte_size(shutil.disk_usage(home).free)
    if is_full(home):
        yield Finding(
            "home", f"the disk of {home} is full: {free}, {os.statvfs(home).f_favail} inodes free", "free some space"
        )
    else:
        yield Finding("home", f"{home}: {free} free")
    if is_network_disk(home):
        yield Finding("home", "on a network: databases are used without a write-ahead log, which is slower and as safe")
    yield Finding("sqlite", f"version {sqlite3.sqlite_version}{_wal_note()}")


def _wal_note() -> str:
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return ""
    return "; its write-ahead log has a defect that needs two writers, and a project has one"


def examine(folder: Path) -> Iterator[Finding]:
    """Check the project in `folder`, whatever is left of it."""
    name = folder.name
    if is_locked(folder):
        yield Finding(name, f"a driver is running: {(folder / 'lock').read_text().strip()}")
    else:
        yield from _left_over(folder)
    held, unreadable = None, ""
    try:
        held = examine_backup(folder)
    except StudioError as error:
        unreadable = str(error) if backup(folder).is_file() else ""
    try:
        told, last = _check_database(folder)
        yield Finding(name, f"the record is complete: {counted(len(told), 'outcome')}")
    except StudioError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding(name, text, advice if advice and "--restore" not in advice else _mend_database(folder, held))
        if held is not None:
            yield Finding(name, f"its backup of {age(held.made)} has {counted(len(held.told), 'outcome')}")
    else:
        if unreadable:
            yield Finding(name, unreadable, f"remove {backup(folder)}: the next studio resume {name} makes a new one")
        if held is not None and held.last_event > last and not is_locked(folder):
            newer = ", ".join(map(str, sorted(held.told - told))) or "none"
            text = f"the record is older than its backup, which has more outcomes: {clipped(newer, 60)}"
            yield Finding(name, text, f"studio doctor {name} --restore")
    yield from _check_snapshot(folder)


def _check_database(folder: Path) -> tuple[set[int], int]:
    """Return the experiments with an outcome, and the last line of the journal. Raises StoreError if it cannot be read."""
    if not database(folder).is_file():
        raise StudioError(f"{database(folder)} is missing")
    with reading(folder) as connection:
        complaints = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        if complaints != ["ok"]:
            raise StudioError(f"{database(folder)} is damaged: {'; '.join(complaints)}")
        if read_meta(connection, "settings") is None:
            raise StudioError("it was not completely created")
        for _ in read_experiments(connection, folder, FITNESS):
            pass  # reading finds values that SQLite accepts but Studio never wrote
        events = list(read_events(connection))
    return {event.experiment for event in events if event.kind == "tell"}, events[-1].id if events else 0


def _check_snapshot(folder: Path) -> Iterator[Finding]:
    name, settings, source = folder.name, None, None
    with contextlib.suppress(StudioError), reading(folder) as connection:
        settings, source = read_meta(connection, "settings"), read_meta(connection, "source")
    if settings and settings.get("script") and source and not (folder / source["snapshot"]).is_dir():
        yield Finding(
            name,
            "the copy of the source is gone",
            f"use your files as they are now: studio resume {name} --accept-changes",
        )


def _mend_database(folder: Path, held: Backup | None) -> str:
    if held is not None:
        return f"studio doctor {folder.name} --restore"
    runs = any(entry.name.isdecimal() for entry in folder.iterdir())
    kept = (
        f"a search cannot continue without its settings; save what you need of {folder}, such as */*/outcome.json, and "
    )
    return f"{kept if runs else ''}remove {folder}"


def _left_over(folder: Path) -> Iterator[Finding]:
    name, strays = folder.name, list(processes_of(str(folder)))
    if strays:
        text = f"{len(strays)} of its processes run without a driver: {', '.join(map(str, strays))}"
        yield Finding(name, text, f"studio resume {name} ends them, or: kill {' '.join(map(str, strays))}")
    waiting = [request.action for _, request in inbox.pending(folder)]
    if "retry" in waiting:
        yield Finding(name, "a retry waits for a driver", f"studio resume {name}")
