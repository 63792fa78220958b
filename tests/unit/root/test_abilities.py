"""Optional abilities of optimizers: found from their methods, asked for precisely, replayed on resume."""

import pytest

import studio
from studio.errors import BadInput
from studio.project.project import Project
from studio.search.ask_tell.search import Search
from studio.search.run import run


class Plain(studio.Optimizer):
    name = "plain"

    def __init__(self, space, *, seed: int):
        self.space, self.count, self.heard = space, 0, []

    def ask(self):
        self.count += 1
        return self.space.suggestion([(self.count % 10) / 10] * self.space.dimensions)

    def tell(self, suggestion, fitness):
        self.heard.append((suggestion.number, fitness))


class Able(Plain):
    name = "able"

    def tell(self, suggestion, fitness, *, cost=None, constraints=None, objectives=None, failure=None):
        self.heard.append((suggestion.number, fitness, cost, constraints, objectives, failure))

    def report(self, suggestion, step, fitness):
        self.heard.append((suggestion.number, step, fitness))
        return fitness < 0


def test_they_are_found_from_the_class():
    assert [ability for ability in Plain.ABILITIES if Plain.takes(ability)] == []
    assert all(map(Able.takes, Able.ABILITIES))


def test_what_it_cannot_take_is_refused_by_name():
    search = Search({"x": "0:1"}, optimizer=Plain)
    suggestion = search.ask()
    for extras, ability in (
        ({"cost": 1.0}, "cost"),
        ({"constraints": [0]}, "constraints"),
        ({"objectives": [1, 2]}, "objectives"),
        ({"failure": "memory"}, "failure"),
    ):
        with pytest.raises(BadInput, match=f"optimizer plain does not take {ability}"):
            search.tell(suggestion, 1.0, **extras)
    with pytest.raises(BadInput, match="optimizer plain does not take reports"):
        search.report(suggestion, 1, 0.5)
    assert search.untold == [1]


def test_what_was_told_and_reported_is_repeated_on_resume(home):
    search = Search({"x": "0:1"}, optimizer=Able, project="p")
    one, other = search.ask(), search.ask()
    assert search.report(one, 1, 0.5) is False
    assert search.report(other, 1, -0.5) is True
    search.tell(other, -0.5)
    search.tell(one, 2.0, cost=3.0, constraints=[-1], objectives=[2, 4])
    expected = search._optimizer.heard  # what resume must repeat, which nothing public shows
    search.close()
    again = Search({"x": "0:1"}, optimizer=Able, project="p")
    assert again._optimizer.heard == expected
    assert [experiment.status for experiment in again.experiments] == ["completed", "pruned"]
    assert again.best.number == 1
    again.close()


PRUNES = """
import studio

class Prunes(studio.Optimizer):
    name = "prunes"

    def __init__(self, space, *, seed: int):
        self.space, self.count = space, 0

    def ask(self):
        self.count += 1
        return self.space.suggestion([0.1 if self.count % 2 else 0.9])

    def tell(self, suggestion, fitness, *, cost):
        assert cost > 0

    def report(self, suggestion, step, fitness):
        return fitness < 0.5
"""


def test_the_driver_ends_what_the_optimizer_gives_up(home, script):
    script("prunes.py", PRUNES)
    script("train.py", "import time\nx = 0\nprint('fitness:', x)\ntime.sleep(30 if x < 0.5 else 0)\n")
    run(
        "train.py",
        hyperparams={"x": "0:1"},
        optimizer="./prunes.py",
        max_experiments=2,
        num_workers=2,
        project="p",
        no_baseline=True,
    )
    bad, good = Project("p").experiments
    assert (bad.status, bad.fitness, bad.reason) == ("pruned", None, "prunes ended it after 1 reports")
    assert bad.metric["value"] == pytest.approx(0.1)
    assert (good.status, good.fitness) == ("completed", pytest.approx(0.9))
