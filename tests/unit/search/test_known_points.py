"""First experiments of a search, and the optimizer of one that names none."""

import pytest

from studio.errors import BadInput
from studio.host import create_host
from studio.project.project import Project
from studio.search.ask_tell.search import Search
from studio.search.resume import resume
from studio.search.run import run
from studio.search.search_space import range_to_search, read_space, read_start
from studio.space import Choice, Real

RANGES = {"lr": "1e-5:0.1:l", "layers": "1:8:i", "kind": "adam,sgd"}


@pytest.fixture(scope="module")
def host():
    return create_host()


@pytest.mark.parametrize(
    ("ranges", "named"),
    [
        ({"lr": "1e-5:0.1:l"}, "lr=1e-5:0.1:l"),
        ({"kind": "a,b", "n": "1:8:i"}, "n=1:8:i"),
        ({"lr": "0.01:0.01:0.1"}, ""),
        ({"n": "0:3"}, ""),
        ({"kind": "a,b"}, ""),
        ({"kind": ["a", "b"], "one": 1}, ""),
        ({"x": Real("x", 0.0, 1.0)}, "x"),
        ({"x": Choice("x", (1, 2))}, ""),
        ({"lr": "1:2:xyz"}, ""),
        ({"n": "8:64:i~500"}, "n=8:64:i~500"),
        ({"lr": "1e-4:0.1~1e-2:l"}, "lr=1e-4:0.1~1e-2:l"),
        ({"lr": "0.1:l~"}, ""),
        ({"kind": "a,b~a"}, ""),
        ({}, ""),
    ],
)
def test_a_range_decides_who_searches(ranges, named, host):
    assert range_to_search(ranges, host) == named


def test_search_takes_auto_for_ranges_and_grid_for_lists():
    assert Search({"x": "0:1:l"}).optimizer_class.name == "auto"
    assert Search({"x": [1, 2]}).optimizer_class.name == "grid"


def test_the_choice_is_said_and_stored(home, script):
    notices = []

    class Notes:
        def __getattr__(self, name):
            return (lambda text: notices.append(text)) if name == "notice" else (lambda *args, **more: None)

    script("train.py", "x = 0\nprint('fitness:', x)\n")
    run("train.py", hyperparams={"x": "0.1:1:l"}, max_experiments=1, project="p", observer=Notes())
    assert "optimizer auto, because x=0.1:1:l is not a grid; choose another with --optimizer" in notices
    assert Project("p").settings["optimizer"] == "auto"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=0.01,layers=3,kind=sgd", {"lr": 0.01, "layers": 3, "kind": "sgd"}),
        ("layers=3", {"lr": 1e-3, "layers": 3, "kind": "sgd"}),
        (" lr = 1e-2 ", {"lr": 0.01, "layers": 5, "kind": "sgd"}),
    ],
)
def test_a_start_is_read(text, values, host):
    assert read_start(text, read_space(RANGES, host, grid=False)) == pytest.approx(values)


def test_a_start_may_have_a_comma_in_quotes(host):
    space = read_space({"o": "'a,b','c'", "x": "0:1"}, host, grid=False)
    assert read_start("o='a,b',x=0.2", space) == {"o": "a,b", "x": 0.2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "'lr' has no value; write for example lr=0.01,layers=3"),
        ("rate=1", "--start-from 'rate=1': no hyperparameter is called rate; there are: kind, layers, lr"),
        ("lrr=1", "--start-from 'lrr=1': no hyperparameter is called lrr; did you mean 'lr'?"),
        ("lr=fast", "hyperparameter lr: 'fast' is not a number"),
        ("lr=0.1,lr=0.2", "lr is given twice"),
        ("lr=7", "7.0 is outside 1e-05:0.1|7 is outside"),
        ("kind=rms", "'rms' is not one of 'adam', 'sgd'"),
        ("layers=2.5", "2.5 is not a whole number"),
    ],
)
def test_a_start_that_cannot_be_is_named(text, message, host):
    with pytest.raises(BadInput, match=message):
        read_start(text, read_space(RANGES, host, grid=False))


def test_starts_come_first_and_are_told_to_the_optimizer():
    starts = [{"lr": 0.01, "layers": 3, "kind": "sgd"}, {"lr": 0.001, "layers": 1, "kind": "adam"}]
    search = Search(RANGES, optimizer="gp", seed=1, max_experiments=12, start_from=starts)
    asked = []
    for suggestion in search:
        asked.append(suggestion.values)
        search.tell(suggestion, -suggestion.values["lr"])
    assert [dict(values) for values in asked[:2]] == [pytest.approx(values) for values in starts]
    assert len(asked) == 12
    assert len(search._optimizer._results) == 12


def test_resume_goes_on_after_the_starts(home):
    starts = [{"x": 0.25}, {"x": 0.75}]

    def new():
        return Search({"x": "0:1"}, optimizer="gp", project="p", seed=3, max_experiments=8, start_from=starts)

    search = new()
    search.tell(search.ask(), 1.0)
    search.close()
    search = new()
    values = []
    for suggestion in search:
        values.append(suggestion.values["x"])
        search.tell(suggestion, -abs(suggestion.values["x"] - 0.6))
    assert values[0] == 0.75
    assert len(values) == 7
    search.close()
    search = new()
    assert len(search.experiments) == 8  # and all of it repeats
    search.close()


def test_a_run_begins_where_it_is_told(home, script):
    script("train.py", "lr = 0.1\nprint('fitness:', lr)\n")
    given = {"hyperparams": {"lr": "0.001:1:l"}, "project": "p", "seed": 1, "no_baseline": True}
    run("train.py", start_from=["lr=0.05", "lr=0.5"], max_experiments=3, **given)
    assert [e.values["lr"] for e in Project("p").experiments][:2] == pytest.approx([0.05, 0.5])
    resume("p", max_experiments=5)
    assert [e.number for e in Project("p").experiments] == [1, 2, 3, 4, 5]


def test_a_grid_takes_no_start(home, script):
    script("train.py", "lr = 0.1\nprint('fitness:', lr)\n")
    with pytest.raises(BadInput, match="a grid, which runs all of its values"):
        run("train.py", hyperparams={"lr": "1,2"}, start_from=["lr=1"])


def test_the_optimizer_hears_why_it_failed(home, script):
    script("listens.py", LISTENS)
    script("train.py", "x = 0\nimport time\ntime.sleep(30 + x)\n")
    run(
        "train.py", hyperparams={"x": "0:1"}, optimizer="./listens.py", max_experiments=1, max_duration=0.5, project="p"
    )
    assert [e.failure for e in Project("p").experiments] == ["timeout"]


LISTENS = """
import studio

class Listens(studio.Optimizer):
    name = "listens"

    def __init__(self, space, *, seed: int):
        self.space = space

    def ask(self):
        return self.space.suggestion([0.5])

    def tell(self, suggestion, fitness, *, failure=""):
        assert (fitness, failure) == (None, "timeout")
"""
