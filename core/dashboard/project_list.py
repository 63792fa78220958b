"""The list of projects: one line for each, updated when its files change; only changed projects are read."""

import secrets
import threading
from pathlib import Path
from typing import Any

from studio.dashboard.experiment_table import parse_index
from studio.errors import StudioError
from studio.project.lock import is_locked
from studio.project.paths import project_folder, project_names
from studio.project.records import change_stamp
from studio.project.summary import ProjectSummary, improvements, summarize


class ProjectList:
    """The summaries of all projects, each with its improvements: (results so far, best fitness)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session = secrets.token_hex(4)
        self._counter = 0
        self._known: dict[str, tuple[object, ProjectSummary, list[tuple[int, float]], int]] = {}
        self._gone: dict[str, int] = {}

    @property
    def version(self) -> str:
        return f"{self._session}.{self._counter}"

    def refresh(self) -> bool:
        """Update the list; return whether anything is new."""
        with self._lock:
            names = project_names()
            signatures = {name: change_stamp(project_folder(name)) for name in names}
            fresh = [name for name in names if name not in self._known or self._known[name][0] != signatures[name]]
            gone = self._known.keys() - set(names)
            if not fresh and not gone:
                return False
            read = {name: _read(project_folder(name)) for name in fresh}
            news = {name for name in fresh if name not in self._known or self._known[name][1:3] != read[name]}
            self._counter += bool(news or gone)
            for name in gone:
                del self._known[name]
                self._gone[name] = self._counter
            for name in fresh:
                counter = self._counter if name in news else self._known[name][3]
                self._known[name] = signatures[name], *read[name], counter
                self._gone.pop(name, None)
            return bool(news or gone)

    def lines(self) -> list[tuple[ProjectSummary, list[tuple[int, float]]]]:
        with self._lock:
            return [(summary, rises) for _, summary, rises, _ in self._known.values()]

    def data(self, changed_since: str = "") -> dict[str, Any]:
        """Return the answer of /api/projects: all projects, or those that changed since that version."""
        with self._lock:
            session, _, counter = changed_since.partition(".")
            seen = parse_index(counter)
            since = seen if seen is not None and session == self._session else -1
            return {
                "version": self.version,
                "complete": since < 0,
                "projects": [summary.as_dict() for _, summary, _, changed in self._known.values() if changed > since],
                "gone": [name for name, changed in self._gone.items() if changed > since >= 0],
            }


def _read(folder: Path) -> tuple[ProjectSummary, list[tuple[int, float]]]:
    try:
        return summarize(folder), improvements(folder)
    except StudioError as error:  # shown as damaged; the others are not affected
        if is_locked(folder):
            return ProjectSummary(folder.name, "running"), []
        return ProjectSummary(folder.name, "damaged", problem=str(error)), []
