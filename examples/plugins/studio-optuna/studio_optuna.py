"""Optuna's samplers for Studio: `studio run --optimizer=optuna -O sampler=TPESampler …`.

ask    a trial of an in-memory study; its parameters become the values
tell   COMPLETE, FAIL, or PRUNED after a report that ended it
"""

import contextlib
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import studio

WIDTH = 0.25  # scale of the Cauchy distribution of unconstrained coordinates, in units of the range
EDGE = 1e-6  # smallest quantile of that distribution: 80,000 ranges away


class OptunaOptimizer(studio.Optimizer):
    """Any sampler of Optuna, by name; never done, unless the sampler is.

    sampler     a class of optuna.samplers; some need a package: cmaes for CmaEsSampler, torch for GPSampler
    pruner      a class of optuna.pruners that may end experiments early; default none
    pruner_…    an option of the pruner, such as pruner_n_warmup_steps=3
    …           an option of the sampler, such as n_startup_trials=20

    Choices, whole numbers, log scales and each number of an array are distributions of Optuna's own. What it has no
    distribution for, a `Parameter` of another plugin, is searched by its coordinates in the unit cube. Unconstrained
    numbers are searched by quantiles of a Cauchy distribution over the range: 70 % of random draws lie inside, and
    nothing is out of reach. Where to start is up to the sampler: the flag `r` makes no difference.

    A failure is a FAIL, which samplers ignore. The result of a retry is added as a new trial.
    `suggestion.point` holds the number of the trial and its parameters.
    """

    name = "optuna"

    def __init__(
        self, space: studio.Space, *, seed: int, sampler: str = "TPESampler", pruner: str | None = None, **options: Any
    ):
        import optuna

        of_pruner = {
            name.removeprefix("pruner_"): options.pop(name) for name in list(options) if name.startswith("pruner_")
        }
        with quiet():
            self._study = optuna.create_study(
                study_name="studio",  # Hyperband draws from the name; the default is a new one each time
                direction="maximize",
                sampler=make("sampler", sampler, options, optuna.samplers, optuna.samplers.BaseSampler, seed),
                pruner=make("pruner", pruner or "NopPruner", of_pruner, optuna.pruners, optuna.pruners.BasePruner),
            )
        self._study.stop = self._stop  # called by samplers when nothing is left
        self._prunes = pruner is not None
        self._space = space
        self._names = {parameter.name: coordinate_names(parameter) for parameter in space}
        self._distributions = {
            name: distribution_of(parameter) for parameter in space for name in self._names[parameter.name]
        }
        self._running: dict[int, optuna.Trial] = {}
        self._pruned: set[int] = set()

    def ask(self) -> studio.Suggestion | None:
        if self.done:
            return None
        with quiet():
            trial = self._study.ask(self._distributions)
        self._running[trial.number] = trial
        values = {
            parameter.name: value_at(parameter, [trial.params[name] for name in self._names[parameter.name]])
            for parameter in self._space
        }
        return studio.Suggestion(values, {"trial": trial.number, "params": trial.params})

    def tell(self, suggestion: studio.Suggestion, fitness: float | None) -> None:
        from optuna.trial import TrialState, create_trial

        trial = self._trial(suggestion)
        failed = fitness is None or not math.isfinite(fitness)
        state = TrialState.FAIL if failed else TrialState.COMPLETE
        value = None if failed else fitness
        with quiet():
            if trial is None:
                params = suggestion.point["params"]
                self._study.add_trial(
                    create_trial(params=params, distributions=self._distributions, state=state, value=value)
                )
                return
            del self._running[trial.number]
            if trial.number in self._pruned:  # Optuna takes the last report as its value
                state, value = TrialState.PRUNED, None
            self._study.tell(trial, value, state)

    def report(self, suggestion: studio.Suggestion, step: int, fitness: float) -> bool:
        """Return whether the pruner ends the experiment."""
        trial = self._trial(suggestion)
        if trial is None or not self._prunes:
            return False
        with quiet():
            trial.report(fitness, step)
            if trial.should_prune():
                self._pruned.add(trial.number)
        return trial.number in self._pruned

    def _trial(self, suggestion: studio.Suggestion) -> Any:
        """Return the running trial of a suggestion; None if it was told already, or another study suggested it."""
        trial = self._running.get(suggestion.point["trial"])
        return trial if trial is not None and trial.params == suggestion.point["params"] else None

    def _stop(self) -> None:
        self.done = True
        self.done_reason = "there is nothing left to search"


# --- parameters -------------------------------------------------------------------------------------------------------


def coordinate_names(parameter: studio.Parameter) -> list[str]:
    if parameter.dimensions == 1:
        return [parameter.name]
    return [f"{parameter.name}[{index}]" for index in range(parameter.dimensions)]


def distribution_of(parameter: studio.Parameter) -> Any:
    """Return the distribution of each coordinate."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    element = element_of(parameter)
    if isinstance(element, studio.Choice):
        # By position: to Optuna 1, 1.0 and True are the same choice, and some values are not allowed.
        return CategoricalDistribution(range(len(element.values)))
    if parameter.unconstrained:
        return FloatDistribution(EDGE, 1 - EDGE)
    if type(element) is studio.Integer:
        return IntDistribution(int(element.low), int(element.high), log=element.log)
    if type(element) is studio.Real:
        return FloatDistribution(element.low, element.high, log=element.log)
    return FloatDistribution(0, 1)


def value_at(parameter: studio.Parameter, numbers: Sequence[Any]) -> Any:
    """Return the value for the script from the numbers that Optuna suggests for its coordinates."""
    element = element_of(parameter)
    if isinstance(element, studio.Choice):
        return element.values[numbers[0]]
    if parameter.unconstrained:
        return parameter.from_unit(0.5 + WIDTH * np.tan(np.pi * (np.array(numbers) - 0.5)))
    if type(element) in (studio.Integer, studio.Real):
        return np.array(numbers) if isinstance(parameter, studio.Array) else element.dtype(numbers[0])
    return parameter.from_unit(np.array(numbers, dtype=float))


def element_of(parameter: studio.Parameter) -> studio.Parameter:
    return parameter.element if isinstance(parameter, studio.Array) else parameter


# --- Optuna -----------------------------------------------------------------------------------------------------------


def make(kind: str, name: str, options: Mapping[str, Any], module: Any, base: type, seed: int | None = None) -> Any:
    """Make the sampler or pruner `name`. Raises StudioError if it is unknown, or cannot be made with these options."""
    known = {
        key: cls
        for key, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, base) and key[0] != "_"
    }
    concrete = sorted(key for key, cls in known.items() if not inspect.isabstract(cls))
    if name not in concrete:
        raise studio.StudioError(f"optuna has no {kind} {name!r}; there are: {', '.join(concrete)}")
    takes = inspect.signature(known[name]).parameters
    for option in options:
        if option not in takes or option == "seed":
            listed = ", ".join(key for key in takes if key != "seed") or "none"
            raise studio.StudioError(f"optuna: {name} has no option {option!r}; there are: {listed}")
    seeded = {"seed": seed} if "seed" in takes else {}
    try:
        return known[name](**options, **seeded)
    except (TypeError, ValueError, ImportError) as error:
        raise studio.StudioError(f"optuna: {name} cannot be made: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the log lines of Optuna, its warnings about experimental features, and those about a step reported twice."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "The reported value is ignored because this `step=")
            yield
    finally:
        optuna.logging.set_verbosity(level)


@studio.hookimpl
def studio_optimizers() -> list[type[studio.Optimizer]]:
    return [OptunaOptimizer]
