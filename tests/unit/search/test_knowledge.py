"""`--learn-from`: what an earlier search found out is told to the optimizer of a new one."""

import numpy as np
import pytest

import studio
from studio.errors import BadInput
from studio.project.project import Project
from studio.search.resume import resume
from studio.search.run import run
from studio.space import Choice, Integer, Real, Space

TRAIN = "lr, width, depth = 0.1, 16, 2\nprint('fitness:', -abs(lr - 0.3) - abs(width - 20) / 100 - depth / 9)\n"
TOGETHER = {"optimizer": "gp", "seed": 1, "no_baseline": True}


@pytest.fixture
def earlier(home, script):
    script("train.py", TRAIN)
    return run(
        "train.py", hyperparams={"lr": "0:1", "width": "8:64:i"}, project="earlier", max_experiments=12, **TOGETHER
    )


def test_a_search_goes_on_from_an_earlier_one(earlier, capsys):
    """Other ranges, one hyperparameter less and one more; on resume it is the same without the earlier project."""
    given = {"hyperparams": {"lr": "0:0.5", "depth": "1:4:i"}, "learn_from": "earlier", "project": "p"}
    run("train.py", max_experiments=3, **given, **TOGETHER)
    first = [e.values for e in Project("p").experiments]
    inside = [e for e in earlier.experiments if e.values["lr"] <= 0.5]
    search = studio.Search(
        Space([Real("lr", 0.0, 0.5), Integer("depth", 1, 4)]),
        optimizer="gp",
        seed=1,
        learn_from=[({"lr": e.values["lr"], "depth": 2}, e.fitness) for e in inside],
    )
    for values, told in zip(first, Project("p").experiments, strict=True):
        suggestion = search.ask()
        assert suggestion.values == pytest.approx(values)
        search.tell(suggestion, told.fitness)
    (earlier.folder / "studio.db").rename(earlier.folder / "gone.db")
    resume("p", max_experiments=4)
    assert Project("p").experiments[3].values == pytest.approx(search.ask().values)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learn_from": "earlyer"}, "there is no project 'earlyer'"),
        ({"learn_from": "earlier", "metric": "loss:min"}, "it maximises fitness, this search minimises loss"),
        (
            {"learn_from": "earlier", "optimizer": "grid", "hyperparams": {"lr": "1,2"}},
            "grid learns from what it asked for alone",
        ),
        ({"learn_from": "earlier", "hyperparams": {"depth": "1:4:i"}}, "it searched lr, width, this search depth"),
        ({"learn_from": "earlier", "hyperparams": {"lr": "5:9"}}, "all of its results lie outside"),
    ],
)
def test_what_cannot_be_learned_from(recorded, script, given, says):
    script("train.py", TRAIN)
    ranges = {"lr": "0:1", "width": "8:64:i"}
    recorded("earlier", [({"lr": x / 10, "width": 8 + x}, 0.5) for x in range(1, 5)], ranges=ranges, optimizer="gp")
    settings = {"hyperparams": {"lr": "0:1"}, "project": "p", "max_experiments": 1, **TOGETHER, **given}
    with pytest.raises((BadInput, studio.errors.StudioError), match=says):
        run("train.py", **settings)


def test_what_was_learned_saves_the_first_design():
    """An earlier search of the same function: the new one begins near its best."""
    space = Space([Real("x", 0.0, 1.0), Real("y", 0.0, 1.0), Choice("kind", ("a", "b"))])

    def fitness(values):
        return -((values["x"] - 0.3) ** 2) - (values["y"] - 0.7) ** 2 - (values["kind"] == "b")

    def search(**given):
        found = studio.Search(space, optimizer="auto", seed=1, max_experiments=20, **given)
        for suggestion in found:
            found.tell(suggestion, fitness(suggestion.values))
        return found.experiments

    before = search()
    after = search(learn_from=[(e.values, e.fitness) for e in before])
    assert np.mean([e.fitness for e in after[:5]]) > np.mean([e.fitness for e in before[:5]]) + 0.2
    assert max(e.fitness for e in after[:5]) > -1e-3
