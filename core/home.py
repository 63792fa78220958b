"""Where things lie: STUDIO_HOME, a project's folder, an experiment's folder; and which names are allowed there."""

import json
import os
import re
from pathlib import Path

from studio.errors import BadInput, ProjectError
from studio.text import did_you_mean

LOW_SPACE = 1 << 20  # bytes: a disk with less is full
_NETWORK = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def studio_home() -> Path:
    return Path(os.environ.get("STUDIO_HOME") or "~/.studioml").expanduser().absolute()


def projects_folder() -> Path:
    return studio_home() / "projects"


def project_folder(name: str) -> Path:
    """The folder of project `name`, whether or not it exists. ProjectError for a name that is no plain file name."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise ProjectError(
            f"{name!r} is no project name: letters, digits and . _ - only, beginning with a letter or digit"
        )
    return projects_folder() / name


def existing_project_folder(name: str) -> Path:
    folder = project_folder(name)
    if not database(folder).is_file():
        raise ProjectError(f"there is no project {name!r} in {projects_folder()}{did_you_mean(name, project_names())}")
    return folder


def project_names() -> list[str]:
    """The projects in STUDIO_HOME, by name."""
    folder = projects_folder()
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if database(entry).is_file())


def database(folder: Path) -> Path:
    return folder / "studio.db"


def attempt_folder(project: Path, number: int, attempt: int) -> Path:
    return project / str(number) / str(attempt)


def is_network(folder: Path, mounts: str = "/proc/self/mounts") -> bool:
    """Whether `folder` lies on a file system that other machines write to: no memory is shared over it."""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as table:
            rows = [line.split(" ") for line in table]
    except OSError:  # not Linux
        return False
    path = os.path.realpath(folder)
    below = [(len(row[1]), row[2]) for row in rows if path == row[1] or path.startswith(row[1].rstrip("/") + "/")]
    return max(below, default=(0, ""))[1] in _NETWORK


def out_of_space(folder: Path) -> bool:
    """Whether the disk of `folder` takes no more files worth writing, for lack of blocks or of inodes."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < LOW_SPACE or (disk.f_files > 0 and disk.f_favail == 0)


def split_key(key: str) -> tuple[str, int]:
    """`digits/7` as `("digits", 7)`."""
    project, slash, number = key.rpartition("/")
    if not slash or not number.isdecimal() or int(number) < 1:
        raise BadInput(f"{key!r} is no experiment: write PROJECT/NUMBER, such as digits/7")
    return project, int(number)


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
        raise BadInput(
            f"cannot write to {folder}: {error.strerror}; set STUDIO_HOME to a folder that can take files"
        ) from error


def write_json(path: Path, data: object) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data), encoding="utf-8")
    os.replace(part, path)
