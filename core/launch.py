"""`run` and `resume`: a search of a script from its settings to its end. The command line is a thin layer over these.

settings --prepare--> plan --create--> project on disk --Search, Backend, Driver--> Project
"""

import hashlib
import inspect
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from studio.driver import Driver
from studio.errors import BadInput, Interrupted, ProjectError, StoreError
from studio.home import database, existing_project_folder, make_folder, project_folder, projects_folder, studio_home
from studio.host import Host, blame, create_host
from studio.interfaces import Backend
from studio.machine import usable_cpus, visible_gpus
from studio.observer import Observer
from studio.plan import Plan, prepare
from studio.plugin_files import is_file
from studio.project import Project
from studio.search import Search
from studio.settings import Settings, parse_duration
from studio.store import Store, is_locked, take_lock, whole
from studio.workspace import MAX_BYTES, Snapshot, copy_any, plan_snapshot, write_snapshot


def run(
    script: str,
    arguments: Sequence[str] = (),
    *,
    hyperparams: Mapping[str, Any] | None = None,
    optimizer: str = "grid",
    options: Mapping[str, Any] | None = None,
    metric: str | None = None,
    direction: str | None = None,
    project: str | None = None,
    num_workers: int | str = 1,
    max_experiments: int | None = None,
    max_time: str | float | None = None,
    max_duration: str | float | None = None,
    repeat: bool = False,
    module: bool = False,
    seed: int | None = None,
    backend: str = "local",
    backend_options: Mapping[str, Any] | None = None,
    cpus: int | None = None,
    gpus: int = 0,
    ram: str | None = None,
    hdd: str | None = None,
    capture: Sequence[str] = (),
    capture_once: Sequence[str] = (),
    reuse: Sequence[str] = (),
    python: str | None = None,
    env: Mapping[str, str] | None = None,
    substitute: Sequence[str] = (),
    keep: str = "all",
    max_workspace: int = MAX_BYTES,
    host: Host | None = None,
    observer: Observer | None = None,
) -> Project:
    """Search hyperparameters of `script`, in the current directory, and return the finished project.

        project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

    Each argument is the option of `studio run` with that name. Durations are seconds or texts like "15m".
    BadInput before anything is written where something given cannot work; KeyboardInterrupt after Ctrl-C, when the
    project is safe on disk and `resume` goes on with it.
    """
    settings = make_settings(
        script,
        arguments,
        hyperparams=hyperparams,
        optimizer=optimizer,
        options=options,
        metric=metric,
        direction=direction,
        num_workers=num_workers,
        max_experiments=max_experiments,
        max_time=max_time,
        max_duration=max_duration,
        repeat=repeat,
        module=module,
        seed=seed,
        backend=backend,
        backend_options=backend_options,
        cpus=cpus,
        gpus=gpus,
        ram=ram,
        hdd=hdd,
        capture=capture,
        capture_once=capture_once,
        reuse=reuse,
        python=python,
        env=env,
        substitute=substitute,
        keep=keep,
        max_workspace=max_workspace,
    )
    host, observer = host or create_host(), observer or Observer()
    plan, snapshot = check(settings, project, host)
    store = _create(plan, snapshot, project)
    return _carry_out(plan, store, host, observer)


def resume(
    project: str,
    *,
    max_experiments: int | None = None,
    max_time: str | float | None = None,
    num_workers: int | str | None = None,
    accept_changes: bool = False,
    host: Host | None = None,
    observer: Observer | None = None,
) -> Project:
    """Go on with a project where it stopped: same seed, same suggestions, nothing done twice. Only the budget may change."""
    host, observer = host or create_host(), observer or Observer()
    store = Store.open(existing_project_folder(project))
    try:
        stored = store.meta("settings")
        if stored is None:
            raise ProjectError(f"project {project!r} was cut off while it was made; `studio rm {project}` removes it")
        settings = Settings.from_dict({"script": "", **stored})
        if not settings.script:
            raise BadInput(
                f"project {project!r} belongs to a program's own loop: studio.Search(project={project!r}, …) resumes it"
            )
        if max_experiments is not None:
            settings = replace(settings, max_experiments=max_experiments)
        stored_max_time = settings.max_time
        if max_time is not None:
            settings = replace(settings, max_time=parse_duration(max_time, "--max-time"))
        if num_workers is not None:
            settings = replace(settings, num_workers=count_workers(num_workers, settings.gpus))
        plan = prepare(settings, host, store.folder / "source")
        store.set_meta("settings", {**settings.as_dict(), "max_time": stored_max_time})  # a time is for one session
        if store.meta("optimizer_file") != _fingerprint(settings):
            observer.notice(f"{settings.optimizer} has changed since the search began")
    except BaseException:
        store.close()
        raise
    return _carry_out(plan, store, host, observer, accept_changes)


def remove(project: str) -> None:
    """Delete a project and all its files."""
    folder = existing_project_folder(project)
    if is_locked(folder):
        raise ProjectError(f"project {project!r} is running; `studio stop {project}` first")
    shutil.rmtree(folder)


def make_settings(
    script: str,
    arguments: Sequence[str] = (),
    *,
    hyperparams: Mapping[str, Any] | None = None,
    num_workers: int | str = 1,
    gpus: int = 0,
    max_time: str | float | None = None,
    max_duration: str | float | None = None,
    optimizer: str = "grid",
    **others: Any,
) -> Settings:
    """The arguments of `run` as plain data."""
    plain_others: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in others.items() if value is not None
    }
    return Settings(
        script=os.fspath(script),
        arguments=[str(argument) for argument in arguments],
        ranges=storable_ranges(hyperparams or {}),
        optimizer=os.path.abspath(os.path.expanduser(optimizer)) if is_file(optimizer) else optimizer,
        num_workers=count_workers(num_workers, gpus),
        gpus=gpus,
        max_time=parse_duration(max_time, "--max-time"),
        max_duration=parse_duration(max_duration, "--max-duration"),
        **plain_others,
    )


def check(settings: Settings, project: str | None, host: Host) -> tuple[Plan, Snapshot]:
    """All that `run` checks before it writes anything."""
    try:
        source = Path.cwd()
    except FileNotFoundError:
        raise BadInput("the working directory does not exist any more; cd to one that does") from None
    if project is not None and database(project_folder(project)).is_file():
        raise ProjectError(
            f"project {project!r} exists; go on with it: studio resume {project}, or choose another --project"
        )
    plan = prepare(settings, host, source)
    plan.artifacts.sources()
    leave_out = [studio_home(), *(source / path for path in plan.artifacts.links)]
    snapshot = plan_snapshot(source, leave_out=leave_out, max_bytes=settings.max_workspace)
    plan.notices += snapshot.notices
    return plan, snapshot


def storable_ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Ranges as the journal can keep them."""
    for name, given in ranges.items():
        if not isinstance(given, str | int | float | bool | list | tuple | None):
            raise BadInput(
                f"hyperparameter {name}: give a range as text, a list of values or one value, so that resume can read it"
            )
    return {name: list(given) if isinstance(given, tuple) else given for name, given in ranges.items()}


def count_workers(given: int | str, gpus: int) -> int:
    """`auto` is one worker per CPU, or as many as the GPUs serve."""
    if given == "auto":
        return max(1, len(visible_gpus()) // gpus) if gpus else usable_cpus()
    try:
        return int(given)
    except ValueError:
        raise BadInput(f"--num-workers {given!r} is neither a number nor auto") from None


# --- the project on disk ----------------------------------------------------------------------------------------------


def _create(plan: Plan, snapshot: Snapshot, name: str | None) -> Store:
    """The project's folder, locked before anything is in it. Its settings come last: a project that has them is whole."""
    make_folder(projects_folder())
    folder, lock = _claim_folder(plan.settings.script, name)
    try:
        write_snapshot(snapshot, folder / "source")
        for tag, path in plan.artifacts.sources().items():
            copy_any(path, folder / "artifacts" / tag)
        if plan.settings.python is not None:
            _write_shim(folder / "shim" / "studio")
        store = Store(folder, lock)
        store.set_meta("optimizer_file", _fingerprint(plan.settings))
        store.set_meta("settings", plan.settings.as_dict())
    except BaseException as error:  # Ctrl-C, too: nothing of it stays
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
        if isinstance(error, OSError | StoreError):
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"cannot write to {folder}: {reason}; is the disk full?") from error
        raise
    return store


def _claim_folder(script: str, name: str | None) -> tuple[Path, IO[str]]:
    """A folder that nobody else has, and its lock. What an earlier one that was cut off left there is removed."""
    for candidate in [name] if name else _free_names(script):
        folder = project_folder(candidate)
        try:
            folder.mkdir(mode=0o700, exist_ok=bool(name))
        except FileExistsError:
            continue
        lock = take_lock(folder)
        if database(folder).is_file() and whole(folder):
            lock.close()
            raise ProjectError(f"project {candidate!r} exists; go on with it: studio resume {candidate}")
        for remains in folder.iterdir():
            if remains.name != "lock":
                shutil.rmtree(remains, ignore_errors=True) if remains.is_dir() else remains.unlink()
        return folder, lock
    raise ProjectError(f"no free name for a project of {script!r}; give one with --project")


def _free_names(script: str) -> list[str]:
    """`train-20261124-101500`, with a number behind it where another search began in the same second."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(script).stem).lstrip("._-")
    base = f"{stem[:100] or 'search'}-{time.strftime('%Y%m%d-%H%M%S')}"
    return [base, *(f"{base}-{number}" for number in range(2, 1000))]


def _fingerprint(settings: Settings) -> str | None:
    """Of the optimizer's file, where it is one."""
    return hashlib.sha256(Path(settings.optimizer).read_bytes()).hexdigest() if is_file(settings.optimizer) else None


def _free_folder(script: str) -> Path:
    """`train-20261124-101500`, with a number behind it where another search began in the same second."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(script).stem).lstrip("._-")
    base = f"{stem or 'search'}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [base, *(f"{base}-{number}" for number in range(2, 1000))]
    return next(project_folder(name) for name in names if not project_folder(name).exists())


def _write_shim(package: Path) -> None:
    """A `studio` package with `fs_tracker` alone, for interpreters that have no Studio."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copyfile(Path(__file__).with_name("fs_tracker.py"), package / "fs_tracker.py")


# --- carrying it out --------------------------------------------------------------------------------------------------


def _open_backend(plan: Plan, host: Host) -> Backend:
    """The backend; it is given the host where its constructor names one."""
    with blame(plan.backend, "its constructor"):
        takes_host = "host" in inspect.signature(plan.backend).parameters
        with_host = {"host": host} if takes_host else {}
        return plan.backend(slots=plan.settings.num_workers, **with_host, **plan.backend_options)


def _carry_out(plan: Plan, store: Store, host: Host, observer: Observer, accept_changes: bool = False) -> Project:
    try:
        search = Search(
            plan.space,
            optimizer=plan.optimizer,
            seed=plan.settings.seed,
            options=plan.settings.options,
            max_experiments=plan.max_experiments,
            host=host,
            journal=store,
            accept_changes=accept_changes,
        )
        for notice in [*plan.notices, *map(str, host.problems)]:
            observer.notice(notice)
        if plan.settings.seed is None and not plan.optimizer.grid:
            observer.notice(f"seed {search.seed}")
        backend = _open_backend(plan, host)
        ending = Driver(plan, search, store, backend, observer).run()
    finally:
        store.close()
    if ending == "interrupted":
        raise Interrupted(store.folder.name)
    return Project(store.folder.name)
