"""Metrics in files that the script or a tracker wrote into the workspace.

    csv:FILE:COLUMN    a column of files with a header
    json:FILE:KEY      a number in JSON documents: `metrics.val_loss`, or just `val_loss` if it is the only one
    jsonl:FILE:KEY     the same in JSON objects, one a line
    NAME               CSV, JSON, JSON lines, MLflow and W&B, anywhere in the workspace, after TensorBoard

FILE is a path below the working directory of the script, and may contain `*`. Files that came with the source count from
where the script began to append to them.
"""

import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterator

from studio.errors import BadInput
from studio.experiment import ANY, Metric, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.plugins.file_formats import CsvFile, JsonFile, JsonLinesFile, Source, source_of
from studio.plugins.printed_lines import LOOSE, closeness, words
from studio.system.tail import Sample, thinned

MOST_FILES = 1_000
MOST_FOLDERS = 2_000
MOST_NAMES = 1_000
LOOK_EVERY = 1.0  # seconds between two walks through the workspace
# format of the file, and an example of its name
KINDS: dict[str, tuple[Callable[[str, str], Source], str]] = {
    "csv": (CsvFile, "metrics.csv"),
    "json": (JsonFile, "results.json"),
    "jsonl": (JsonLinesFile, "metrics.jsonl"),
}
_SKIPPED = {"node_modules", "__pycache__", "site-packages"}


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    prefix, colon, rest = metric.name.partition(":")
    if not colon:
        return RunFilesReader(metric.name, run) if metric.name.strip() and metric.name != "fitness" else None
    if prefix not in KINDS:
        return None
    file, _, key = rest.partition(":")
    twice = key.endswith((":min", ":max"))
    if not file.strip() or not key.strip() or twice or os.path.isabs(file) or ".." in file.split("/"):
        usual = KINDS[prefix][1]
        example = f"{prefix}:{os.path.basename(file.strip()).strip('.') or usual}:{key.strip() or 'val_loss'}"
        raise BadInput(
            f"metric {metric.name!r}: write {prefix}:FILE:KEY with FILE inside the working directory, such as {example},"
            " with :min or :max after it"
        )
    return RunFilesReader(key.strip(), run, prefix, os.path.normpath(file.strip()))


class RunFilesReader(MetricReader):
    """Reads `name` from the files in the workspace of `run`; with `kind` and `pattern`, only from those.

    The closest key wins, then the order of paths. Files of the same name, as one per checkpoint, count together.
    """

    source = "files"
    precedence = 20

    def __init__(self, name: str, run: Run, kind: str = "", pattern: str = ""):
        self._name, self._kind, self._pattern = name, kind, pattern
        self._workspace, self._snapshot = os.path.join(run.folder, "workspace"), run.snapshot
        self._sources: dict[str, Source | None] = {}  # by relative path, in natural order
        self._walked = -LOOK_EVERY
        self._best: tuple[int, str, str] = (LOOSE, "", "")  # closeness, name of the file, key
        self._loose: dict[tuple[str, ...], tuple[str, str, list[Sample]]] = {}  # by words: file, key, values
        self.names: dict[str, float | None] = {}

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        reports = self._read(last=True)
        if self._best[0] < LOOSE or len(self._loose) != 1:
            return reports
        file, key, values = next(iter(self._loose.values()))
        return self._reports(file, key, values)

    def _read(self, *, last: bool) -> list[Report]:
        if last or self._pattern or time.monotonic() - self._walked >= LOOK_EVERY:
            self._walked = time.monotonic()
            self._find_files()
        best = self._best
        found: dict[tuple[int, str, str], list[Sample]] = {}
        for path, source in self._sources.items():
            if source is not None:
                self._take(path, source.rows(last=last), found)
        self._best = min([best, *found]) if best[0] < LOOSE else min(found, default=best)
        if self._best != best and best[0] < LOOSE and best in found:
            del found[best]
        return self._reports(self._best[1], self._best[2], found.get(self._best, []))

    def _take(
        self, path: str, rows: Iterator[tuple[str, int | None, float]], found: dict[tuple[int, str, str], list[Sample]]
    ) -> None:
        file = os.path.basename(path)
        for key, step, value in rows:
            close = 0 if key == self._name else closeness(key, self._name)
            self._note(path, key, value)
            if close is None:
                continue
            if close < LOOSE:
                values = found.setdefault((close, file, key), [])
                values.append((step, value))
                if len(values) > 100_000:
                    found[close, file, key] = thinned(values)
            elif self._name != ANY:
                asked = tuple(map(str.casefold, words(key)))
                self._loose.setdefault(asked, (file, key, []))[2].append((step, value))
                self._loose[asked] = (*self._loose[asked][:2], thinned(self._loose[asked][2]))

    def _note(self, path: str, key: str, value: float) -> None:
        name = f"{self._kind}:{path}:{key}" if self._kind else key
        if name in self.names or (len(self.names) < MOST_NAMES and key.isprintable()):
            self.names[name] = value

    def _reports(self, file: str, key: str, values: list[Sample]) -> list[Report]:
        source = "" if self._kind else file if key == self._name else f"{file}, as {key!r}"
        return [Report(step, value, source=source) for step, value in values]

    # --- files ------------------------------------------------------------------------------------------------------

    def _find_files(self) -> None:
        for path in self._walk():
            if path in self._sources or len(self._sources) >= MOST_FILES:
                continue
            full, original = os.path.join(self._workspace, path), os.path.join(self._snapshot, path)
            if self._kind:
                self._sources[path] = KINDS[self._kind][0](full, original)
            else:
                self._sources[path] = source_of(full, path, original)
        self._sources = dict(sorted(self._sources.items(), key=lambda item: _natural(item[0])))

    def _walk(self) -> Iterator[str]:
        """Yield the relative paths of files to read, shallow ones first."""
        if self._pattern and not any(letter in self._pattern for letter in "*?["):
            yield self._pattern  # the file may appear, disappear and appear again
            return
        folders, looked = [""], 0
        for folder in folders:  # grows on the way
            looked += 1
            if looked > MOST_FOLDERS:
                return
            try:
                entries = sorted(os.scandir(os.path.join(self._workspace, folder)), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                        folders.append(path)
                elif entry.is_file(follow_symlinks=False) and (
                    not self._pattern or fnmatch.fnmatch(path, self._pattern)
                ):
                    yield path


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a sort key by which checkpoint-500 comes before checkpoint-1000."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", path)]
