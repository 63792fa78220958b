"""State shared by all requests of a dashboard: open projects, and the plugins."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.dashboard.curves import Curves
from studio.dashboard.experiment_details import Details
from studio.dashboard.experiment_table import ExperimentTable
from studio.dashboard.first_rows import first_rows
from studio.dashboard.summary import Counted, counted, live_summary
from studio.dashboard.tensorboard import TensorBoards
from studio.errors import StudioError
from studio.host import Host, create_host
from studio.project.paths import database, existing_project_folder
from studio.project.summary import ProjectSummary, summarize
from studio.reporting.importance import importance
from studio.system.files import inode_of

KEPT = 12  # projects in memory


class NotFound(StudioError):
    """A project, experiment or file that does not exist."""


class OpenProject:
    """Caches of one open project. `made` identifies its database file, so a new project of the same name starts fresh."""

    def __init__(self, folder: Path, host: Host, made: tuple[int, int]):
        self.folder = folder
        self.made = made
        self.curves = Curves(folder, host)
        self.table = ExperimentTable(folder, host, self.curves.last_step)
        self.details = Details(folder, host)
        self._lock = threading.Lock()
        self._summary: tuple[str, ProjectSummary, Counted] | None = None
        self._rows: tuple[str, dict[str, Any]] | None = None
        self._importance: tuple[int, dict[str, Any]] | None = None

    @property
    def version(self) -> str:
        return self.table.version

    def summary(self) -> dict[str, Any]:
        """Return the answer of /api/projects/NAME. The record is read once per version, without the table's lock."""
        with self._lock:
            version = self.table.version
            if self._summary is None or self._summary[0] != version:
                found = summarize(self.folder)
                self._summary = version, found, counted(self.table, found)
            _, found, known = self._summary
        return live_summary(self.table, found, known)

    def first_rows(self) -> dict[str, Any]:
        """Return the first rows of the table, made once per version. Hold the table's lock."""
        version = self.table.version
        if self._rows is None or self._rows[0] != version:
            self._rows = version, first_rows(self.table)
        return self._rows[1]

    def importance(self) -> dict[str, Any]:
        """Return the answer of /api/projects/NAME/importance, recomputed when the number of results has changed."""
        with self._lock:
            table = self.table
            with table.lock:
                rows = [at for at, fitness in enumerate(table.lists["fitness"]) if fitness is not None]
                if self._importance is not None and self._importance[0] == len(rows):
                    return self._importance[1]
                keys = [column.key for column in table.columns if column.kind == "param"]
                values = {key: [table.values[key][at] for at in rows] for key in keys}
                fitness = [table.lists["fitness"][at] for at in rows]
            self._importance = len(rows), importance(values, fitness)
            return self._importance[1]


class OpenProjects:
    """The projects that are open, and the plugins. `closing` returns whether the server ends, which ends streams."""

    def __init__(self, closing: Callable[[], bool] = lambda: False):
        self.closing = closing
        self.tensorboards = TensorBoards()
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._open: OrderedDict[str, OpenProject] = OrderedDict()

    def host(self) -> Host:
        with self._lock:
            if self._host is None:
                self._host = create_host()
            return self._host

    def project(self, name: str) -> OpenProject:
        """Return project `name` with its updated table. Raises NotFound."""
        try:
            folder = existing_project_folder(name)
        except StudioError as error:
            with self._lock:
                self._open.pop(name, None)
            raise NotFound(str(error)) from error
        host = self.host()
        with self._lock:
            found = self._open.get(name)
            made = inode_of(database(folder))
            if found is None or found.folder != folder or found.made != made:
                found = self._open[name] = OpenProject(folder, host, made)
                while len(self._open) > KEPT:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
        found.table.refresh()
        return found
