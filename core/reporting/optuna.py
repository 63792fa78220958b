"""A search as a file of Optuna's JournalStorage, for optuna-dashboard. Written without Optuna.

One JSON object per line, each an operation: 0 creates a study, 2 and 3 set attributes, 4 creates a complete trial. Source:
optuna/storages/journal/_storage.py, JournalOperation and JournalStorageReplayResult, of Optuna 3.1 to 5.0.

A study is a project, a trial an experiment. Values are those of the metric, as the script gave them.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from studio.experiment import Experiment, Metric, is_number
from studio.project.project import Project
from studio.reporting.axes import Axis

CREATE_STUDY, STUDY_USER_ATTRIBUTE, STUDY_SYSTEM_ATTRIBUTE, CREATE_TRIAL = 0, 2, 3, 4
MINIMIZE, MAXIMIZE = 1, 2
RUNNING, COMPLETE, PRUNED, FAIL, WAITING = range(5)
STATES = {
    "running": RUNNING,
    "completed": COMPLETE,
    "pruned": PRUNED,
    "failed": FAIL,
    "stopped": FAIL,
    "queued": WAITING,
}
ELEMENTS = 64  # longest array whose elements become parameters; a longer one becomes an attribute
WORKER = "studio"

Curve = Callable[[Experiment], dict[int, float]]  # step -> value of the metric


def journal_lines(
    project: Project, experiments: Sequence[Experiment], axes: Sequence[Axis], curve: Curve
) -> Iterator[str]:
    metric, sign, settings = project.metric, project.sign, project.settings
    parameters = [parameter for axis in axes for parameter in _parameters(axis, experiments)]
    yield _line(CREATE_STUDY, study_name=project.name, directions=[MINIMIZE if sign < 0 else MAXIMIZE])
    yield _line(STUDY_SYSTEM_ATTRIBUTE, study_id=0, system_attr={"study:metric_names": [_name_of(metric)]})
    for key in ("optimizer", "script", "ranges"):
        if settings.get(key):
            yield _line(STUDY_USER_ATTRIBUTE, study_id=0, user_attr={key: settings[key]})
    for experiment in experiments:
        yield _trial(experiment, parameters, sign, curve(experiment))


def _trial(experiment: Experiment, parameters: Sequence["_Parameter"], sign: float, curve: dict[int, float]) -> str:
    state, value = STATES[experiment.status], None
    if experiment.metric and math.isfinite(experiment.metric["value"]):
        value = experiment.metric["value"]
    elif experiment.fitness is not None:
        value = sign * experiment.fitness
    if state == COMPLETE and value is None:  # it has no value: Optuna has no such state
        state = FAIL
    attributes: dict[str, Any] = {"experiment": experiment.key, "status": experiment.status}
    for key in ("reason", "failure", "exit_code"):
        if getattr(experiment, key) not in (None, ""):
            attributes[key] = getattr(experiment, key)
    given = [parameter for parameter in parameters if parameter.holds(experiment.values)]
    known = {parameter.name for parameter in given} | {parameter.array for parameter in given}
    attributes |= {name: left for name, left in experiment.values.items() if name not in known}
    times = {"datetime_start": _when(experiment.started)}
    if state in (COMPLETE, PRUNED, FAIL):  # Optuna needs a time even if the record has none
        times["datetime_complete"] = _when(experiment.finished or experiment.started) or _EPOCH
    return _line(
        CREATE_TRIAL,
        study_id=0,
        state=state,
        value=value if state in (COMPLETE, PRUNED) else None,
        values=None,
        **times,
        distributions={parameter.name: parameter.distribution for parameter in given},
        params={parameter.name: parameter.internal(experiment.values) for parameter in given},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={str(step): reached for step, reached in curve.items()},
    )


_EPOCH = "1970-01-01T00:00:00.000+00:00"


def _when(text: str | None) -> str | None:
    """Return the time without a Z, which Python before 3.11 cannot read."""
    return text and text.replace("Z", "+00:00")


class _Parameter:
    """A parameter of Optuna: a scalar hyperparameter, or one element of an array.

    Its distribution includes all values, also those given by hand outside of the range.
    """

    def __init__(self, name: str, axis: Axis, values: Sequence[Any], element: int | None = None):
        self.name = name
        self.array = axis.name
        self._element = element
        self._choices: list[Any] = []
        if axis.kind == "choice" or not all(is_number(value) for value in values):
            self._choices = _distinct([_choice(value) for value in [*axis.choices, *values]])
            self.distribution = _json("CategoricalDistribution", choices=self._choices)
            return
        ends = [end for end in (axis.low, axis.high) if end is not None]
        low, high = min([*values, *ends]), max([*values, *ends])
        log = axis.log and low > 0
        if axis.kind == "integer" and all(value == round(value) for value in values):
            self.distribution = _json("IntDistribution", log=log, low=int(low), high=int(high), step=1)
        else:
            self.distribution = _json("FloatDistribution", step=None, low=float(low), high=float(high), log=log)

    def holds(self, values: dict[str, Any]) -> bool:
        found = values.get(self.array)
        if self._element is None:
            return self.array in values
        return isinstance(found, list) and self._element < len(found)

    def internal(self, values: dict[str, Any]) -> float:
        """Return the value as in the file: a number, or the index of a choice."""
        value = values[self.array] if self._element is None else values[self.array][self._element]
        return _index(self._choices, _choice(value)) if self._choices else value


def _parameters(axis: Axis, experiments: Sequence[Experiment]) -> list[_Parameter]:
    values = [experiment.values[axis.name] for experiment in experiments if axis.name in experiment.values]
    if not values:
        return []
    if axis.kind != "array":
        return [_Parameter(axis.name, axis, values)]
    vectors = [value for value in values if isinstance(value, list)]
    longest = max(map(len, vectors), default=0)
    if longest > ELEMENTS:
        return []
    return [
        _Parameter(f"{axis.name}[{at}]", axis, [vector[at] for vector in vectors if at < len(vector)], at)
        for at in range(longest)
    ]


def _choice(value: Any) -> Any:
    """Return a value that Optuna accepts as a choice: None, bool, int, float or str."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _distinct(choices: Sequence[Any]) -> list[Any]:
    return list({repr(choice): choice for choice in choices}.values())  # 1, 1.0 and True are three, and nan is nan


def _index(choices: Sequence[Any], value: Any) -> int:
    return list(map(repr, choices)).index(repr(value))


def _name_of(metric: Metric) -> str:
    return metric.name if metric.mode == "last" else f"{metric.name} ({metric.mode})"


def _json(name: str, **attributes: Any) -> str:
    return json.dumps({"name": name, "attributes": attributes})


def _line(operation: int, **fields: Any) -> str:
    return json.dumps({"op_code": operation, "worker_id": WORKER, **fields}, separators=(",", ":")) + "\n"
