"""The data of a report, independent of its format."""

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

MAX_GROUPS = 20  # causes of failure in a report
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")  # parts of a reason that are ignored when reasons are compared


@dataclass(frozen=True)
class Group:
    """Failed experiments with one cause. `reason` is the reason of the first experiment."""

    reason: str
    numbers: list[int]


@dataclass(frozen=True)
class Facts:
    """The data of a report about a project. `metric` is as the user wrote it; `seconds` is the total time of all experiments."""

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


def facts_of(project: Project, experiments: Sequence[Experiment], axes: list[Axis], max_best: int, host: Host) -> Facts:
    """Return the data of a report, with at most `max_best` best experiments."""
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
        best=ranked(experiments)[:max_best],
        failures=failures_of(experiments),
        points=points_of(experiments, sign),
        axes=axes,
    )


def failures_of(experiments: Sequence[Experiment]) -> list[Group]:
    """Return the failed experiments in groups by cause, at most `MAX_GROUPS`, the largest group first."""
    return by_cause((e.number, e.reason) for e in experiments if e.status == "failed")[:MAX_GROUPS]


def by_cause(failures: Iterable[tuple[int, str]]) -> list[Group]:
    """Group failures, given as (number, reason), by cause. Reasons that differ only in numbers are one cause.

    The largest group comes first; of groups of equal size, the group whose first experiment failed earlier.
    """
    groups: dict[str, Group] = {}
    for number, reason in failures:
        groups.setdefault(_VARYING.sub("#", reason), Group(reason, [])).numbers.append(number)
    return sorted(groups.values(), key=lambda group: -len(group.numbers))


def repeating_command(settings: Settings, host: Host) -> str:
    """Return the command that repeats the complete search; "" if the search was a loop in a program.

    Values of environment variables are left out, because they may be secrets.
    """
    if not settings.script:
        return ""
    try:
        backend = backend_fields(host.backend(settings.backend))
    except StudioError:  # the backend is not installed here, so its options are unknown and left out
        backend = {}
    return shlex.join(command_line(settings, backend))
