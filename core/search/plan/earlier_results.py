"""Results of earlier searches for the optimizer of a new one (`--learn-from PROJECT`).

plan --learn_from_others--> Plan.known, and lines that say what was taken, what was left out, and what was different there

Hyperparameters are the same where they have the same place, whatever their names: the places of both searches are looked up
in the files of the earlier one.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.errors import BadInput, StudioError
from studio.experiment import OF_THE_VALUES, Experiment, is_number
from studio.format import assignments, counted, short
from studio.project.paths import FIRST_SNAPSHOT
from studio.project.project import Project
from studio.ranking import ranked
from studio.script.constants import UNKNOWN
from studio.script.places import Draft, Place, Places
from studio.script.places.config_files import files_read
from studio.script.program import Program
from studio.search.plan.baseline import Known, value_today, within_range
from studio.search.plan.plan import Plan, program_of
from studio.settings import Settings
from studio.space import Constant, Parameter

MOST = 100  # results of one project: the best half, and others from all of the search; of failures half as many


def learn_from_others(plan: Plan) -> None:
    """Take in the results of other projects, for a new search: one that goes on has them in its record."""
    if not plan.settings.learn_from:
        return
    if not plan.optimizer.takes_known:
        raise BadInput(f"--learn-from: {plan.optimizer.name} takes no results of other searches; type --optimizer=auto")
    for name in plan.settings.learn_from:
        known, lines = _Earlier(name, plan).learned()
        plan.known += known
        plan.notices += lines


class _Earlier:
    """An earlier search, seen from a new one."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name, self.plan, self.space = name, plan, plan.space
        self.project = Project(name)
        self.experiments = self.project.experiments
        self.rated = ranked(self.experiments)
        if (self.project.metric.name, self.project.sign) != (plan.metric.name, plan.sign):
            goals = {True: "minimises", False: "maximises"}
            raise self._error(
                f"it {goals[self.project.sign < 0]} {self.project.metric.name},"
                f" this search {goals[plan.sign < 0]} {plan.metric.name}"
            )
        if not self.rated:
            raise self._error("it has no result yet")
        self.varied = list(self.rated[0].values)
        self.settings = Settings.from_dict(self.project.settings)
        self.program = self._program()
        self.places = _chosen_places(self.program, [*self.varied, *self.space.names])
        self.names = self._names_there()

    def learned(self) -> tuple[list[Known], list[str]]:
        """Return its results as points of the space, and lines for the user. BadInput where nothing is in common."""
        if not self.names:
            raise self._error(f"it searched {', '.join(self.varied)}, this search {', '.join(self.space.names)}")
        added, differ = self._fixed()
        lines, known, outside = [], [], 0
        failures = self._failures()
        for experiment in sorted([*_some(self.rated), *failures], key=lambda one: one.number):
            values = added | {name: experiment.values[there] for name, there in self.names.items()}
            try:
                values = self.space.checked({name: values[name] for name in self.space.names})
            except BadInput:
                outside += 1
                continue
            known.append((values, experiment.fitness, experiment.failure))
        if not any(fitness is not None for _, fitness, _ in known):
            raise self._error("all of its results lie outside the ranges of this search")
        lines = [self._taken(known, added, outside), *self._differences(differ)]
        if left := [each for each in self.experiments if each.status == "failed" and each not in failures]:
            lines.append(f"{self.name}: {counted(len(left), 'failure')} not taken in{_classes(left)}")
        return known, lines

    def _error(self, problem: str) -> BadInput:
        return BadInput(f"--learn-from {self.name!r}: {problem}")

    # --- the same places ----------------------------------------------------------------------------------------------

    def _program(self) -> Program | None:
        """Return the program that it ran, of the copy of its files; None where that cannot be read."""
        folder = self.project.folder / Path(self.rated[0].snapshot or FIRST_SNAPSHOT).name
        if not self.settings.script or not folder.is_dir():
            return None
        try:
            return program_of(self.settings, folder)
        except StudioError:
            return None

    def _names_there(self) -> dict[str, str]:
        """Return the hyperparameters that both have, as their names here and there."""
        found: dict[str, str] = {}
        for name in self.space.names:
            place = self.places.get(name)
            same = [there for there in self.varied if place is not None and _same(place, self.places.get(there))]
            if same or name in self.varied:
                found[name] = same[0] if same and name not in same else name
                continue
            shared = [there for there in self.varied if place is not None and _overlap(place, self.places.get(there))]
            if shared:
                raise self._error(f"its {shared[0]} and {name} are partly the same: {place}; write --hp={shared[0]}=…")
        return found

    # --- what is different ----------------------------------------------------------------------------------------------

    def _fixed(self) -> tuple[dict[str, Any], list[str]]:
        """Return the values that its script had for what it did not search, and what constants of this search were there."""
        values: dict[str, Any] = {}
        differ: list[str] = []
        for parameter in self.space:
            if parameter.name in self.names:
                continue
            value = self._value_there(parameter.name)
            if isinstance(parameter, Constant):
                values[parameter.name] = parameter.value
                if value is not UNKNOWN and not _fits(parameter, value):
                    differ.append(f"{parameter.name}={value}, this search {parameter.name}={parameter.value}")
                continue
            if value is UNKNOWN:
                raise self._error(
                    f"it did not search {parameter.name}, and nothing says which value it had there; search without"
                    f" {parameter.name}, or leave out --learn-from"
                )
            try:
                values[parameter.name] = within_range(parameter, value)
            except BadInput as error:
                raise self._error(f"it did not search {parameter.name}: {error}") from error
        return values, differ

    def _value_there(self, name: str) -> Any:
        place = self.places.get(name) if self.program else self.plan.substitution.places.get(name)
        return UNKNOWN if place is None or place.varies else value_today(place)

    def _failures(self) -> list[Experiment]:
        """Return failures that the values caused, and would cause again, where the optimizer learns from them."""
        if not self.plan.optimizer.takes("failure"):
            return []
        limit, before = self.plan.settings.max_duration, self.settings.max_duration
        as_long = before is None or (limit is not None and limit <= before)
        caused = [each for each in OF_THE_VALUES if each != "timeout" or as_long]
        failed = [each for each in self.experiments if each.status == "failed" and each.failure in caused]
        return failed[-MOST // 2 :]

    def _differences(self, differ: Sequence[str]) -> list[str]:
        used = set(self.names.values())
        lines = [f"{self.name} had {text}" for text in differ]
        lines += [
            f"{self.name} searched {name} as well, which had {self._span(name)} there"
            for name in self.varied
            if name not in used
        ]
        if self.program is None:
            return lines
        here = self.plan.substitution.program
        if self._differs():
            commands = [shlex.join([one.script, *one.arguments]) for one in (self.settings, self.plan.settings)]
            lines.append(f"{self.name} ran {commands[0]}, this search runs {commands[1]}")
        if names := [
            each for each in {**self.program.env, **here.env} if self.program.env.get(each) != here.env.get(each)
        ]:
            lines.append(f"{self.name} had another environment: {', '.join(names)}")
        read = [*(source.path for source in self.program.python), *files_read(self.program)]
        if changed := [path for path in dict.fromkeys(read) if here.data(path) not in (None, self.program.data(path))]:
            lines.append(f"changed since {self.name}: {', '.join(changed)}")
        return lines

    def _differs(self) -> bool:
        """Return whether the commands there and here differ, with the same values where either searches an argument."""
        assert self.program is not None
        here = self.plan.substitution.program
        drafts = [Draft(list(each.command), list(each.arguments), dict(each.env)) for each in (self.program, here)]
        places = _chosen_places(here, [*self.varied, *self.space.names])
        values = {**self.rated[0].values, **self.space.values([0.5] * self.space.dimensions)}
        for name, place in places.items():
            if self.places.get(name) is None:
                continue
            for each, draft in zip((self.places[name], place), drafts, strict=True):
                if each.give is not None:
                    try:
                        each.put(values[name], draft)
                    except StudioError:
                        continue
        words = [
            [*([one.script] if one.script else one.command), *draft.arguments]
            for one, draft in zip((self.program, here), drafts, strict=True)
        ]
        return words[0] != words[1]

    def _span(self, name: str) -> str:
        values = [each.values[name] for each in self.rated]
        if all(map(is_number, values)):
            return f"{short(min(values))} to {short(max(values))}"
        return ", ".join(dict.fromkeys(map(short, values)))

    def _taken(self, known: Sequence[Known], added: Mapping[str, Any], outside: int) -> str:
        results = sum(fitness is not None for _, fitness, _ in known)
        failures = [failure for _, fitness, failure in known if fitness is None]
        line = f"learns from {counted(results, 'result')}"
        line += f" and {counted(len(failures), 'failure')} ({', '.join(dict.fromkeys(failures))})" if failures else ""
        line += f" of {self.name}"
        others = {there: name for name, there in self.names.items() if there != name}
        line += f", whose {', '.join(f'{there} is {name} here' for there, name in others.items())}" if others else ""
        own = {name: value for name, value in added.items() if not isinstance(self._parameter(name), Constant)}
        line += f", which had {assignments(own)}" if own else ""
        return line + (f"; {outside} lie outside the ranges" if outside else "")

    def _parameter(self, name: str) -> Parameter:
        return next(each for each in self.space if each.name == name)


def _chosen_places(program: Program | None, names: Sequence[str]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    finder = Places(program) if program is not None else None
    for name in dict.fromkeys(names):
        try:
            if finder is not None:
                found[name] = finder.choose(name)
        except StudioError:  # none, or several
            continue
    return found


def _same(one: Place, other: Place | None) -> bool:
    """Return whether both, of one program, take the same value."""
    return other is not None and (one.key == other.key or (bool(one.edits) and _spans(one) == _spans(other)))


def _overlap(one: Place, other: Place | None) -> bool:
    return other is not None and bool(_spans(one) & _spans(other))


def _spans(place: Place) -> set[tuple[str, int, int]]:
    return {(edit.file, edit.start, edit.stop) for edit in place.edits}


def _fits(parameter: Parameter, value: Any) -> bool:
    try:
        within_range(parameter, value)
    except BadInput:
        return False
    return True


def _some(rated: Sequence[Experiment]) -> list[Experiment]:
    if len(rated) <= MOST:
        return list(rated)
    best, others = rated[: MOST // 2], sorted(rated[MOST // 2 :], key=lambda one: one.number)
    step = len(others) / (MOST - len(best))
    return [*best, *(others[int(i * step)] for i in range(MOST - len(best)))]


def _classes(failed: Sequence[Experiment]) -> str:
    return f" ({', '.join(dict.fromkeys(each.failure or 'crash' for each in failed))})"
