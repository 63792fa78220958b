"""Plain data that travels, and its one order."""

from studio.experiment import Experiment
from studio.ranking import ranked


def test_the_larger_fitness_ranks_first_and_of_equals_the_lower_number() -> None:
    fitnesses = {1: 0.5, 2: None, 3: 0.9, 4: 0.9, 5: -1.0}
    experiments = [Experiment("p", number, "completed", {}, fitness=fitness) for number, fitness in fitnesses.items()]
    assert [experiment.number for experiment in ranked(reversed(experiments))] == [3, 4, 1, 5]
