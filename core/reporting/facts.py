"""Data of a report, independent of its format."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from studio.errors import StudioError
from studio.experiment import Experiment
from studio.host import Host, backend_fields
from studio.project.project import Project
from studio.ranking import ranked
from studio.reporting.axes import Axis
from studio.reporting.scales import Point, points_of
from studio.settings import Settings, command_line

GROUPS = 20  # causes of failure in a report
_PARTICULAR = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")  # varying parts of a message, ignored in comparisons


@dataclass(frozen=True)
class Group:
    """Failed experiments with one cause; `reason` is that of the first."""

    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Facts:
    """Facts of a project for reports: `metric` as the user wrote it, `seconds` of all experiments together."""

    name: str
    state: str
    metric: str
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


def facts_of(project: Project, experiments: Sequence[Experiment], axes: list[Axis], top: int, host: Host) -> Facts:
    settings, metric, sign = project.settings, project.metric, project.sign
    return Facts(
        name=project.name,
        state=project.state,
        metric=metric.name if metric.mode == "last" else f"{metric.name}:{metric.mode}",
        sign=sign,
        optimizer=str(settings.get("optimizer") or ""),
        script=str(settings.get("script") or ""),
        command=repeating_command(replace(Settings.from_dict(settings), seed=project.seed), host),
        counts=dict(Counter(experiment.status for experiment in experiments)),
        begun=min((e.started for e in experiments if e.started), default=""),
        ended=max((e.finished for e in experiments if e.finished), default=""),
        seconds=sum(experiment.duration or 0.0 for experiment in experiments),
        best=ranked(experiments)[:top],
        failures=failures_of(experiments),
        points=points_of(experiments, sign),
        axes=axes,
    )


def failures_of(experiments: Sequence[Experiment]) -> list[Group]:
    """Return failures by cause, the most frequent first; reasons that differ only in numbers are one cause."""
    return by_cause((e.number, e.reason) for e in experiments if e.status == "failed")[:GROUPS]


def by_cause(failed: Iterable[tuple[int, str]]) -> list[Group]:
    """Return (number, reason) of failed experiments as groups, the most frequent first, ties by the earliest."""
    groups: dict[str, Group] = {}
    for number, reason in failed:
        groups.setdefault(_PARTICULAR.sub("#", reason), Group(reason, [])).numbers.append(number)
    return sorted(groups.values(), key=lambda group: -len(group.numbers))


def repeating_command(settings: Settings, host: Host) -> str:
    """Return the command that repeats the complete search; empty for a program's own loop.

    Values of environment variables may be secrets and are left out.
    """
    if not settings.script:
        return ""
    try:
        backend = backend_fields(host.backend(settings.backend))
    except StudioError:  # not installed here: its options are left out
        backend = {}
    return shlex.join(command_line(settings, backend))
