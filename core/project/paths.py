"""Paths: STUDIO_HOME, a project's folder, an experiment's folder; and which names are allowed there."""

import os
import re
from pathlib import Path

from studio.errors import BadInput, ProjectError
from studio.text import did_you_mean

FIRST_SNAPSHOT = "source"
SHARED = "artifacts"  # shared by all experiments; a later snapshot has its own
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def studio_home() -> Path:
    return Path(os.environ.get("STUDIO_HOME") or "~/.studioml").expanduser().absolute()


def projects_folder() -> Path:
    return studio_home() / "projects"


def project_folder(name: str) -> Path:
    """Return the folder of project `name`, whether or not it exists. ProjectError for a name that is not allowed."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise ProjectError(
            f"{name!r} is not a project name: use letters, digits and . _ - and begin with a letter or digit"
        )
    return projects_folder() / name


def existing_project_folder(name: str) -> Path:
    folder = project_folder(name)
    if not _is_project(folder):
        raise ProjectError(f"there is no project {name!r} in {projects_folder()}{did_you_mean(name, project_names())}")
    return folder


def project_names() -> list[str]:
    """Return the projects in STUDIO_HOME, by name."""
    folder = projects_folder()
    try:
        if studio_home().exists() and not studio_home().is_dir():
            raise BadInput(f"STUDIO_HOME is {str(studio_home())!r}, which is not a folder; set it to one")
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if _is_project(entry))
    except PermissionError as error:
        raise BadInput(
            f"STUDIO_HOME is {str(studio_home())!r}, which cannot be read ({error.strerror}); set it to a folder of yours"
        ) from None


def _is_project(folder: Path) -> bool:
    """Return whether `folder` holds a project. One that lost its database is one, too: it has a backup."""
    return database(folder).is_file() or backup(folder).is_file()


def database(folder: Path) -> Path:
    return folder / "studio.db"


def backup(folder: Path) -> Path:
    return folder / "studio.db.backup"


def attempt_folder(project: Path, number: int, attempt: int) -> Path:
    return Path(attempt_path(project, number, attempt))


def attempt_path(project: Path, number: int, attempt: int) -> str:
    """Return `attempt_folder` as text, which is many times faster to make."""
    return f"{project}/{number}/{attempt}"


def split_key(key: str) -> tuple[str, int]:
    """Return `digits/7` as `("digits", 7)`. Raises BadInput."""
    project, slash, number = key.rpartition("/")
    if not slash or not number.isdecimal() or len(number) > 15 or int(number) < 1:
        example = f"{key}/1" if _NAME.fullmatch(key) else "digits/7"
        raise BadInput(f"{key!r} is not an experiment: write PROJECT/NUMBER, such as {example}")
    return project, int(number)
