"""The function `studio.run`: a search of a script from its settings to its end. The CLI is a thin layer.

settings --make_plan--> plan --create--> project on disk --Search, Backend, Driver--> Project
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from studio.errors import BadInput, Interrupted, ProjectError
from studio.host import Host, create_host, plugin_call
from studio.interfaces import Backend
from studio.project.lock import take_lock
from studio.project.paths import existing_project_folder, project_folder
from studio.project.project import Project
from studio.project.source import SourceFiles
from studio.project.store import Store
from studio.script.command import active_interpreter
from studio.search.ask_tell.search import Search
from studio.search.create_project import create, project_exists, source_snapshot
from studio.search.display import watching
from studio.search.loop.driver import Driver
from studio.search.observer import Observer
from studio.search.plan.earlier_results import learn_from_others
from studio.search.plan.early_check import with_its_python
from studio.search.plan.plan import Plan, check_whole_numbers, make_plan
from studio.settings import (
    OPTIONS,
    RunOptions,
    Settings,
    make_settings,
    with_signature,
)
from studio.system.copying import remove_tree
from studio.system.processes import kill_tree
from studio.system.signals import check_interrupted

Confirm = bool | Callable[[str], bool]  # a function shows a text and asks whether to continue


@with_signature(OPTIONS)
def run(
    script: str | os.PathLike[str],
    arguments: Sequence[object] = (),
    *,
    project: str | None = None,
    yes: Confirm = False,
    host: Host | None = None,
    observer: Observer | None = None,
    progress: bool = True,
    **given: Unpack[RunOptions],
) -> Project:
    """Search hyperparameters of `script`, in the current directory, and return the finished project.

        project = studio.run("train.py", ["30"], hyperparams={"lr": "0.01:0.01:0.1"}, metric="val_loss:min", num_workers=4)

    Each argument is the option of `studio run` with that name, and takes what that takes, as text or as a value.
    Durations are seconds or texts like "15m", sizes bytes or texts like "1GB". `progress` is shown in a notebook and on a
    terminal, unless an `observer` hears of it.
    BadInput before anything is written where something given cannot work; KeyboardInterrupt after Ctrl-C, when the
    project is safe on disk and `resume` goes on with it. A backend that costs money needs `yes`, which may be a
    function that asks, or "max_cost" among its options.
    """
    settings, observer = make_settings(script, arguments, **given), observer or watching(progress)
    return start(settings, project, yes=yes, host=host, observer=observer)


def start(
    settings: Settings,
    project: str | None,
    *,
    source: Path | None = None,
    yes: Confirm = False,
    host: Host | None = None,
    observer: Observer | None = None,
) -> Project:
    """Run the search of these settings, as `run` does, with the files in `source`: by default the current directory."""
    host, observer = host or create_host(), observer or Observer()
    plan, snapshot = plan_new_project(settings, project, host, source)
    backend = make_backend(plan, host, observer)
    confirm_estimate(backend, observer, yes)
    store = create(plan, snapshot, project)
    return run_plan(plan, backend, store, host, observer, new=True)


def remove(project: str) -> None:
    """Delete a project and all its files."""
    folder = existing_project_folder(project)
    with take_lock(folder):  # a driver that starts now finds the lock taken
        kill_tree(None, str(folder))  # processes of a driver and a watchdog that were both killed
        remove_tree(folder)


def plan_new_project(
    settings: Settings, project: str | None, host: Host, source: Path | None = None
) -> tuple[Plan, SourceFiles]:
    """Do all checks of `run` before it writes anything; return the plan and the files to copy."""
    try:
        source = source or Path.cwd()
    except FileNotFoundError:
        raise BadInput("the working directory no longer exists; cd to one that does") from None
    if project is not None and project_exists(project_folder(project)):
        raise ProjectError(
            f"project {project!r} exists; continue it: studio resume {project}, or choose another --project"
        )
    settings = with_its_python(settings, source)
    active = active_interpreter() if settings.python is None else None  # a search that goes on keeps its own
    plan = make_plan(replace(settings, python=active or settings.python), host, source)
    if active is not None:
        plan.notices.append(f"scripts run with {active}, the active environment; choose another with --python")
    check_whole_numbers(plan)
    learn_from_others(plan)
    plan.artifacts.sources()
    snapshot = source_snapshot(plan)
    plan.notices += snapshot.notices
    check_interrupted()
    return plan, snapshot


# --- carrying it out --------------------------------------------------------------------------------------------------


def make_search(plan: Plan, host: Host, journal: Store | None = None, *, accept_changes: bool = False) -> Search:
    """Return the search of `plan`, new or resumed by its journal; without one nothing is written."""
    return Search(
        plan.space,
        optimizer=plan.optimizer,
        seed=plan.settings.seed,
        options=plan.settings.options,
        max_experiments=plan.max_experiments,
        host=host,
        journal=journal,
        accept_changes=accept_changes,
        start_from=plan.starts,
        learn_from=plan.known,
        prune=plan.settings.prune,
        prune_after=plan.settings.prune_after,
    )


def make_backend(plan: Plan, host: Host, observer: Observer) -> Backend:
    """Return the backend of a session; the instance that gives the estimate also runs the experiments."""
    settings = replace(plan.settings, num_workers=plan.slots)
    return host.make_backend(settings, slots=plan.slots, source=plan.source, notify=observer.notice)


def confirm_estimate(backend: Backend, observer: Observer, yes: Confirm) -> None:
    """Show what the search can cost, before anything is started or written. Raises BadInput unless that is accepted.

    `yes` False: not accepted, and the user cannot be asked.
    """
    with plugin_call(backend, "estimate"):
        estimate = backend.estimate()
    if estimate is None:
        return
    if callable(yes):
        if not yes(estimate.text):
            raise BadInput("nothing was started")
        return
    for line in estimate.text.splitlines():
        observer.notice(line)
    if not yes and estimate.max_cost is None:
        raise BadInput("this costs money: accept it with --yes, or limit it with --max-cost DOLLARS")


def run_plan(
    plan: Plan,
    backend: Backend,
    store: Store,
    host: Host,
    observer: Observer,
    *,
    accept_changes: bool = False,
    new: bool = False,
) -> Project:
    """Run the search of `plan` on `backend` to its end, whose record is `store`; a `new` one that cannot begin leaves nothing."""
    try:
        try:
            search = make_search(plan, host, store, accept_changes=accept_changes)
            for notice in [*plan.notices, *map(str, host.problems)]:
                observer.notice(notice)
            if plan.settings.seed is None and not plan.optimizer.grid:
                observer.notice(f"seed {search.seed}")
            with plugin_call(backend, "open"):
                backend.open(store.folder)
        except BaseException:
            if new:  # nothing has started
                remove_tree(store.folder)
            raise
        ending = Driver(plan, search, store, backend, observer).run()
    finally:
        store.close()
    if ending == "interrupted":
        raise Interrupted(store.folder.name)
    return Project(store.folder.name)
