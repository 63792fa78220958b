"""Problems for the comparison of optimizers: synthetic functions, models that are trained, a limit of memory.

A problem is a space and a cost; smaller is better, None is a failure. Instances differ by seed, so that no optimizer is tuned
to one; training costs 2 to 60 ms an evaluation.
"""

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.space import Choice, Integer, Parameter, Real, Space

Cost = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Problem:
    """A cost over a space. `minimum`: of the cost, None where nobody knows it. `truth`: the cost without its noise."""

    space: Space
    cost: Cost
    minimum: float | None = None
    truth: Cost | None = None


@functools.cache
def typical(name: str, seed: int) -> float:
    """Return the median cost of 60 random points that do not fail."""
    task, rng = PROBLEMS[name](seed), np.random.default_rng(12345)
    costs = [task.cost(task.space.values(rng.random(task.space.dimensions))) for _ in range(60)]
    return float(np.median([cost for cost in costs if cost is not None]))


# --- synthetic ----------------------------------------------------------------------------------------------------------


def numbers(count: int, low: float, high: float) -> list[Parameter]:
    return [Real(f"x{i}", low, high) for i in range(count)]


def smooth(name: str, seed: int) -> Problem:
    """Return a function of numbers, shifted so that the middle is not the optimum."""
    function, d, half = SMOOTH[name]
    shift = half * np.random.default_rng(1000 + seed).uniform(-0.6, 0.6, d)
    return Problem(
        Space(numbers(d, -half, half)), lambda v: function(np.array([v[f"x{i}"] for i in range(d)]) - shift), 0.0
    )


def ellipsoid(z: np.ndarray) -> float:
    return float(10 ** (3 * np.arange(len(z)) / (len(z) - 1)) @ z**2)


def levy(z: np.ndarray) -> float:
    w = 1 + z / 4
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
    return float(np.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2)


def griewank(z: np.ndarray) -> float:
    return float(1 + z @ z / 4000 - np.prod(np.cos(z / np.sqrt(np.arange(1, len(z) + 1)))))


SMOOTH: dict[str, tuple[Callable[[np.ndarray], float], int, float]] = {
    "ellipsoid6": (ellipsoid, 6, 4.0),
    "levy4": (levy, 4, 8.0),
    "griewank8": (griewank, 8, 10.0),
}


def network(seed: int) -> Problem:
    """Return a problem like a network's loss: a valley of learning rate and width moved by a choice; a list of batch sizes."""
    rng = np.random.default_rng(2000 + seed)
    space = Space(
        [
            Real("lr", 1e-5, 1.0, log=True),
            Integer("width", 16, 512, log=True),
            Integer("layers", 1, 8),
            Choice("batch", (16, 32, 64, 128, 256)),
            Choice("kind", ("sgd", "adam", "rms", "lion")),
            Real("dropout", 0.0, 0.6),
        ]
    )
    best, move, worse = rng.uniform(0.25, 0.75, 6), rng.uniform(-0.15, 0.15, 4), rng.permutation([0.0, 0.05, 0.1, 0.3])

    def cost(values: dict[str, Any]) -> float:
        u = space.point(values)
        kind = ("sgd", "adam", "rms", "lion").index(values["kind"])
        valley = u[0] - best[0] + move[kind] + 0.4 * (u[1] - best[1]) + 0.2 * (u[3] - best[3])
        rest = (
            0.6 * (u[1] - best[1]) ** 2
            + 0.4 * (u[2] - best[2]) ** 2
            + 0.3 * (u[3] - best[3]) ** 2
            + 0.2 * (u[5] - best[5]) ** 2
        )
        return float(4 * valley**2 + 2 * max(0.0, valley - 0.2) + rest + worse[kind])

    return Problem(space, cost, 0.0)


def memory(seed: int) -> Problem:
    """Return a problem with a limit: parameters and activations for depth, width and batch must fit. About half of all points
    do not, and larger models are better, so the best lies at the limit.
    """
    rng = np.random.default_rng(3000 + seed)
    space = Space(
        [
            Integer("depth", 2, 32, log=True),
            Integer("width", 64, 2048, log=True),
            Integer("batch", 4, 256, log=True),
            Real("lr", 1e-5, 0.1, log=True),
            Real("decay", 1e-6, 0.1, log=True),
            Choice("kind", ("sgd", "adam")),
        ]
    )
    best = rng.uniform(0.3, 0.7, 6)

    def use(values: dict[str, Any]) -> float:
        weights = values["depth"] * values["width"] ** 2
        return float(
            (3 if values["kind"] == "adam" else 2) * weights
            + 24.0 * values["batch"] * values["depth"] * values["width"]
        )

    points = np.random.default_rng(7).random((2000, 6))
    limit = float(np.quantile([use(space.values(point)) for point in points], rng.uniform(0.45, 0.55)))

    def cost(values: dict[str, Any]) -> float | None:
        u = space.point(values)
        if use(values) > limit:
            return None
        size = math.log(values["depth"] * values["width"] ** 2)
        tuning = (
            2 * (u[3] - best[3] + 0.3 * (u[1] - 0.5)) ** 2 + 0.5 * (u[2] - best[2]) ** 2 + 0.3 * (u[4] - best[4]) ** 2
        )
        return tuning - 0.06 * size + 1.5

    return Problem(space, cost)


# --- live -----------------------------------------------------------------------------------------------------------------


@functools.cache
def data(name: str) -> tuple[np.ndarray, ...]:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
    scale = StandardScaler().fit(X_train)
    return scale.transform(X_train), scale.transform(X_test), y_train, y_test


def boosting(seed: int) -> Problem:
    from sklearn.ensemble import GradientBoostingRegressor

    space = Space(
        [
            Real("learning_rate", 1e-3, 1.0, log=True),
            Integer("max_depth", 1, 8),
            Real("subsample", 0.2, 1.0),
            Integer("min_samples_leaf", 1, 64, log=True),
            Choice("loss", ("squared_error", "huber", "absolute_error")),
            Choice("n_estimators", (10, 20, 40, 80)),
        ]
    )

    def cost(values: dict[str, Any]) -> float:
        X, X_test, y, y_test = data("diabetes")
        model = GradientBoostingRegressor(random_state=seed, **values).fit(X, y)
        return float(np.mean((model.predict(X_test) - y_test) ** 2) / np.var(y_test))

    return Problem(space, cost)


def pipeline(seed: int) -> Problem:
    from sklearn.svm import SVC

    space = Space(
        [
            Real("C", 1e-3, 1e3, log=True),
            Real("gamma", 1e-5, 1.0, log=True),
            Choice("kernel", ("rbf", "poly", "sigmoid")),
            Choice("degree", (2, 3, 4)),
            Real("keep", 0.1, 1.0),
        ]
    )

    def cost(values: dict[str, Any]) -> float:
        X, X_test, y, y_test = data("breast_cancer")
        kept = max(2, round(values["keep"] * X.shape[1]))
        model = SVC(
            C=values["C"], gamma=values["gamma"], kernel=values["kernel"], degree=values["degree"], random_state=seed
        )
        side = model.fit(X[:, :kept], y).decision_function(X_test[:, :kept])
        return float(np.logaddexp(0.0, -2.0 * np.clip(side, -50, 50) * np.where(y_test == 1, 1, -1)).mean())

    return Problem(space, cost)


def forest(seed: int) -> Problem:
    from sklearn.ensemble import ExtraTreesClassifier

    space = Space(
        [
            Integer("max_depth", 1, 20),
            Integer("min_samples_leaf", 1, 20, log=True),
            Integer("max_features", 1, 13),
            Choice("criterion", ("gini", "entropy")),
            Choice("bootstrap", (True, False)),
            Choice("n_estimators", (5, 10, 20, 40)),
        ]
    )

    def cost(values: dict[str, Any]) -> float:
        X, X_test, y, y_test = data("wine")
        model = ExtraTreesClassifier(random_state=seed, **values).fit(X, y)
        found = np.clip(model.predict_proba(X_test)[np.arange(len(y_test)), y_test], 1e-3, 1.0)
        return float(-np.log(found).mean())

    return Problem(space, cost)


def elastic(seed: int) -> Problem:
    from sklearn.linear_model import SGDRegressor

    space = Space(
        [
            Real("alpha", 1e-6, 1.0, log=True),
            Real("l1_ratio", 0.0, 1.0),
            Real("eta0", 1e-5, 1.0, log=True),
            Real("power_t", 0.0, 1.0),
            Choice("loss", ("squared_error", "huber", "epsilon_insensitive")),
            Choice("learning_rate", ("constant", "invscaling", "adaptive")),
        ]
    )

    def cost(values: dict[str, Any]) -> float:
        X, X_test, y, y_test = data("diabetes")
        model = SGDRegressor(penalty="elasticnet", max_iter=20, tol=None, random_state=seed, **values)
        error = np.mean((model.fit(X, (y - y.mean()) / y.std()).predict(X_test) * y.std() + y.mean() - y_test) ** 2)
        return float(min(error / np.var(y_test), 10.0))

    return Problem(space, cost)


def perceptron(seed: int) -> Problem:
    """Return a noisy problem: each evaluation starts from other weights."""
    from sklearn.neural_network import MLPRegressor

    space = Space(
        [
            Real("learning_rate_init", 1e-4, 0.3, log=True),
            Real("alpha", 1e-6, 1.0, log=True),
            Integer("hidden", 2, 64, log=True),
            Choice("batch_size", (8, 16, 32, 64)),
            Choice("activation", ("relu", "tanh", "logistic")),
            Integer("max_iter", 2, 15),
        ]
    )
    draws = np.random.default_rng(seed)

    def train(values: dict[str, Any], start: int) -> float:
        X, X_test, y, y_test = data("diabetes")
        given = {key: value for key, value in values.items() if key != "hidden"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = MLPRegressor(hidden_layer_sizes=(values["hidden"],), random_state=start, **given)
            error = np.mean((model.fit(X, (y - y.mean()) / y.std()).predict(X_test) * y.std() + y.mean() - y_test) ** 2)
        return float(min(error / np.var(y_test), 10.0))

    def cost(values: dict[str, Any]) -> float:
        return train(values, int(draws.integers(2**31)))

    def truth(values: dict[str, Any]) -> float:
        return float(np.mean([train(values, start) for start in range(10)]))

    return Problem(space, cost, truth=truth)


def kernel(seed: int) -> Problem:
    """Kernel ridge regression of two thirds of the training rows, others for each seed."""
    from sklearn.kernel_ridge import KernelRidge

    space = Space(
        [
            Real("alpha", 1e-6, 1e2, log=True),
            Real("gamma", 1e-5, 10.0, log=True),
            Real("coef0", 0.0, 3.0),
            Integer("degree", 1, 6),
            Choice("kernel", ("rbf", "laplacian", "polynomial", "cosine")),
        ]
    )
    X, X_test, y, y_test = data("diabetes")
    rows = np.random.default_rng(4000 + seed).permutation(len(y))[: 2 * len(y) // 3]
    X, y = X[rows], y[rows]

    def cost(values: dict[str, Any]) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = KernelRidge(**values).fit(X, y - y.mean()).predict(X_test) + y.mean()
        return float(min(np.mean((found - y_test) ** 2) / np.var(y_test), 10.0))

    return Problem(space, cost)


def tree(seed: int) -> Problem:
    """One tree: steps and plateaus."""
    from sklearn.tree import DecisionTreeClassifier

    space = Space(
        [
            Integer("max_depth", 1, 30, log=True),
            Integer("min_samples_split", 2, 64, log=True),
            Integer("min_samples_leaf", 1, 32, log=True),
            Real("max_features", 0.1, 1.0),
            Real("ccp_alpha", 1e-5, 0.1, log=True),
            Choice("criterion", ("gini", "entropy")),
            Choice("splitter", ("best", "random")),
        ]
    )

    def cost(values: dict[str, Any]) -> float:
        X, X_test, y, y_test = data("breast_cancer")
        found = DecisionTreeClassifier(random_state=seed, **values).fit(X, y).predict_proba(X_test)
        return float(-np.log(np.clip(found[np.arange(len(y_test)), y_test], 1e-2, 1.0)).mean())

    return Problem(space, cost)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    **{name: functools.partial(smooth, name) for name in SMOOTH},
    "network6": network,
    "memory6": memory,
    "live_boosting": boosting,
    "live_kernel": kernel,
    "live_tree": tree,
    "live_pipeline": pipeline,
    "live_forest": forest,
    "live_elastic": elastic,
    "live_perceptron": perceptron,
}
