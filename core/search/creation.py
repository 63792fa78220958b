"""A project on disk, made whole or not at all; and a new snapshot of its source, taken on resume."""

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
from studio.project.source import Snapshot, own_output, plan_snapshot, write_snapshot
from studio.project.store import Store, whole
from studio.search.plan import Plan
from studio.settings import Settings, is_optimizer_file
from studio.system.copying import copy_shared, remove_tree
from studio.system.files import make_folder


def create(plan: Plan, snapshot: Snapshot, name: str | None) -> Store:
    """The project's folder, locked before anything is in it. Its settings come last: a project that has them is whole."""
    make_folder(projects_folder())
    folder, lock = _claim_folder(plan.settings.script, name)
    try:
        write_snapshot(snapshot, folder / plan.snapshot)
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
    except BaseException as error:  # Ctrl-C, too: nothing of it stays
        with contextlib.suppress(OSError):
            remove_tree(folder)
        lock.close()
        if isinstance(error, OSError | StoreError):
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"cannot write to {folder}: {reason}; is the disk full?") from error
        raise
    return store


def source_snapshot(plan: Plan) -> Snapshot:
    leave_out = [studio_home(), *own_output(), *(plan.source / path for path in plan.artifacts.links)]
    return plan_snapshot(plan.source, leave_out=leave_out, max_bytes=plan.settings.max_workspace)


def take_new_snapshot(store: Store, plan: Plan, snapshot: Snapshot) -> None:
    """For later experiments, beside the earlier ones, with new copies of what is captured once. `plan` then uses them.

    They count from the moment in which the record names them: whatever ends this before, the old ones are in use. What
    was reused from other projects stays as it was copied: it is not of the user's files.
    """
    before, captured = plan.snapshot, replace(plan.artifacts, reused={}).sources()
    taken = [path.name for path in store.folder.glob(f"{FIRST_SNAPSHOT}*")]
    plan.snapshot = next(name for n in range(2, len(taken) + 3) if (name := f"{FIRST_SNAPSHOT}-{n}") not in taken)
    folder, shared = store.folder / plan.snapshot, store.folder / plan.shared_folder
    try:
        write_snapshot(snapshot, folder)
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
    """A folder that nobody else has, and its lock. What an earlier one that was cut off left there is removed."""
    for candidate in [name] if name else free_names(script):
        folder = project_folder(candidate)
        try:
            folder.mkdir(mode=0o700, exist_ok=bool(name))
        except FileExistsError:
            continue
        lock = take_lock(folder)
        if is_whole(folder):
            lock.close()
            raise ProjectError(f"project {candidate!r} exists; go on with it: studio resume {candidate}")
        if any(entry.name.isdecimal() for entry in folder.iterdir()):
            lock.close()
            raise ProjectError(
                f"{folder} holds experiments of a project whose record is gone; remove that folder, or choose another --project"
            )
        for remains in folder.iterdir():
            if remains.name != "lock":
                remove_tree(remains) if remains.is_dir() else remains.unlink()
        return folder, lock
    raise ProjectError(f"no free name for a project of {script!r}; give one with --project")


def is_whole(folder: Path) -> bool:
    """Whether a project stands there, well or damaged; else it is free, or was cut off while it was made."""
    return backup(folder).is_file() or (database(folder).is_file() and whole(folder))


def free_names(script: str) -> list[str]:
    """Names for a project of `script`: `train-20261124-101500`, with a number behind it where another search began in the same second."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(script).stem).lstrip("._-")
    base = f"{stem[:100] or 'search'}-{time.strftime('%Y%m%d-%H%M%S')}"
    return [base, *(f"{base}-{number}" for number in range(2, 1000))]


def fingerprint(settings: Settings) -> str | None:
    """Of the optimizer's file, where it is one."""
    return (
        hashlib.sha256(Path(settings.optimizer).read_bytes()).hexdigest()
        if is_optimizer_file(settings.optimizer)
        else None
    )


def _write_shim(package: Path) -> None:
    """A `studio` package with `fs_tracker` alone, for interpreters that have no Studio."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copyfile(fs_tracker.__file__, package / "fs_tracker.py")
