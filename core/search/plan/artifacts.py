"""Artifacts of the user: captured from a run, shared by all, or reused from another project."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import BadInput
from studio.project.paths import existing_project_folder, split_key, studio_home
from studio.settings import Settings
from studio.system.copying import is_inside

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass
class Artifacts:
    """Sources of captured and reused artifacts: tag -> path."""

    captured: dict[str, str] = field(default_factory=dict)  # workspace paths
    copied: dict[str, Path] = field(default_factory=dict)  # outside the source, one copy per experiment
    shared: dict[str, Path] = field(default_factory=dict)  # one copy per project
    reused: dict[str, str] = field(default_factory=dict)  # PROJECT/NUMBER/ARTIFACT, one copy per project
    links: dict[str, str] = field(default_factory=dict)  # workspace path -> tag of the shared artifact at this path

    def sources(self) -> dict[str, Path]:
        """Return the paths to copy into a new project: tag -> path. BadInput for one that does not exist."""
        found = {tag: _existing(path, "--capture-once") for tag, path in self.shared.items()}
        for path in self.copied.values():
            _existing(path, "--capture")
        return found | {tag: _reused(text) for tag, text in self.reused.items()}


def read_artifacts(settings: Settings, source: Path) -> Artifacts:
    result = Artifacts()
    for text in settings.capture:
        path, tag = _path_and_tag(text, "--capture", settings.ranges)
        inside = _inside(path, source)
        if inside is not None:
            result.captured[tag] = inside
        else:
            result.copied[tag] = _expanded(path)
    for text in settings.capture_once:
        path, tag = _path_and_tag(text, "--capture-once", settings.ranges)
        result.shared[tag] = source / _expanded(path)
        inside = _inside(path, source)
        if inside is not None:
            result.links[inside] = tag
    for text in settings.reuse:
        path, tag = _path_and_tag(text, "--reuse", settings.ranges)
        result.reused[tag] = path
    tags = [*settings.capture, *settings.capture_once, *settings.reuse]
    if len(tags) != len({*result.captured, *result.copied, *result.shared, *result.reused}):
        raise BadInput("two artifacts have the same tag; each of --capture, --capture-once and --reuse needs its own")
    return result


def _path_and_tag(text: str, option: str, taken: Mapping[str, Any]) -> tuple[str, str]:
    path, colon, tag = text.rpartition(":")
    if not colon or not path or not _TAG.fullmatch(tag):
        raise BadInput(f"{option} {text!r} is not PATH:TAG with a tag of up to 100 letters, digits and . _ -")
    if tag in taken:
        raise BadInput(f"{option} {text!r}: {tag!r} is the name of a hyperparameter; choose another tag")
    return path, tag


def _inside(path: str, source: Path) -> str | None:
    """Return `path` relative to `source`, or None if it is outside."""
    full = Path(os.path.normpath(source / _expanded(path)))
    if full == source:
        raise BadInput(f"{path!r} is the working directory itself, which is copied anyway")
    return str(full.relative_to(source)) if full.is_relative_to(source) else None


def _expanded(path: str) -> Path:
    """Expand `~`, without an error if there is no such user: `~x` may be the name of a file."""
    return Path(os.path.expanduser(path))


def _existing(path: Path, option: str) -> Path:
    if not os.path.exists(path):  # unlike Path.exists, no error for an invalid path: too long, a zero byte
        raise BadInput(f"{option}: {str(path)!r} does not exist")
    if not (path.is_file() or path.is_dir()):
        raise BadInput(f"{option}: {str(path)!r} is neither a file nor a folder")
    if is_inside(studio_home(), path):
        raise BadInput(
            f"{option}: {str(path)!r} contains {studio_home()}, to which Studio would copy it; name only the part that is needed"
        )
    return path.absolute()


def _reused(path: str) -> Path:
    """Return the file or folder that `PROJECT/NUMBER/ARTIFACT` names, from the experiment's latest attempt with it."""
    key, slash, name = path.rpartition("/")
    if not slash or not _TAG.fullmatch(name):
        raise BadInput(f"--reuse {path!r} is not PROJECT/NUMBER/ARTIFACT")
    project, number = split_key(key)
    folder = existing_project_folder(project) / str(number)
    attempts = (
        sorted((int(p.name) for p in folder.iterdir() if p.name.isdecimal()), reverse=True) if folder.is_dir() else []
    )
    for attempt in attempts:
        for place in ("artifacts", "."):
            for candidate in (folder / str(attempt) / place / name, folder / str(attempt) / place / f"{name}.npy"):
                if candidate.exists():
                    return candidate.resolve()
    raise BadInput(f"--reuse {path!r}: experiment {key} has no artifact {name!r}")
