"""What all requests of a dashboard share: the projects that were looked at, and the plugins."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from studio.dashboard.curves import Curves
from studio.dashboard.experiment_details import Details
from studio.dashboard.experiment_table import Table
from studio.dashboard.importance import Importance
from studio.dashboard.tensorboard import TensorBoards
from studio.errors import StudioError
from studio.host import Host, create_host
from studio.project.paths import database, existing_project_folder
from studio.system.files import identity

KEPT = 12  # projects that stay in memory


class NotFound(StudioError):
    """There is no such project, experiment or file."""


class OpenProject:
    """A project that somebody looks at: of the database `made`, for one that takes its name has nothing to do with it."""

    def __init__(self, folder: Path, host: Host, made: tuple[int, int]):
        self.made = made
        self.curves = Curves(folder, host)
        self.table = Table(folder, host, self.curves.last_step)
        self.details = Details(folder, host)
        self.importance = Importance()


class Dashboard:
    """`closing` says whether the server ends: streams then end, too."""

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
        """Project `name` with its table as it is now. NotFound where there is none."""
        try:
            folder = existing_project_folder(name)
        except StudioError as error:
            with self._lock:
                self._open.pop(name, None)
            raise NotFound(str(error)) from error
        host = self.host()
        with self._lock:
            found = self._open.get(name)
            made = identity(database(folder))
            if found is None or found.table.folder != folder or found.made != made:
                found = self._open[name] = OpenProject(folder, host, made)
                while len(self._open) > KEPT:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
        found.table.refresh()
        return found
