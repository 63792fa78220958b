"""Which hyperparameters matter: how much worse a random forest predicts experiments that it has not seen once the values of
one hyperparameter are shuffled among them; and whether that is more than chance.

Breiman (2001), "Random forests", Machine Learning 45; on unseen data, since on its own a forest finds noise important, too.
The test is that of Watson and Wright (2021), "Testing conditional independence in supervised learning algorithms", Machine
Learning 110: a one-sided paired t-test on the losses of each unseen experiment with its own and with shuffled values;
corrected for the number of hyperparameters by Holm (1979), Scandinavian Journal of Statistics 6. Beside it the forest has
to predict better than the mean does: of pure noise, 60 searches each of 10 to 200 experiments, at most 5 % had a finding.
Spearman's rank correlation, with its own test, is what remains where scikit-learn is not installed.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.dashboard.columns import Column
from studio.dashboard.experiment_table import Table
from studio.experiment import is_number

FEWEST = 10  # finished experiments
MOST = 1000  # of them that are looked at: the rest changes nothing that can be seen
FOLDS, SHUFFLES, TREES = 5, 6, 40
CHANCE = 0.05  # how often a search of pure noise may have a finding
SURE = 0.9  # of the intervals
LEAST = 5e-324  # on a log scale, all that is not above 0: it keeps the order
CLEAR, UNLIKELY = 0.5, 0.01  # |rho|, and how likely it is by chance: a direction is named from here on
STANDS_OUT = 1.3  # times as important as the next: the one that matters most

Floats = NDArray[np.float64]


class Importance:
    """For one table; computed anew when a tenth of the experiments is new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}

    def of(self, table: Table) -> dict[str, Any]:
        """As /api/p/NAME/importance answers."""
        with self._lock:
            with table.lock:
                columns, x, y = _data(table)
            count = len(y)
            known = self._known.get("count", -1)
            if not known <= count <= known * 1.1:
                self._known = _importance(columns, x, y)
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
        return [float(np.log(max(value, LEAST))) if column.log else float(value) for value in values]
    known = list(dict.fromkeys(map(repr, [*(column.choices or []), *values])))
    places = {text: float(at) for at, text in enumerate(known)}
    return [places[repr(value)] for value in values]


def _importance(columns: list[Column], x: Floats, y: Floats) -> dict[str, Any]:
    count = len(y)
    if count < FEWEST or not columns:
        note = f"Importance appears after {FEWEST} finished experiments." if columns else "No hyperparameter varies."
        return {"method": "", "count": count, "explained": None, "parameters": [], "leader": "", "note": note}
    if count > MOST:
        some = np.random.default_rng(0).choice(count, MOST, replace=False)
        x, y = x[some], y[some]
    correlations = [_spearman(x[:, at], y) for at in range(len(columns))]
    try:
        losses, explained = _forest(x, y)
    except ImportError:
        method, explained = "rank", None
        middle, low, high = np.array([_interval_of_rank(rho, len(y)) for rho, _ in correlations]).T
        chances = _holm(np.array([chance for _, chance in correlations]))
    else:
        method = "forest"
        middle, low, high, alone = _paired_test(losses)
        chances = _holm(alone) if explained is not None and explained > 0 else np.ones(len(columns))
    found = [
        {
            "name": column.key,
            "importance": round(max(0.0, float(middle[at])), 4),
            "low": round(max(0.0, float(low[at])), 4),
            "high": round(max(0.0, float(high[at])), 4),
            "correlation": None if column.choices else round(correlations[at][0], 3),
            "trend": 0 if column.choices else _trend(*correlations[at]),
            "chance": float(f"{chances[at]:.3g}"),
            "clear": bool(chances[at] < CHANCE),
        }
        for at, column in enumerate(columns)
    ]
    found.sort(key=lambda each: (not each["clear"], -float(each["importance"] or 0)))
    return {
        "method": method,
        "count": count,
        "explained": None if explained is None else round(max(0.0, explained), 4),
        "parameters": found,
        "leader": _leader(found),
        "note": _note(found, count, explained),
    }


def _leader(found: list[dict[str, Any]]) -> str:
    """The one that matters most, where that can be told; else an empty text."""
    clear = [each for each in found if each["clear"]]
    if not clear or (len(clear) > 1 and clear[0]["importance"] < STANDS_OUT * clear[1]["importance"]):
        return ""
    return str(clear[0]["name"])


def _note(found: list[dict[str, Any]], count: int, explained: float | None) -> str:
    if not any(each["clear"] for each in found):
        return f"Nothing can be told yet: in {count} experiments no hyperparameter tells the result better than chance."
    if explained is None:
        return "Spearman's rank correlation; pip install scikit-learn for what a forest sees."
    unclear = [each["name"] for each in found if not each["clear"]]
    rest = f" {', '.join(unclear[:3])}{', …' if len(unclear) > 3 else ''}: no more than chance." if unclear else ""
    return f"Loss of explained variance ({max(0.0, explained):.0%} with all of them) when one is shuffled, in unseen experiments.{rest}"


def _forest(x: Floats, y: Floats) -> tuple[Floats, float]:
    """How much the squared error of each experiment grows when one hyperparameter is shuffled, in units of the variance:
    shape (hyperparameters, experiments); and the R² of the forests. All of it where they have not seen the experiment."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(0)
    growth, own, mean = np.zeros((x.shape[1], len(y))), np.zeros(len(y)), np.zeros(len(y))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(x):
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0).fit(x[train], y[train])
        own[test] = (forest.predict(x[test]) - y[test]) ** 2
        mean[test] = (y[train].mean() - y[test]) ** 2
        for at in range(x.shape[1]):
            many = np.tile(x[test], (SHUFFLES, 1))
            many[:, at] = np.concatenate([rng.permutation(x[test, at]) for _ in range(SHUFFLES)])
            shuffled = (forest.predict(many).reshape(SHUFFLES, -1) - y[test]) ** 2
            growth[at, test] = shuffled.mean(axis=0) - own[test]
    variance = mean.mean() or 1.0
    return growth / variance, 1.0 - own.mean() / variance


def _paired_test(losses: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each row its mean, the ends of its interval, and the probability of such a mean, or a larger one, by chance."""
    from scipy.stats import t

    count = losses.shape[1]
    middle = losses.mean(axis=1)
    error = np.maximum(losses.std(axis=1, ddof=1) / np.sqrt(count), 1e-12)
    reach = t.ppf((1 + SURE) / 2, count - 1) * error
    return middle, middle - reach, middle + reach, t.sf(middle / error, count - 1)


def _holm(chances: Floats) -> Floats:
    """For as many questions at a time as there are: the smallest counts as many times, the next one time less."""
    order = np.argsort(chances)
    adjusted = np.empty(len(chances))
    adjusted[order] = np.maximum.accumulate(chances[order] * np.arange(len(chances), 0, -1))
    return np.minimum(1.0, adjusted)


def _spearman(x: Floats, y: Floats) -> tuple[float, float]:
    """The correlation, and how likely one so large is by chance."""
    from scipy.stats import spearmanr

    if len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0, 1.0
    found = spearmanr(x, y)
    return float(found.statistic), float(found.pvalue)


def _trend(rho: float, chance: float) -> int:
    """1: larger is better, -1: smaller is; 0 where it is not clear, as where the best lies inside the range."""
    return 0 if abs(rho) < CLEAR or chance >= UNLIKELY else 1 if rho > 0 else -1


def _interval_of_rank(rho: float, count: int) -> tuple[float, float, float]:
    """|rho| and its interval, by Fisher's transformation with the error of Bonett and Wright (2000), Psychometrika 65."""
    from scipy.stats import norm

    middle = np.arctanh(min(abs(rho), 0.9999))
    reach = norm.ppf((1 + SURE) / 2) * np.sqrt((1 + rho**2 / 2) / max(1, count - 3))
    return abs(rho), float(np.tanh(max(0.0, middle - reach))), float(np.tanh(middle + reach))
