"""Studio's and other optimizers behind one interface: ask() -> (token, values), tell(token, cost); None: out of memory.

Libraries are imported where they are used; peers of a missing library are left out.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from studio.search.ask_tell.search import Search
from studio.space import Choice, Integer, Real, Space


class Studio:
    """An optimizer of Studio; it hears the class of a failure if it wants to know it."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        self.search = Search(space, optimizer=optimizer, seed=seed, max_experiments=budget)
        self.hears = self.search.optimizer_class.takes("failure")

    def ask(self) -> tuple[Any, dict[str, Any]]:
        suggestion = self.search.ask()
        assert suggestion is not None
        return suggestion, suggestion.values

    def tell(self, token: Any, cost: float | None) -> None:
        failed = {"failure": "memory"} if cost is None and self.hears else {}
        self.search.tell(token, None if cost is None else -cost, **failed)


class Optuna:
    """Optuna's samplers; failures are told as such, and ignored by the samplers."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        self.optuna, distributions = optuna, optuna.distributions
        self.distributions: dict[str, Any] = {}
        for one in space:
            if isinstance(one, Choice):
                self.distributions[one.name] = distributions.CategoricalDistribution(one.values)
            elif isinstance(one, Integer):
                self.distributions[one.name] = distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
            elif isinstance(one, Real):
                self.distributions[one.name] = distributions.FloatDistribution(one.low, one.high, log=one.log)
        samplers = optuna.samplers
        sampler = {
            "optuna-tpe": lambda: samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
            "optuna-gp": lambda: samplers.GPSampler(seed=seed),
            "optuna-cma": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        }[optimizer]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study = optuna.create_study(sampler=sampler())

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.study.ask(self.distributions)
        return trial, dict(trial.params)

    def tell(self, token: Any, cost: float | None) -> None:
        if cost is None:
            self.study.tell(token, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(token, cost)


class WorstSoFar:
    """A peer that cannot take a failure: it is told the worst cost so far, 1000 before there is one."""

    worst = -np.inf

    def cost_to_tell(self, cost: float | None) -> float:
        if cost is not None:
            self.worst = max(self.worst, cost)
            return cost
        return self.worst if np.isfinite(self.worst) else 1e3


class Generations(WorstSoFar):
    """An optimizer of the package cmaes, which hears of a whole generation."""

    es: Any
    batch: list[tuple[Any, float]]

    def tell(self, token: Any, cost: float | None) -> None:
        self.batch.append((token, self.cost_to_tell(cost)))
        if len(self.batch) == self.es.population_size:
            self.es.tell(self.batch)
            self.batch = []


class CatCMA(Generations):
    """CatCMA with margin from the package cmaes."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        from cmaes import CatCMAwM

        self.reals = [one for one in space if isinstance(one, Real) and not isinstance(one, Integer)]
        self.wholes = [one for one in space if isinstance(one, Integer)]
        self.choices = [one for one in space if isinstance(one, Choice)]
        levels = [one.encode(np.arange(int(one.low), int(one.high) + 1)).tolist() for one in self.wholes]
        self.es = CatCMAwM(
            x_space=[[0.0, 1.0]] * len(self.reals) or None,
            z_space=levels or None,
            c_space=[len(one.values) for one in self.choices] or None,
            seed=seed,
        )
        self.batch: list[tuple[Any, float]] = []

    def ask(self) -> tuple[Any, dict[str, Any]]:
        draw = self.es.ask()
        numbers = [*(draw.x if self.reals else []), *(draw.z if self.wholes else [])]
        values = {
            one.name: one.from_unit(np.array([x])) for one, x in zip([*self.reals, *self.wholes], numbers, strict=True)
        }
        for one, hot in zip(self.choices, draw.c if self.choices else [], strict=True):
            values[one.name] = one.values[int(np.argmax(hot))]
        return draw, values


class CMA(Generations):
    """CMA-ES of the package cmaes on the unit cube, where choices are cells."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        from cmaes import CMA

        self.space = space
        bounds = np.array([[0.0, 1.0]] * space.dimensions)
        self.es = CMA(mean=np.full(space.dimensions, 0.5), sigma=0.25, bounds=bounds, seed=seed)
        self.batch: list[tuple[Any, float]] = []

    def ask(self) -> tuple[Any, dict[str, Any]]:
        point = self.es.ask()
        return point, self.space.values(point)


class Skopt(WorstSoFar):
    """gp_hedge of scikit-optimize."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        import skopt

        warnings.filterwarnings("ignore", module="skopt")
        self.names, dimensions = space.names, []
        for one in space:
            if isinstance(one, Choice):
                dimensions.append(skopt.space.Categorical(one.values))
            elif isinstance(one, Integer):
                prior = "log-uniform" if one.log else "uniform"
                dimensions.append(skopt.space.Integer(int(one.low), int(one.high), prior=prior))
            elif isinstance(one, Real):
                dimensions.append(skopt.space.Real(one.low, one.high, prior="log-uniform" if one.log else "uniform"))
        self.optimizer = skopt.Optimizer(dimensions, "GP", n_initial_points=10, random_state=seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        point = self.optimizer.ask()
        return point, plain(zip(self.names, point, strict=True))

    def tell(self, token: Any, cost: float | None) -> None:
        self.optimizer.tell(token, self.cost_to_tell(cost))


class Nevergrad(WorstSoFar):
    """NGOpt of nevergrad."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        import nevergrad

        warnings.filterwarnings("ignore", module="nevergrad")
        parts: dict[str, Any] = {}
        for one in space:
            if isinstance(one, Choice):
                parts[one.name] = nevergrad.p.Choice(one.values)
            elif isinstance(one, Real):
                kind = nevergrad.p.Log if one.log else nevergrad.p.Scalar
                scalar = kind(lower=one.low, upper=one.high)
                parts[one.name] = scalar.set_integer_casting() if isinstance(one, Integer) else scalar
        described = nevergrad.p.Dict(**parts)
        described.random_state.seed(seed)
        self.optimizer = nevergrad.optimizers.NGOpt(described, budget=budget)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        candidate = self.optimizer.ask()
        return candidate, dict(candidate.value)

    def tell(self, token: Any, cost: float | None) -> None:
        self.optimizer.tell(token, self.cost_to_tell(cost))


class Smac:
    """The black-box facade of SMAC; a failure is told as a crash."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        import ConfigSpace
        from smac import BlackBoxFacade, Scenario
        from smac.runhistory import StatusType, TrialValue

        described = ConfigSpace.ConfigurationSpace(seed=seed)
        for one in space:
            if isinstance(one, Choice):
                described.add(ConfigSpace.CategoricalHyperparameter(one.name, one.values))
            elif isinstance(one, Integer):
                bounds = int(one.low), int(one.high)
                described.add(ConfigSpace.UniformIntegerHyperparameter(one.name, *bounds, log=one.log))
            elif isinstance(one, Real):
                described.add(ConfigSpace.UniformFloatHyperparameter(one.name, one.low, one.high, log=one.log))
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            described, deterministic=True, n_trials=budget, seed=seed, output_directory=Path(self.folder.name)
        )
        self.facade = BlackBoxFacade(scenario, lambda config, seed: 0.0, logging_level=False, overwrite=True)
        self.value, self.crashed = TrialValue, StatusType.CRASHED

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.facade.ask()
        return trial, plain(trial.config)

    def tell(self, token: Any, cost: float | None) -> None:
        told = self.value(cost) if cost is not None else self.value(1e3, status=self.crashed)
        self.facade.tell(token, told, save=False)


class Hebo(WorstSoFar):
    """HEBO."""

    def __init__(self, space: Space, seed: int, budget: int, optimizer: str):
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        warnings.filterwarnings("ignore")
        described: list[dict[str, Any]] = []
        for one in space:
            if isinstance(one, Choice):
                described.append({"name": one.name, "type": "cat", "categories": list(one.values)})
            elif isinstance(one, Real):
                kind = (
                    ("pow" if one.log else "num") if not isinstance(one, Integer) else "pow_int" if one.log else "int"
                )
                described.append({"name": one.name, "type": kind, "lb": one.low, "ub": one.high})
        np.random.seed(seed)
        self.optimizer = HEBO(DesignSpace().parse(described), scramble_seed=seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        row = self.optimizer.suggest(n_suggestions=1)
        return row, plain(row.iloc[0].to_dict())

    def tell(self, token: Any, cost: float | None) -> None:
        self.optimizer.observe(token, np.array([[self.cost_to_tell(cost)]]))


def plain(values: Any) -> dict[str, Any]:
    """Return values with Python's own numbers."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in dict(values).items()}


PEERS: dict[str, Any] = {
    "studio": Studio,
    "optuna-tpe": Optuna,
    "optuna-gp": Optuna,
    "optuna-cma": Optuna,
    "cmaes-catcmawm": CatCMA,
    "cmaes-cma": CMA,
    "skopt-gp": Skopt,
    "nevergrad": Nevergrad,
    "smac": Smac,
    "hebo": Hebo,
}
