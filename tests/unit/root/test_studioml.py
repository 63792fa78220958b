"""Optimizer files of StudioML run as they are."""

import numpy as np
import pytest

from studio.errors import BadInput, StudioError
from studio.host import create_host
from studio.search.ask_tell.search import Search
from studio.studioml import hyperparameters_of

OLD = """
import copy
import numpy as np

class Optimizer(object):
    def __init__(self, hyperparameters, config, logger):
        self.hyperparameters, self.config, self.logger = hyperparameters, config, logger
        self.generation, self.told = 0, []

    def ask(self):
        return [self.solution() for _ in range(int(self.config.get("popsize", 4)))]

    def solution(self):
        result = []
        for h in self.hyperparameters:
            filled = copy.copy(h)
            values = np.random.uniform(h.min_range, h.max_range, h.array_length or 1)
            values = np.exp(values) if h.is_log else values
            filled.values = values if h.array_length else values[0]
            result.append(filled)
        return result

    def tell(self, population, fitnesses):
        self.told.append(fitnesses)
        self.generation += 1

    def stop(self):
        return self.generation >= 3
"""


@pytest.fixture
def optimizer(tmp_path):
    (tmp_path / "old.py").write_text(OLD)
    return create_host().optimizer(str(tmp_path / "old.py"))


def test_a_generation_is_told_when_its_last_fitness_is_in(optimizer):
    search = Search({"lr": "1e-5:0.1:l", "w": "0:1:3:a"}, optimizer=optimizer, seed=1)
    generation = [search.ask() for _ in range(4)]
    assert search.ask() is None  # it waits for its generation
    assert all(1e-5 <= s.values["lr"] <= 0.1 and s.values["w"].shape == (3,) for s in generation)
    for suggestion, fitness in zip(reversed(generation), (1.0, None, 3.0, 2.0), strict=True):
        search.tell(suggestion, fitness)
    for _ in range(2):
        for suggestion in [search.ask() for _ in range(4)]:
            search.tell(suggestion, 0.0)
    assert search.done
    assert search.done_reason == "its stop() returned True"


def test_options_are_its_config(optimizer):
    search = Search({"x": "0:1"}, optimizer=optimizer, options={"popsize": "2"}, seed=1)
    assert [search.ask() is None for _ in range(3)] == [False, False, True]


def test_its_random_numbers_are_its_own(optimizer):
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    one, other = (Search({"x": "0:1"}, optimizer=optimizer, seed=9).ask().values for _ in range(2))
    assert one == other
    assert np.random.random() == expected


def test_what_it_is_told_of_the_space():
    space = Search({"a": "1:10:l", "b": "-1:1:5:aur", "c": "0:3:i"}, optimizer="random").space
    a, b, c = hyperparameters_of(space)
    assert (a.name, a.index, a.is_log, a.array_length) == ("a", 0, True, None)
    assert (a.min_range, a.max_range) == pytest.approx((0.0, np.log(10)))
    assert (b.index, b.array_length, b.unbounded, b.rand_init) == (1, 5, True, True)
    assert (c.index, c.min_range, c.max_range, c.is_log) == (6, 0, 3, False)


def test_choices_were_unknown_to_it(optimizer):
    with pytest.raises(StudioError, match="hyperparameter x: StudioML optimizers know numbers only") as caught:
        Search({"x": ["adam", "sgd"]}, optimizer=optimizer)
    assert isinstance(caught.value, BadInput)


def test_a_search_is_resumed(optimizer, home):
    ranges = {"x": "0:1", "y": "1:8:i"}
    whole = Search(ranges, optimizer=optimizer, seed=3)
    values = [suggestion.values for suggestion in told(whole)]
    first = Search(ranges, optimizer=optimizer, seed=3, project="p")
    begun = [suggestion.values for _, suggestion in zip(range(5), told(first), strict=False)]
    first.close()
    again = Search(ranges, optimizer=optimizer, project="p")
    rest = [suggestion.values for suggestion in told(again)]
    again.close()
    assert begun + rest[len(begun) + len(rest) - len(values) :] == values


def told(search):
    for suggestion in search:
        search.tell(suggestion, suggestion.values["x"])
        yield suggestion
