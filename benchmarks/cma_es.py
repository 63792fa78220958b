"""CMA-ES of Studio against pycma alone, and slot filling against a generation barrier.

    python benchmarks/cma_es.py [--seeds 9]

cost      seconds of ask and tell for the same budget and dimension, by turns in the same run; the ratio is ours to pycma's
quality   lowest value, one evaluation at a time, median over seeds
barrier   16 and 64 workers with log-normal run times at equal wall time: log10 of the regret, relative to that of random points
"""

import argparse
import heapq
import math
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from studio.interfaces import Optimizer
from studio.optimizers.cma_es import CMAES, import_cma
from studio.optimizers.random_search import RandomSearch
from studio.space import Array, Floats, Real, Space, Suggestion

Function = Callable[[Floats], float]
WALL, SPREAD = 37.5, 0.75  # mean run times of a search, and sigma of their logarithm


def sphere(x: Floats) -> float:
    return float(np.sum((x - 0.6) ** 2))


def rosenbrock(x: Floats) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rastrigin(x: Floats) -> float:
    return float(np.sum((x - 0.6) ** 2 + 10 - 10 * np.cos(2 * np.pi * (x - 0.6))))


def box(dimensions: int) -> Space:
    return Space([Array("x", Real("x", -2.0, 2.0), dimensions)])


def ours(function: Function, dimensions: int, seed: int, budget: int) -> float:
    optimizer = CMAES(box(dimensions), seed=seed)
    lowest = math.inf
    for _ in range(budget):
        suggestion = optimizer.ask()
        assert suggestion is not None
        value = function(suggestion.values["x"])
        lowest = min(lowest, value)
        optimizer.tell(suggestion, -value)
    return lowest


def pycma_alone(function: Function, dimensions: int, seed: int, budget: int) -> float:
    """Run pycma with the same restarts as Studio's CMA-ES."""
    cma, rng = import_cma(), np.random.default_rng(seed)
    quiet = {"verbose": -10, "verb_log": 0, "verb_disp": 0, "signals_filename": "", "bounds": [0, 1]}
    randn = {"seed": math.nan, "randn": lambda *shape: rng.standard_normal(shape)}
    mean, popsize = np.full(dimensions, 0.5), 4 + int(3 * math.log(dimensions))
    spent, lowest = 0, math.inf
    while spent < budget:
        es = cma.CMAEvolutionStrategy(mean, 0.25, quiet | randn | {"popsize": popsize})
        while spent < budget and not es.stop():
            points = es.ask()
            es.tell(points, [function(4 * u - 2) for u in points])
            spent += len(points)
        lowest = min(lowest, es.best.f)
        mean, popsize = rng.random(dimensions), 2 * popsize
    return lowest


def seconds(run: Callable[..., float], *arguments: object) -> float:
    start = time.process_time()
    run(*arguments)
    return time.process_time() - start


class Barrier:
    """An optimizer with generations of `popsize`, each told completely before the next."""

    def __init__(self, optimizer: Optimizer, popsize: int):
        self.optimizer, self.popsize = optimizer, popsize
        self.left, self.out = popsize, 0

    def ask(self) -> Suggestion | None:
        if self.left == 0:
            return None
        self.left, self.out = self.left - 1, self.out + 1
        return self.optimizer.ask()

    def tell(self, suggestion: Suggestion, fitness: float | None) -> None:
        self.optimizer.tell(suggestion, fitness)
        self.out -= 1
        if self.left == self.out == 0:
            self.left = self.popsize


def simulate(optimizer: Optimizer | Barrier, function: Function, seed: int, workers: int) -> float:
    """Return the lowest value told within `WALL` mean run times."""
    times = run_times(seed)
    running: list[tuple[float, int, Suggestion]] = []
    now, asked, lowest = 0.0, 0, math.inf
    while True:
        while len(running) < workers and (suggestion := optimizer.ask()) is not None:
            asked += 1
            heapq.heappush(running, (now + next(times), asked, suggestion))
        now, _, suggestion = heapq.heappop(running)
        if now > WALL:
            return lowest
        value = function(suggestion.values["x"])
        lowest = min(lowest, value)
        optimizer.tell(suggestion, -value)


def run_times(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(1000 + seed)
    while True:
        yield float(rng.lognormal(-(SPREAD**2) / 2, SPREAD))


def typical(function: Function, dimensions: int) -> float:
    """Return the median value of random points."""
    optimizer = RandomSearch(box(dimensions), seed=0)
    asked = [optimizer.ask() for _ in range(500)]
    return statistics.median(function(suggestion.values["x"]) for suggestion in asked if suggestion is not None)


def print_cost() -> None:
    print("processor time of 2000 evaluations of sphere, median of 3")
    for dimensions in (2, 10, 40):
        pairs = [
            (seconds(ours, sphere, dimensions, seed, 2000), seconds(pycma_alone, sphere, dimensions, seed, 2000))
            for seed in range(3)
        ]
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"  d={dimensions:2d}  ours {mine:.3f} s  pycma {theirs:.3f} s  ratio {mine / theirs:.2f}")


def print_quality(seeds: int) -> None:
    print(f"lowest value in 10 dimensions, median of {seeds} seeds")
    for function in (sphere, rosenbrock):
        for budget in (500, 2000):
            mine, theirs = (
                statistics.median(run(function, 10, seed, budget) for seed in range(seeds))
                for run in (ours, pycma_alone)
            )
            print(f"  {function.__name__:10s} {budget:4d} evaluations  ours {mine:.2e}  pycma {theirs:.2e}")


def print_barrier(seeds: int, workers: int) -> None:
    evaluations = int(workers * WALL)
    print(
        f"{workers} workers, log-normal run times, the wall time of {evaluations} evaluations: mean log10 regret, {seeds} seeds"
    )
    totals = []
    for function, dimensions in ((sphere, 5), (rosenbrock, 5), (rastrigin, 5), (sphere, 10)):
        space, scale = box(dimensions), typical(function, dimensions)
        popsize = 4 + int(3 * math.log(dimensions))
        row = []
        for make in (
            lambda seed: CMAES(space, seed=seed),  # noqa: B023
            lambda seed: Barrier(CMAES(space, seed=seed), popsize),  # noqa: B023
            lambda seed: Barrier(CMAES(space, seed=seed, popsize=workers), workers),  # noqa: B023
        ):
            found = [simulate(make(seed), function, seed, workers) / scale for seed in range(seeds)]
            row.append(statistics.mean(math.log10(max(regret, 1e-6)) for regret in found))
        totals.append(row)
        print_row(f"{function.__name__} d={dimensions}", row)
    print_row("mean", [statistics.mean(column) for column in zip(*totals, strict=True)])


def print_row(label: str, row: list[float]) -> None:
    slots, barrier, wide = row
    print(f"  {label:15s} slots {slots:.2f}  barrier {barrier:.2f}  barrier, population as workers: {wide:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=9)
    seeds = parser.parse_args().seeds
    import_cma()
    print_cost()
    print_quality(seeds)
    for workers in (16, 64):
        print_barrier(seeds, workers)


if __name__ == "__main__":
    main()
