"""Files that are written whole or not at all; the kind of a disk, and its free space."""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from studio.errors import BadInput

LOW_SPACE = 1 << 20  # bytes: a disk with less is full
_NETWORK = re.compile(  # file systems that other machines write to
    r"9p|afs|beegfs|ceph|cifs|davfs|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|prl_fs|pvfs2|smb[23]|smbfs"
    r"|vboxsf|virtiofs|wekafs|fuse\.(ceph|ceph-fuse|davfs|gcsfuse|glusterfs|juicefs|rclone|s3fs|sshfs|vmhgfs-fuse)"
)


def is_network_disk(folder: Path, mounts: str = "/proc/self/mounts") -> bool:
    """Return whether `folder` is on a file system that other machines write to, over which no memory is shared."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as table:
            rows = [line.split(" ") for line in table]
    except OSError:  # not Linux
        return False
    path = os.path.realpath(folder)
    mounted = [(_unescaped(row[1]), row[2]) for row in rows if len(row) > 2]
    above = [(len(at), number) for number, (at, _) in enumerate(mounted) if f"{path}/".startswith(at.rstrip("/") + "/")]
    if not above:
        return False
    last = max(above)[1]  # of several mounts at one place, the visible one
    return _NETWORK.fullmatch(mounted[last][1]) is not None


def _unescaped(text: str) -> str:
    """Return text of a table of mounts with `\\040` and the like as characters: proc(5)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def is_read_only(folder: Path) -> bool:
    """Return whether no file can be made in `folder`: mounted read-only, or without permission."""
    return not os.access(folder, os.W_OK)


def inode_of(path: Path) -> tuple[int, int]:
    """Return device and inode of `path`, (0, 0) if it does not exist. They change if the file is moved or removed."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, else raise OSError: a script may have put anything there, and opening a FIFO would block."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def is_full(folder: Path) -> bool:
    """Return whether the disk of `folder` has no blocks or inodes left for more files."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # the folder is gone: the next write reports that
        return False
    return disk.f_bavail * disk.f_frsize < LOW_SPACE or (disk.f_files > 0 and disk.f_favail == 0)


def make_folder(folder: Path) -> None:
    """Make `folder`, readable by this user alone, and check that files can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / f".probe-{os.getpid()}"
        try:
            probe.write_bytes(b"0" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        advice = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise BadInput(
            f"cannot write to {folder}: {error.strerror}; {advice}set STUDIO_HOME to a folder that you can write to"
        ) from error


def write_json(path: Path, data: object, *, synced: bool = False) -> None:
    """Write JSON as `write_whole` does."""
    write_whole(path, [json.dumps(data).encode()], synced=synced)


def write_whole(path: Path, pieces: Iterable[bytes], *, mode: int | None = None, synced: bool = False) -> None:
    """Write a file whole or not at all; several threads may write one path.

    `mode`: its permissions, by default those of a new file. `synced`: it survives a power failure.
    """
    part = _part_of(path)
    try:
        with open(part, "xb") as file:
            file.writelines(pieces)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            os.chmod(part, mode)
        os.replace(part, path)
        if synced:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):  # some shares have no fsync for folders
                    os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files that exist, all of them or none; each keeps its permissions. Raises OSError."""
    before = {path: (path.read_bytes(), path.stat().st_mode) for path in files}
    parts = {path: _part_of(path) for path in files}
    replaced: list[Path] = []
    try:
        for path, part in parts.items():
            with open(part, "xb") as file:
                file.write(files[path])
            os.chmod(part, before[path][1])
        for path, part in parts.items():
            os.replace(part, path)
            replaced.append(path)
    except BaseException:
        for path in replaced:
            write_whole(path, [before[path][0]], mode=before[path][1])
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise


def _part_of(path: Path) -> Path:
    """Return a new name beside `path`, which a script that may write in this folder cannot guess."""
    return path.parent / f".{path.name[:40]}.{secrets.token_hex(6)}.part"
