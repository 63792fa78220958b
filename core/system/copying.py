"""Trees copied for real, and removed whatever is in them."""

import errno
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path

_FICLONE = 0x40049409  # ioctl_ficlone(2): the copy shares its blocks until one side is written
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


def copy_tree(source: Path, target: Path) -> None:
    """A real copy of a folder: nobody who writes to it changes anybody else's. Pipes, sockets and devices are left out."""
    _copy_below(source, "", target)


def _copy_below(root: Path, below: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(root / below) as entries:
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                os.symlink(link_target(root, path), target / entry.name)
            elif entry.is_dir():
                _copy_below(root, path, target / entry.name)
            elif entry.is_file():
                copy_file(Path(entry.path), target / entry.name)


def link_target(root: Path, path: str) -> str:
    """The text of a copy of the link `root / path`, in a copy of `root`. A link that arrives in `root`, by whatever name of
    that folder, arrives in the copy; one that leaves it becomes absolute, so that it still arrives."""
    target, folder = os.readlink(root / path), os.path.dirname(path)
    if not os.path.isabs(target) and not _climbs_out(folder, target):
        return target
    arrives = os.path.normpath(os.path.join(os.path.realpath(root), folder, target))
    for place in (
        arrives,
        os.path.join(os.path.realpath(os.path.dirname(arrives)), os.path.basename(arrives)),  # may be a link in `root`
        os.path.realpath(arrives),
    ):
        inside = _path_inside(place, root)
        if inside is not None:
            return os.path.relpath(inside, folder or ".")
    return arrives


def _climbs_out(folder: str, target: str) -> bool:
    """Whether a relative link in `folder` leaves the root on its way, perhaps to come back by the root's own name."""
    depth = len(Path(folder).parts)
    for part in Path(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _path_inside(path: str, root: Path) -> str | None:
    """`path` relative to `root`, compared by folder and not by name: mounts and file systems give one folder several names."""
    for above in (Path(path), *Path(path).parents):
        try:
            if os.path.samefile(above, root):
                return os.path.relpath(path, above)
        except (OSError, ValueError):
            continue
    return None


def copy_shared(source: Path, target: Path) -> None:
    """A copy that many read, and none may change for the others."""
    copy_any(source, target)
    if target.exists():
        make_read_only(target)


def make_read_only(path: Path) -> None:
    """Take the right to write from a file, or from a folder and all in it: it is shared, and nobody may change it for others."""
    if path.is_symlink():
        return
    if path.is_dir():
        for entry in os.scandir(path):
            make_read_only(Path(entry.path))
    os.chmod(path, stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


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


COMPARED = 1 << 12  # bytes at the end of what was copied


def original_bytes(path: str, original: str) -> int:
    """How many bytes at the beginning of `path` came with its original, 0 when somebody wrote the file anew.

    By the last 4 KiB of them. A script may write it anew at any time: until something else was read of it, ask again.
    """
    try:
        now, then = os.stat(path), os.stat(original)
        if not stat.S_ISREG(now.st_mode) or not stat.S_ISREG(then.st_mode):
            return 0
        if now.st_size < then.st_size or (now.st_size == then.st_size and now.st_mtime_ns != then.st_mtime_ns):
            return 0  # a copy keeps its time, and what is appended makes it longer
        at = max(0, then.st_size - COMPARED)
        return then.st_size if _part(path, at, then.st_size) == _part(original, at, then.st_size) else 0
    except (OSError, ValueError):
        return 0


def is_original(path: str, original: str) -> bool:
    """Whether `path` is as it was copied from `original`: no file of this run."""
    try:
        return os.stat(path).st_size == os.stat(original).st_size == original_bytes(path, original)
    except (OSError, ValueError):
        return False


def _part(path: str, begin: int, end: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), end - begin, begin)
