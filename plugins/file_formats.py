"""Formats of files in which scripts and trackers keep metrics: each gives rows of (key, step, value), each row once.

CsvFile       metrics.csv of Lightning, training.log of Keras, results.csv of Ultralytics; any separator
JsonFile      results.json, trainer_state.json of Hugging Face, wandb-summary.json; read whole after each change
JsonLinesFile lines of JSON
MlflowFile    one metric of MLflow's file store: lines `timestamp value step`
MlflowTable   the metrics in MLflow's sqlite file
WandbFile     the log of an offline run of W&B: LevelDB's log format around protobuf records
"""

import contextlib
import csv
import json
import os
import re
import sqlite3
import struct
from collections.abc import Iterator
from typing import Any, Protocol

from studio.system.copying import is_original
from studio.system.tail import Lines, Tail, soon

Row = tuple[str, int | None, float]  # key, step, value

LARGEST = 1 << 24  # bytes of a JSON file that is read
LONGEST_LINE = 1 << 20
DEEPEST = 8  # objects within objects
MOST_ROWS = 100_000  # of one file and one look
STEPS = ("step", "epoch", "global_step", "_step", "iteration")
_WANDB_BLOCK, _WANDB_HEADER = 32768, 7


class Source(Protocol):
    def rows(self, *, last: bool) -> Iterator[Row]:
        """Yield the new rows. `last`: nothing more will be written."""


class CsvFile:
    """A header and rows of numbers. Cells are stripped; a row may leave cells empty, as Lightning's do."""

    def __init__(self, path: str, original: str | None = None):
        self._lines = Lines(path, longest=LONGEST_LINE, original=original)
        self._header: list[str] = []
        self._separator = ","

    def rows(self, *, last: bool) -> Iterator[Row]:
        generation = self._lines.generation
        for block in self._lines.read(last=last, until=soon()):
            if self._lines.generation != generation:
                generation, self._header = self._lines.generation, []
            for line in block.decode(errors="replace").split("\n"):
                yield from self._row(line.strip("\r\ufeff "))

    def _row(self, line: str) -> Iterator[Row]:
        if not line or line.startswith("#"):
            return
        if not self._header:
            self._separator = next((one for one in ",;\t" if one in line), ",")
        try:
            row = next(csv.reader([line], delimiter=self._separator, skipinitialspace=True), [])
        except csv.Error:  # no text
            return
        cells = [cell.strip().strip("'") for cell in row]
        if not self._header:
            self._header = cells
            return
        if not any(map(_is_number, cells)):
            if {*cells} & {*self._header} - {""}:  # another header: another run started
                self._header = cells
            return
        by_name = dict(zip(self._header, cells, strict=False))
        step = step_in({name: _number_of(by_name.get(name, "")) for name in STEPS})
        for name, cell in by_name.items():
            value = _number_of(cell)
            if value is not None and name:
                yield name, step, value


def _is_number(cell: str) -> bool:
    return _number_of(cell) is not None


def _number_of(cell: str) -> float | None:
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


class JsonLinesFile:
    def __init__(self, path: str, original: str | None = None):
        self._lines = Lines(path, longest=LONGEST_LINE, original=original)

    def rows(self, *, last: bool) -> Iterator[Row]:
        for block in self._lines.read(last=last, until=soon()):
            for line in block.split(b"\n"):
                if line.lstrip().startswith(b"{"):
                    yield from _flat_rows(_parsed(line))


class JsonFile:
    """A JSON document, read when it is complete. A list of numbers, or of objects, gives a row for each element. Rows of a
    key that were given before, and are still the first of that key, are not given again.
    """

    def __init__(self, path: str, original: str | None = None):
        self._path, self._original = path, original
        self._state: tuple[int, int, int] | None = None
        self._given: dict[str, list[Row]] = {}

    def rows(self, *, last: bool) -> Iterator[Row]:
        try:
            found = os.stat(self._path)
        except (OSError, ValueError):
            self._state, self._given = None, {}
            return
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if (
            state == self._state
            or found.st_size > LARGEST
            or (self._original and is_original(self._path, self._original))
        ):
            return
        data = _parsed(_whole_file(self._path))
        if data is None:  # not complete yet, emptied, or not JSON
            if self._state is not None and found.st_size < self._state[1]:
                self._state, self._given = None, {}
            return
        if self._state is None or self._state[0] != found.st_ino:
            self._given = {}
        self._state = state
        rows: dict[str, list[Row]] = {}
        for row in _flat_rows(data):
            rows.setdefault(row[0], []).append(row)
        for key, all_ in rows.items():
            given = self._given.get(key, [])
            yield from all_[len(given) :] if all_[: len(given)] == given else all_
        self._given = rows


def _whole_file(path: str) -> bytes:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(LARGEST)
    return b""


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError):
        return None


def _flat_rows(data: Any, prefix: str = "", step: int | None = None, depth: int = 0) -> Iterator[Row]:
    if depth > DEEPEST:
        return
    if isinstance(data, dict):
        step = step_in(data) if step_in(data) is not None else step
        for key, value in data.items():
            yield from _flat_rows(value, f"{prefix}.{key}" if prefix else str(key), step, depth + 1)
    elif isinstance(data, list):
        for at, value in enumerate(data[:MOST_ROWS]):
            if isinstance(value, dict):
                yield from _flat_rows(value, prefix, step, depth + 1)
            else:
                yield from _flat_rows(value, prefix, at if step is None else step, DEEPEST)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        with contextlib.suppress(OverflowError):
            yield prefix, step, float(data)


def step_in(row: dict[str, Any]) -> int | None:
    for name in STEPS:
        step = row.get(name)
        if (
            isinstance(step, int | float)
            and not isinstance(step, bool)
            and step == int(step if abs(step) < 1e15 else 0)
        ):
            return int(step)
    return None


class MlflowFile:
    def __init__(self, path: str, key: str, original: str | None = None):
        self._key = key
        self._lines = Lines(path, original=original)

    def rows(self, *, last: bool) -> Iterator[Row]:
        for block in self._lines.read(last=last, until=soon()):
            for line in block.decode(errors="replace").split("\n"):
                parts = line.split()
                if len(parts) in (2, 3) and (value := _number_of(parts[1])) is not None:
                    yield self._key, int(parts[2]) if parts[2:] and parts[2].isdecimal() else None, value


class MlflowTable:
    def __init__(self, path: str, original: str | None = None):
        self._path = path
        self._seen: int | None = None
        self._original = original

    def rows(self, *, last: bool) -> Iterator[Row]:
        if self._seen is None:
            self._seen = self._last_row(self._original) if self._original else 0
        query = "SELECT rowid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics WHERE rowid > ? ORDER BY rowid"
        for rowid, key, step, value in self._ask(self._path, f"{query} LIMIT {MOST_ROWS}", self._seen):
            self._seen = rowid
            if isinstance(key, str):
                yield key, step if isinstance(step, int) else None, float("nan") if value is None else float(value)

    def _last_row(self, path: str) -> int:
        rows = self._ask(path, "SELECT max(rowid) FROM metrics WHERE ? = 0", 0)
        return int(rows[0][0] or 0) if rows else 0

    def _ask(self, path: str, query: str, value: int) -> list[Any]:
        if not os.path.isfile(path):
            return []
        uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=ro"
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.1)) as connection,
        ):
            return connection.execute(query, (value,)).fetchall()
        return []


class WandbFile:
    """The log of an offline run of W&B. Source: wandb/sdk/internal/datastore.py, wandb/proto/wandb_internal.proto."""

    def __init__(self, path: str, original: str | None = None):
        self._tail, self._path, self._original = Tail(path), path, original
        self._rest = b""
        self._at = 0  # position of `_rest` in the file
        self._record = b""
        self._broken = False

    def rows(self, *, last: bool) -> Iterator[Row]:
        if self._original and is_original(self._path, self._original):
            return
        for chunk in self._tail.read(float("inf") if last else soon()):
            self._rest += chunk
            for record in self._records():
                yield from _wandb_rows(record)

    def _records(self) -> Iterator[bytes]:
        if self._at == 0 and len(self._rest) >= 7:
            self._broken = not self._rest.startswith(b":W&B")
            self._drop(7)
        while not self._broken and self._at:
            left = _WANDB_BLOCK - self._at % _WANDB_BLOCK
            if left < _WANDB_HEADER:
                if len(self._rest) < left:
                    return
                self._drop(left)
                continue
            if len(self._rest) < _WANDB_HEADER:
                return
            length, kind = struct.unpack_from("<HB", self._rest, 4)
            if len(self._rest) < _WANDB_HEADER + length:
                return
            data = self._rest[_WANDB_HEADER : _WANDB_HEADER + length]
            self._drop(_WANDB_HEADER + length)
            self._broken = kind not in (1, 2, 3, 4)
            self._record = data if kind in (1, 2) else self._record + data
            if kind in (1, 4):
                yield self._record
        if self._broken:
            self._rest = b""

    def _drop(self, count: int) -> None:
        self._rest, self._at = self._rest[count:], self._at + count


def _wandb_rows(record: bytes) -> Iterator[Row]:
    try:
        for number, body in _fields(record):
            if number not in (2, 3) or not isinstance(body, bytes):  # history, summary
                continue
            step, found = None, []
            for inner, data in _fields(body):
                if number == 2 and inner == 2 and isinstance(data, bytes):
                    step = next((value for tag, value in _fields(data) if tag == 1 and isinstance(value, int)), 0)
                elif inner == 1 and isinstance(data, bytes):
                    found.append(_wandb_item(data))
            for key, value in found:
                if isinstance(value, int | float) and not isinstance(value, bool) and not key.startswith("_"):
                    yield key, step, float(value)
    except (IndexError, struct.error, OverflowError):  # truncated, or of another version
        return


def _wandb_item(data: bytes) -> tuple[str, Any]:
    key, nested, value = "", [], None
    for number, one in _fields(data):
        if number == 1 and isinstance(one, bytes):
            key = one.decode(errors="replace")
        elif number == 2 and isinstance(one, bytes):
            nested.append(one.decode(errors="replace"))
        elif number == 16 and isinstance(one, bytes):
            value = _parsed(one)
        elif number in (5, 6) and not isinstance(one, bytes):
            value = one
    return key or ".".join(nested), value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """Yield (number, value) of the fields of a protobuf message: varints, floats, and bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value: bytes | int | float
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 1:
            (value,), at = struct.unpack_from("<d", data, at), at + 8
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind == 5:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        else:
            return
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


_METRIC_OF_RUN = re.compile(r"(?:\A|/)[^/]+/[^/]+/metrics/(.+)\Z")


def source_of(path: str, relative: str, original: str | None) -> Source | None:
    """Return the source in a file of a workspace, by its name; None if no metrics are expected."""
    name = os.path.basename(relative).lower()
    found = _METRIC_OF_RUN.search(relative)
    if found and os.path.exists(os.path.join(path[: -len(found[1]) - len("/metrics/")], "meta.yaml")):
        return MlflowFile(path, found[1], original)
    if name.endswith((".csv", ".tsv")) or name == "training.log":
        return CsvFile(path, original)
    if name.endswith((".jsonl", ".ndjson")):
        return JsonLinesFile(path, original)
    if name.endswith(".json"):
        return JsonFile(path, original)
    if name.endswith((".db", ".sqlite", ".sqlite3")):
        return MlflowTable(path, original)
    return WandbFile(path, original) if name.endswith(".wandb") else None
