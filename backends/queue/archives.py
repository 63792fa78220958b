"""Folders as tar files. What comes out of a bucket was written by another machine: nothing in it may reach out of its
folder, and an archive makes no more files or bytes than it has itself.

Links lead where they say only for `trusted` archives, which are the driver's own: a workspace may have a link to a
share that all machines see. Nothing is ever written through a link. `tarfile` has filters for this since Python 3.11.4
only, which follow links to find out where a path arrives; here no path has a link in it.
"""

import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from studio.backends.queue.bucket import whole_file
from studio.errors import StudioError

MOST_MEMBERS = 1_000_000  # files and folders of one archive
LATEST = 2**32  # seconds since the epoch: later times of files, and those before 1970, are left out


class Unreadable(StudioError):
    """A job or an archive that is not what it should be."""


def pack(members: Iterable[tuple[str, Path]], archive: Path, *, all_links: bool = False) -> None:
    """Files and folders under the names they shall have. Links that lead out of their member stay behind, unless
    `all_links`; so do pipes and sockets. The same content and times give the same bytes."""
    # No compression: gzip writes the time; models and images are compressed anyway.
    with whole_file(archive) as part, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in members:

            def travels(member: tarfile.TarInfo, root: str = f"{path}", name: str = name) -> tarfile.TarInfo | None:
                if member.islnk():  # a second name of a file: one more file
                    member.type, member.linkname = tarfile.REGTYPE, ""
                    member.size = os.path.getsize(root + member.name.removeprefix(name))
                if not (member.isreg() or member.isdir() or (member.issym() and (all_links or _stays_inside(member)))):
                    return None
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                return member

            tar.add(path, name, filter=travels)


def unpack(archive: Path, folder: Path, *, trusted: bool = False, only: Iterable[str] = ()) -> None:
    """Into `folder`, which does not exist or is empty. Unreadable for what reaches out of it, for devices, and for
    anything else that `pack` does not make; so it is for what lies below none of the names `only`, where there are some."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:") as tar:
            made: dict[str, str] = {}
            for member in tar:
                _check(member, made, trusted, tuple(only))
                _make(tar, member, folder / member.name)
                made[member.name] = "folder" if member.isdir() else "link" if member.issym() else "file"
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise Unreadable(f"an archive cannot be taken: {error}") from error


# --- members ----------------------------------------------------------------------------------------------------------


def _check(member: tarfile.TarInfo, made: dict[str, str], trusted: bool, only: tuple[str, ...]) -> None:
    parts = member.name.split("/")
    if member.name in made or len(made) >= MOST_MEMBERS:
        raise Unreadable(f"an archive cannot be taken: {member.name[:100]!r} comes twice, or is one too many")
    if any(part in ("", ".", "..") for part in parts) or "\0" in member.name:
        raise Unreadable(f"an archive cannot be taken: {member.name[:100]!r} leads out of it")
    if only and parts[0] not in only:
        raise Unreadable(f"an archive cannot be taken: {member.name[:100]!r} is none of {', '.join(only)}")
    above = [str(path) for path in PurePosixPath(member.name).parents][:-1]
    if any(made.get(path, "folder") != "folder" for path in above):
        raise Unreadable(f"an archive cannot be taken: {member.name[:100]!r} lies behind a link or a file")
    if member.issym():
        if not trusted and not _stays_inside(member):
            raise Unreadable(f"an archive cannot be taken: the link {member.name[:100]!r} leads out of it")
    elif not (member.isdir() or member.isreg()) or member.issparse():
        raise Unreadable(f"an archive cannot be taken: {member.name[:100]!r} is no file, folder or link")


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        os.symlink(member.linkname, path)
    else:
        content = tar.extractfile(member)
        assert content is not None  # it is a file
        with content, open(path, "xb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
        if 0 <= member.mtime < LATEST:  # nan is not, either
            os.utime(path, (member.mtime, member.mtime))


def _stays_inside(member: tarfile.TarInfo) -> bool:
    """Whether a link arrives in its own top folder, without a look at the disk: it goes up first, and then only down."""
    target, ups = member.linkname.split("/"), 0
    while target[:1] == [".."]:
        target, ups = target[1:], ups + 1
    return not os.path.isabs(member.linkname) and ".." not in target and ups < member.name.count("/")
