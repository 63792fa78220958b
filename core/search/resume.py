"""The function `studio.resume`: a stored search goes on, with the settings that may change and the files that count."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from studio.errors import BadInput, ProjectError, StudioError
from studio.experiment import UNFINISHED
from studio.host import Host, create_host, plugin_call
from studio.interfaces import Backend
from studio.project import inbox
from studio.project.changes import changed_files, difference, unused
from studio.project.paths import FIRST_SNAPSHOT, backup, existing_project_folder
from studio.project.project import Project
from studio.project.store import Store
from studio.project.summary import summarize
from studio.search.create_project import fingerprint, source_snapshot, take_new_snapshot
from studio.search.display import watching
from studio.search.observer import Observer
from studio.search.plan.plan import Plan, make_plan
from studio.search.run import Confirm, confirm_estimate, make_backend, run_plan
from studio.settings import RESUME_OPTIONS, ResumeOptions, Settings, read_settings, with_signature
from studio.system.processes import kill_tree

SHOWN = 5  # files that a notice names


@with_signature(RESUME_OPTIONS)
def resume(
    project: str,
    *,
    accept_changes: bool = False,
    keep_source: bool = False,
    yes: Confirm = False,
    host: Host | None = None,
    observer: Observer | None = None,
    progress: bool = True,
    **given: Unpack[ResumeOptions],
) -> Project:
    """Go on with a project where it stopped: same seed, same suggestions, nothing done twice. Budget, workers, the policies
    for failures and where it runs may change: `backend`, with options that take the place of those it had or, without
    `backend`, add to them.

    Files that changed since the search began are a ProjectError, unless `accept_changes` takes a new snapshot of them
    for later experiments, or `keep_source` goes on with the old one. `progress` is as for `run`.
    """
    host, observer = host or create_host(), observer or watching(progress)
    store = Store.open(existing_project_folder(project))
    try:
        inbox.discard_stale(store.folder)  # they were for an earlier driver
        kill_tree(None, str(store.folder))  # processes of an earlier driver whose watchdog was killed, too
        stored = stored_settings(store)
        settings = _changed(stored, read_settings(RESUME_OPTIONS, given))
        _check_budget(store, given.get("max_experiments"))
        plan = plan_again(settings, store, host, observer, accept_changes, keep_source)
        backend = make_backend(plan, host, observer)
        confirm_estimate(backend, observer, yes)
        # before the settings are stored: if it fails, the next resume does it
        _migrate(stored, plan, backend, store, host, observer)
        # A time limit is for one session.
        store.set_meta("settings", {**plan.settings.as_dict(), "max_time": stored.max_time})
        if store.meta("optimizer_file") != fingerprint(settings):
            observer.notice(f"{settings.optimizer} has changed since the search began")
            if accept_changes:
                store.set_meta("optimizer_file", fingerprint(settings))
    except BaseException:
        store.close()
        raise
    return run_plan(plan, backend, store, host, observer, accept_changes=accept_changes)


def _check_budget(store: Store, limit: int | str | None) -> None:
    if limit is not None and int(limit) < (finished := summarize(store.folder).finished):
        raise BadInput(f"--max-experiments {limit}: {finished} are finished already; give more, or leave it out")


def stored_settings(store: Store) -> Settings:
    name, stored = store.folder.name, store.meta("settings")
    if stored is None:
        if backup(store.folder).is_file():
            raise ProjectError(
                f"project {name!r} has lost its settings; put the backup of its record in its place: studio doctor {name} --restore"
            )
        raise ProjectError(f"project {name!r} was not completely created; `studio rm {name}` removes it")
    settings = Settings.from_dict(stored)
    if not settings.script:
        raise BadInput(f"project {name!r} is driven by a Python program: studio.Search(project={name!r}, …) resumes it")
    return settings


def plan_again(
    settings: Settings, store: Store, host: Host, observer: Observer, accept_changes: bool, keep_source: bool
) -> Plan:
    """Return the plan of a resumed search, with the stored snapshot, or a new one if changes are accepted."""
    origin = store.meta("source") or {"folder": str(store.folder / FIRST_SNAPSHOT), "snapshot": FIRST_SNAPSHOT}
    source, snapshot = Path(origin["folder"]), store.folder / origin["snapshot"]
    # new files, which do not count as changes, are copied, too
    fresh = accept_changes and not keep_source and source.is_dir()
    instead = f"to continue with the files as they were at the start: studio resume {store.folder.name} --keep-source"
    if not snapshot.is_dir():
        instead = f"to use your files as they are now: studio resume {store.folder.name} --accept-changes"
        if not fresh:
            raise ProjectError(f"{snapshot}, the copy of the source, is gone; {instead}")
    else:
        plan = make_plan(settings, host, source, snapshot)
        if not keep_source:
            _check_source(plan, store.folder, observer, accept_changes)
        if not fresh:
            return plan
    try:
        plan = make_plan(settings, host, source)
    except BadInput as error:
        raise BadInput(f"{error}; {instead}") from error
    take_new_snapshot(store, plan, source_snapshot(plan))
    return plan


def _check_source(plan: Plan, project: Path, observer: Observer, accept: bool) -> None:
    """Show how the user's files differ from the project's copies. ProjectError if they do, unless that is accepted."""
    if not plan.source.is_dir():
        observer.notice(f"{plan.source} no longer exists; continuing with the project's copy of it")
        return
    pairs = [(project / plan.snapshot, plan.source)]
    pairs += [(project / plan.shared_folder / tag, path) for tag, path in plan.artifacts.shared.items()]
    found = [(copy, original, changed_files(copy, original)) for copy, original in pairs]
    copy, original, changed = found[0]  # the source; artifacts follow
    notes = unused(copy, changed, [*plan.settings.arguments, *plan.settings.env])
    if notes and not accept:
        observer.notice(
            f"changed since the search began, and used by nothing that it runs: {', '.join(notes[:SHOWN])}"
            f"{f' and {len(notes) - SHOWN} more' if len(notes) > SHOWN else ''}"
        )
    found[0] = copy, original, [path for path in changed if path not in notes]
    found = [(copy, original, paths) for copy, original, paths in found if paths]
    for copy, original, paths in found:
        for line in difference(copy, original, paths):
            observer.notice(line)
    if found and not accept:
        names = ", ".join(str(original / path) for _, original, paths in found for path in paths[:3])
        raise ProjectError(
            f"changed since the search started: {names}. To use them as they are now: studio resume"
            f" {project.name} --accept-changes; to continue with the files as they were: studio resume {project.name} --keep-source"
        )


def _changed(stored: Settings, given: dict[str, Any]) -> Settings:
    """Return the changed settings of a resumed search. Backend options are added, unless it is another backend."""
    options = given.pop("backend_options", {})
    name = given.get("backend", stored.backend).partition(":")[0]
    kept = stored.backend_options if name == stored.backend else {}
    return replace(stored, **given, backend_options={**kept, **options})


def _migrate(stored: Settings, plan: Plan, backend: Backend, store: Store, host: Host, observer: Observer) -> None:
    """Call `migrate` of the old backend if the search continues elsewhere."""
    if (stored.backend, stored.backend_options) == (plan.settings.backend, plan.settings.backend_options):
        return
    before = host.make_backend(stored, slots=stored.num_workers, source=plan.source, notify=observer.notice)
    if before.place() == backend.place():
        return
    unfinished = [
        experiment for experiment in Project(store.folder.name).experiments if experiment.status in UNFINISHED
    ]
    try:
        with plugin_call(before, "open"):
            before.open(store.folder)
    except StudioError as error:
        if any(experiment.status == "running" for experiment in unfinished):
            raise
        observer.notice(f"{str(error).rstrip('.:')}. Nothing of this search was running there; it continues elsewhere")
        return
    with plugin_call(before, "migrate"):
        before.migrate([(experiment.number, experiment.attempt) for experiment in unfinished])
