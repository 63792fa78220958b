"""What a report says of a search, apart from how it is written down."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from studio.errors import StudioError
from studio.experiment import Experiment, ranked
from studio.host import Host, backend_fields
from studio.project.project import Project
from studio.reporting.axes import Axis
from studio.reporting.scales import Point, points_of
from studio.settings import Settings, command_line

GROUPS = 20  # causes of failure that are listed
_PARTICULAR = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")  # what makes two texts of one cause differ


@dataclass(frozen=True)
class Group:
    """Failed experiments with one cause, in the words of the first."""

    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Facts:
    """metric is as the user wrote it; `seconds` is the time of all experiments together."""

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
    """By cause, the most frequent first: reasons that differ by their numbers alone are one."""
    return by_cause((e.number, e.reason) for e in experiments if e.status == "failed")[:GROUPS]


def by_cause(failed: Iterable[tuple[int, str]]) -> list[Group]:
    """(number, reason) of failed experiments as groups, the most frequent first, of equals the earliest."""
    groups: dict[str, Group] = {}
    for number, reason in failed:
        groups.setdefault(_PARTICULAR.sub("#", reason), Group(reason, [])).numbers.append(number)
    return sorted(groups.values(), key=lambda group: -len(group.numbers))


def repeating_command(settings: Settings, host: Host) -> str:
    """The command that does the whole search again; empty for a program's own loop. Values of environment variables may
    be secrets and stay out."""
    if not settings.script:
        return ""
    try:
        backend = backend_fields(host.backend(settings.backend))
    except StudioError:  # it is not installed here: the command says where it ran, and not how
        backend = {}
    return shlex.join(command_line(settings, backend))
