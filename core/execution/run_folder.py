"""A run's folder: workspace with the values written in, artifacts, output.log, outcome.json."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from studio.experiment import Outcome, Report, Run, plain
from studio.system.copying import copy_any, copy_tree, detach_links, remove_tree
from studio.system.files import inode_of, open_regular, write_json
from studio.system.processes import kill_tree

HYPERPARAMETERS = "hyperparameters.json"


def recorded_events(run: Run) -> list[Report | Outcome]:
    """The value of its metric and the outcome in `outcome.json`, if an earlier driver wrote them for this very run: the same
    number, attempt and values. A script may have written there, too."""
    folder = Path(run.folder)
    try:
        data = _read_json(folder / "outcome.json")
        value = data.pop("metric")
        outcome = Outcome.from_json(data)
        # After a database was restored from a backup, another suggestion may have this number.
        same_values = _read_json(folder / HYPERPARAMETERS) == json.loads(_values_json(run))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    meant = (outcome.number, outcome.attempt, outcome.stopped) == (run.number, run.attempt, False)
    if not (meant and same_values and isinstance(value, float | None)):
        return []
    return [outcome] if value is None else [Report(None, value, run.number, run.attempt), outcome]


def _read_json(path: Path) -> Any:
    with open(open_regular(path, os.O_RDONLY), encoding="utf-8") as file:
        return json.load(file)


def _values_json(run: Run) -> str:
    return json.dumps({name: plain(value) for name, value in run.values.items()})


class RunFolder:
    """A run's folder, newly made and held open. Remains of an interrupted run are removed, its processes first.

    A paused driver that lost its project writes nothing into the folder that the next driver made under this name.
    """

    def __init__(self, run: Run, check: Callable[[], None]):
        """Make the folder. `check` raises if another driver has the project: then its folder stays as it is."""
        folder = Path(run.folder)
        if folder.exists():
            aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
            folder.rename(aside)
            try:
                check()
            except BaseException:
                aside.rename(folder)
                raise
            kill_tree(None, run.folder)
        for aside in folder.parent.glob(f".{folder.name}.*"):  # that one, and what a driver left that was killed here
            remove_tree(aside)
        folder.mkdir(parents=True)
        self._folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def record(self, data: dict[str, Any]) -> None:
        """Write `outcome.json`, from which a later driver takes the outcome. Errors are ignored: the journal gets it as well."""
        with contextlib.suppress(OSError):
            if self.is_there():
                write_json(self._folder / "outcome.json", data)

    def is_there(self) -> bool:
        """Return whether the folder of this name is still the one that was made."""
        held = os.fstat(self._descriptor)
        return (held.st_dev, held.st_ino) == inode_of(self._folder)

    def release(self) -> None:
        os.close(self._descriptor)


def create_run_folder(run: Run) -> None:
    """Create the run's folder: workspace with the values written in, artifacts, hyperparameters.json."""
    folder = Path(run.folder)
    workspace = folder / "workspace"
    for name in ("tb", "modeldir", "artifacts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    copy_tree(Path(run.snapshot), workspace)
    for path, text in run.changes.items():
        detach_links(workspace, path).write_bytes(text)
    for path, target in run.links.items():
        place = detach_links(workspace, os.path.dirname(path)) / os.path.basename(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a link to the user's file, if their folder was turned into one of links
        os.symlink(target, place)
    artifacts = dict(run.shared)
    for tag, path in run.copies.items():
        artifacts[tag] = str(folder / "artifacts" / tag)
        copy_any(Path(path), folder / "artifacts" / tag)
    for tag, path in run.captures.items():
        artifacts[tag] = str(workspace / path)
    for name, value in run.values.items():
        if isinstance(value, np.ndarray):
            artifacts[name] = str(array_path(run.folder, name))
            np.save(artifacts[name], value)
    write_json(folder / "artifacts.json", artifacts)
    write_json(folder / HYPERPARAMETERS, {name: plain(value) for name, value in run.values.items()})


def array_path(folder: str | Path, name: str) -> Path:
    """Return the path of an array hyperparameter's file."""
    return Path(folder) / "artifacts" / f"{name}.npy"


def save_captures(run: Run, *, expected: bool = True) -> str:
    """Copy captured paths out of the workspace, which may be deleted. Return what could not be saved, and why.

    The script may have left anything there, and the experiment counts all the same. `expected`: report a missing path, too.
    """
    problems = []
    for tag, path in run.captures.items():
        made, kept = Path(run.folder, "workspace", path), Path(run.folder, "artifacts", tag)
        if expected and not os.path.lexists(made):
            problems.append(f"{tag} was not saved: the script did not make {path}")
            continue
        try:
            if kept.exists() and made.exists() and os.path.samefile(made, kept):
                continue
            copy_any(made, kept)
        except OSError as error:
            problems.append(f"{tag} was not saved: {error.strerror}")
    return "; ".join(problems)
