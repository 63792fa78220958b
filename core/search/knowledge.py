"""Knowledge of an earlier search that a new one can use: `--learn-from PROJECT`.

project, space --learned--> [(values, fitness)], and a line that says what was taken
"""

from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import BadInput
from studio.experiment import Experiment, ranked
from studio.format import assignments
from studio.project.project import Project
from studio.space import Space

MOST = 100  # results of one project: the best half, and others from all of the search

Known = tuple[dict[str, Any], float]  # values for all names, and their fitness


def learned(name: str, space: Space, metric: str, sign: float, own: Mapping[str, Any]) -> tuple[list[Known], str]:
    """Return results of project `name` as points of `space`, and a line about them. What that search did not vary has the
    values `own`; what lies outside the ranges is left out. BadInput where nothing is in common."""
    project = Project(name)
    if (project.metric.name, project.sign) != (metric, sign):
        goals = {True: "minimises", False: "maximises"}
        raise BadInput(
            f"--learn-from {name!r}: it {goals[project.sign < 0]} {project.metric.name}, this search {goals[sign < 0]} {metric}"
        )
    rated = ranked(project.experiments)
    if not rated:
        raise BadInput(f"--learn-from {name!r}: it has no result yet")
    common = [each for each in space.names if each in rated[0].values]
    if not common:
        raise BadInput(
            f"--learn-from {name!r}: it searched {', '.join(rated[0].values)}, this search {', '.join(space.names)}"
        )
    known, outside = [], 0
    for experiment in _chosen(rated):
        values = {**own, **{each: experiment.values[each] for each in common}}
        try:
            values = space.checked({each: values[each] for each in space.names})
        except BadInput:
            outside += 1
            continue
        assert experiment.fitness is not None
        known.append((values, experiment.fitness))
    if not known:
        raise BadInput(f"--learn-from {name!r}: all of its results lie outside the ranges of this search")
    line = f"learns from {len(known)} results of {name}"
    added = {each: own[each] for each in space.names if each not in common}
    line += f", which had {assignments(added)}" if added else ""
    return known, line + (f"; {outside} lie outside the ranges" if outside else "")


def _chosen(rated: Sequence[Experiment]) -> list[Experiment]:
    if len(rated) <= MOST:
        return sorted(rated, key=lambda one: one.number)
    best, others = rated[: MOST // 2], sorted(rated[MOST // 2 :], key=lambda one: one.number)
    step = len(others) / (MOST - len(best))
    return sorted([*best, *(others[int(i * step)] for i in range(MOST - len(best)))], key=lambda one: one.number)
