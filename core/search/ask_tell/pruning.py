"""The state of pruning in a search: what runs had reported at each checkpoint, and what was stopped there.

The state is made of the events of the journal alone, in their order, so that a resumed search makes the same decisions.
"""

import statistics
from collections.abc import Sequence

from studio.host import plugin_call
from studio.interfaces import Pruner, StoppedRun

NEAR_THE_END = 0.85  # share of the usual number of reports from which stopping a run saves next to nothing


class Pruning:
    """Decides at each checkpoint whether a run is stopped, by the rule `pruner`."""

    def __init__(self, pruner: Pruner):
        self.pruner = pruner
        self._at: dict[int, dict[int, float]] = {}  # reports at the checkpoint -> number -> fitness
        self._stopping: dict[int, StoppedRun] = {}  # stopped, and not told yet
        self._stopped: dict[int, StoppedRun] = {}  # every run that was told as pruned, also if it ran again later
        self._ends: dict[int, tuple[int, float]] = {}  # runs that completed: reports and fitness

    @property
    def usual_reports(self) -> int | None:
        """Number of reports of a run that goes to its end: the median of those that did. None before the first."""
        return int(statistics.median_low([reports for reports, _ in self._ends.values()])) if self._ends else None

    def is_checkpoint(self, number: int, reports: int) -> bool:
        """Return whether the run of experiment `number` is judged after so many reports. One that was stopped before is not."""
        if reports < self.pruner.after or number in self._stopped:
            return False
        with plugin_call(self.pruner, "decides_at"):
            return bool(self.pruner.decides_at(reports))

    def report(self, number: int, reports: int, fitness: float) -> bool:
        """Take the fitness of a run at a checkpoint. Return whether to stop the run."""
        at = self._at.setdefault(reports, {})
        at[number] = fitness
        usual = self.usual_reports
        if usual is not None and reports >= NEAR_THE_END * usual:
            return False
        others = [other for each, other in at.items() if each != number]
        with plugin_call(self.pruner, "should_stop"):
            stops = bool(self.pruner.should_stop(reports, fitness, others))
        if stops:
            self._stopping[number] = StoppedRun(number, reports, fitness)
        return stops

    def tell(self, number: int, fitness: float | None, reports: int, *, pruned: bool) -> None:
        """Take the end of a run. `reports`: how many it had, 0 if that is not known."""
        stopped = self._stopping.pop(number, None)
        if pruned and stopped is not None:
            self._stopped[number] = stopped
        elif fitness is not None and not pruned and reports:
            self._ends[number] = reports, fitness

    def estimate(self, number: int) -> float | None:
        """Return the fitness that a stopped run would probably have had at its end; None if nothing tells.

        It is the fitness at the checkpoint plus the median gain of the runs that went on from there, and no better than
        the median of all completed runs: the run is known to be worse than these, and not by how much.
        """
        stopped = self._stopped.get(number)
        if stopped is None:
            return None
        at = self._at[stopped.reports]
        gains = [fitness - at[each] for each, (_, fitness) in self._ends.items() if each in at]
        if not gains:
            return stopped.fitness
        return min(
            stopped.fitness + statistics.median(gains), statistics.median(fitness for _, fitness in self._ends.values())
        )

    @property
    def stopped(self) -> Sequence[StoppedRun]:
        """Every run that was stopped, in order of number, also if it ran again later."""
        return [self._stopped[number] for number in sorted(self._stopped)]

    @property
    def was_rerun(self) -> set[int]:
        """Numbers of the stopped runs that ran again, to their end."""
        return self._stopped.keys() & self._ends.keys()

    def choose_reruns(self) -> list[int]:
        """Return the numbers of stopped runs that the rule wants to run again. Some of them may have run again already."""
        with plugin_call(self.pruner, "choose_reruns"):
            numbers = [int(number) for number in self.pruner.choose_reruns(self.stopped)]
        return [number for number in numbers if number in self._stopped]


def make_pruning(kind: type[Pruner], after: int | None) -> Pruning:
    """Return the pruning of a search by the rule `kind`. `after`: reports before the first decision; None: the rule's."""
    with plugin_call(kind, "its constructor"):
        pruner = kind()
        if after is not None:
            pruner.after = after
    return Pruning(pruner)
