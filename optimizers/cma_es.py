"""CMA-ES on the package `cma`, filling slots without a generation barrier."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from studio.errors import BadInput
from studio.experiment import OF_THE_VALUES
from studio.hookspecs import hookimpl
from studio.interfaces import Optimizer
from studio.optimizers.gp.design import MOST_VALUES, each_value
from studio.space import Array, Choice, Floats, Integer, Parameter, Space, Suggestion

# Of a bounded range: pycma's own default, unless sigma0 is larger.
LARGEST_STD = 1 / 3
# Share of the width of a cell, for whole numbers and choices: Marty et al. 2024.
SMALLEST_STEP = 0.2
# Standard deviation at the start, in that many dimensions or fewer.
START, FEW = 0.25, 5
# From so many dimensions on: updates that learn no dependencies, times dimensions^2 / popsize ...
MANY, DIAGONAL = 15, 10
# ... and shares of the usual population, and of the damping of the step size.
SMALLER, DAMPING = 0.7, 0.5
RARE = 10  # populations of failures in a row before a restart
TOP_SHARE = 0.1  # share of known results whose spread the search starts with
SMALLEST_START = 0.005  # least spread, as a share of each range
CONVERGED = ("tolfun", "tolfunhist", "tolfunrel", "tolx", "tolflatfitness")  # of pycma's reasons to stop
HUGE = 1e300  # largest cost, so that differences of two are finite


class CMAES(Optimizer):
    """CMA-ES with restarts, for spaces where fitness changes gradually; never done.

        optimizer = CMAES(space, seed=1)
        for _ in range(500):
            suggestion = optimizer.ask()
            optimizer.tell(suggestion, fitness(**suggestion.values))

    popsize   results per update of the distribution, at least 3; default 4 + 3 ln(dimensions), from 15 dimensions on 0.7
              times that, rounded down
    sigma0    initial standard deviation as a share of each range (of its logarithm, under the flag `l`); default 0.25, and
              in more than 5 dimensions 0.25 sqrt(5 / dimensions), so that the first steps are not longer: folded
              at the ends of many ranges at once, they would hardly move the mean

    Rules, for any number of pending suggestions:

    - A suggestion is a draw from the current distribution; `ask` never waits.
    - Every `popsize` results make one update, whatever distribution they were drawn from.
    - Steps count from the current mean. Those drawn from an earlier distribution are shortened to a Mahalanobis length
      of at most sqrt(d) + 2 d / (d + 2), as for injected points: Hansen (2011), "Injecting external solutions into
      CMA-ES", INRIA RR-7748. With one pending suggestion at a time there are none, and this is pycma.
    - A failure says nothing about the objective and is left out: the next suggestion takes its place. A failure for lack of memory
      or time depends on the point, and ranks after the worst result of its batch. A batch of failures only
      is dropped; after ten populations of failures in a row the search restarts elsewhere.
    - Bounds are pycma's: a smooth fold at the ends of each range, so that an optimum at an end is found as fast as one
      inside. Unconstrained coordinates have no bounds.
    - From 15 dimensions on, the first 10 dimensions^2 results learn a scale for each coordinate and no dependencies, which
      take about as many: Ros and Hansen (2008), "A Simple Modification in CMA-ES Achieving Linear Time and Space
      Complexity", PPSN. Populations are smaller there and the step size changes twice as fast, for searches of hundreds
      of experiments and not of many thousands.
    - The first suggestions contain each value of each choice.
    - Whole numbers and choices keep a standard deviation of a fifth of a cell (one value's share of the range), so that
      the search does not freeze on one value: the lower bound of Marty et al. (2024), "LB+IC-CMA-ES", PPSN.
    - Where pycma would stop (converged, stagnated, ill-conditioned) the search restarts from a random point, with twice the
      population if it has converged: Auger and Hansen (2005), "A restart CMA evolution strategy with increasing
      population size", CEC. Noise keeps it from converging, and a larger population would only see less of it.
      Results of earlier suggestions are then ignored, since they would pull the mean back.

    `suggestion.point` is the unrounded point of the unit cube.
    """

    name: ClassVar[str] = "cma"
    aliases: ClassVar[tuple[str, ...]] = ("cmaes", "cma-es")
    related: ClassVar[tuple[str, ...]] = (
        *("de", "differential-evolution", "es", "evolution", "evolutionary"),
        *("ga", "genetic", "nevergrad", "pso"),
    )
    takes_known: ClassVar[bool] = True

    def __init__(self, space: Space, *, seed: int, popsize: int | None = None, sigma0: float | None = None):
        if popsize is not None and popsize < 3:
            raise BadInput(f"cma: popsize={popsize} is too small; give a whole number of at least 3")
        if sigma0 is None:
            sigma0 = START * math.sqrt(min(1.0, FEW / space.dimensions))
        if not 0 < sigma0 <= 1:
            raise BadInput(
                f"cma: sigma0={sigma0} is not a share of the range; give a number above 0 and up to 1, such as 0.25"
            )
        self._space = space
        self._sigma0 = sigma0
        self._rng = np.random.default_rng(seed)
        self._bounded = ~space.unconstrained
        self._largest_stds = np.where(self._bounded, max(LARGEST_STD, sigma0), np.inf)
        self._drawn_from: dict[tuple[float, ...], int] = {}  # point -> the distribution it was drawn from
        self._distribution = 0  # counts updates and restarts
        self._run_start = 0  # the first distribution of the current run
        self._results: dict[Any, tuple[Floats, float | None]] = {}  # for the next update: key -> point, fitness
        self._failures = 0  # in a row
        self._first = first_choices(space, self._rng)
        self._discrete = int(np.count_nonzero(cell_widths(space, np.full(space.dimensions, 0.5))))
        many = space.dimensions >= MANY
        self._popsize = popsize or int((SMALLER if many else 1) * (4 + 3 * math.log(space.dimensions)))
        self._start(space.start(self._rng))

    def ask(self) -> Suggestion:
        if not self._draws:
            self._draw()
        point = self._draws.pop()
        if self._first:
            chosen = self._first.pop()
            point = np.where(np.isnan(chosen), point, chosen)
        suggestion = self._space.suggestion(point)
        self._drawn_from[tuple(suggestion.point)] = self._distribution
        return suggestion

    def tell(self, suggestion: Suggestion, fitness: float | None, *, failure: str = "") -> None:
        point = tuple(suggestion.point)
        if self._drawn_from.get(point, self._distribution) < self._run_start:
            return
        if fitness is not None and not math.isfinite(fitness):
            fitness = None
        self._failures = self._failures + 1 if fitness is None else 0
        if self._failures >= RARE * self._popsize:
            self._restart()
            return
        if fitness is None and failure not in OF_THE_VALUES:
            return
        # A retry told before the update replaces the failure; after the update it is one more result. Results of an earlier
        # search have no number, and several at one point are several.
        known = suggestion.number is None and point not in self._drawn_from
        self._results[object() if known else (suggestion.number, point)] = np.array(point), fitness
        if len(self._results) >= self._popsize:
            self._update()

    def learn(self, results: Sequence[tuple[Suggestion, float | None]]) -> None:
        """Start from the results of another optimizer: from the best point, with the spread of the best tenth.

        Nomura et al. (2021), "Warm starting CMA-ES for hyperparameter optimization", AAAI, with one result as the mean.
        """
        known = [(fitness, suggestion.point) for suggestion, fitness in results if fitness is not None]
        if not known:
            return
        known.sort(key=lambda pair: -pair[0])
        top = np.array([point for _, point in known[: max(4, math.ceil(TOP_SHARE * len(known)))]])
        spread = np.sqrt(np.mean((top - top[0]) ** 2, axis=0))
        self._first = []
        self._start(top[0], np.clip(spread, SMALLEST_START, self._sigma0))

    def _update(self) -> None:
        results = list(self._results.values())
        self._results.clear()
        if all(fitness is None for _, fitness in results):
            return
        if self._discrete and len(self._es.mean) > 1:
            self._es.opts["minstd"] = self._smallest_stds()
        late = [i for i, (point, _) in enumerate(results) if not self._is_current(point)]
        points, fitnesses = zip(*results, strict=True)
        # check_points: x <- m + (x - m) min(1, (sqrt(d) + 2 d / (d + 2)) / |x - m|), in the norm of sigma^2 C
        self._es.tell(points, costs(fitnesses), check_points=late or False)
        if len(self._es.mean) == 1:
            self._limit_the_one_std()
        self._distribution += 1
        if reasons := self._es.stop():
            if any(reason in CONVERGED for reason in reasons):
                self._popsize *= 2
            self._restart()
        else:
            self._draw()

    def _restart(self) -> None:
        self._failures = 0
        self._distribution += 1
        self._run_start = self._distribution
        self._results.clear()
        self._start(self._rng.random(self._space.dimensions))

    def _is_current(self, point: Floats) -> bool:
        return self._drawn_from.get(tuple(point.tolist())) == self._distribution

    def _draw(self) -> None:
        """Draw a population from the current distribution, for `ask` to pop. After each update, since pycma takes results only
        after it was asked.
        """
        self._draws = self._es.ask()[::-1]

    def _start(self, mean: Floats, stds: Floats | None = None) -> None:
        cma = import_cma()
        options: dict[str, Any] = {
            "popsize": self._popsize,
            "randn": lambda *shape: self._rng.standard_normal(shape),
            "seed": math.nan,  # leaves numpy's global generator alone
            # TPA (pycma's choice from 300 dimensions) and mirrors (with popsize < 6) need pairs of points told together
            "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA,
            "CMA_mirrors": 0,
            "bounds": [np.where(self._bounded, 0.0, -np.inf), np.where(self._bounded, 1.0, np.inf)],
            "CMA_stds": None if stds is None else stds / self._sigma0,
            "maxstd": self._largest_stds if len(mean) > 1 else np.inf,
            "verbose": -10,
            "verb_log": 0,
            "verb_disp": 0,
            "signals_filename": "",
        }
        if len(mean) >= MANY:
            options |= {"CMA_diagonal": DIAGONAL * len(mean) ** 2 // self._popsize, "CSA_dampfac": DAMPING}
        options |= self._patience()
        self._es = cma.CMAEvolutionStrategy(mean, self._sigma0, options)
        self._draw()

    def _patience(self) -> dict[str, float]:
        """Return pycma's termination criteria for its `integer_variables`: equal values are no sign of convergence there."""
        if not self._discrete:
            return {}
        patience = {"tolflatfitness": 3 + 30 * self._discrete / self._space.dimensions}
        return patience | {"tolfun": 0.0, "tolfunhist": 0.0} if self._discrete == self._space.dimensions else patience

    def _smallest_stds(self) -> Floats:
        # sigma_i >= min(0.2, mu_eff / d) * cell_i: the lower bound of Marty et al.
        mean = self._es.gp.pheno(self._es.mean, into_bounds=self._es.boundary_handler.repair)
        return min(SMALLEST_STEP, self._es.sp.weights.mueff / len(mean)) * cell_widths(self._space, mean)

    def _limit_the_one_std(self) -> None:
        # pycma's minstd and maxstd raise ValueError in one dimension (4.5.0); there, std = sigma sqrt(C).
        std = self._es.stds
        self._es.sigma *= float((np.clip(std, self._smallest_stds(), self._largest_stds) / std)[0])


def first_choices(space: Space, rng: np.random.Generator) -> list[Floats]:
    """Return points, shape (dimensions,), that contain each value of each choice, and nan for other hyperparameters."""
    counts = [len(parameter.values) if isinstance(parameter, Choice) else 0 for parameter in space]
    counts = [count if 1 < count <= MOST_VALUES else 0 for count in counts]
    columns = []
    for parameter, count in zip(space, counts, strict=True):
        if not count:
            columns += [np.full(max(counts), np.nan)] * parameter.dimensions
            continue
        columns.append((each_value(count, max(counts), rng) + 0.5) / count)
    return list(np.array(columns).T) if any(counts) else []


def costs(fitnesses: Sequence[float | None]) -> list[float]:
    """Return the costs for pycma to minimise; failures (None) are above the worst. At least one must not be a failure."""
    known = [float(np.clip(-fitness, -HUGE, HUGE)) for fitness in fitnesses if fitness is not None]
    failed = max(known) + abs(max(known)) + 1.0
    remaining = iter(known)
    return [failed if fitness is None else next(remaining) for fitness in fitnesses]


def cell_widths(space: Space, point: Floats) -> Floats:
    """Return the widths, shape (dimensions,), of the cell of the unit cube around `point` that gives one value; 0 where values
    are continuous.
    """
    values = space.values(point)
    widths = [cell_width(parameter, values[parameter.name]) for parameter in space if parameter.dimensions]
    return np.concatenate(widths)


def cell_width(parameter: Parameter, value: Any) -> NDArray[np.float64]:
    element = parameter.element if isinstance(parameter, Array) else parameter
    if isinstance(element, Choice):
        return np.array([1 / len(element.values)])
    if not isinstance(element, Integer):
        return np.zeros(parameter.dimensions)
    ends = np.array([element.low - 0.5, element.high + 0.5])
    cells = np.array([np.ravel(value) - 0.5, np.ravel(value) + 0.5])
    if element.log:
        ends, cells = np.log(ends), np.log(cells)
    return (cells[1] - cells[0]) / (ends[1] - ends[0])


def import_cma() -> Any:
    """Import the package `cma`, which takes a second and warns if there is no matplotlib."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not import matplotlib", category=UserWarning)
        import cma
    return cma


@hookimpl
def studio_optimizers() -> list[type[Optimizer]]:
    return [CMAES]
