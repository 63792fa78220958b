"""Rules that stop bad runs early: `safe` and `fast`, both by successive halving."""

import math
from collections.abc import Sequence
from typing import ClassVar

from studio.hookspecs import hookimpl
from studio.interfaces import Pruner, StoppedRun

KEPT = 3  # of so many runs at a checkpoint, one goes on; the next checkpoint is at so many times the reports


class Halving(Pruner):
    """Asynchronous successive halving with a kept share of one third.

    The checkpoints are at `after`, 3 × `after`, 9 × `after` … reports. At each, a run goes on if it is in the best third of
    the runs that have reached the checkpoint so far. Nothing waits for other runs, so all slots stay busy.

    Li et al. (2020), "A System for Massively Parallel Hyperparameter Tuning", MLSys, in its variant without promotion.
    """

    def decides_at(self, reports: int) -> bool:
        while reports > self.after and reports % KEPT == 0:
            reports //= KEPT
        return reports == self.after

    def should_stop(self, reports: int, fitness: float, others: Sequence[float]) -> bool:
        runs = len(others) + 1
        better = sum(other > fitness for other in others)
        return runs >= KEPT and better >= math.ceil(runs / KEPT)


class SafePruner(Halving):
    """Halving from report 5. At the end, the best run that each checkpoint stopped runs again, to its end.

    The first reports of a run say little about its end, and the one run that was stopped wrongly is often the best of those.
    A run starts again from its beginning, so that the script needs no checkpoint of its own.
    """

    name: ClassVar[str] = "safe"
    aliases: ClassVar[tuple[str, ...]] = ("asha", "halving")
    related: ClassVar[tuple[str, ...]] = ("successive-halving", "hyperband", "median")
    after = 5

    def choose_reruns(self, stopped: Sequence[StoppedRun]) -> Sequence[int]:
        best: dict[int, StoppedRun] = {}
        for run in stopped:
            if run.reports not in best or run.fitness > best[run.reports].fitness:
                best[run.reports] = run
        return sorted(run.number for run in best.values())


class FastPruner(Halving):
    """Halving from report 3, without a second run: for a search whose limit is its time."""

    name: ClassVar[str] = "fast"
    after = 3


@hookimpl
def studio_pruners() -> list[type[Pruner]]:
    return [SafePruner, FastPruner]
