"""Rules that end a search early: a target, patience, and a number of failures."""

from dataclasses import dataclass

from studio.experiment import Experiment
from studio.format import counted, number
from studio.settings import Settings


@dataclass
class StopRules:
    """Decides after each experiment whether the search ends. Take the experiments in the order in which they ended.

    sign        turns the metric into a fitness, which is maximised
    dimensions  of the search space
    """

    settings: Settings
    sign: float
    dimensions: int
    finished: int = 0
    failed: int = 0
    best: float | None = None
    since_best: int = 0

    def add(self, experiment: Experiment) -> tuple[str, str]:
        """Take an ended experiment. Return why the search ends, a key of `STATES`, and a message; two empty texts if it goes on."""
        self.finished += 1
        self.since_best += 1
        if experiment.status == "failed":
            self.failed += 1
            most = self.settings.max_failures
            if most is not None and self.failed >= most:
                return "failures", f"{counted(self.failed, 'experiment')} failed, and --max-failures is {most}"
        if experiment.status == "completed" and experiment.fitness is not None:
            return self._take_fitness(experiment, experiment.fitness)
        return self._check_patience()

    def _take_fitness(self, experiment: Experiment, fitness: float) -> tuple[str, str]:
        if self.best is None or fitness > self.best:
            self.best, self.since_best = fitness, 0
        target = self.settings.target
        if target is not None and fitness >= self.sign * target:
            reached = number(self.sign * fitness)
            return "target", f"experiment {experiment.number} reached {reached}, and --target is {number(target)}"
        return self._check_patience()

    def _check_patience(self) -> tuple[str, str]:
        patience = self.settings.patience
        if patience is None or self.since_best < patience or self.finished < 2 * self.dimensions + 10:
            return "", ""
        return (
            "patience",
            f"the last {counted(self.since_best, 'experiment')} brought no gain, and --patience is {patience}",
        )
