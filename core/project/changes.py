"""Changes in the user's files since the search began, found by comparison with the project's copies."""

import difflib
import filecmp
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.project.source import own_output_files
from studio.system.copying import link_target

NOTES = re.compile(
    r"(?i).*\.(md|rst|txt|log|pid|out|err|lock|bak|orig|swp|tmp)|[^.]*(readme|notes?|todo|licen[cs]e|changelog)[^.]*"
)
READERS = (".py", ".ipynb", ".sh", ".r", ".jl", ".yaml", ".yml", ".toml", ".json", ".ini", ".cfg", ".env")
LINES = 30  # shown of a difference
LARGEST_COMPARED = 200_000  # bytes of the largest file that is compared by line


def changed_files(copy: Path, original: Path) -> list[str]:
    """Return paths below `copy` whose originals differ or are gone; `.` if both are single files.

    New files do not count: the search cannot use them, unless another file has changed too.
    """
    if not copy.is_dir():
        return [] if _same(copy, original) else ["."]
    own = set(map(os.path.realpath, own_output_files()))  # a log in the source folder that is being written now
    changed = (path for path in _files(copy) if not _same(copy / path, original / path, original, path))
    return [path for path in changed if os.path.realpath(original / path) not in own]


def unused(copy: Path, paths: Iterable[str], command: Iterable[str] = ()) -> list[str]:
    """Return those of `paths` that the search does not use: notes, logs and the like, mentioned neither in a program or a
    configuration below `copy` nor in the command, by name, kind of file, or folder.
    """
    notes = [path for path in paths if NOTES.fullmatch(os.path.basename(path)) and _is_small(copy / path)]
    if not notes:
        return []
    texts = list(command)
    for path in _files(copy):
        if path.lower().endswith(READERS) and path not in notes:
            lines = _lines(copy / path)
            if lines is None:  # too large to look at, or unreadable
                return []
            texts += lines
    text = "\n".join(texts)
    return [path for path in notes if not any(word in text for word in _words_for(path))]


def _is_small(file: Path) -> bool:
    """Return whether the file may be a note; logs grow."""
    try:
        return file.suffix in (".log", ".out", ".err") or file.lstat().st_size <= LARGEST_COMPARED
    except OSError:
        return False


def _words_for(path: str) -> Iterator[str]:
    *folders, name = path.split("/")
    yield from (name, *folders)
    if suffix := os.path.splitext(name)[1]:
        yield suffix


def difference(copy: Path, original: Path, paths: list[str]) -> list[str]:
    """Return lines that show which files differ, and how, for text files."""
    lines: list[str] = []
    for path in paths:
        name = original.name if path == "." else path
        before, now = _lines(copy / path), _lines(original / path)
        if before is None or now is None:
            lines.append(f"{name}: {'differs' if os.path.lexists(original / path) else 'is gone'}")
        else:
            found = list(difflib.unified_diff(before, now, f"{name} (the search)", f"{name} (now)", n=1, lineterm=""))
            lines += found or [f"{name}: differs in its line ends"]
        if len(lines) > LINES:
            return [*lines[:LINES], f"… in {len(paths)} files"]
    return lines


def _files(folder: Path, below: str = "") -> Iterator[str]:
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _files(folder, path)
            else:
                yield path


def _same(copy: Path, original: Path, source: Path | None = None, path: str = "") -> bool:
    """Return whether two files are the same: by size and time, which a copy keeps, else by every byte."""
    try:
        if copy.is_symlink():
            if source is None or not original.is_symlink():
                return False
            return os.readlink(copy) in (os.readlink(original), link_target(source, path))
        before, now = copy.stat(), original.stat()
        alike = (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
        return alike or (before.st_size == now.st_size and filecmp.cmp(copy, original, shallow=False))
    except (OSError, ValueError):
        return False


def _lines(file: Path) -> list[str] | None:
    """Return the lines of a text file; None for a link, a binary, a large or a missing file."""
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST_COMPARED:
            return None
        data = file.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data else data.decode(errors="replace").splitlines()
