"""Disks: of which kind, how full, and files that are written whole or not at all."""

import contextlib
import errno
import json
import os
import re
import secrets
from pathlib import Path

from studio.errors import BadInput

LOW_SPACE = 1 << 20  # bytes: a disk with less is full
_NETWORK = re.compile(  # file systems that other machines write to
    r"9p|afs|beegfs|ceph|cifs|davfs|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|prl_fs|pvfs2|smb[23]|smbfs"
    r"|vboxsf|virtiofs|wekafs|fuse\.(ceph|ceph-fuse|davfs|gcsfuse|glusterfs|juicefs|rclone|s3fs|sshfs|vmhgfs-fuse)"
)


def is_network(folder: Path, mounts: str = "/proc/self/mounts") -> bool:
    """Whether `folder` lies on a file system that other machines write to: no memory is shared over it."""
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
    last = max(above)[1]  # of several at one place, the one that is seen
    return _NETWORK.fullmatch(mounted[last][1]) is not None


def _unescaped(text: str) -> str:
    """Blanks stand in a table of mounts as `\\040`: proc(5)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def is_read_only(folder: Path) -> bool:
    """Whether no file can be made in `folder`: its disk is mounted so, or it belongs to somebody else."""
    return not os.access(folder, os.W_OK)


def identity(path: Path) -> tuple[int, int]:
    """Of the file that now has this name; another one where somebody moved or removed it."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def out_of_space(folder: Path) -> bool:
    """Whether the disk of `folder` takes no more files worth writing, for lack of blocks or of inodes."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # it is gone: whoever writes next says so
        return False
    return disk.f_bavail * disk.f_frsize < LOW_SPACE or (disk.f_files > 0 and disk.f_favail == 0)


def make_folder(folder: Path) -> None:
    """Make `folder`, for this user's eyes only, and see that it takes files."""
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
            f"cannot write to {folder}: {error.strerror}; {advice}set STUDIO_HOME to a folder that can take files"
        ) from error


def write_json(path: Path, data: object, *, synced: bool = False) -> None:
    """Write whole or not at all; several threads may write one path. `synced`: it survives a power cut."""
    part = path.with_name(
        f".{path.name}.{secrets.token_hex(6)}.part"
    )  # where a script may write: a name it cannot know
    try:
        with open(part, "x", encoding="utf-8") as file:
            json.dump(data, file)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
        if synced:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):  # some shares have no fsync for folders
                    os.fsync(folder)
            finally:
                os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
