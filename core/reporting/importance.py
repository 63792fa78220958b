"""Share of the variation in results that each hyperparameter alone explains.

Fitness is replaced by its rank, so that an outlier counts as one result. Experiments are grouped by the value of a
hyperparameter (numbers in groups of equal size), and Hays' omega squared is the share of the variation between the
groups; it is unbiased, so noise is as often below 0 as above. The interval comes from a jackknife over `FOLDS` parts.
Source: Hays (1963), Statistics for Psychologists; Efron and Stein (1981), The Jackknife Estimate of Variance.

There is no test of significance: on a page that is viewed again and again one would sooner or later pass it by chance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.experiment import is_number

FEWEST = 10  # finished experiments
FOLDS = 20
REACH = 1.645  # standard errors: 90 %
GROUPS = (2, 8)  # of a numeric hyperparameter, at least and at most


def importance(values: Mapping[str, Sequence[Any]], fitness: Sequence[float]) -> dict[str, Any]:
    """Return {method, count, parameters: [{name, importance, low, high}]}, the most important first.

    `values` maps each hyperparameter to its value in each experiment. Hyperparameters that never vary are left out; all are
    with fewer than `FEWEST` experiments.
    """
    count = len(fitness)
    found: list[dict[str, Any]] = []
    if count >= FEWEST:
        ranks = _ranks(np.array(fitness, dtype=float))
        folds = np.arange(count) % FOLDS
        np.random.default_rng(0).shuffle(folds)
        for name, given in values.items():
            groups = _groups(given, count)
            if groups.max() == 0:
                continue
            share = _omega_squared(groups, ranks)
            without = np.array([_omega_squared(groups[folds != fold], ranks[folds != fold]) for fold in range(FOLDS)])
            error = REACH * float(np.sqrt((FOLDS - 1) * without.var()))
            ends = (max(0.0, share), max(0.0, share - error), min(1.0, max(0.0, share + error)))
            found.append(
                {"name": name, **dict(zip(("importance", "low", "high"), (round(e, 4) for e in ends), strict=True))}
            )
    found.sort(key=lambda each: -each["importance"])
    return {"method": "omega_squared", "count": count, "parameters": found}


def _groups(values: Sequence[Any], count: int) -> NDArray[np.intp]:
    """Return the group of each experiment: categories and few numbers by value, other numbers by order of size."""
    names = {text: at for at, text in enumerate(dict.fromkeys(map(repr, values)))}
    most = int(np.clip(round(np.sqrt(count) / 2), *GROUPS))
    if len(names) <= most or not all(is_number(value) for value in values):
        return np.array([names[repr(value)] for value in values], dtype=np.intp)
    places = np.searchsorted(np.sort(values), np.array(values, dtype=float))
    return np.unique(places * most // count, return_inverse=True)[1]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks; equal values have the mean of their ranks."""
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]


def _omega_squared(groups: NDArray[np.intp], ranks: NDArray[np.float64]) -> float:
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
