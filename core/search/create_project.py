"""Creation of a project, whole or not at all; and a new snapshot of its source on resume."""

import contextlib
import hashlib
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

from studio import fs_tracker
from studio.errors import BadInput, ProjectError, StoreError
from studio.project.environment import describe
from studio.project.lock import take_lock
from studio.project.paths import FIRST_SNAPSHOT, SHARED, backup, database, project_folder, projects_folder, studio_home
from studio.project.records import is_complete
from studio.project.source import SourceFiles, copy_source, own_output_files, scan_source
from studio.project.store import Store
from studio.search.plan.plan import Plan
from studio.settings import Settings, is_optimizer_file, script_of
from studio.system.copying import copy_shared, remove_tree
from studio.system.files import make_folder


def create(plan: Plan, snapshot: SourceFiles, name: str | None) -> Store:
    """Create the project's folder, locked before anything is in it, and return its record.

    The settings are written last: a project that has them is complete.
    """
    make_folder(projects_folder())
    folder, lock = _claim_folder(script_of([plan.settings.script, *plan.settings.arguments]), name)
    try:
        copy_source(snapshot, folder / plan.snapshot)
        for tag, path in plan.artifacts.sources().items():
            copy_shared(path, folder / SHARED / tag)
        if plan.settings.python is not None:
            _write_shim(folder / "shim" / "studio")
        store = Store(folder, lock)
        store.set_meta("optimizer_file", fingerprint(plan.settings))
        store.set_meta("source", {"folder": str(plan.source), "snapshot": plan.snapshot})
        store.set_meta("environment", describe(plan.command[0], plan.source))
        store.set_meta("baseline", plan.baseline)
        store.set_meta("settings", plan.settings.as_dict())
    except BaseException as error:  # Ctrl-C, too: leave nothing behind
        with contextlib.suppress(OSError):
            remove_tree(folder)
        lock.close()
        if isinstance(error, OSError | StoreError):
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"cannot write to {folder}: {reason}; is the disk full?") from error
        raise
    return store


def source_snapshot(plan: Plan) -> SourceFiles:
    leave_out = [studio_home(), *own_output_files(), *(plan.source / path for path in plan.artifacts.links)]
    return scan_source(plan.source, leave_out=leave_out, max_bytes=plan.settings.max_workspace)


def take_new_snapshot(store: Store, plan: Plan, snapshot: SourceFiles) -> None:
    """Copy the source again for later experiments, with new copies of what is captured once. `plan` then uses them.

    They count once the record names them: if this is interrupted before, the old ones are used. Artifacts reused from other
    projects are not copied again, as they are not the user's files.
    """
    before, captured = plan.snapshot, replace(plan.artifacts, reused={}).sources()
    taken = [path.name for path in store.folder.glob(f"{FIRST_SNAPSHOT}*")]
    plan.snapshot = next(name for n in range(2, len(taken) + 3) if (name := f"{FIRST_SNAPSHOT}-{n}") not in taken)
    folder, shared = store.folder / plan.snapshot, store.folder / plan.shared_folder
    try:
        copy_source(snapshot, folder)
        for tag, path in captured.items():
            copy_shared(path, shared / tag)
        store.set_meta("source", {"folder": str(plan.source), "snapshot": plan.snapshot})
        store.set_meta("environment", describe(plan.command[0], plan.source))
    except BaseException as error:  # Ctrl-C, too
        plan.snapshot = before
        for made in (shared, folder):
            with contextlib.suppress(OSError):
                remove_tree(made)
        if isinstance(error, OSError):
            raise BadInput(f"cannot write to {store.folder}: {error.strerror}; is the disk full?") from error
        raise


def _claim_folder(script: str, name: str | None) -> tuple[Path, IO[str]]:
    """Return a new folder for the project, and its lock. Remains of an incomplete creation there are removed."""
    for candidate in [name] if name else free_names(script):
        folder = project_folder(candidate)
        try:
            folder.mkdir(mode=0o700, exist_ok=bool(name))
        except FileExistsError:
            continue
        lock = take_lock(folder)
        try:
            _clear(folder)
        except BaseException:
            lock.close()
            raise
        return folder, lock
    raise ProjectError(f"no free name for a project of {script!r}; give one with --project")


def _clear(folder: Path) -> None:
    """Remove what an incomplete creation left in `folder`. Raises ProjectError if it holds more than that."""
    if project_exists(folder):
        raise ProjectError(f"project {folder.name!r} exists; continue it: studio resume {folder.name}")
    if any(entry.name.isdecimal() for entry in folder.iterdir()):
        raise ProjectError(
            f"{folder} has experiments of a project whose record is gone; remove that folder, or choose another --project"
        )
    for remains in folder.iterdir():
        if remains.name != "lock":
            remove_tree(remains) if remains.is_dir() else remains.unlink()


def project_exists(folder: Path) -> bool:
    """Return whether a project exists there, intact or damaged; False for an empty or incompletely created one."""
    return backup(folder).is_file() or (database(folder).is_file() and is_complete(folder))


def free_names(script: str) -> list[str]:
    """Names for a project of `script`: `train-20261124-101500`, with a number behind it where another search began in the same second."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(script).stem).lstrip("._-")
    base = f"{stem[:100] or 'search'}-{time.strftime('%Y%m%d-%H%M%S')}"
    return [base, *(f"{base}-{number}" for number in range(2, 1000))]


def fingerprint(settings: Settings) -> str | None:
    """Return the SHA-256 of the optimizer's file; None for an installed optimizer."""
    return (
        hashlib.sha256(Path(settings.optimizer).read_bytes()).hexdigest()
        if is_optimizer_file(settings.optimizer)
        else None
    )


def _write_shim(package: Path) -> None:
    """Write a `studio` package with `fs_tracker` only, for interpreters without Studio."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copyfile(fs_tracker.__file__, package / "fs_tracker.py")
