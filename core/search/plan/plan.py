"""The plan of a search, made from `Settings`: everything is checked before anything is written or started.

settings --make_plan--> Plan --run_of(suggestion)--> Run
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import BadInput, PluginError, StudioError
from studio.execution.run_folder import array_path
from studio.experiment import Metric, Resources, Run
from studio.format import counted
from studio.host import Host, read_backend_options
from studio.interfaces import Backend, Optimizer
from studio.project.paths import FIRST_SNAPSHOT, SHARED, attempt_folder
from studio.script.command import Command, read_command
from studio.script.outside import outside_paths
from studio.script.places import Place
from studio.script.program import Program
from studio.script.proposal import is_rate
from studio.script.substitution import Substitution
from studio.script.unknown_arguments import refused_argument
from studio.search.ask_tell.search import make_optimizer
from studio.search.plan.artifacts import Artifacts, read_artifacts
from studio.search.plan.baseline import Known, own_values
from studio.search.plan.early_check import read_given, with_its_python
from studio.settings import (
    AUTO,
    DEFAULT_EXPERIMENTS,
    GRID_LIMIT,
    Settings,
    sign_of,
    unread_metric,
)
from studio.space import Choice, Constant, Integer, Real, Space, Suggestion
from studio.system.machine import usable_cpus, visible_gpus
from studio.text import is_number

GRID_SHOWN = 20  # values that an error lists


@dataclass
class Plan:
    """A search that can be started."""

    settings: Settings
    source: Path  # the working directory when the search started
    snapshot: str  # name of its copy in the project
    space: Space
    optimizer: type[Optimizer]
    options: dict[str, Any]
    backend: type[Backend]
    metric: Metric
    sign: float  # fitness = sign * metric
    max_experiments: int | None
    size: int | None  # number of experiments that will run, if known
    substitution: Substitution
    artifacts: Artifacts
    command: list[str]
    outside: dict[str, str]  # links that each workspace needs: `../data` -> target
    notices: list[str]
    starts: list[dict[str, Any]]  # values of the first experiments
    baseline: dict[str, Any] | None = None  # the first of these, where it is what the script has of its own
    no_baseline: str = ""  # why there is none
    known: list[Known] = field(default_factory=list)  # results of other projects

    @property
    def metric_required(self) -> bool:
        """True if an experiment without fitness counts as failed."""
        return self.settings.metric is not None or self.optimizer.needs_fitness

    @property
    def slots(self) -> int:
        """Number of experiments at a time, at most the number of experiments."""
        workers = self.settings.num_workers
        return workers if self.size is None else max(1, min(workers, self.size))

    @property
    def shared_folder(self) -> str:
        """Name of the project's folder for files captured once: `artifacts`, `artifacts-2`, one beside each snapshot."""
        return self.snapshot.replace(FIRST_SNAPSHOT, SHARED, 1)

    def run_of(self, suggestion: Suggestion, attempt: int, project: Path) -> Run:
        """Return the run of `suggestion`, in the project's folder."""
        assert suggestion.number is not None
        folder = attempt_folder(project, suggestion.number, attempt)
        arrays = {name: str(array_path(folder, name)) for name in self.space.array_names}
        captured, reused = f"{project}/{self.shared_folder}", f"{project}/{SHARED}"
        written = self.substitution.write(suggestion.values, arrays)
        return Run(
            project=project.name,
            number=suggestion.number,
            attempt=attempt,
            snapshot=f"{project}/{self.snapshot}",
            changes=written.files,
            values=suggestion.values,
            argv=[*written.command, *written.arguments],
            env={**written.env, **self._python_path(project)},
            folder=str(folder),
            max_duration=self.settings.max_duration,
            resources=Resources(self.settings.cpus, self.settings.gpus, self.settings.ram, self.settings.hdd),
            metric=self.metric,
            max_log=self.settings.max_log,
            captures=self.artifacts.captured,
            copies={tag: str(path) for tag, path in self.artifacts.copied.items()},
            shared={tag: f"{captured}/{tag}" for tag in self.artifacts.shared}
            | {tag: f"{reused}/{tag}" for tag in self.artifacts.reused},
            links=self.outside | {path: f"{captured}/{tag}" for path, tag in self.artifacts.links.items()},
        )

    def _python_path(self, project: Path) -> dict[str, str]:
        """Return PYTHONPATH for another interpreter: a folder with `studio.fs_tracker` only, not our site-packages."""
        if self.settings.python is None:
            return {}
        before = self.settings.env.get("PYTHONPATH") or os.environ.get("PYTHONPATH", "")
        shim = str(project / "shim")
        return {"PYTHONPATH": f"{before}{os.pathsep}{shim}" if before else shim}


def make_plan(
    settings: Settings, host: Host, source: Path, snapshot: Path | None = None, program: Program | None = None
) -> Plan:
    """Check `settings` against the files in `source`, or in its `snapshot`, or against their `program`. Raises BadInput."""
    files = snapshot or source
    given = read_given(settings, host, source, snapshot)
    settings, backend = resolve_backend(given.settings, host)
    artifacts = read_artifacts(settings, source)
    program = program or program_of(settings, files, given.command)
    if snapshot is None and (refused := refused_argument(program)):
        raise BadInput(refused)
    if given.command.notebook:
        artifacts.captured.setdefault("executed.ipynb", given.command.notebook)
    links = outside_paths(program, source, settings.link)
    plan = Plan(
        settings=settings,
        source=source,
        snapshot=snapshot.name if snapshot else FIRST_SNAPSHOT,
        space=given.space,
        optimizer=given.optimizer,
        options=given.options,
        backend=backend,
        metric=given.metric,
        sign=sign_of(settings.direction, given.metric),
        max_experiments=settings.max_experiments,
        size=None,
        substitution=Substitution(program, given.space.names, given.space.array_names, settings.script),
        artifacts=artifacts,
        command=given.command.argv,
        outside=links,
        notices=given.notices,
        starts=given.starts,
    )
    plan.notices += plan.substitution.notices
    _begin_with_own_values(plan)
    _check_literals(plan)
    _settle_budget(plan)
    _check_metric(plan, host, files)
    return plan


def program_of(settings: Settings, source: Path, command: Command | None = None) -> Program:
    """The program that `settings` name, with its files in `source`. A variable that the environment lacks is left out."""
    settings = with_its_python(settings, source)
    command = command or read_command(
        settings.script, settings.arguments, source, module=settings.module, python=settings.python
    )
    more = []
    for name in settings.substitute:
        path = Path(os.path.normpath(source / name))
        if not path.is_file() or not path.is_relative_to(source):
            raise BadInput(f"--substitute {name!r} is not a file below the working directory")
        more.append(str(path.relative_to(source)))
    given = {name: os.environ.get(name) if value is None else value for name, value in settings.env.items()}
    env = {name: value for name, value in given.items() if value is not None}
    return Program.at(source, command.script, command.arguments, env=env, more=more, command=command.argv)


def resolve_backend(settings: Settings, host: Host) -> tuple[Settings, type[Backend]]:
    """Return `settings` with backend, its options and the number of slots resolved, and the backend's class."""
    name, colon, where = settings.backend.partition(":")
    backend, given = host.backend(name), dict(settings.backend_options)
    if colon:
        field = backend.Options.after_colon
        if field is None:
            raise BadInput(f"--backend {settings.backend}: {name} takes nothing after its name")
        given[field] = where
    chosen = read_backend_options(backend, given)
    values = {field: getattr(chosen, field) for field in given if given[field] is not None}
    slots = settings.num_workers
    if slots == AUTO:
        here = len(visible_gpus()) // settings.gpus if settings.gpus else usable_cpus()
        slots = backend.auto_slots(chosen, settings) or max(1, here)
    return replace(settings, backend=name, backend_options=values, num_workers=slots), backend


def _begin_with_own_values(plan: Plan) -> None:
    """The script's own values are the first of those that the search starts from, where it is no grid."""
    if plan.optimizer.grid or plan.settings.no_baseline or not plan.space.dimensions:
        return
    try:
        plan.baseline, plan.no_baseline = own_values(plan.substitution.places, plan.space)
    except BadInput as error:
        plan.notices.append(f"does not begin with the script's own values: {error}")
    if plan.baseline is not None:
        plan.starts = [plan.baseline, *(values for values in plan.starts if values != plan.baseline)]


# --- the checks -------------------------------------------------------------------------------------------------------


def _check_literals(plan: Plan) -> None:
    """Check the values of lists and the middle of ranges against what the script declares, and write every value that is
    not a number into it once, to find errors before anything runs."""
    values = plan.space.values(np.full(plan.space.dimensions, 0.5))
    for parameter in plan.space:
        place = plan.substitution.places.get(parameter.name)
        if place is not None and place.whole and isinstance(parameter, Real) and not isinstance(parameter, Integer):
            text = str(plan.settings.ranges.get(parameter.name, ""))
            instead = f"{parameter.name}={_as_whole(text)}"
            raise BadInput(f"hyperparameter {parameter.name}={text}: {place} takes whole numbers; write {instead}")
        if isinstance(parameter, Choice | Constant):
            for value in parameter.values if isinstance(parameter, Choice) else [parameter.value]:
                if isinstance(value, int | float):
                    if place is not None:
                        place.check(value)
                else:  # checks it as well
                    plan.substitution.changes({**values, parameter.name: value})


def check_whole_numbers(plan: Plan) -> None:
    """Refuse a range such as `2:6` for a place with a whole number in the code or in a configuration file. Which numbers are
    meant cannot be known there, and most such scripts fail with 3.7: so the user says which. Reals are meant by ends with a
    point, within a distance of 1, and for what is a rate by its name.
    """
    for parameter in plan.space:
        place, text = plan.substitution.places.get(parameter.name), plan.settings.ranges.get(parameter.name)
        if (
            place is None
            or not (place.edits or place.prefix == "hydra:")
            or type(place.value) is not int
            or not place.value
        ):
            continue
        if not isinstance(text, str):
            continue
        numbers = [part for part in text.partition("~")[0].split(":") if is_number(part)]
        if is_rate(place.name) or any("." in part or float(part) % 1 for part in numbers):
            continue
        if isinstance(parameter, Choice) and ":" in text:
            _check_values(parameter, place, text)
        if type(parameter) is not Real or parameter.high - parameter.low <= 1:
            continue
        reals = text.replace(numbers[0], f"{float(numbers[0]):.1f}", 1)
        raise BadInput(
            f"hyperparameter {parameter.name}={text}: {place} is a whole number; write {parameter.name}={_as_whole(text)},"
            f" or, where the script takes fractions, {parameter.name}={reals}"
        )


def _check_values(parameter: Choice, place: Place, text: str) -> None:
    """Refuse a grid such as `64:u4:200`, whose values lie between whole numbers."""
    broken = [value for value in parameter.values if type(value) is float and not value.is_integer()]
    if broken:
        near = list(dict.fromkeys(round(value) for value in parameter.values))
        whole = ",".join(map(str, near)) if len(near) <= GRID_SHOWN else f"{near[0]}:{near[-1]}"
        raise BadInput(
            f"hyperparameter {parameter.name}={text}: {place} is a whole number, and {broken[0]:g} is none; write"
            f" {parameter.name}={whole}"
        )


def _as_whole(text: str) -> str:
    """Return a range with the flag `i`, before a belief."""
    ends, tilde, belief = text.partition("~")
    return f"{ends}{'' if ends[-1:].isalpha() else ':'}i{tilde}{belief}"


def _settle_budget(plan: Plan) -> None:
    """Set the number of experiments. The optimizer is constructed once to ask its size."""
    try:
        size = make_optimizer(plan.optimizer, plan.space, 0, plan.options).size
    except BadInput:
        raise
    except StudioError as error:  # before anything ran, whatever it complains about was given by the user
        raise PluginError(str(error)) from error
    size = None if size is None else size + len(plan.starts)
    limit = plan.settings.max_experiments
    if plan.optimizer.grid and size is not None and size > GRID_LIMIT and limit is None:
        raise BadInput(f"the grid has {size:,} points; give fewer values, or limit it with --max-experiments")
    if size is None and limit is None and plan.settings.max_time is None:
        limit = DEFAULT_EXPERIMENTS
        plan.notices.append(
            f"{plan.optimizer.name} has no natural end: stopping after {limit} experiments; change that with --max-experiments"
        )
    if not plan.optimizer.needs_fitness and not np.isnan(plan.space.beliefs).all():
        plan.notices.append(f"{plan.optimizer.name} takes no account of beliefs (~)")
    if limit is not None and limit < len(plan.starts):
        left = counted(len(plan.starts) - limit, "experiment")
        plan.notices.append(f"--max-experiments {limit} leaves out the last {left} of those to start from")
    plan.max_experiments = limit
    sizes = [number for number in (size, limit) if number is not None]
    plan.size = min(sizes) if sizes else None


def _check_metric(plan: Plan, host: Host, files: Path) -> None:
    probe = _probe(plan, files)
    try:
        reader = host.open_metric(plan.metric, probe)
    except BadInput:
        raise
    except StudioError as error:  # before anything ran, whatever it complains about was given by the user
        raise PluginError(str(error)) from error
    if reader is None:
        raise unread_metric(plan.settings.metric or plan.metric.name)
    if plan.settings.metric is not None and plan.metric.mode == "last" and plan.settings.direction is None:
        plan.notices.append(f"{plan.metric.name} is maximised; for a loss write --metric={plan.metric.name}:min")


def _probe(plan: Plan, files: Path) -> Run:
    """Return a run that is never started: its folder does not exist."""
    nowhere = os.path.join(os.sep, "nonexistent", "studio")
    return Run("probe", 1, 1, str(files), {}, {}, [], {}, nowhere, metric=plan.metric)
