"""Which hyperparameters matter: how much worse a random forest predicts experiments that it has not seen once the values of
one hyperparameter are shuffled among them (scikit-learn's `permutation_importance`), over folds and shuffles.

Breiman (2001), "Random forests", Machine Learning 45; on unseen data, since on its own a forest finds noise important, too.
Beside it Spearman's rank correlation, which alone remains where scikit-learn is not installed.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.axes import is_number
from studio.ui.columns import Column
from studio.ui.table import Table

FEWEST = 10  # finished experiments
MOST = 1000  # of them that are looked at: the rest changes nothing that can be seen
FOLDS, SHUFFLES, TREES = 5, 4, 40
ROUNDS = 200  # of the bootstrap
INTERVAL = (5, 95)  # percent

Floats = NDArray[np.float64]


class Importance:
    """For one table; computed anew when a tenth of the experiments is new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._session = ""

    def of(self, table: Table) -> dict[str, Any]:
        """As /api/p/NAME/importance answers."""
        with self._lock:
            with table.lock:
                columns, x, y = _data(table)
                session = table.version.partition(".")[0]
            count = len(y)
            known = self._known.get("count", -1)
            if session != self._session or not known <= count <= known * 1.1:
                self._known, self._session = _importance(columns, x, y), session
            return self._known


def _data(table: Table) -> tuple[list[Column], Floats, Floats]:
    """Hyperparameters that vary, their values shape (experiments, hyperparameters), and the ranks of the fitness."""
    from scipy.stats import rankdata

    rows = [at for at, fitness in enumerate(table.lists["fitness"]) if fitness is not None]
    columns = [column for column in table.columns if column.kind == "param"]
    coded = [_coded(column, [table.values[column.key][at] for at in rows]) for column in columns]
    varying = [at for at, values in enumerate(coded) if len(set(values)) > 1]
    x = np.array([coded[at] for at in varying], dtype=float).reshape(len(varying), len(rows)).T
    y = (
        rankdata([table.lists["fitness"][at] for at in rows]) if rows else np.empty(0)
    )  # one wild value says no more than one
    return [columns[at] for at in varying], x, y


def _coded(column: Column, values: list[Any]) -> list[float]:
    """Numbers as they are, on a log scale as their logarithms; categories by their place."""
    if all(is_number(value) for value in values):
        return [float(np.log(value)) if column.log and value > 0 else float(value) for value in values]
    known = list(dict.fromkeys(map(repr, [*(column.choices or []), *values])))
    places = {text: float(at) for at, text in enumerate(known)}
    return [places[repr(value)] for value in values]


def _importance(columns: list[Column], x: Floats, y: Floats) -> dict[str, Any]:
    count = len(y)
    if count < FEWEST or not columns:
        note = f"Importance appears after {FEWEST} finished experiments." if columns else "No hyperparameter varies."
        return {"method": "", "count": count, "parameters": [], "note": note}
    if count > MOST:
        some = np.random.default_rng(0).choice(count, MOST, replace=False)
        x, y = x[some], y[some]
    correlations = [_spearman(x[:, at], y) for at in range(len(columns))]
    try:
        drops, explained = _forest(x, y)
    except ImportError:
        method, note = "rank", "Spearman's rank correlation; pip install scikit-learn for what a forest sees."
        drops = np.array([_bootstrapped(x[:, at], y) for at in range(len(columns))])
    else:
        method = "forest"
        note = f"Loss of explained variance ({max(0.0, explained):.0%} with all of them) when one is shuffled, in unseen experiments."
        if explained < 0.05:
            note = "A forest predicts nothing from these values yet; more experiments may tell."
    low, high = np.percentile(drops, INTERVAL, axis=1)
    found = [
        {
            "name": column.key,
            "importance": round(max(0.0, float(drops[at].mean())), 4),
            "low": round(max(0.0, float(low[at])), 4),
            "high": round(max(0.0, float(high[at])), 4),
            "correlation": None if column.choices else round(correlations[at], 3),
        }
        for at, column in enumerate(columns)
    ]
    found.sort(key=lambda each: -float(each["importance"] or 0))
    return {"method": method, "count": count, "parameters": found, "note": note}


def _forest(x: Floats, y: Floats) -> tuple[Floats, float]:
    """Losses of R², shape (hyperparameters, folds * shuffles), and the R² of the forests on what they have not seen."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    drops, scores = [], []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(x):
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0).fit(x[train], y[train])
        scores.append(forest.score(x[test], y[test]))
        drops.append(permutation_importance(forest, x[test], y[test], n_repeats=SHUFFLES, random_state=0).importances)
    return np.concatenate(drops, axis=1), float(np.mean(scores))


def _spearman(x: Floats, y: Floats) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic) if len(set(x)) > 1 and len(set(y)) > 1 else 0.0


def _bootstrapped(x: Floats, y: Floats) -> Floats:
    """Absolute correlations of samples with replacement, shape (ROUNDS,)."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(y), (ROUNDS, len(y)))
    return np.array([abs(_spearman(x[draw], y[draw])) for draw in draws])
