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
