"""Plan of a resumed search: its stored settings, and a check whether the user's files have changed."""

from pathlib import Path

from studio.errors import BadInput, ProjectError
from studio.host import Host
from studio.project.changes import changed_files, difference, unused
from studio.project.paths import FIRST_SNAPSHOT, backup
from studio.project.store import Store
from studio.search.creation import source_snapshot, take_new_snapshot
from studio.search.observer import Observer
from studio.search.plan import Plan, prepare
from studio.settings import Settings

SHOWN = 5  # files that a notice names


def stored_settings(store: Store) -> Settings:
    name, stored = store.folder.name, store.meta("settings")
    if stored is None:
        if backup(store.folder).is_file():
            raise ProjectError(
                f"project {name!r} has lost its settings; put the backup of its record in its place: studio doctor {name} --restore"
            )
        raise ProjectError(f"project {name!r} was not completely created; `studio rm {name}` removes it")
    settings = Settings.from_dict({"script": "", **stored})
    if not settings.script:
        raise BadInput(f"project {name!r} is driven by a Python program: studio.Search(project={name!r}, …) resumes it")
    return settings


def plan_again(
    settings: Settings, store: Store, host: Host, observer: Observer, accept_changes: bool, keep_source: bool
) -> Plan:
    """Return the plan of a resumed search, with the stored snapshot, or a new one if changes are accepted."""
    origin = store.meta("source") or {"folder": str(store.folder / FIRST_SNAPSHOT), "snapshot": FIRST_SNAPSHOT}
    source, snapshot = Path(origin["folder"]), store.folder / origin["snapshot"]
    fresh = (
        accept_changes and not keep_source and source.is_dir()
    )  # new files, which do not count as changes, are copied, too
    instead = f"to continue with the files as they were at the start: studio resume {store.folder.name} --keep-source"
    if not snapshot.is_dir():
        instead = f"to use your files as they are now: studio resume {store.folder.name} --accept-changes"
        if not fresh:
            raise ProjectError(f"{snapshot}, the copy of the source, is gone; {instead}")
    else:
        plan = prepare(settings, host, source, snapshot)
        if not keep_source:
            _check_source(plan, store.folder, observer, accept_changes)
        if not fresh:
            return plan
    try:
        plan = prepare(settings, host, source)
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
    notes = unused(*found[0][::2], [*plan.settings.arguments, *plan.settings.env])
    if notes and not accept:
        observer.notice(
            f"changed since the search began, and used by nothing that it runs: {', '.join(notes[:SHOWN])}"
            f"{f' and {len(notes) - SHOWN} more' if len(notes) > SHOWN else ''}"
        )
    found[0] = (*found[0][:2], [path for path in found[0][2] if path not in notes])
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
