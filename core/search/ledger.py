"""What a `Search` knows: its suggestions, what was told of them, and the best."""

from dataclasses import replace

from studio.experiment import Experiment, Status
from studio.space import Suggestion


class Ledger:
    def __init__(self, project: str):
        self.project = project
        self.suggestions: dict[int, Suggestion] = {}
        self.experiments: dict[int, Experiment] = {}
        self._untold: dict[int, None] = {}  # an ordered set
        self._best: int | None = None

    def asked(self, suggestion: Suggestion) -> None:
        assert suggestion.number is not None
        self.suggestions[suggestion.number] = suggestion
        self.experiments[suggestion.number] = Experiment(self.project, suggestion.number, "queued", suggestion.values)
        self._untold[suggestion.number] = None

    def told(self, number: int, fitness: float | None, *, pruned: bool = False) -> None:
        status: Status = "failed" if fitness is None else "pruned" if pruned else "completed"
        before = self.experiments[number]
        self.experiments[number] = replace(before, status=status, fitness=fitness if status == "completed" else None)
        self._untold.pop(number, None)
        if number == self._best:  # a retry told it again
            self._best = self._find_best()
        elif status == "completed" and (self.best is None or _rank(self.experiments[number]) > _rank(self.best)):
            self._best = number

    @property
    def next_number(self) -> int:
        return next(reversed(self.suggestions), 0) + 1  # a rebuilt record may have holes

    @property
    def untold(self) -> list[int]:
        """Numbers that were asked for and never told, in the order of their asks."""
        return list(self._untold)

    @property
    def best(self) -> Experiment | None:
        return None if self._best is None else self.experiments[self._best]

    def _find_best(self) -> int | None:
        rated = [number for number, experiment in self.experiments.items() if experiment.fitness is not None]
        return max(rated, key=lambda number: _rank(self.experiments[number]), default=None)


def _rank(experiment: Experiment) -> tuple[float, int]:
    """Larger is better; of equals, the lowest number."""
    assert experiment.fitness is not None
    return experiment.fitness, -experiment.number
