"""Values and results known before the first suggestion.

project, space --learned--> [(values, fitness)], and a line that says what was taken (`--learn-from PROJECT`)
places, space --own_values--> the script's own values, with which a search that is no grid begins
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import BadInput, StudioError
from studio.experiment import Experiment
from studio.format import assignments
from studio.project.project import Project
from studio.ranking import ranked
from studio.script.constants import UNKNOWN
from studio.script.places import Place
from studio.space import Space
from studio.text import parse_literal

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


def own_values(places: Mapping[str, Place], space: Space) -> tuple[dict[str, Any] | None, str]:
    """Return the values that the script has where those of `space` go; or None, and which of them is not known.

    Raises BadInput for a value that is no part of its range.
    """
    values: dict[str, Any] = {}
    for parameter in space:
        name, place = parameter.name, places.get(parameter.name)
        value = UNKNOWN if place is None else _today(place)
        if value is UNKNOWN:
            return None, f"no source shows the value of {name}"
        if place is not None and place.varies:
            return None, f"{name} has several values in {place.file}"
        for candidate in (value, parse_literal(value)) if isinstance(value, str) else (value,):
            try:
                parameter.to_unit(candidate)
            except StudioError as error:  # a plugin's range need not say which
                outside = BadInput(str(error))
                continue
            values[name] = candidate
            break
        else:
            raise outside
    return space.checked(values), ""


def _today(place: Place) -> Any:
    return os.environ.get(place.name, place.value) if place.prefix == "env:" else place.value
