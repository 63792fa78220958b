"""Copies of trees, and their removal whatever is in them."""

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
    """Copy a folder so that writing to the copy changes nothing else. Pipes, sockets and devices are left out."""
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
    """Return the target text for a copy of the link `root / path` in a copy of `root`.

    A link that leads into `root`, by whatever name of that folder, leads into the copy; one that leaves it becomes absolute,
    so that it still works.
    """
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
    """Return whether a relative link in `folder` leaves the root on its way, even if it comes back by the root's own name."""
    depth = len(Path(folder).parts)
    for part in Path(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _path_inside(path: str, root: Path) -> str | None:
    """Return `path` relative to `root`, or None. Compares folders, not names: mounts give a folder several names."""
    for above in (Path(path), *Path(path).parents):
        try:
            if os.path.samefile(above, root):
                return os.path.relpath(path, above)
        except (OSError, ValueError):
            continue
    return None


def copy_shared(source: Path, target: Path) -> None:
    """Copy a file or folder that many experiments read, and make the copy read-only."""
    copy_any(source, target)
    if target.exists():
        make_read_only(target)


def make_read_only(path: Path) -> None:
    """Remove write permission from a file, or from a folder and all in it, because it is shared."""
    if path.is_symlink():
        return
    if path.is_dir():
        for entry in os.scandir(path):
            make_read_only(Path(entry.path))
    os.chmod(path, stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def copy_any(source: Path, target: Path) -> None:
    """Copy a file or a folder; nothing if it is neither. OSError for a folder into itself, or one nested too deeply."""
    if source.is_dir():
        if is_inside(target, source):
            raise OSError(errno.EINVAL, f"{source} cannot be copied into itself")
        try:
            copy_tree(source, target)
        except RecursionError:
            raise OSError(errno.ENAMETOOLONG, f"{source} has folders that are nested too deeply") from None
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target)


def remove_tree(folder: Path) -> None:
    """Remove `folder` with all that a script made in it, including deep and read-only folders."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):  # rmtree keeps a file open for each level; the limit may be 1,024
        if folder.is_symlink():  # its target belongs to others
            raise
        _remove_by_levels(folder)


def _remove_by_levels(folder: Path) -> None:
    """Move the contents of inner folders up before removing these: paths stay short, and two folders at most are open."""
    os.chmod(folder, stat.S_IRWXU)
    while inner := [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]:
        for path in inner:
            os.chmod(path, stat.S_IRWXU)
            for entry in list(os.scandir(path)):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, stat.S_IRWXU)  # moving a folder writes to it
                    os.rename(entry.path, folder / secrets.token_hex(8))
                else:
                    os.unlink(entry.path)
            os.rmdir(path)
    shutil.rmtree(folder)


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether `path` is `folder` or lies in it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def detach_links(root: Path, path: str) -> Path:
    """Replace links on the way to `root / path` that lead outside, so that writing there changes nothing outside.

    Such a link becomes a copy of its file, or a folder of links. Returns `root / path`.
    """
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
    """Copy contents, permissions and times; copy-on-write if the file system can."""
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


COMPARED = 1 << 12  # bytes at the end of the copied part


def original_bytes(path: str, original: str) -> int:
    """Return how many bytes at the beginning of `path` came with its original, 0 if the file was rewritten.

    Compares the last 4 KiB of them. A script may rewrite the file at any time: ask again until other bytes were read from it.
    """
    try:
        now, then = os.stat(path), os.stat(original)
        if not stat.S_ISREG(now.st_mode) or not stat.S_ISREG(then.st_mode):
            return 0
        if now.st_size < then.st_size or (now.st_size == then.st_size and now.st_mtime_ns != then.st_mtime_ns):
            return 0  # a copy keeps its time, and appending makes it longer
        at = max(0, then.st_size - COMPARED)
        return then.st_size if _part(path, at, then.st_size) == _part(original, at, then.st_size) else 0
    except (OSError, ValueError):
        return 0


def is_original(path: str, original: str) -> bool:
    """Return whether `path` is unchanged since it was copied from `original`, and so no file of this run."""
    try:
        return os.stat(path).st_size == os.stat(original).st_size == original_bytes(path, original)
    except (OSError, ValueError):
        return False


def _part(path: str, begin: int, end: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), end - begin, begin)
