"""The share of the variation in results that each hyperparameter explains without the others.

Fitness is replaced by its rank, so that an outlier counts no more than another result. Experiments are grouped by the value
of a hyperparameter; numbers are put into groups of equal size. Hays' omega squared is the share of the variation that lies
between the groups. It is unbiased: for a hyperparameter without effect it is as often below 0 as above. The interval comes
from a jackknife over `FOLDS` parts. Sources: Hays (1963), Statistics for Psychologists; Efron and Stein (1981), The Jackknife
Estimate of Variance.

There is no test of significance, because a test that is repeated while the search runs is passed by chance sooner or later.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.experiment import is_number

MIN_EXPERIMENTS = 10  # finished experiments
FOLDS = 20  # parts of the jackknife
STANDARD_ERRORS = 1.645  # half the width of the interval, which has a coverage of 90 %
GROUPS = (2, 8)  # minimum and maximum number of groups of a numeric hyperparameter


def importance(values: Mapping[str, Sequence[Any]], fitness: Sequence[float]) -> dict[str, Any]:
    """Return {method, count, parameters: [{name, importance, low, high}]}, the most important hyperparameter first.

    `values` maps each hyperparameter to its value in each experiment. A hyperparameter that never varies is left out. With
    fewer than `MIN_EXPERIMENTS` experiments the list is empty.
    """
    count = len(fitness)
    parameters: list[dict[str, Any]] = []
    if count >= MIN_EXPERIMENTS:
        ranks = _ranks(np.array(fitness, dtype=float))
        folds = np.arange(count) % FOLDS
        np.random.default_rng(0).shuffle(folds)
        for name, column in values.items():
            groups = _groups(column, count)
            if groups.max() == 0:
                continue
            share = _omega_squared(groups, ranks)
            without = np.array([_omega_squared(groups[folds != fold], ranks[folds != fold]) for fold in range(FOLDS)])
            error = STANDARD_ERRORS * float(np.sqrt((FOLDS - 1) * without.var()))
            numbers = (max(0.0, share), max(0.0, share - error), min(1.0, max(0.0, share + error)))
            rounded = (round(number, 4) for number in numbers)
            parameters.append({"name": name, **dict(zip(("importance", "low", "high"), rounded, strict=True))})
    parameters.sort(key=lambda parameter: -parameter["importance"])
    return {"method": "omega_squared", "count": count, "parameters": parameters}


def _groups(values: Sequence[Any], count: int) -> NDArray[np.intp]:
    """Return the number of the group of each experiment.

    Categories and a few distinct numbers are grouped by value; many distinct numbers are sorted and cut into groups.
    """
    names = {text: at for at, text in enumerate(dict.fromkeys(map(repr, values)))}
    group_count = int(np.clip(round(np.sqrt(count) / 2), *GROUPS))
    if len(names) <= group_count or not all(is_number(value) for value in values):
        return np.array([names[repr(value)] for value in values], dtype=np.intp)
    places = np.searchsorted(np.sort(values), np.array(values, dtype=float))
    return np.unique(places * group_count // count, return_inverse=True)[1]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, from 1. Equal values get the mean of their ranks."""
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]


def _omega_squared(groups: NDArray[np.intp], ranks: NDArray[np.float64]) -> float:
    """Return Hays' omega squared of the ranks in their groups; 0 if it is undefined."""
    sizes = np.bincount(groups)
    sums = np.bincount(groups, ranks)[sizes > 0]
    sizes = sizes[sizes > 0]
    total = float(((ranks - ranks.mean()) ** 2).sum())
    between = float((sums**2 / sizes).sum() - ranks.sum() ** 2 / len(ranks))
    free = len(ranks) - len(sizes)
    if free <= 0 or total <= 0:
        return 0.0
    noise = (total - between) / free
    return (between - (len(sizes) - 1) * noise) / (total + noise)
