"""A log folder for TensorBoard: the event files of all experiments, and the data of its HParams tab.

    LOGDIR/events.out.tfevents.0.studio             the hyperparameters with their domains, and the metric
    LOGDIR/7 lr=0.01/events.out.tfevents.0.studio   one session: values, start, metric and fitness so far, end and status
    LOGDIR/7 lr=0.01/…                              links to the event files of experiment 7

    LOGDIR/7 lr=0.01/train/events.out.…0.studio     the same start and end again, for each folder with event files

Nothing is written into the folders of runs. The sessions of an experiment have its key as their group, and the tab shows one
row for each group. TensorBoard keeps the first start and the first end of a run that it reads. Our file sorts first, so its
start and end count even if the script calls `add_hparams`, which would add a second row. Because TensorBoard keeps the first
start, another attempt of an experiment gets a new folder, and the folder of the earlier attempt is removed.
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

MAX_FOLDERS = 10_000  # folders of one run in which event files are looked for
MAX_NAME_BYTES = 200  # of the name of a folder; file systems allow 255
OUR_FILE = "events.out.tfevents.0.studio"


class LogFolder:
    """A log folder with the experiments of `project`. `folder` must be empty; only this object writes into it."""

    def __init__(self, project: Project, axes: list[Axis], folder: Path):
        self._project = project
        self._axes = axes
        self._folder = folder
        self._change_stamp: object = None  # of the record when it was read last
        self._ended: dict[int, tuple[int, str | None]] = {}  # number -> attempt and finish time
        self._sessions: dict[int, _Session] = {}
        self._tags = _tags(project)
        _write(folder / OUR_FILE, _experiment_event(project, axes, self._tags))

    def refresh(self) -> None:
        """Write what is new into the folder: experiments that started, changed or ended since the last call."""
        stamp = change_stamp(self._project.folder)
        if stamp != self._change_stamp:
            for experiment in self._project.experiments:
                if experiment.status != "queued" and self._ended.get(experiment.number) != _state(experiment):
                    self._update(experiment)
            self._change_stamp = stamp
        for session in self._sessions.values():
            if session.running:
                session.link()

    def _update(self, experiment: Experiment) -> None:
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
        results = {"fitness": experiment.fitness, "metric": value}
        _write(session.folder / OUR_FILE, *session.result_events(results, self._tags))
        if experiment.finished is not None and not session.running:
            session.link()  # for the last time
            session.write_to_all(_end_event(experiment))
            self._ended[experiment.number] = _state(experiment)


class _Session:
    """One attempt of an experiment as a session of the HParams tab."""

    def __init__(self, experiment: Experiment, project: Path, logdir: Path, start: bytes):
        self.attempt = experiment.attempt
        self.running = False
        self.folder = logdir / _run_name(experiment)
        self._run = None if experiment.folder is None else Path(experiment.folder)
        self._source = project / (experiment.snapshot or FIRST_SNAPSHOT)
        self._written: dict[str, float] = {}  # last value of each result
        self._steps: Counter[str] = Counter()
        self._start = start
        self._folders: set[Path] = set()  # folders with a file of ours
        self._add_folder(self.folder)

    def write_to_all(self, event: bytes) -> None:
        """Append `event` to our file in every folder of this session."""
        for folder in self._folders:
            _write(folder / OUR_FILE, event)

    def _add_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
            _write(folder / OUR_FILE, self._start)

    def result_events(self, values: dict[str, float | None], tags: dict[str, tuple[str, str]]) -> Iterator[bytes]:
        """Yield an event for each result that changed. The tab shows the last value."""
        for key, (tag, _) in tags.items():
            value = values[key]
            if value is not None and self._written.get(key) != value:
                self._written[key] = value
                yield _scalar_event(tag, self._steps[key], value)
                self._steps[key] += 1

    def link(self) -> None:
        """Link each event file of the run: the files in tb/ or, if there are none, the files in the workspace."""
        if self._run is None:
            return
        for part in ("tb", "workspace"):
            names = list(_event_files(self._run / part))
            if part == "workspace":  # event files that were copied with the source belong to other runs
                names = [name for name in names if not (self._source / name).exists()]
            for name in names:
                link = self.folder / name
                if not link.is_symlink():
                    self._add_folder(link.parent)  # our file must be there before TensorBoard reads the script's events
                    os.symlink(self._run / part / name, link)
            if names:
                break


def _event_files(root: Path) -> Iterator[str]:
    """Yield the paths of event files below `root`. Links are not followed, because a script may make cycles of links; named
    pipes are left out, because opening one blocks."""
    for folder, _, names in islice(os.walk(root), MAX_FOLDERS):
        for name in names:
            path = Path(folder, name)
            if "tfevents" in name and not path.is_symlink() and path.is_file():
                yield str(path.relative_to(root))


def _run_name(experiment: Experiment) -> str:
    """Return the name of an experiment's folder, for example `7 lr=0.01`, or `7 (attempt 2) lr=0.01` for the second attempt."""
    again = f" (attempt {experiment.attempt})" if experiment.attempt > 1 else ""
    name = f"{experiment.number}{again} {assignments(experiment.values)}".strip().replace("/", "_")
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip()


def _state(experiment: Experiment) -> tuple[int, str | None]:
    return experiment.attempt, experiment.finished


def _tags(project: Project) -> dict[str, tuple[str, str]]:
    """Return key -> (tag, name in the tab). The tags begin with `studio/`, so that they differ from the tags of scripts."""
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
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=clipped(name, MAX_NAME_BYTES))
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
    info = api_pb2.HParamInfo(name=axis.name, display_name=clipped(axis.label, MAX_NAME_BYTES), type=kind)
    if cells:
        for cell in cells:
            _set(info.domain_discrete.values.add(), cell)
    elif axis.low is not None and axis.high is not None and axis.kind != "array":
        info.domain_interval.min_value, info.domain_interval.max_value = axis.low, axis.high
    return info


def _cell(axis: Axis, value: Any) -> str | bool | float:
    """Return a value as the HParams tab accepts it: a number, or the name of a category. A column has values of one type."""
    if axis.numeric:
        position = number(value)
        return short(value) if position is None else position
    is_switch = all(isinstance(choice, bool) for choice in axis.choices)
    return value if is_switch and isinstance(value, bool) else clipped(str(value), MAX_NAME_BYTES)


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


def _scalar_event(tag: str, step: int, number: float) -> bytes:
    """Return a scalar event with a double, because the simple value of an event keeps only seven digits."""
    from tensorboard.compat.proto import tensor_pb2, types_pb2
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary, SummaryMetadata

    kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=DATA_CLASS_SCALAR)
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[number])
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
