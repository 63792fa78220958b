"""Copies of the source: once into the project (the snapshot), then from there into each experiment's workspace.

working directory --snapshot--> projects/P/source --copy_tree--> projects/P/N/A/workspace
"""

import contextlib
import fnmatch
import math
import os
import stat
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import BadInput
from studio.format import byte_size
from studio.system.copying import copy_file, link_target

IGNORE_FILE = ".studioml_ignore"
MANY_FILES = 20_000  # copying them takes about ten seconds


@dataclass
class SourceFiles:
    """Result of `scan_source`: relative paths in order, and notices about what was left out."""

    source: Path
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)  # path -> target
    bytes: int = 0
    notices: list[str] = field(default_factory=list)


def scan_source(source: Path, *, leave_out: Collection[Path] = (), max_bytes: float = math.inf) -> SourceFiles:
    """Walk `source`. Left out: the patterns of `.studioml_ignore`, .git, virtual environments, caches and `leave_out`.

    Raises BadInput for a source above `max_bytes`, naming its largest folders.
    """
    snapshot = SourceFiles(source)
    sizes: dict[str, int] = {}
    real, unwanted = Path(os.path.realpath(source)), {os.path.realpath(path) for path in leave_out}
    for path, entry in _walk(real, "", _ignored_by(source), unwanted, snapshot.notices):
        if entry.is_symlink():
            with contextlib.suppress(OSError):  # gone meanwhile
                snapshot.links[path] = link_target(source, path)
        elif entry.is_dir():
            snapshot.folders.append(path)
        elif entry.is_file():
            try:
                size = entry.stat().st_size
            except FileNotFoundError:  # gone meanwhile
                continue
            snapshot.files.append(path)
            snapshot.bytes += size
            top = path.split("/")[0]
            sizes[top] = sizes.get(top, 0) + size
        else:
            snapshot.notices.append(f"{path} is not a regular file and is left out")
    if len(snapshot.files) > MANY_FILES:
        counts = Counter(path.split("/")[0] for path in snapshot.files)
        top, count = counts.most_common(1)[0]
        snapshot.notices.append(
            f"{len(snapshot.files):,} files are copied for each experiment, {count:,} of them in {top}, which is slow;"
            f" share them with --capture-once {top}:data, or list what is not needed in {IGNORE_FILE}"
        )
    if snapshot.bytes > max_bytes:
        raise BadInput(_too_large(source, snapshot.bytes, sizes, max_bytes))
    return snapshot


def own_output_files() -> list[Path]:
    """Return the files that this process writes its own output to, as with `studio run … > log.txt`; not part of a source."""
    found = []
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                found.append(_path_of(descriptor))
    return found


def _path_of(descriptor: int) -> Path:
    if sys.platform == "darwin":
        import fcntl

        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


def copy_source(snapshot: SourceFiles, target: Path) -> None:
    for folder in ["", *snapshot.folders]:
        (target / folder).mkdir(parents=True, exist_ok=True)
    for file in snapshot.files:
        copy_file(snapshot.source / file, target / file)
    for link, points_to in snapshot.links.items():
        os.symlink(points_to, target / link)


def _walk(
    root: Path, below: str, patterns: list[str], leave_out: Collection[str], notices: list[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield relative paths and entries below `root`. `root` and `leave_out` are real paths, so only links are resolved."""
    try:
        entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except OSError:  # not permitted, or gone meanwhile, as folders of /proc are
        notices.append(f"{below or root} cannot be read and is left out")
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if _is_ignored(path, entry.name, folder, patterns):
            continue
        try:
            arrives = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
        except OSError:  # links in /proc to folders of other users
            notices.append(f"{path} cannot be read and is left out")
            continue
        if arrives in leave_out:
            continue
        if entry.name == ".git" or (folder and (entry.name == "__pycache__" or _is_environment(entry.path))):
            continue  # in a worktree .git is a file, through which `git` would find the user's repository
        if entry.is_file(follow_symlinks=False) and not os.access(entry.path, os.R_OK):
            notices.append(f"{path} cannot be read and is left out")
            continue
        yield path, entry
        if folder:
            yield from _walk(root, path, patterns, leave_out, notices)


def _is_environment(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "pyvenv.cfg")) or os.path.isdir(os.path.join(folder, "conda-meta"))


def _ignored_by(source: Path) -> list[str]:
    file = source / IGNORE_FILE
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_ignored(path: str, name: str, folder: bool, patterns: list[str]) -> bool:
    """Match shell patterns against the name and the path; one that ends in / is for folders only."""
    for pattern in patterns:
        wanted = pattern.rstrip("/").removeprefix("/")
        if pattern.endswith("/") and not folder:
            continue
        if _fits(path, wanted) or (not pattern.startswith("/") and fnmatch.fnmatchcase(name, wanted)):
            return True
    return False


def _fits(path: str, pattern: str) -> bool:
    """Match part by part: a `*` does not cross folders."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _too_large(source: Path, size: int, sizes: dict[str, int], limit: float) -> str:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    folders = ", ".join(f"{name} ({byte_size(sizes[name])})" for name in largest)
    return (
        f"{source} has {byte_size(size)}, more than the {byte_size(limit)} that are copied per experiment; largest: {folders}. "
        f"Share data with --capture-once {largest[0]}:data, list what is not needed in {IGNORE_FILE}, "
        f"or allow it with --max-workspace {byte_size(int(size * 1.1)).replace(' ', '')}"
    )
