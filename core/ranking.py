"""The ranking of experiments: which one is the best."""

from collections.abc import Iterable

from studio.experiment import Experiment


def rank_key(fitness: float, number: int) -> tuple[float, int]:
    """Return the sort key of results: larger fitness first, ties by the lower number."""
    return -fitness, number


def ranked(experiments: Iterable[Experiment]) -> list[Experiment]:
    """Return the experiments that have a fitness, best first."""
    rated = [(e.fitness, e.number, e) for e in experiments if e.fitness is not None]
    return [e for fitness, number, e in sorted(rated, key=lambda item: rank_key(item[0], item[1]))]
