"""Copies of the source: once into the project (the snapshot), then from there into each experiment's workspace.

working directory --snapshot--> projects/P/source --copy_tree--> projects/P/N/A/workspace
"""

import contextlib
import errno
import fnmatch
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import BadInput

IGNORE_FILE = ".studioml_ignore"
MAX_BYTES = 10**9
_FICLONE = 0x40049409  # ioctl_ficlone(2): the copy shares its blocks until one side is written
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


@dataclass
class Snapshot:
    """What `plan_snapshot` found: relative paths in order, and what was left out."""

    source: Path
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)  # path -> target
    bytes: int = 0
    notices: list[str] = field(default_factory=list)


def plan_snapshot(source: Path, *, leave_out: Collection[Path] = (), max_bytes: int = MAX_BYTES) -> Snapshot:
    """Walk `source`. Left out: what `.studioml_ignore` names, .git, virtual environments, caches and `leave_out`.

    BadInput for a source above `max_bytes`, naming its largest folders.
    """
    snapshot = Snapshot(source)
    sizes: dict[str, int] = {}
    real, unwanted = Path(os.path.realpath(source)), {os.path.realpath(path) for path in leave_out}
    for path, entry in _walk(real, "", _ignored_by(source), unwanted, snapshot.notices):
        if entry.is_symlink():
            snapshot.links[path] = link_target(source, path)
        elif entry.is_dir():
            snapshot.folders.append(path)
        elif entry.is_file():
            snapshot.files.append(path)
            size = entry.stat().st_size
            snapshot.bytes += size
            top = path.split("/")[0]
            sizes[top] = sizes.get(top, 0) + size
        else:
            snapshot.notices.append(f"{path} is no regular file and is left out")
    if snapshot.bytes > max_bytes:
        raise BadInput(_too_large(source, snapshot.bytes, sizes, max_bytes))
    return snapshot


def own_output() -> list[Path]:
    """The files that this process writes its own output to, as with `studio run … > log.txt`: no part of a source."""
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


def write_snapshot(snapshot: Snapshot, target: Path) -> None:
    for folder in ["", *snapshot.folders]:
        (target / folder).mkdir(parents=True, exist_ok=True)
    for file in snapshot.files:
        copy_file(snapshot.source / file, target / file)
    for link, points_to in snapshot.links.items():
        os.symlink(points_to, target / link)


def copy_tree(source: Path, target: Path) -> None:
    """A real copy of a snapshot: nobody who writes to it changes anybody else's. Pipes, sockets and devices are left out."""
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target / entry.name)
            elif entry.is_dir():
                copy_tree(Path(entry.path), target / entry.name)
            elif entry.is_file():
                copy_file(Path(entry.path), target / entry.name)


def copy_any(source: Path, target: Path) -> None:
    """A file or a folder; nothing where it is neither. OSError for a folder in itself, or one that is too deep."""
    if source.is_dir():
        if is_inside(target, source):
            raise OSError(errno.EINVAL, f"{source} cannot be copied into itself")
        try:
            copy_tree(source, target)
        except RecursionError:
            raise OSError(errno.ENAMETOOLONG, f"{source} holds folders that are nested too deeply") from None
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target)


def remove_tree(folder: Path) -> None:
    """Remove `folder` with all that a script made in it: deep folders, and ones that nobody may write to."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):  # it keeps a file open for each level, and there may be 1,024 at most
        if folder.is_symlink():  # what it leads to is somebody else's
            raise
        _remove_by_levels(folder)


def _remove_by_levels(folder: Path) -> None:
    """What lies in a folder within is moved up before that is removed: no path grows long, and two folders at most are open."""
    os.chmod(folder, stat.S_IRWXU)
    while inner := [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]:
        for path in inner:
            os.chmod(path, stat.S_IRWXU)
            for entry in list(os.scandir(path)):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, stat.S_IRWXU)  # a folder that is moved is written to
                    os.rename(entry.path, folder / secrets.token_hex(8))
                else:
                    os.unlink(entry.path)
            os.rmdir(path)
    shutil.rmtree(folder)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def make_own(root: Path, path: str) -> Path:
    """Make `root / path` safe to write to: a link on its way that leaves `root` becomes a copy, a folder of links or a
    file. What it led to is somebody else's."""
    place = root
    for part in Path(path).parts:
        place = place / part
        if place.is_symlink() and not is_inside(place, root):
            found = Path(os.path.realpath(place))
            place.unlink()
            if found.is_dir():
                place.mkdir()
                for entry in os.scandir(found):
                    os.symlink(entry.path, place / entry.name)
            elif found.is_file():
                copy_file(found, place)
    return place


def copy_file(source: Path, target: Path) -> None:
    """Contents, permissions and times; copy-on-write where the file system can."""
    if sys.platform == "linux" and _clone(source, target):
        shutil.copystat(source, target)
    else:
        shutil.copy2(source, target)
    if not os.access(target, os.W_OK):  # a read-only source must not stop Studio from writing values into the copy
        os.chmod(target, stat.S_IMODE(target.stat().st_mode) | stat.S_IWUSR)


def _clone(source: Path, target: Path) -> bool:
    import fcntl  # Linux only here: macOS clones inside shutil.copy2 (fcopyfile)

    with open(source, "rb") as read, open(target, "xb") as write:  # x: it may be a link to the source
        try:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            return False
    return True


def _walk(
    root: Path, below: str, patterns: list[str], leave_out: Collection[str], notices: list[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Relative paths and entries below `root`. It and `leave_out` are real paths, so that only links are resolved."""
    try:
        entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except PermissionError:
        notices.append(f"{below} cannot be read and is left out")
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if _is_ignored(path, entry.name, folder, patterns):
            continue
        if leave_out and (os.path.realpath(entry.path) if entry.is_symlink() else entry.path) in leave_out:
            continue
        if entry.name == ".git" or (folder and (entry.name == "__pycache__" or _is_environment(entry.path))):
            continue  # .git is a file in a worktree, by which `git` would find the user's own
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
    """Shell patterns, against the name and the path; one that ends in / is for folders alone."""
    for pattern in patterns:
        wanted = pattern.rstrip("/").removeprefix("/")
        if pattern.endswith("/") and not folder:
            continue
        if _fits(path, wanted) or (not pattern.startswith("/") and fnmatch.fnmatchcase(name, wanted)):
            return True
    return False


def _fits(path: str, pattern: str) -> bool:
    """Part by part: a `*` does not cross folders."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def link_target(source: Path, path: str) -> str:
    """A link inside the source stays as it is; one that leaves it becomes absolute, so that it still arrives."""
    target = os.readlink(source / path)
    arrives = os.path.normpath(os.path.join(os.path.dirname(source / path), target))
    inside = os.path.commonpath([arrives, str(source)]) == str(source)
    if not inside:
        return arrives
    return os.path.relpath(arrives, os.path.dirname(source / path)) if os.path.isabs(target) else target


def _too_large(source: Path, size: int, sizes: dict[str, int], limit: int) -> str:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    folders = ", ".join(f"{name} ({in_bytes(sizes[name])})" for name in largest)
    return (
        f"{source} holds {in_bytes(size)}, more than the {in_bytes(limit)} that are copied per experiment; largest: {folders}. "
        f"Share data with --capture-once {largest[0]}:data, list what is not needed in {IGNORE_FILE}, "
        f"or allow it with --max-workspace {in_bytes(int(size * 1.1)).replace(' ', '')}"
    )


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def in_bytes(size: int) -> str:
    """`1.5 GB`"""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def parse_bytes(text: str, option: str) -> int:
    """`2GB`, `500 MB`, `10000` in bytes."""
    number = text.strip().lower().removesuffix("b").strip()
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = float(number.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        size = -1.0
    if not 0 < size < 10**18:
        raise BadInput(f"{option} {text!r} is no size; write for example 500MB or 2GB")
    return int(size)
