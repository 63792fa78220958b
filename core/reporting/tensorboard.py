"""A log folder for TensorBoard: the event files of all experiments, and the data of its HParams tab.

    LOGDIR/events.out.tfevents.0.studio             the hyperparameters with their domains, and the metric
    LOGDIR/7 lr=0.01/events.out.tfevents.0.studio   one session: values, start, metric and fitness so far, end and status
    LOGDIR/7 lr=0.01/…                              links to the event files of experiment 7

    LOGDIR/7 lr=0.01/train/events.out.…0.studio     the same start and end for each folder in which the script logged

Nothing is written into the folders of runs. Sessions of one experiment have its key as their group, and the tab shows a
group as one row. TensorBoard keeps the first start and end of a run: those of our file, which sorts first, even if the
script calls `add_hparams`, which would make a second row. For the same reason a further attempt becomes a run of its own,
and the earlier one is removed.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from studio.experiment import NO_RESULT, Experiment
from studio.format import assignments, clipped, short
from studio.project.paths import FIRST_SNAPSHOT
from studio.project.project import Project
from studio.project.records import change_stamp
from studio.reporting.axes import Axis, number

MOST_FOLDERS = 10_000  # of one run, searched for event files
LONGEST_NAME = 200  # bytes; file systems take 255
_OWN = "events.out.tfevents.0.studio"


class LogFolder:
    """The experiments of `project` in `folder`, which is owned by this object and initially empty."""

    def __init__(self, project: Project, axes: list[Axis], folder: Path):
        self._project = project
        self._axes = axes
        self._folder = folder
        self._seen: object = None
        self._ended: dict[int, tuple[int, str | None]] = {}  # number -> attempt and finish time
        self._sessions: dict[int, _Session] = {}
        self._tags = _tags(project)
        _write(folder / _OWN, _experiment_event(project, axes, self._tags))

    def refresh(self) -> None:
        """Update the folder. Only experiments that are new, or had not ended, are read."""
        seen = change_stamp(self._project.folder)
        if seen != self._seen:
            for experiment in self._project.experiments:
                if experiment.status != "queued" and self._ended.get(experiment.number) != _state(experiment):
                    self._take(experiment)
            self._seen = seen
        for session in self._sessions.values():
            if session.running:
                session.link()

    def _take(self, experiment: Experiment) -> None:
        session = self._sessions.get(experiment.number)
        if session is None or session.attempt != experiment.attempt:
            if session is not None:
                shutil.rmtree(session.folder, ignore_errors=True)
            start = _start_event(experiment, self._axes)
            session = self._sessions[experiment.number] = _Session(
                experiment, self._project.folder, self._folder, start
            )
        session.running = experiment.status == "running"
        value = None if experiment.status in NO_RESULT else (experiment.metric or {}).get("value")
        measured = {"fitness": experiment.fitness, "metric": value}
        _write(session.folder / _OWN, *session.measured(measured, self._tags))
        if experiment.finished is not None and not session.running:
            session.link()  # last time
            session.say(_end_event(experiment))
            self._ended[experiment.number] = _state(experiment)


class _Session:
    def __init__(self, experiment: Experiment, project: Path, logdir: Path, start: bytes):
        self.attempt = experiment.attempt
        self.running = False
        self.folder = logdir / _run_name(experiment)
        self._run = None if experiment.folder is None else Path(experiment.folder)
        self._source = project / (experiment.snapshot or FIRST_SNAPSHOT)
        self._told: dict[str, float] = {}
        self._steps: Counter[str] = Counter()
        self._start = start
        self._places: set[Path] = set()  # folders with a file of this module
        self._be_in(self.folder)

    def say(self, event: bytes) -> None:
        """Append `event` to every folder of this session."""
        for place in self._places:
            _write(place / _OWN, event)

    def _be_in(self, place: Path) -> None:
        if place not in self._places:
            place.mkdir(parents=True, exist_ok=True)
            self._places.add(place)
            _write(place / _OWN, self._start)

    def measured(self, values: dict[str, float | None], tags: dict[str, tuple[str, str]]) -> Iterator[bytes]:
        """Yield events for new values: the tab shows the last one."""
        for key, (tag, _) in tags.items():
            value = values[key]
            if value is not None and self._told.get(key) != value:
                self._told[key] = value
                yield _scalar_event(tag, self._steps[key], value)
                self._steps[key] += 1

    def link(self) -> None:
        """Link each event file of the run: those in tb/, or in the workspace if the script logged there instead."""
        if self._run is None:
            return
        for place in ("tb", "workspace"):
            found = list(_event_files(self._run / place))
            if place == "workspace":  # files that came with the source belong to other runs
                found = [name for name in found if not (self._source / name).exists()]
            for name in found:
                link = self.folder / name
                if not link.is_symlink():
                    self._be_in(link.parent)  # before TensorBoard reads the script's events there
                    os.symlink(self._run / place / name, link)
            if found:
                break


def _event_files(place: Path) -> Iterator[str]:
    """Yield paths below `place`, without following links: a script may make cycles, or a FIFO that blocks."""
    for folder, _, names in islice(os.walk(place), MOST_FOLDERS):
        for name in names:
            path = Path(folder, name)
            if "tfevents" in name and not path.is_symlink() and path.is_file():
                yield str(path.relative_to(place))


def _run_name(experiment: Experiment) -> str:
    """Return `7 lr=0.01`; from the second attempt on `7 (attempt 2) lr=0.01`."""
    again = f" (attempt {experiment.attempt})" if experiment.attempt > 1 else ""
    name = f"{experiment.number}{again} {assignments(experiment.values)}".strip().replace("/", "_")
    return name.encode()[:LONGEST_NAME].decode(errors="ignore").strip()


def _state(experiment: Experiment) -> tuple[int, str | None]:
    return experiment.attempt, experiment.finished


def _tags(project: Project) -> dict[str, tuple[str, str]]:
    """Return key -> (tag, name in the tab). `studio/` separates them from the tags of scripts."""
    metric, fitness = project.metric, {"fitness": ("studio/fitness", "fitness")}
    if (metric.name, project.sign) == ("fitness", 1.0):
        return fitness
    name = metric.name if metric.mode == "last" else f"{metric.name} {metric.mode}"
    return {"metric": (f"studio/{name}" if name != "fitness" else "studio/fitness as printed", name), **fitness}


# --- events -----------------------------------------------------------------------------------------------------------


def _experiment_event(project: Project, axes: list[Axis], tags: dict[str, tuple[str, str]]) -> bytes:
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    experiment = api_pb2.Experiment(
        name=project.name,
        hparam_infos=[_column(axis) for axis in axes],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=clipped(name, LONGEST_NAME))
            for tag, name in tags.values()
        ],
    )
    return _plugin_event("experiment", plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _start_event(experiment: Experiment, axes: list[Axis]) -> bytes:
    from tensorboard.plugins.hparams import plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(
        group_name=experiment.key, start_time_secs=_seconds(experiment.started) or time.time()
    )
    for axis in axes:
        if axis.name in experiment.values:
            _set(start.hparams[axis.name], _cell(axis, experiment.values[axis.name]))
    return _plugin_event("session_start_info", plugin_data_pb2.HParamsPluginData(session_start_info=start))


def _end_event(experiment: Experiment) -> bytes:
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    good = experiment.status in ("completed", "pruned")
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_SUCCESS if good else api_pb2.STATUS_FAILURE,
        end_time_secs=_seconds(experiment.finished) or time.time(),
    )
    return _plugin_event("session_end_info", plugin_data_pb2.HParamsPluginData(session_end_info=end))


def _column(axis: Axis) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    cells = [_cell(axis, choice) for choice in axis.choices]
    kind = api_pb2.DATA_TYPE_FLOAT64 if axis.numeric else api_pb2.DATA_TYPE_STRING
    if cells and all(isinstance(cell, bool) for cell in cells):
        kind = api_pb2.DATA_TYPE_BOOL
    info = api_pb2.HParamInfo(name=axis.name, display_name=clipped(axis.label, LONGEST_NAME), type=kind)
    if cells:
        for cell in cells:
            _set(info.domain_discrete.values.add(), cell)
    elif axis.low is not None and axis.high is not None and axis.kind != "array":
        info.domain_interval.min_value, info.domain_interval.max_value = axis.low, axis.high
    return info


def _cell(axis: Axis, value: Any) -> str | bool | float:
    """Convert a value to what the tab accepts: a number, or a category by its name. A column has values of one type."""
    if axis.numeric:
        placed = number(value)
        return short(value) if placed is None else placed
    whole = all(isinstance(choice, bool) for choice in axis.choices)
    return value if whole and isinstance(value, bool) else clipped(str(value), LONGEST_NAME)


def _set(field: Any, value: str | bool | float) -> None:
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.number_value = value


def _plugin_event(name: str, data: Any) -> bytes:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    data.version = metadata.PLUGIN_DATA_VERSION
    content = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    value = Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=content))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return _event(0, value)


def _scalar_event(tag: str, step: int, given: float) -> bytes:
    """Return a scalar event with a double: a simple value keeps seven digits only."""
    from tensorboard.compat.proto import tensor_pb2, types_pb2
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary, SummaryMetadata

    kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=DATA_CLASS_SCALAR)
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[given])
    return _event(step, Summary.Value(tag=tag, metadata=kind, tensor=tensor))


def _event(step: int, value: Any) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    data: bytes = Event(wall_time=time.time(), step=step, summary=Summary(value=[value])).SerializeToString()
    return data


def _write(path: Path, *events: bytes) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    if events:
        with open(path, "ab") as file:
            for event in events:
                RecordWriter(file).write(event)


def _seconds(when: str | None) -> float | None:
    return None if when is None else datetime.fromisoformat(when).timestamp()
