"""`run` and `resume`: a search of a script from its settings to its end. The command line is a thin layer over these.

settings --prepare--> plan --create--> project on disk --Search, Backend, Driver--> Project
"""

import inspect
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from studio.errors import BadInput, Interrupted, ProjectError
from studio.host import Host, blame, create_host
from studio.interfaces import Backend
from studio.project import inbox as requests
from studio.project.lock import take_lock
from studio.project.paths import existing_project_folder, project_folder
from studio.project.project import Project
from studio.project.source import Snapshot
from studio.project.store import Store
from studio.search.billing import Consent, agree, costs_money, settings_of
from studio.search.creation import create, fingerprint, is_whole, source_snapshot
from studio.search.driver import Driver
from studio.search.observer import Observer
from studio.search.plan import Plan, prepare
from studio.search.resume import plan_again, stored_settings
from studio.search.search import Search
from studio.settings import (
    OPTIONS,
    RESUME_OPTIONS,
    ResumeOptions,
    RunOptions,
    Settings,
    make_settings,
    read_settings,
    with_signature,
)
from studio.system.copying import remove_tree
from studio.system.processes import kill_tree
from studio.system.signals import check_interrupted


@with_signature(OPTIONS)
def run(
    script: str | os.PathLike[str],
    arguments: Sequence[object] = (),
    *,
    project: str | None = None,
    yes: Consent = False,
    host: Host | None = None,
    observer: Observer | None = None,
    **given: Unpack[RunOptions],
) -> Project:
    """Search hyperparameters of `script`, in the current directory, and return the finished project.

        project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

    Each argument is the option of `studio run` with that name, and takes what that takes, as text or as a value.
    Durations are seconds or texts like "15m", sizes bytes or texts like "1GB".
    BadInput before anything is written where something given cannot work; KeyboardInterrupt after Ctrl-C, when the
    project is safe on disk and `resume` goes on with it. A backend that costs money needs `yes`, which may be a
    function that asks, or "max_cost" among its options.
    """
    settings = make_settings(script, arguments, **given)
    host, observer = host or create_host(), observer or Observer()
    plan, snapshot = check(settings, project, host)
    agree(plan, observer, yes)
    store = create(plan, snapshot, project)
    return _carry_out(plan, store, host, observer, new=True)


@with_signature(RESUME_OPTIONS)
def resume(
    project: str,
    *,
    accept_changes: bool = False,
    keep_source: bool = False,
    yes: Consent = False,
    host: Host | None = None,
    observer: Observer | None = None,
    **given: Unpack[ResumeOptions],
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
        settings = _changed(stored, read_settings(RESUME_OPTIONS, given))
        plan = plan_again(settings, store, host, observer, accept_changes, keep_source)
        agree(plan, observer, yes)
        if _place(plan.settings) != _place(
            stored
        ):  # before it is stored: what breaks off here is done by the next resume
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


# --- carrying it out --------------------------------------------------------------------------------------------------


def _open_backend(plan: Plan, host: Host, project: Path, observer: Observer) -> Backend:
    """The backend; it is given the host, and more about the search, where its constructor names that."""
    with blame(plan.backend, "its constructor"):
        settings = settings_of(plan) if costs_money(plan.backend) else plan.settings
        there = {"host": host, "settings": settings, "project": project, "notice": observer.notice}
        named = inspect.signature(plan.backend).parameters
        given = {name: value for name, value in there.items() if name in named}
        return plan.backend(slots=plan.settings.num_workers, **given, **plan.backend_options)


def _changed(stored: Settings, given: dict[str, Any]) -> Settings:
    """The settings of a search that goes on. Options of a backend are added to those it had, unless it is another one."""
    options = given.pop("backend_options", {})
    name = given.get("backend", stored.backend).partition(":")[0]
    kept = stored.backend_options if name == stored.backend else {}
    return replace(stored, **given, backend_options={**kept, **options})


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
