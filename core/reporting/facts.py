"""What a report says of a search, apart from how it is written down."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.experiment import Experiment, plain
from studio.project.project import Project
from studio.project.table import best_of
from studio.reporting.axes import Axis
from studio.reporting.scales import Point, points_of

GROUPS = 20  # causes of failure that are listed
_PARTICULAR = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")  # what makes two texts of one cause differ


@dataclass(frozen=True)
class Group:
    """Failed experiments with one cause, in the words of the first."""

    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Facts:
    """metric is as the user wrote it; `better` is `min` or `max`; `seconds` is the time of all experiments together."""

    name: str
    state: str
    metric: str
    better: str
    sign: float
    optimizer: str
    script: str
    command: str
    counts: dict[str, int]
    begun: str
    ended: str
    seconds: float
    best: list[Experiment]
    failures: list[Group]
    points: list[Point]
    axes: list[Axis]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def facts_of(project: Project, experiments: Sequence[Experiment], axes: list[Axis], top: int) -> Facts:
    settings, metric, sign = project.settings, project.metric, project.sign
    return Facts(
        name=project.name,
        state=project.state,
        metric=metric.name if metric.mode == "last" else f"{metric.name}:{metric.mode}",
        better="min" if sign < 0 else "max",
        sign=sign,
        optimizer=str(settings.get("optimizer") or ""),
        script=str(settings.get("script") or ""),
        command=repeating_command(settings, project.seed),
        counts=dict(Counter(experiment.status for experiment in experiments)),
        begun=min((e.started for e in experiments if e.started), default=""),
        ended=max((e.finished for e in experiments if e.finished), default=""),
        seconds=sum(experiment.duration or 0.0 for experiment in experiments),
        best=best_of(experiments, top),
        failures=failures_of(experiments),
        points=points_of(experiments, sign),
        axes=axes,
    )


def failures_of(experiments: Sequence[Experiment]) -> list[Group]:
    """By cause, the most frequent first: reasons that differ by their numbers alone are one."""
    return by_cause((e.number, e.reason) for e in experiments if e.status == "failed")[:GROUPS]


def by_cause(failed: Iterable[tuple[int, str]]) -> list[Group]:
    """(number, reason) of failed experiments as groups, the most frequent first, of equals the earliest."""
    groups: dict[str, Group] = {}
    for number, reason in failed:
        groups.setdefault(_PARTICULAR.sub("#", reason), Group(reason, [])).numbers.append(number)
    return sorted(groups.values(), key=lambda group: -len(group.numbers))


def repeating_command(settings: Mapping[str, Any], seed: int | None) -> str:
    """The command that does the whole search again; empty for a program's own loop. Values of environment variables may
    be secrets and stay out."""
    if not settings.get("script"):
        return ""
    words = ["studio", "run"]
    for option, key, usual in _OPTIONS:
        value = settings.get(key)
        if value not in (None, usual):
            words.append(
                f"--{option}={_seconds(value)}" if key in ("max_time", "max_duration") else f"--{option}={value}"
            )
    words += [] if seed is None else [f"--seed={seed}"]
    words += [f"-O{name}={value}" for name, value in (settings.get("options") or {}).items()]
    words += [f"--{key}={value}" for key in ("substitute", "capture", "reuse") for value in settings.get(key) or ()]
    words += [f"--capture-once={value}" for value in settings.get("capture_once") or ()]
    words += [f"--hyperparam={name}={_range_text(given)}" for name, given in (settings.get("ranges") or {}).items()]
    words += [f"--env={name}=…" for name in settings.get("env") or {}]
    words += ["--repeat"] if settings.get("repeat") else []
    words += ["-m"] if settings.get("module") else []
    return shlex.join([*words, str(settings["script"]), *map(str, settings.get("arguments") or ())])


_OPTIONS = (  # option, its setting, what it is without the option
    ("optimizer", "optimizer", "grid"),
    ("metric", "metric", None),
    ("direction", "direction", None),
    ("num-workers", "num_workers", 1),
    ("max-experiments", "max_experiments", None),
    ("max-time", "max_time", None),
    ("max-duration", "max_duration", None),
    ("backend", "backend", "local"),
    ("cpus", "cpus", None),
    ("gpus", "gpus", 0),
    ("ram", "ram", None),
    ("hdd", "hdd", None),
    ("python", "python", None),
)


def _seconds(value: float) -> str:
    """As `parse_duration` reads it: all digits, no exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def _range_text(given: Any) -> str:
    given = plain(given)
    return ",".join(map(str, given)) if isinstance(given, list) else str(given)
