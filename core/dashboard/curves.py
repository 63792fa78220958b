"""The values of the metric during each run, read from the run's own files by the driver's plugins."""

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.dashboard.run_files import is_own
from studio.experiment import Metric
from studio.host import Host
from studio.interfaces import MetricReader
from studio.project.paths import attempt_folder
from studio.project.records import read_snapshot
from studio.reporting.curves import open_reader

KEPT = 4000  # curves in memory
MOST_POINTS = 4000  # points of one curve in memory; beyond that every second one is dropped
SAMPLE = 100  # experiments used for quartiles


@dataclass
class _Curve:
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while its files are read
    opened: bool = False
    reader: MetricReader | None = None
    step: list[int] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)  # None: nan or infinite
    time: list[float | None] = field(default_factory=list)  # seconds since the epoch, where the files have them

    source: str = ""
    reports: int = 0
    last_step: int | None = None
    complete: bool = False

    def clear(self) -> None:
        for points in (self.step, self.value, self.time):
            points.clear()


class Curves:
    """Cache of a project's metric curves. Finished runs are read once, running ones incrementally."""

    def __init__(self, folder: Path, host: Host):
        self._folder = folder
        self._host = host
        self._lock = threading.Lock()  # guards the cache, held briefly
        self._curves: OrderedDict[tuple[int, int], _Curve] = OrderedDict()
        self._kept: tuple[object, dict[str, Any]] = (None, {})

    def last_step(self, metric: Metric, number: int, attempt: int) -> int | None:
        """Return the last reported step; the cached one if another thread is reading the files."""
        curve = self._known(number, attempt)
        if curve.lock.acquire(blocking=False):
            try:
                self._read_new_values(curve, metric, number, attempt, ended=False)
            finally:
                curve.lock.release()
        return curve.last_step

    def points(
        self, metric: Metric, number: int, attempt: int, *, ended: bool, most: int, begun: float | None = None
    ) -> dict[str, list[Any]]:
        """Return at most `most` points, always with the last; `seconds` since `begun` where the run's files have times."""
        step, value, time = self._read(metric, number, attempt, ended=ended)
        chosen = _spread(len(step), most)
        found: dict[str, list[Any]] = {"step": [step[at] for at in chosen], "value": [value[at] for at in chosen]}
        times = [each for each in time if each]
        if begun is not None and times and len(times) == len(step) and times == sorted(times):
            since = min(begun, times[0])  # another machine's clock may be behind
            found["seconds"] = [round(times[at] - since, 2) for at in chosen]
        return found

    def quartiles(self, metric: Metric, ended: Sequence[tuple[int, int]], most: int) -> dict[str, Any]:
        """Return quartiles of the metric at `most` steps, over up to `SAMPLE` of the (number, attempt) pairs in `ended`."""
        some = [ended[at] for at in _spread(len(ended), SAMPLE)]
        key = (tuple(some), most)
        if self._kept[0] != key:
            self._kept = key, self._compute_quartiles(metric, some, most)
        return self._kept[1]

    def _compute_quartiles(self, metric: Metric, some: Sequence[tuple[int, int]], most: int) -> dict[str, Any]:
        curves = [self._read(metric, number, attempt, ended=True) for number, attempt in some]
        arrays = [(np.array(step), np.array(value, dtype=float)) for step, value, _ in curves if len(step) > 1]
        if not arrays:
            return {"step": [], "q25": [], "median": [], "q75": [], "count": 0}
        steps = np.unique(np.concatenate([step for step, _ in arrays]))
        steps = steps[_spread(len(steps), most)]
        table = np.full((len(arrays), len(steps)), np.nan)
        for row, (step, value) in enumerate(arrays):
            at = np.searchsorted(step, steps, side="right") - 1  # the last value up to that step
            inside = (at >= 0) & (steps <= step[-1])
            table[row, inside] = value[at[inside]]
        seen = np.isfinite(table).any(axis=0)
        low, middle, high = np.nanpercentile(table[:, seen], (25, 50, 75), axis=0)
        quartiles = {"q25": low, "median": middle, "q75": high}
        rounded = {name: [float(f"{v:.6g}") for v in values] for name, values in quartiles.items()}
        return {"step": steps[seen].tolist(), **rounded, "count": len(arrays)}

    # --- reading ----------------------------------------------------------------------------------------------------

    def _read(
        self, metric: Metric, number: int, attempt: int, *, ended: bool
    ) -> tuple[list[int], list[float | None], list[float | None]]:
        """Return the present steps, values and times."""
        curve = self._known(number, attempt)
        with curve.lock:
            self._read_new_values(curve, metric, number, attempt, ended)
            return list(curve.step), list(curve.value), list(curve.time)

    def _known(self, number: int, attempt: int) -> _Curve:
        with self._lock:
            curve = self._curves.setdefault((number, attempt), _Curve())
            self._curves.move_to_end((number, attempt))
            while len(self._curves) > KEPT:
                self._curves.popitem(last=False)
            return curve

    def _read_new_values(self, curve: _Curve, metric: Metric, number: int, attempt: int, ended: bool) -> None:
        if curve.complete:
            return
        if not curve.opened:
            if not is_own(attempt_folder(self._folder, number, attempt)):
                return  # a script has put a link in its place; checked again later
            curve.opened = True
            snapshot = read_snapshot(self._folder, number, attempt)
            curve.reader = open_reader(self._folder, number, attempt, metric, self._host, snapshot)
        curve.complete = ended
        if curve.reader is None:
            return
        try:
            found = curve.reader.close() if ended else curve.reader.read()
        except Exception:  # of a plugin: only the curve is missing
            curve.reader, curve.complete = None, True
            return
        for report in found:
            if report.source != curve.source:  # a better one: what came before counts no more
                curve.source, curve.reports = report.source, 0
                curve.clear()
            curve.reports += 1
            curve.last_step = curve.reports if report.step is None else report.step
            if curve.step and curve.last_step < curve.step[-1]:  # the run started again
                curve.clear()
            curve.step.append(curve.last_step)
            curve.value.append(float(report.value) if math.isfinite(report.value) else None)
            curve.time.append(report.time)
            if len(curve.step) > MOST_POINTS:
                del curve.step[1:-1:2], curve.value[1:-1:2], curve.time[1:-1:2]
        if ended:
            curve.reader = None


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` indices below `count`, evenly spaced, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(at * (count - 1) / (most - 1)) for at in range(most)}) if most > 1 else [count - 1]
