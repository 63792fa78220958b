"""Recommendation of an optimizer where results are noisy, beside the best one seen."""

import studio
from studio.project.project import Project

TRUSTS_THE_FIRST = """
import studio

class TrustsTheFirst(studio.Optimizer):
    name = "trusts"

    def __init__(self, space, *, seed: int):
        self.space, self.told = space, []

    def ask(self):
        return self.space.suggestion([0.25 * (len(self.told) + 1)])

    def tell(self, suggestion, fitness):
        self.told.append(suggestion)

    def recommend(self):
        return self.told[0]
"""


def test_the_recommended_is_said_beside_the_best_seen(command, script):
    script("trusts.py", TRUSTS_THE_FIRST)
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    result = command(
        "run",
        "--optimizer=./trusts.py",
        "--project=p",
        "--max-experiments=2",
        "--no-baseline",
        "--hp=x=0:1",
        "train.py",
    )
    assert "best: p/2  fitness 0.5  x=0.5\n" in result.err
    assert "recommended: p/1  x=0.25  (best by the mean of a model: results are noisy)\n" in result.err
    project = Project("p")
    assert (project.best.number, project.recommended.number) == (2, 1)
    assert project.summary()["recommended"]["experiment"] == "p/1"


def test_nothing_is_recommended_without_an_opinion(command, script):
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    result = command(
        "run", "--optimizer=random", "--project=p", "--max-experiments=2", "--no-baseline", "--hp=x=0:1", "train.py"
    )
    assert "recommended:" not in result.err
    assert Project("p").summary()["recommended"] is None


def test_an_opinion_that_breaks_loses_no_search(command, script):
    script("trusts.py", TRUSTS_THE_FIRST.replace("self.told[0]", "self.nothing"))
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    result = command(
        "run",
        "--optimizer=./trusts.py",
        "--project=p",
        "--max-experiments=1",
        "--no-baseline",
        "--hp=x=0:1",
        "train.py",
    )
    assert result.code == 0
    assert "trusts failed in recommend: AttributeError" in result.err


def test_a_program_hears_it_too():
    search = studio.Search({"x": "0:1"}, optimizer="gp", seed=1, max_experiments=30)
    for suggestion in search:
        search.tell(suggestion, -((suggestion.values["x"] - 0.5) ** 2) + 0.2 * (suggestion.number % 3))
    assert search.recommended is not None
    assert search.recommended.number in [one.number for one in search.experiments]
