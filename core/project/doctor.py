"""What may be wrong with STUDIO_HOME and its projects, and how it is mended: what `studio doctor` says."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.experiment import FITNESS
from studio.format import byte_size
from studio.project import inbox as requests
from studio.project.copies import copied_through, copy_of
from studio.project.lock import is_locked
from studio.project.paths import COPY, database, projects_folder, studio_home
from studio.project.rebuilding import read_copies
from studio.project.records import read_experiments
from studio.project.store import read_events, read_meta, reading
from studio.system.files import is_network, make_folder, out_of_space
from studio.system.processes import marked

WAL_RESET_FIXED = (3, 51, 3)  # https://www.sqlite.org/releaselog/3_51_3.html: needs two writers at once; Studio has one
_LINE = ("kind", "number", '"values"', "point", "fitness", "extra")  # what a journal line says, as its columns


@dataclass(frozen=True)
class Finding:
    """`mend` is what to type or do; empty where all is well."""

    about: str
    text: str
    mend: str = ""


def examine_home() -> Iterator[Finding]:
    home = studio_home()
    try:
        make_folder(projects_folder())
    except StudioError as error:
        yield Finding("home", str(error), "set STUDIO_HOME to a folder that can take files")
        return
    free = byte_size(shutil.disk_usage(home).free)
    if out_of_space(home):
        yield Finding(
            "home", f"the disk of {home} is full: {free}, {os.statvfs(home).f_favail} inodes free", "free some space"
        )
    else:
        yield Finding("home", f"{home}: {free} free")
    if is_network(home):
        yield Finding("home", "on a network: the records do without a write-ahead log, which is slower and as safe")
    yield Finding("sqlite", f"version {sqlite3.sqlite_version}{_wal_note()}")


def _wal_note() -> str:
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return ""
    return "; its write-ahead log has a defect that needs two writers, and a project has one"


def examine(folder: Path) -> Iterator[Finding]:
    """The project in `folder`, whatever is left of it."""
    name = folder.name
    if is_locked(folder):
        yield Finding(name, f"a driver is at work: {(folder / 'lock').read_text().strip()}")
    else:
        yield from _left_over(folder)
    lines = None
    try:
        lines = _check_database(folder)
        told = {number for kind, number, *_ in lines.values() if kind == "tell"}
        yield Finding(name, f"the record is whole: {len(told)} outcomes")
    except StudioError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding(name, text, advice if advice and "--rebuild" not in advice else _mend_database(folder))
    yield from _compare_copies(folder, lines)
    yield from _check_snapshot(folder)


def _check_database(folder: Path) -> dict[int, tuple[Any, ...]]:
    """The lines of the journal, by their ids. StoreError where the database cannot be read in full."""
    if not database(folder).is_file():
        raise StudioError(f"{database(folder)} is missing")
    with reading(folder) as connection:
        complaints = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        if complaints != ["ok"]:
            raise StudioError(f"{database(folder)} is damaged: {'; '.join(complaints)}")
        if read_meta(connection, "settings") is None:
            raise StudioError("it was cut off while it was made")
        for _ in chain(read_events(connection), read_experiments(connection, folder, FITNESS)):
            pass  # SQLite keeps what Studio never wrote: reading finds it
        return {id_: tuple(line) for id_, *line in connection.execute(f"SELECT id, {', '.join(_LINE)} FROM events")}


def _check_snapshot(folder: Path) -> Iterator[Finding]:
    name, settings, source = folder.name, None, None
    with contextlib.suppress(StudioError), reading(folder) as connection:
        settings, source = read_meta(connection, "settings"), read_meta(connection, "source")
    if settings and settings.get("script") and source and not (folder / source["snapshot"]).is_dir():
        yield Finding(
            name, "the copy of the source is gone", f"take your files as now: studio resume {name} --accept-changes"
        )


def _mend_database(folder: Path) -> str:
    copies = read_copies(folder)
    if copies.meta.get("settings") is None:
        kept = f"no search can go on without its settings; keep what you need of {folder}, such as */{COPY}, and "
        return f"{kept if copies.told else ''}remove {folder}"
    return f"studio doctor {folder.name} --rebuild"


def _left_over(folder: Path) -> Iterator[Finding]:
    name, strays = folder.name, list(marked(str(folder)))
    if strays:
        text = f"{len(strays)} processes of it run without a driver: {', '.join(map(str, strays))}"
        yield Finding(name, text, f"studio resume {name} ends them, or: kill {' '.join(map(str, strays))}")
    waiting = [request.action for _, request in requests.pending(folder)]
    if "retry" in waiting:
        yield Finding(name, "a retry waits for a driver", f"studio resume {name}")


def _compare_copies(folder: Path, lines: dict[int, tuple[Any, ...]] | None) -> Iterator[Finding]:
    name, copies = folder.name, read_copies(folder)
    anew = f"remove {copy_of(folder, None)}: the next studio resume {name} writes all copies anew"
    for path in copies.unreadable:
        mend = "a rebuild leaves it out" if lines is None and path != copy_of(folder, None) else anew
        yield Finding(name, f"the copy of the record in {path} cannot be read", mend)
    if lines is None:
        holes = sum(map(len, copies.missing))
        missing = f"; of {holes} experiments nothing is left" if holes else ""
        yield Finding(name, f"copies beside the runs hold {len(copies.told)} outcomes{missing}")
        return
    copied = {event["id"]: tuple(event[column.strip('"')] for column in _LINE) for event in copies.events}
    newer = {line[1] for id_, line in copied.items() if id_ > max(lines, default=0)}
    through = copied_through(folder)
    other = {line[1] for id_, line in lines.items() if id_ <= through and copied.get(id_) != line}
    if newer and not is_locked(folder):
        text = f"the record ends before the copies beside its runs: experiments {_some(newer)}"
        yield Finding(name, text, f"studio doctor {name} --rebuild")
    elif other and not copies.unreadable and not is_locked(folder):
        yield Finding(name, f"copies differ from the record, or are missing: experiments {_some(other)}", anew)


def _some(numbers: set[int | None]) -> str:
    """`None` is the project."""
    shown = ", ".join(map(str, sorted(number or 0 for number in numbers)[:10]))
    return f"{shown}, …" if len(numbers) > 10 else shown
