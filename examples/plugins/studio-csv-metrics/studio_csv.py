"""The metric `csv:FILE:COLUMN`: numbers in a CSV log that the script writes.

    studio run --metric=csv:lightning_logs/version_0/metrics.csv:val_loss:min …

FILE is a path inside the working directory of the script. For a new metric, Lightning rewrites the whole log with another
column, and perhaps in another order, while it is read.
"""

import csv
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

import studio

CHUNK = 1 << 18
LONGEST_LINE = 1 << 16
STEPS = ("step", "global_step", "epoch")
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE)


@studio.hookimpl
def studio_open_metric(metric: Any, run: studio.Run) -> studio.MetricReader | None:
    prefix, colon, rest = metric.name.partition(":")
    if prefix != "csv" or not colon:
        return None
    file, _, column = rest.partition(":")
    if not file.strip() or not column.strip() or os.path.isabs(file) or ".." in file.split("/"):
        raise studio.StudioError(
            f"metric {metric.name!r}: write csv:FILE:COLUMN, FILE being a path inside the working directory, "
            "such as csv:metrics.csv:val_loss, with :min or :max after it"
        )
    return CsvReader(file, column, run)


class CsvReader(studio.MetricReader):
    """Reads the numbers under `column`. Cells may be empty, rows short, and the header may come after other lines: any line
    with the column is a header. The step is `step`, `global_step` or
    `epoch` of the same row. Rows that the file already had in the source do not count.
    """

    def __init__(self, file: str, column: str, run: studio.Run):
        self._prefix = f"csv:{file}:"
        self._column = column
        self._lines = Lines(os.path.join(run.folder, "workspace", file), os.path.join(run.snapshot, file))
        self._header: list[str] = []
        self.names: dict[str, None] = {}

    def read(self) -> list[studio.Report]:
        found = [(number, self._report(number, line)) for number, line in self._lines.read()]
        return [report for number, report in found if report is not None and number > self._lines.known]

    def close(self) -> list[studio.Report]:
        found = [*self.read(), self._report(self._lines.count + 1, self._lines.rest)]
        return [report for report in found if report is not None]

    def _report(self, number: int, line: bytes) -> studio.Report | None:
        if number == 1:  # of this file, or of a file that replaced it
            self._header = []
        try:
            row = csv.reader([line.decode("utf-8-sig")], skipinitialspace=True)
            cells = [cell.strip() for cell in next(row, ())]
        except (csv.Error, UnicodeDecodeError):
            return None
        if self._column in cells or (self._column not in self._header and is_header(cells)):
            self._header = cells
            self.names |= {self._prefix + cell: None for cell in cells if cell.isprintable()}
            return None
        named = dict(zip(self._header, cells, strict=False))
        text = named.get(self._column, "")
        if not NUMBER.fullmatch(text):
            return None
        step = next((named[name] for name in STEPS if named.get(name, "").isdecimal()), None)
        return studio.Report(None if step is None else int(step), float(text))


def is_header(cells: list[str]) -> bool:
    return len(cells) > 1 and all(cell and not NUMBER.fullmatch(cell) for cell in cells)


class Lines:
    """The complete lines of a growing file, numbered from 1; each byte is read once.

    A truncated or replaced file begins with line 1 again. So does a file whose first line changed: it was rewritten.

    known   number of lines, from the first, that are not new: copied from the source, or read before
    """

    def __init__(self, path: str, original: str):
        self._path, self._original = path, original
        self._identity: tuple[int, int] | None = None
        self._begin()

    def _begin(self, known: int = 0) -> None:
        self.known = known
        self.count = 0  # number of lines so far
        self._position = 0
        self._first = b""  # the first line, or the beginning of one that is very long
        self.rest = b""  # of an incomplete line

    def read(self) -> Iterator[tuple[int, bytes]]:
        try:
            found = os.stat(self._path)
            if not stat.S_ISREG(found.st_mode):  # opening a FIFO would block
                return
            if (found.st_dev, found.st_ino) != self._identity or found.st_size < self._position:
                self._begin(0 if self._identity else lines_in_common(self._path, self._original))
                self._identity = found.st_dev, found.st_ino
            if found.st_size == self._position:
                return
            with open(self._path, "rb", buffering=0) as file:
                if self._first and os.pread(file.fileno(), len(self._first), 0) != self._first:
                    self._begin(known=self.count)
                while self._position < found.st_size:
                    chunk = os.pread(file.fileno(), min(CHUNK, found.st_size - self._position), self._position)
                    if not chunk:
                        return
                    self._position += len(chunk)
                    yield from self._split(chunk)
        except FileNotFoundError:
            self._identity = self._identity and (0, 0)  # the next one may get the same inode
        except (OSError, ValueError):  # ValueError: an invalid path, such as one with a zero byte
            return

    def _split(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.rest = self.rest[:LONGEST_LINE]
        for line in lines:
            if self.count == 0:
                self._first = (line + b"\n")[:1000]
            self.count += 1
            if len(line) < LONGEST_LINE:
                yield self.count, line


def lines_in_common(path: str, original: str) -> int:
    """Return how many lines of the file came with the source. An unchanged copy keeps its time."""
    try:
        now, then = os.stat(path), os.stat(original)
        if now.st_size < then.st_size or (now.st_size == then.st_size and now.st_mtime_ns != then.st_mtime_ns):
            return 0
        with open(path, "rb") as file, open(original, "rb") as source:
            text = source.read()
            return text.count(b"\n") if file.read(len(text)) == text else 0
    except (OSError, ValueError):
        return 0
