"""The metric `jsonl:FILE:KEY`: numbers in a file of JSON objects, one a line, that the script writes."""

import json
import os
from collections.abc import Iterator
from typing import Any

from studio.errors import BadInput
from studio.experiment import Metric, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import MetricReader
from studio.system.tail import Lines, Value, bounded, soon

LONGEST_LINE = 1 << 20
MOST_NAMES = 1_000
STEPS = ("step", "epoch", "global_step")
DEEPEST = 8  # dots of a listed name


@hookimpl(trylast=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    prefix, colon, rest = metric.name.partition(":")
    if prefix != "jsonl" or not colon:
        return None
    file, colon, key = rest.partition(":")
    if not file.strip() or not key.strip() or ":" in key:
        raise BadInput(
            f"metric {metric.name!r}: write jsonl:FILE:KEY, such as jsonl:metrics.jsonl:val_loss, "
            "with :min or :max after it"
        )
    if os.path.isabs(file) or ".." in file.split("/"):
        raise BadInput(
            f"metric {metric.name!r}: FILE is a path inside the working directory of the script, "
            f"such as jsonl:{os.path.basename(file).strip('.') or 'metrics.jsonl'}:{key}"
        )
    return JsonLinesReader(file, key, run)


class JsonLinesReader(MetricReader):
    """Reads the numbers under `key` in the JSON-lines file `file` of the workspace of `run`.

    `metrics.val_loss` is the key of that name, else `val_loss` in the object `metrics`. Lines without that number are
    skipped; true, false and "0.5" are not numbers. The step is `step`, `epoch` or `global_step` of the same line.
    Lines that the file already had in the source do not count.
    """

    def __init__(self, file: str, key: str, run: Run):
        self._file = file
        self._key = key
        self._path = os.path.join(run.folder, "workspace", file)
        self._original = os.path.join(run.snapshot, file)
        self._lines: Lines | None = None
        self.names: dict[str, None] = {}  # in the order of appearance

    def read(self) -> list[Report]:
        return self._read(last=False)

    def close(self) -> list[Report]:
        return self._read(last=True)

    def _read(self, *, last: bool) -> list[Report]:
        if self._lines is None:
            if not os.path.exists(self._path):
                return []
            self._lines = Lines(self._path, longest=LONGEST_LINE, original=self._original)
        values: list[Value] = []
        for block in self._lines.read(last=last, until=soon()):
            values += (value for line in block.split(b"\n") if (value := self._value(line)))
            values = bounded(values)
        return [Report(step, value) for step, value in values]

    def _value(self, line: bytes) -> Value | None:
        entry = _object(line)
        if entry is None:
            return None
        value = _number(_find(entry, self._key))
        if value is None:
            self._note(entry)
            return None
        self.names[f"jsonl:{self._file}:{self._key}"] = None
        return _step(entry), value

    def _note(self, entry: dict[str, Any]) -> None:
        for key in _number_keys(entry):
            if len(self.names) >= MOST_NAMES:
                return
            self.names[f"jsonl:{self._file}:{key}"] = None


def _object(line: bytes) -> dict[str, Any] | None:
    if len(line) > LONGEST_LINE or not line.lstrip().startswith(b"{"):
        return None
    try:
        entry = json.loads(line.decode())  # twice as fast as bytes, of which json has to detect the encoding
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _find(entry: Any, key: str) -> Any:
    """Return the value under `key` in `entry`: of that name, or along its dots, any of which may belong to names."""
    if not isinstance(entry, dict):
        return None
    if key in entry:
        return entry[key]
    for at, letter in enumerate(key):
        if letter == "." and key[:at] in entry:
            found = _find(entry[key[:at]], key[at + 1 :])
            if found is not None:
                return found
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1e308
        return None


def _step(entry: dict[str, Any]) -> int | None:
    for name in STEPS:
        step = entry.get(name)
        if isinstance(step, int) and not isinstance(step, bool):
            return step
    return None


def _number_keys(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in entry.items():
        if isinstance(value, dict) and prefix.count(".") < DEEPEST:
            yield from _number_keys(value, f"{prefix}{key}.")
        elif _number(value) is not None and key.isprintable():
            yield prefix + key
