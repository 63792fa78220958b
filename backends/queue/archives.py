"""Folders as tar files. Archives in a bucket come from other machines: nothing in them may reach out of the folder, and an
archive makes no more files or bytes than it contains.

Links out of the folder are kept only in `trusted` archives, made by the driver: a workspace may have a link to a share
that all machines see. Nothing is ever written through a link. `tarfile` has filters for this only since Python 3.11.4,
which follow links to resolve a path; here paths through a link are rejected.
"""

import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from studio.backends.queue.bucket import whole_file
from studio.errors import StudioError

MOST_MEMBERS = 1_000_000  # files and folders of one archive
LATEST = 2**32  # seconds since the epoch: later times of files, and those before 1970, are ignored


class Unreadable(StudioError):
    """An invalid job or archive."""


def pack(members: Iterable[tuple[str, Path]], archive: Path, *, all_links: bool = False) -> None:
    """Pack files and folders under the given names. The same content and times give the same bytes.

    Left out are pipes, sockets, and links that lead out of their member, unless `all_links`.
    """
    # No compression: gzip would add the time, and models and images are compressed anyway.
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
    """Unpack into `folder`, which does not exist or is empty.

    Raises Unreadable for members that reach out of it, for devices, for anything else that `pack` does not make, and for
    members outside of the top-level names `only`, if given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:") as tar:
            made: dict[str, str] = {}
            for member in tar:
                _check(member, made, trusted, tuple(only))
                _make(tar, member, folder / member.name)
                made[member.name] = "folder" if member.isdir() else "link" if member.issym() else "file"
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise Unreadable(f"invalid archive: {error}") from error


# --- members ----------------------------------------------------------------------------------------------------------


def _check(member: tarfile.TarInfo, made: dict[str, str], trusted: bool, only: tuple[str, ...]) -> None:
    parts = member.name.split("/")
    if member.name in made or len(made) >= MOST_MEMBERS:
        raise Unreadable(f"invalid archive: {member.name[:100]!r} comes twice, or is one too many")
    if any(part in ("", ".", "..") for part in parts) or "\0" in member.name:
        raise Unreadable(f"invalid archive: {member.name[:100]!r} leads out of it")
    if only and parts[0] not in only:
        raise Unreadable(f"invalid archive: {member.name[:100]!r} is not one of {', '.join(only)}")
    above = [str(path) for path in PurePosixPath(member.name).parents][:-1]
    if any(made.get(path, "folder") != "folder" for path in above):
        raise Unreadable(f"invalid archive: {member.name[:100]!r} is behind a link or a file")
    if member.issym():
        if not trusted and not _stays_inside(member):
            raise Unreadable(f"invalid archive: the link {member.name[:100]!r} leads out of it")
    elif not (member.isdir() or member.isreg()) or member.issparse():
        raise Unreadable(f"invalid archive: {member.name[:100]!r} is not a file, folder or link")


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        os.symlink(member.linkname, path)
    else:
        content = tar.extractfile(member)
        assert content is not None  # it is a regular file
        with content, open(path, "xb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
        if 0 <= member.mtime < LATEST:  # nan fails this comparison, too
            os.utime(path, (member.mtime, member.mtime))


def _stays_inside(member: tarfile.TarInfo) -> bool:
    """Return whether a link stays in its own top folder, by its text: it may only go up first, and then down."""
    target, ups = member.linkname.split("/"), 0
    while target[:1] == [".."]:
        target, ups = target[1:], ups + 1
    return not os.path.isabs(member.linkname) and ".." not in target and ups < member.name.count("/")
