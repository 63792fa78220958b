"""Metrics from TensorBoard's event files, by the name of their tag: the first source of a metric without a prefix.

    tb/, workspace/ --Logdir--> folders of event files --Records, scalars--> (tag, step, value) --name--> Report

How a name finds its values. A scalar is called `folder/tag`, with the folder relative to its log folder:
- below `tb/` the log folder is `tb/`
- in the workspace it is the topmost folder that itself holds event files (Lightning's `lightning_logs/version_0`,
  torch's `runs/Nov24_host`, so that `val_loss` is `val_loss`), or the one above if that is called `train`,
  `validation` and the like, as Keras and others name their splits. Folders above may be given too, from any of
  them on: `version_0/val_loss`. Event files that came with the source are of other runs and ignored.
The name is looked for exactly, then `val_X` as `validation/epoch_X` and `X` as `train/epoch_X`, as Keras has them.
`tb/` comes before the workspace, then the name with the fewest folders left out, then the order of names. The first match
is kept: from then on only that folder is read, all its files in order of name.
"""

import os
import stat
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from studio.experiment import Metric, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins.event_files import Records, scalars
from studio.system.copying import is_original
from studio.system.tail import soon, thinned

SPLITS = {"train", "training", "validation", "val", "valid", "eval", "test"}
TimedSample = tuple[int | None, float, float]  # step, value, time
MOST_NAMES = 1_000
MOST_FOLDERS = 3_000  # of tb/ or the workspace, the shallow ones first: looking at them takes 20 ms


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    if ":" in metric.name or metric.name == "fitness" or not metric.name.strip():
        return None
    return TensorBoardReader(metric.name, run)


@dataclass(frozen=True, order=True)
class Source:
    """The place of a tag. Sources are ordered: the smallest is the one that the name means."""

    alias: int
    root: int
    left_out: int  # folders that the name does not mention
    folder: str
    tag: str


class TensorBoardReader(MetricReader):
    """Reads the scalar `name` from the event files of `run`. Values are float32 in most files."""

    source = "TensorBoard"
    precedence = 10

    def __init__(self, name: str, run: Run):
        self._wanted = (name, keras_name(name))
        self._roots = (
            Logdir(os.path.join(run.folder, "tb")),
            Logdir(os.path.join(run.folder, "workspace"), old=run.snapshot),
        )
        self._records: dict[str, Records] = {}
        self.names: dict[str, float | None] = {}  # in the order of appearance
        self._source: Source | None = None

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        return self._read(last=True)

    def _read(self, *, last: bool) -> list[Report]:
        values = self._search(last) if self._source is None else self._follow(self._source, last)
        return [Report(step, value, time=time) for step, value, time in values]

    def _follow(self, source: Source, last: bool) -> list[TimedSample]:
        values: list[TimedSample] = []
        logdir = self._roots[source.root]
        known = map(os.path.basename, self._records)  # a deleted file has to be noticed: it may be created again
        files = sorted({*known, *logdir.files(source.folder, fresh=last)})
        for tag, step, value, time in self._scalars(logdir, source.folder, files, last):
            if tag == source.tag:
                values.append((step, value, time))
                values = thinned(values)
        return values

    def _search(self, last: bool) -> list[TimedSample]:
        found: dict[Source, list[TimedSample]] = {}
        for root, logdir in enumerate(self._roots):
            folders = logdir.walk(fresh=last)
            for folder in sorted(folders):
                top = log_folder(folder, folders) if root else ""
                for tag, step, value, time in self._scalars(logdir, folder, folders[folder], last):
                    if source := self._match(root, folder, top, tag, value):
                        values = found.setdefault(source, [])
                        values.append((step, value, time))
                        found[source] = thinned(values)
        if not found:
            return []
        self._source = min(found)
        self._keep_only(self._roots[self._source.root].path(self._source.folder))
        return found[self._source]

    def _keep_only(self, folder: str) -> None:
        self._records = {path: records for path, records in self._records.items() if os.path.dirname(path) == folder}

    def _scalars(
        self, logdir: "Logdir", folder: str, files: list[str], last: bool
    ) -> Iterator[tuple[str, int, float, float]]:
        until = soon()
        for file in files:
            path = os.path.join(logdir.path(folder), file)
            if path not in self._records:
                self._records[path] = Records(path, logdir.original(os.path.join(folder, file)))
            yield from scalars(self._records[path].read(last=last, until=until))

    def _match(self, root: int, folder: str, top: str, tag: str, value: float) -> Source | None:
        """Return the source of this scalar if it has the wanted name, or None."""
        full = f"{folder}/{tag}" if folder else tag
        short = full[len(top) + 1 :] if top else full
        if short in self.names or len(self.names) < MOST_NAMES:
            self.names[short] = value
        for alias, name in enumerate(self._wanted):
            ends = len(name) >= len(short) and full.endswith("/" + name)
            if full == name or ends:
                return Source(alias, root, full[: len(full) - len(name)].count("/"), folder, tag)
        return None


def keras_name(name: str) -> str:
    """Return the name that Keras' TensorBoard callback gives to the metric `name` of its `logs`."""
    return f"validation/epoch_{name[4:]}" if name.startswith("val_") else f"train/epoch_{name}"


def log_folder(folder: str, holding: Collection[str]) -> str:
    """Return the log folder to which `folder` of a workspace belongs. `holding`: all folders with event files."""
    parts = folder.split("/") if folder else []
    above = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    depth = next(depth for depth, path in enumerate(above) if path in holding)
    return above[depth - 1] if depth and parts[depth - 1] in SPLITS else above[depth]


@dataclass
class _Listing:
    changed: int  # time of the folder's last change, by its file system
    settled: bool  # seen unchanged before: a file made within one tick of the clock is not missed
    files: list[str]
    folders: list[str]


class Logdir:
    """The event files below the folder `top`. Only folders that changed are listed again, so that a workspace of
    10,000 files costs one stat() per folder. Symbolic links are not followed.

    old  a folder whose files, at the same relative paths, are ignored
    """

    def __init__(self, top: str, old: str | None = None):
        self._top = top
        self._old = old
        self._listings: dict[str, _Listing] = {}

    def path(self, folder: str) -> str:
        return os.path.join(self._top, folder) if folder else self._top

    def walk(self, *, fresh: bool) -> dict[str, list[str]]:
        """Return the names of event files, in order, by relative folder. `fresh`: list all folders again."""
        found: dict[str, list[str]] = {}
        visited: dict[str, _Listing] = {}
        queue = deque([""])
        while queue and len(visited) < MOST_FOLDERS:
            folder = queue.popleft()
            if files := self.files(folder, fresh=fresh):
                found[folder] = files
            if listing := self._listings.get(folder):
                visited[folder] = listing
                queue.extend(f"{folder}/{name}" if folder else name for name in listing.folders)
        self._listings = visited
        return found

    def files(self, folder: str, *, fresh: bool) -> list[str]:
        """Return the names of the event files of one folder, in order."""
        known = self._listings.get(folder)
        try:
            state = os.stat(self.path(folder), follow_symlinks=not folder)
            if not stat.S_ISDIR(state.st_mode):
                raise NotADirectoryError
            unchanged = known is not None and known.changed == state.st_mtime_ns
            if known is None or not unchanged or not known.settled or fresh:
                known = self._scan(folder, state.st_mtime_ns, unchanged)
                self._listings[folder] = known
        except OSError:  # not made yet, deleted, or not readable
            self._listings.pop(folder, None)
            return []
        return known.files

    def _scan(self, folder: str, changed: int, settled: bool) -> _Listing:
        files, folders = [], []
        with os.scandir(self.path(folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif "tfevents" in entry.name and entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
        files = [file for file in sorted(files) if not self._is_old(os.path.join(folder, file))]
        return _Listing(changed, settled, files, sorted(folders))

    def _is_old(self, file: str) -> bool:
        original = self.original(file)
        return original is not None and is_original(os.path.join(self._top, file), original)

    def original(self, file: str) -> str | None:
        """Return the file of the source that `file` is a copy of, or None."""
        path = self._old and os.path.join(self._old, file)
        return path if path and os.path.lexists(path) else None
