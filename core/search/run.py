"""`run` and `resume`: a search of a script from its settings to its end. The command line is a thin layer over these.

settings --prepare--> plan --create--> project on disk --Search, Backend, Driver--> Project
"""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.errors import BadInput, Interrupted, ProjectError
from studio.experiment import MAX_LOG
from studio.host import Host, blame, create_host
from studio.interfaces import Backend
from studio.plugin_files import is_file
from studio.project import inbox as requests
from studio.project.lock import take_lock
from studio.project.paths import existing_project_folder, project_folder
from studio.project.project import Project
from studio.project.source import MAX_BYTES, Snapshot
from studio.project.store import Store
from studio.search.billing import Consent, agree, costs_money, settings_of
from studio.search.creation import create, fingerprint, is_whole, source_snapshot
from studio.search.driver import Driver
from studio.search.failures import Given, parse_endings, parse_retries
from studio.search.observer import Observer
from studio.search.plan import Plan, prepare
from studio.search.resume import plan_again, stored_settings
from studio.search.search import Search
from studio.settings import Settings, parse_duration
from studio.system.copying import remove_tree
from studio.system.machine import usable_cpus, visible_gpus
from studio.system.processes import kill_tree
from studio.system.signals import check_interrupted


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
    retry_failed: Given = None,
    on_failure: Given = None,
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
    max_log: int = MAX_LOG,
    yes: Consent = False,
    host: Host | None = None,
    observer: Observer | None = None,
) -> Project:
    """Search hyperparameters of `script`, in the current directory, and return the finished project.

        project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

    Each argument is the option of `studio run` with that name. Durations are seconds or texts like "15m".
    BadInput before anything is written where something given cannot work; KeyboardInterrupt after Ctrl-C, when the
    project is safe on disk and `resume` goes on with it. A backend that costs money needs `yes`, which may be a
    function that asks, or "max_cost" among its options.
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
        retry_failed=retry_failed,
        on_failure=on_failure,
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
        max_log=max_log,
    )
    host, observer = host or create_host(), observer or Observer()
    plan, snapshot = check(settings, project, host)
    agree(plan, observer, yes)
    store = create(plan, snapshot, project)
    return _carry_out(plan, store, host, observer, new=True)


def resume(
    project: str,
    *,
    max_experiments: int | None = None,
    max_time: str | float | None = None,
    num_workers: int | str | None = None,
    retry_failed: Given = None,
    on_failure: Given = None,
    accept_changes: bool = False,
    keep_source: bool = False,
    backend: str | None = None,
    backend_options: Mapping[str, Any] | None = None,
    yes: Consent = False,
    host: Host | None = None,
    observer: Observer | None = None,
) -> Project:
    """Go on with a project where it stopped: same seed, same suggestions, nothing done twice. Budget, workers, the policies
    for failures and where it runs may change: `backend`, with options that take the place of those it had or, without
    `backend`, add to them.

    Files that changed since the search began are a ProjectError, unless `accept_changes` takes a new snapshot of them
    for later experiments, or `keep_source` goes on with the old one.
    """
    host, observer = host or create_host(), observer or Observer()
    store = Store.open(existing_project_folder(project))
    requests.drop_outdated(store.folder)  # they were for an earlier driver
    kill_tree(None, str(store.folder))  # what runs there belongs to a driver that is gone, and its watchdog with it
    try:
        stored = stored_settings(store)
        settings = stored
        if max_experiments is not None:
            settings = replace(settings, max_experiments=max_experiments)
        if max_time is not None:
            settings = replace(settings, max_time=parse_duration(max_time, "--max-time"))
        if num_workers is not None:
            settings = replace(settings, num_workers=count_workers(num_workers, settings.gpus))
        settings = _moved(settings, backend, backend_options or {})
        if retry_failed is not None:
            settings = replace(settings, retry_failed=parse_retries(retry_failed))
        if on_failure is not None:
            settings = replace(settings, on_failure=parse_endings(on_failure))
        plan = plan_again(settings, store, host, observer, accept_changes, keep_source)
        agree(plan, observer, yes)
        if _place(settings) != _place(stored):  # before it is stored: what breaks off here is done by the next resume
            _leave(prepare(stored, host, plan.source, store.folder / plan.snapshot), host, store.folder, observer)
        # A time is for one session.
        store.set_meta("settings", {**plan.settings.as_dict(), "max_time": stored.max_time})
        if store.meta("optimizer_file") != fingerprint(settings):
            observer.notice(f"{settings.optimizer} has changed since the search began")
            if accept_changes:
                store.set_meta("optimizer_file", fingerprint(settings))
    except BaseException:
        store.close()
        raise
    return _carry_out(plan, store, host, observer, accept_changes=accept_changes)


def remove(project: str) -> None:
    """Delete a project and all its files."""
    folder = existing_project_folder(project)
    with take_lock(folder):  # a driver that comes now finds it taken, not half gone
        kill_tree(None, str(folder))  # of a driver and a watchdog that were both killed
        remove_tree(folder)


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
    retry_failed: Given = None,
    on_failure: Given = None,
    backend: str = "local",
    backend_options: Mapping[str, Any] | None = None,
    **others: Any,
) -> Settings:
    """The arguments of `run` as plain data."""
    name, _, where = backend.partition(":")
    plain_others: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in others.items() if value is not None
    }
    return Settings(
        script=os.fspath(script),
        arguments=[str(argument) for argument in arguments],
        ranges=storable_ranges(hyperparams or {}),
        optimizer=os.path.abspath(os.path.expanduser(optimizer)) if is_file(optimizer) else optimizer,
        backend=name,
        backend_options={**(backend_options or {}), **_url(name, where)},
        num_workers=count_workers(num_workers, gpus),
        gpus=gpus,
        max_time=parse_duration(max_time, "--max-time"),
        max_duration=parse_duration(max_duration, "--max-duration"),
        retry_failed=parse_retries(retry_failed),
        on_failure=parse_endings(on_failure),
        **plain_others,
    )


def check(settings: Settings, project: str | None, host: Host) -> tuple[Plan, Snapshot]:
    """All that `run` checks before it writes anything."""
    try:
        source = Path.cwd()
    except FileNotFoundError:
        raise BadInput("the working directory does not exist any more; cd to one that does") from None
    if project is not None and is_whole(project_folder(project)):
        raise ProjectError(
            f"project {project!r} exists; go on with it: studio resume {project}, or choose another --project"
        )
    plan = prepare(settings, host, source)
    plan.artifacts.sources()
    snapshot = source_snapshot(plan)
    plan.notices += snapshot.notices
    check_interrupted()
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


# --- carrying it out --------------------------------------------------------------------------------------------------


def _open_backend(plan: Plan, host: Host, project: Path, observer: Observer) -> Backend:
    """The backend; it is given the host, and more about the search, where its constructor names that."""
    with blame(plan.backend, "its constructor"):
        settings = settings_of(plan) if costs_money(plan.backend) else plan.settings
        there = {"host": host, "settings": settings, "project": project, "notice": observer.notice}
        named = inspect.signature(plan.backend).parameters
        given = {name: value for name, value in there.items() if name in named}
        return plan.backend(slots=plan.settings.num_workers, **given, **plan.backend_options)


def _moved(settings: Settings, backend: str | None, options: Mapping[str, Any]) -> Settings:
    if backend is None:
        return replace(settings, backend_options={**settings.backend_options, **options})
    name, _, where = backend.partition(":")
    kept = settings.backend_options if name == settings.backend else {}
    return replace(settings, backend=name, backend_options={**kept, **options, **_url(name, where)})


def _url(backend: str, where: str) -> dict[str, str]:
    """What stands behind `--backend=NAME:`. A folder is kept with its whole path, as workers and `resume` need it."""
    if backend == "folder" and where and "://" not in where:
        where = os.path.abspath(os.path.expanduser(where))
    return {"url": where} if where else {}


def _place(settings: Settings) -> tuple[str, Any, Any]:
    """Where its experiments are, as far as another place would not find them."""
    return settings.backend, settings.backend_options.get("url"), settings.backend_options.get("bucket")


def _leave(plan: Plan, host: Host, project: Path, observer: Observer) -> None:
    """The search goes on elsewhere: nothing of it may stay where it was."""
    if hasattr(plan.backend, "leave"):
        _open_backend(plan, host, project, observer).leave()  # type: ignore[attr-defined]


def _carry_out(
    plan: Plan, store: Store, host: Host, observer: Observer, *, accept_changes: bool = False, new: bool = False
) -> Project:
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
        try:
            backend = _open_backend(plan, host, store.folder, observer)
        except BaseException:
            if new:  # nothing has begun: no empty project stays behind
                remove_tree(store.folder)
            raise
        ending = Driver(plan, search, store, backend, observer).run()
    finally:
        store.close()
    if ending == "interrupted":
        raise Interrupted(store.folder.name)
    return Project(store.folder.name)
