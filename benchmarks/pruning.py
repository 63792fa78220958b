"""Comparison of rules for pruning with those of Optuna: `python -m benchmarks.pruning`.

Each task is a set of learning curves of random configurations. A search runs the same configurations in the same order under each
rule, a value an epoch, so that the rules differ and nothing else. Printed are, for each rule, in the mean over tasks and seeds:

used    epochs that ran, with those of runs that ran again, in % of all
lost    points of accuracy of the chosen configuration below the best of all, both by their last value without noise
worst   the largest loss
kept    how often the truly best configuration was run to its end, in %

The tasks are models of scikit-learn that are trained here, a minute each. `--lcbench MODEL` takes instead the surrogate of LCBench in YAHPO
Gym (Pfisterer et al. 2022): the file lcbench/model.onnx of the repository slds-lmu/yahpo_data, with onnxruntime installed.
"""

import argparse
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from studio.interfaces import Pruner
from studio.plugins.pruning import FastPruner, Halving, SafePruner
from studio.search.ask_tell.pruning import Pruning

CONFIGURATIONS = 50
NOISE = 0.5  # points of accuracy, standard deviation of each value of the surrogate
EPOCHS = 27  # of the trained tasks


@dataclass
class Task:
    """Curves of shape (configurations, epochs), in points of accuracy, as a rule sees them; `true`: without noise."""

    seen: np.ndarray
    true: np.ndarray


@dataclass
class Result:
    """Figures of one rule: a list item for each search."""

    used: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)

    def add(self, task: Task, epochs: int, finished: list[int]) -> None:
        ends = task.true[:, -1]
        chosen = max(finished, key=lambda number: task.seen[number, -1])
        self.used.append(100 * epochs / task.seen.size)
        self.lost.append(float(ends.max() - ends[chosen]))
        self.kept.append(int(ends.argmax()) in finished)


# --- rules ------------------------------------------------------------------------------------------------------------

Rule = Callable[[Task], tuple[int, list[int]]]  # -> epochs that ran, and the configurations that ran to their end


def studio_rule(kind: type[Pruner], after: int | None = None) -> Rule:
    def search(task: Task) -> tuple[int, list[int]]:
        pruner = kind()
        pruner.after = after or pruner.after
        pruning, epochs, finished = Pruning(pruner), 0, []
        for number, curve in enumerate(task.seen):
            stops = False
            for count, value in enumerate(curve, 1):
                epochs += 1
                if pruning.is_checkpoint(number, count) and (stops := pruning.report(number, count, float(value))):
                    break
            pruning.tell(number, float(value), count, pruned=stops)
            finished += [] if stops else [number]
        for number in pruning.choose_reruns():
            epochs += task.seen.shape[1]
            finished.append(number)
        return epochs, finished

    return search


def optuna_rule(make: Callable[[], object]) -> Rule:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)

    def search(task: Task) -> tuple[int, list[int]]:
        study = optuna.create_study(direction="maximize", pruner=make())  # type: ignore[arg-type]
        epochs, finished = 0, []
        for number, curve in enumerate(task.seen):
            trial = study.ask()
            for step, value in enumerate(curve):
                epochs += 1
                trial.report(float(value), step)
                if step + 1 < len(curve) and trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, float(curve[-1]))
                finished.append(number)
        return epochs, finished

    return search


def rules() -> dict[str, Rule]:
    from optuna import pruners

    return {
        "none": lambda task: (task.seen.size, list(range(len(task.seen)))),
        "Optuna, median": optuna_rule(pruners.MedianPruner),
        "Optuna, median from 5": optuna_rule(lambda: pruners.MedianPruner(n_warmup_steps=4)),
        "Optuna, halving": optuna_rule(pruners.SuccessiveHalvingPruner),
        "Optuna, Hyperband": optuna_rule(lambda: pruners.HyperbandPruner(max_resource=EPOCHS)),
        "halving from 1": studio_rule(Halving, 1),
        "fast": studio_rule(FastPruner),
        "safe": studio_rule(SafePruner),
    }


# --- tasks ------------------------------------------------------------------------------------------------------------


def trained_tasks(seeds: range) -> Iterator[tuple[str, Task]]:
    """Yield networks and linear models that are trained by epochs; the noise is that of a small validation set."""
    from sklearn.datasets import load_breast_cancer, load_digits, make_classification
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    data = {
        "digits": load_digits(return_X_y=True),
        "cancer": load_breast_cancer(return_X_y=True),
        "synthetic": make_classification(1500, 30, n_informative=12, n_classes=4, flip_y=0.05, random_state=7),
    }
    for (name, (points, labels)), kind, seed in itertools.product(data.items(), ("mlp", "sgd"), seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(points))
        points, labels = (points[order] - points.mean(0)) / (points.std(0) + 1e-9), labels[order]
        train, check, test = np.split(np.arange(len(points)), [len(points) // 2, len(points) // 2 + 100])
        seen, true = np.empty((CONFIGURATIONS, EPOCHS)), np.empty((CONFIGURATIONS, EPOCHS))
        for number in range(CONFIGURATIONS):
            rate, decay = 10 ** rng.uniform(-5, 0), 10 ** rng.uniform(-6, 0)
            if kind == "mlp":
                width, batch = int(2 ** rng.uniform(2, 7)), int(2 ** rng.uniform(3, 8))
                model = MLPClassifier(
                    (width,), alpha=decay, learning_rate_init=rate, batch_size=batch, random_state=seed
                )
            else:
                model = SGDClassifier(alpha=decay, learning_rate="constant", eta0=rate, random_state=seed)
            for epoch in range(EPOCHS):
                try:
                    model.partial_fit(points[train], labels[train], np.unique(labels))
                    seen[number, epoch] = 100 * model.score(points[check], labels[check])
                    true[number, epoch] = 100 * model.score(points[test], labels[test])
                except ValueError:  # the weights are not finite any more
                    seen[number, epoch:], true[number, epoch:] = 0.0, 0.0
                    break
        yield f"{name}, {kind}", Task(seen, true)


def surrogate_tasks(model: str, seeds: range) -> Iterator[tuple[str, Task]]:
    """Yield the 34 tasks of the surrogate of LCBench: networks on tables, 52 epochs each, validation accuracy with noise."""
    import onnxruntime

    session, epochs = onnxruntime.InferenceSession(model), 52
    for task, seed in itertools.product(range(1, 36), seeds):
        if task == 5:  # has no task in the benchmark
            continue
        rng = np.random.default_rng(1000 * task + seed)
        rows = np.empty((CONFIGURATIONS, epochs, 8), np.float32)
        # in this order: epoch, batch size, learning rate, momentum, weight decay, layers, units, dropout
        low = np.array([16, 1e-4, 0.1, 1e-5, 1, 64, 0])
        high = np.array([512, 1e-1, 0.99, 0.1, 5, 1024, 1])
        unit = rng.random((CONFIGURATIONS, 7))
        values = low + unit * (high - low)
        for column in (0, 1, 5):  # on a logarithmic scale
            values[:, column] = low[column] * (high[column] / low[column]) ** unit[:, column]
        values[:, [0, 4, 5]] = np.rint(values[:, [0, 4, 5]])
        rows[:, :, 1:] = values[:, None, :]
        rows[:, :, 0] = np.arange(1, epochs + 1)
        flat = rows.reshape(-1, 8)
        inputs = {"x_cat": np.full((len(flat), 1), task, np.int32), "x_cont": flat}
        true = (
            session.run(None, inputs)[0][:, 1].reshape(CONFIGURATIONS, epochs).astype(float)
        )  # second output: val_accuracy
        yield str(task), Task(true + rng.normal(0, NOISE, true.shape), true)


# --- the table --------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lcbench", metavar="MODEL")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results = {name: Result() for name in rules()}
    tasks = surrogate_tasks(options.lcbench, seeds) if options.lcbench else trained_tasks(seeds)
    for _, task in tasks:
        for name, rule in rules().items():
            results[name].add(task, *rule(task))
    searches = len(results["none"].used)
    print(f"{searches} searches of {CONFIGURATIONS} configurations\n")
    print("| rule | used % | lost | worst | kept % |\n|---|---|---|---|---|")
    for name, result in results.items():
        used, lost = np.mean(result.used), np.mean(result.lost)
        print(f"| {name} | {used:.0f} | {lost:.2f} | {max(result.lost):.1f} | {100 * np.mean(result.kept):.0f} |")


if __name__ == "__main__":
    main()
