"""What a search knows before its first suggestion: the script's own values, and the results of earlier projects."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import studio
from studio.cli.result import improvement
from studio.errors import BadInput
from studio.experiment import Experiment
from studio.format import short
from studio.host import create_host
from studio.interfaces import Optimizer
from studio.project.project import Project
from studio.project.records import read_meta, reading
from studio.script.places import Places
from studio.script.program import Program
from studio.search.ask_tell.search import Search
from studio.search.observer import Observer
from studio.search.plan.baseline import own_values
from studio.search.plan.earlier_results import learn_from_others
from studio.search.plan.plan import make_plan
from studio.search.resume import resume
from studio.search.run import run
from studio.search.search_space import read_space
from studio.settings import Settings, make_settings
from studio.space import Choice, Integer, Real, Space

ARGPARSE = (
    "import argparse\np = argparse.ArgumentParser()\n"
    "p.add_argument('--lr', type=float, default=0.1)\np.add_argument('--fast', action='store_true')\n"
    "p.add_argument('--depth', type=int)\np.parse_args()\n"
)
YAML = {"train.py": "import yaml\nyaml.safe_load(open('c.yaml'))\n", "c.yaml": "optim:\n  lr: 1e-2\n  kind: adam\n"}
HYDRA = {
    "train.py": "import hydra\n@hydra.main(config_path='.', config_name='c')\ndef main(cfg): pass\nmain()\n",
    "c.yaml": YAML["c.yaml"],
}


def own(files, ranges, arguments=(), env=None):
    data = {path: text.encode() for path, text in ({"train.py": files} if isinstance(files, str) else files).items()}
    places = Places(Program("train.py", arguments, env, read=data.get))
    space = read_space(ranges, create_host(), grid=False)
    return own_values({name: places.choose(name) for name in ranges}, space)


@pytest.mark.parametrize(
    ("files", "arguments", "ranges", "values"),
    [
        ("lr = 0.1\nprint(lr)", [], {"lr": "0.01:1:l"}, {"lr": 0.1}),
        ("lr = 0.1\nfor i in range(3):\n    lr *= 0.9\nprint(lr)", [], {"lr": "0.01:1:l"}, {"lr": 0.1}),
        ("m = SVC(C=1, kernel='rbf')", [], {"C": "0.1:10:l", "kernel": "rbf,poly"}, {"C": 1.0, "kernel": "rbf"}),
        ("m = Ridge(fit_intercept=True)", [], {"fit_intercept": "true,false"}, {"fit_intercept": True}),
        ("n = 2 * 64\nprint(n)", [], {"n": "8:512:il"}, {"n": 128}),
        (ARGPARSE, [], {"lr": "0.01:1:l"}, {"lr": 0.1}),
        (ARGPARSE, [], {"fast": "true,false"}, {"fast": False}),
        (ARGPARSE, ["--fast"], {"fast": "true,false"}, {"fast": True}),
        (ARGPARSE, ["--lr", "0.5"], {"lr": "0.01:1:l"}, {"lr": 0.5}),
        (ARGPARSE, ["--lr=1e-1", "--depth=3"], {"lr": "0.01:1:l", "depth": "1:8:i"}, {"lr": 0.1, "depth": 3}),
        (ARGPARSE, ["--unseen=4"], {"--unseen": "1:8:i"}, {"--unseen": 4}),
        ("import sys\nalpha = float(sys.argv[1])", ["0.25"], {"alpha": "0:1"}, {"alpha": 0.25}),
        (YAML, [], {"lr": "1e-4:1:l", "kind": "adam,sgd"}, {"lr": 0.01, "kind": "adam"}),
        (HYDRA, [], {"optim.lr": "1e-4:1:l"}, {"optim.lr": 0.01}),
        (HYDRA, ["optim.lr=0.5"], {"optim.lr": "1e-4:1:l"}, {"optim.lr": 0.5}),
        ("import os\na = float(os.getenv('ALPHA', '0.5'))", [], {"ALPHA": "0:1"}, {"ALPHA": 0.5}),
        ("lr, epochs = 0.1, 9\nprint(lr, epochs)", [], {"lr": "0.01:1:l", "epochs": "2"}, {"lr": 0.1, "epochs": 2}),
    ],
)
def test_what_the_script_has_today(files, arguments, ranges, values):
    assert own(files, ranges, arguments) == (values, "")


def test_the_environment_of_today(monkeypatch):
    text = "import os\na = float(os.environ['ALPHA'])"
    assert own(text, {"ALPHA": "0:1"}) == (None, "no source shows the value of ALPHA")
    monkeypatch.setenv("ALPHA", "0.75")
    assert own(text, {"ALPHA": "0:1"}) == ({"ALPHA": 0.75}, "")


@pytest.mark.parametrize(
    ("text", "ranges", "reason"),
    [
        ("lr = 5.0\nprint(lr)", {"lr": "0.01:1:l"}, "hyperparameter lr: 5.0 is outside 0.01:1.0"),
        ("m = Tree(max_depth=None)", {"max_depth": "1:8:i"}, "hyperparameter max_depth: None is outside 1.0:8.0"),
        ("m = SVC(kernel='rbf')", {"kernel": "a,b"}, "hyperparameter kernel: 'rbf' is not one of 'a', 'b'"),
    ],
)
def test_a_value_outside_its_range_is_bad_input(text, ranges, reason):
    with pytest.raises(BadInput, match=f"^{re.escape(reason)}$"):
        own(text, ranges)


@pytest.mark.parametrize(
    ("text", "arguments", "ranges", "reason"),
    [
        ("print(1)", ["--lr={lr}"], {"lr": "0.01:1:l"}, "no source shows the value of lr"),
        (ARGPARSE, [], {"depth": "1:8:i"}, "no source shows the value of depth"),
        (
            "def f():\n    k = 1\n    print(k)\ndef g():\n    k = 2\n    print(k)\n",
            [],
            {"k": "1:8:i"},
            "k has several values in train.py",
        ),
        (
            "if x:\n    k = 1\nelse:\n    k = 2\nprint(k)\n",
            [],
            {"k": "1:8:i"},
            "k has several values in train.py",
        ),
    ],
)
def test_values_that_cannot_be_run_say_why(text, arguments, ranges, reason):
    assert own(text, ranges, arguments) == (None, reason)


TRAIN = "lr = 0.1\nprint('fitness:', -abs(lr - 0.3))\n"


def values_of(project):
    return [experiment.values["lr"] for experiment in Project(project).experiments]


@pytest.mark.parametrize("optimizer", ["auto", "random", "cma", "tpe", "sobol", "gp"])
def test_the_first_experiment_is_the_script_as_it_is(home, script, optimizer):
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0.01:1:l"}, optimizer=optimizer, max_experiments=3, project="p", num_workers=2)
    project = Project("p")
    assert values_of("p")[0] == 0.1
    assert len(project.experiments) == 3
    assert project.baseline.number == 1


def test_it_comes_before_other_starts_and_is_run_once(home, script):
    script("train.py", TRAIN)
    starts = ["lr=0.5", "lr=0.1"]
    run("train.py", hyperparams={"lr": "0.01:1:l"}, start_from=starts, seed=1, max_experiments=3, project="p")
    assert values_of("p")[:2] == [0.1, 0.5]
    assert values_of("p")[2] not in (0.1, 0.5)


def test_resume_does_not_begin_again(home, script):
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0.01:1:l"}, start_from=["lr=0.5"], seed=1, max_experiments=1, project="p")
    resume("p", max_experiments=2)
    resume("p", max_experiments=5)
    run("train.py", hyperparams={"lr": "0.01:1:l"}, start_from=["lr=0.5"], seed=1, max_experiments=5, project="q")
    assert values_of("p") == values_of("q")
    assert values_of("p")[:2] == [0.1, 0.5]


def test_a_search_without_it_gets_none_on_resume(home, script):
    script("train.py", TRAIN)
    given = {"hyperparams": {"lr": "0.01:1:l"}, "seed": 1, "max_experiments": 2}
    run("train.py", no_baseline=True, project="p", **given)
    assert 0.1 not in values_of("p")
    assert Project("p").baseline is None
    resume("p", max_experiments=4)
    assert 0.1 not in values_of("p")
    # a project that an older version made
    assert Settings.from_dict({"script": "train.py", "optimizer": "cma"}).no_baseline
    assert not Settings.from_dict({"script": "train.py", "optimizer": "grid"}).no_baseline


def test_a_grid_is_no_search(home, script):
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0.2,0.4"}, project="p")
    assert values_of("p") == [0.2, 0.4]


FEW = """
import studio

class Few(studio.Optimizer):
    name = "few"

    def __init__(self, space, *, seed: int):
        self.space, self.size, self.asked = space, 2, 0

    def ask(self):
        if self.asked == 2:
            self.done = True
            return None
        self.asked += 1
        return studio.Suggestion({"lr": self.asked / 10 + 0.1}, {"mine": self.asked})

    def tell(self, suggestion, fitness):
        assert suggestion.point["mine"]
"""


def test_an_optimizer_of_its_own_points_hears_of_its_own_alone(home, script):
    script("few.py", FEW)
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0.01:1:l"}, optimizer="./few.py", project="p")
    assert values_of("p") == pytest.approx([0.1, 0.2, 0.3])
    assert Project("p").best.number == 3


@pytest.mark.parametrize("optimizer", ["random", "sobol"])
def test_starts_are_run_as_they_were_given(optimizer):
    search = Search({"lr": "1e-5:0.1:l", "n": "1:8:i"}, optimizer=optimizer, start_from=[{"lr": 0.003, "n": 3.0}])
    assert search.ask().values == {"lr": 0.003, "n": 3}
    search.tell(1, 0.5)
    assert search.ask().values["lr"] != 0.003
    with pytest.raises(BadInput, match=f"learn_from: {optimizer} takes no results of other searches; take optimizer="):
        Search({"lr": "0:1"}, optimizer=optimizer, learn_from=[({"lr": 0.1}, 1.0)])


def experiment(number, values, value):
    metric = {"name": "val_loss", "mode": "min", "value": value}
    return Experiment("p", number, "completed", values, metric=metric, fitness=-value)


def test_the_summary_says_what_was_gained():
    before = experiment(1, {"lr": 0.1, "kind": "sgd", "n": 3}, 0.52)
    after = experiment(7, {"lr": 0.003, "kind": "adam", "n": 3}, 0.31)
    assert improvement(before, after, "val_loss") == (
        "lr 0.1 → 0.003, kind sgd → adam: val_loss 0.52 → 0.31 over the script's own values"
    )
    assert improvement(before, before, "val_loss") == "nothing was better than the script's own values: val_loss 0.52"


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
            "--learn-from: grid takes no results of other searches; type --optimizer=auto",
        ),
        *(
            ({"learn_from": "earlier", "optimizer": name}, f"--learn-from: {name} takes no results of other searches")
            for name in ("random", "sobol")
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


YAML_SCRIPT = "import yaml\nc = yaml.safe_load(open('c.yaml'))\nprint('fitness:', c['reg']['dropout'] - c['lr'])\n"


@pytest.fixture
def notices(monkeypatch):
    """The notices of each search."""
    said: list[str] = []
    monkeypatch.setattr(Observer, "notice", lambda self, text: said.append(text))
    return said


def learned(name):
    with reading(Project(name).folder) as connection:
        return read_meta(connection, "known")


def test_the_same_place_by_another_name_is_the_same_hyperparameter(home, script, notices):
    script("train.py", YAML_SCRIPT)
    script("c.yaml", "lr: 0.1\nreg:\n  dropout: 0.2\n")
    first = run("train.py", hyperparams={"dropout": "0:0.5"}, project="a", max_experiments=3, **TOGETHER)
    run(
        "train.py",
        hyperparams={"lr": "0:1", "reg.dropout": "0:0.5"},
        learn_from="a",
        project="b",
        max_experiments=1,
        **TOGETHER,
    )
    assert not any("changed" in line or " ran " in line for line in notices)
    assert learned("b") == [
        [{"lr": 0.1, "reg.dropout": each.values["dropout"]}, each.fitness, ""] for each in first.experiments
    ]
    assert "learns from 3 results of a, whose dropout is reg.dropout here, which had lr=0.1" in notices


def test_what_was_not_searched_had_the_value_of_then(home, script, notices):
    """Not today's; and a search whose script kept no value of it, or one outside of today's range, teaches nothing."""
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0:1"}, project="a", max_experiments=2, **TOGETHER)
    script("train.py", TRAIN.replace("0.1, 16, 2", "0.1, 16, 3"))
    given = {"hyperparams": {"lr": "0:1", "depth": "1:4:i"}, "learn_from": "a", "max_experiments": 1, **TOGETHER}
    run("train.py", project="b", **given)
    assert {values["depth"] for values, *_ in learned("b")} == {2}
    assert "changed since a: train.py" in notices
    with pytest.raises(BadInput, match=r"it did not search depth: .*2 is outside 3\.0:4\.0"):
        run("train.py", **{**given, "hyperparams": {"lr": "0:1", "depth": "3:4:i"}})
    script("train.py", TRAIN + "heads = len(TRAIN)\nprint(heads)\n".replace("TRAIN", "'aa'"))
    with pytest.raises(BadInput, match="it did not search heads, and nothing says which value it had there"):
        run("train.py", **{**given, "hyperparams": {"lr": "0:1", "heads": "1:4:i"}})


def test_names_whose_places_overlap_are_refused(home, script):
    script("train.py", "lr = 0.1\nx = lr\ndef main():\n    lr = 0.1\n    return lr\nprint('fitness:', main() + x)\n")
    run("train.py", hyperparams={"lr": "0:1"}, project="a", max_experiments=2, **TOGETHER)
    with pytest.raises(BadInput, match=r"its lr and main.lr are partly the same: .*; write --hp=lr="):
        run("train.py", hyperparams={"main.lr": "0:1"}, learn_from="a", max_experiments=1, **TOGETHER)


def test_one_line_says_each_thing_that_was_different(home, script, notices):
    text = (
        "import argparse, os\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n"
        "p.add_argument('--epochs', type=int, default=3)\np.add_argument('--wd', type=float, default=0.1)\na = p.parse_args()\n"
        "assert a.lr < 0.5\nprint('fitness:', a.lr)\n"
    )
    script("train.py", text)
    ranges = {"lr": "0:1", "wd": "0:1"}
    first = run(
        "train.py",
        ["--epochs", "3", "--lr=0.1"],
        hyperparams=ranges,
        project="a",
        max_experiments=6,
        env={"K": "1"},
        **TOGETHER,
    )
    failed = sum(each.status == "failed" for each in first.experiments)
    assert failed
    wd = [each.values["wd"] for each in first.experiments if each.fitness is not None]
    script("other.py", text)
    run(
        "other.py",
        ["--lr=0.2", "--epochs", "30"],
        hyperparams={"lr": "0:1"},
        learn_from="a",
        project="b",
        max_experiments=1,
        **TOGETHER,
    )
    assert [line for line in notices if line.startswith("a ") or line.startswith("a:")] == [
        f"a searched wd as well, which had {short(min(wd))} to {short(max(wd))} there",
        "a ran train.py --epochs 3 --lr=0.1, this search runs other.py --lr=0.2 --epochs 30",
        "a had another environment: K",
        f"a: {failed} failure{'s' if failed > 1 else ''} not taken in (crash)",
    ]


def test_a_constant_of_another_value_is_named(home, script, notices):
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "0:1"}, project="a", max_experiments=2, **TOGETHER)
    run(
        "train.py",
        hyperparams={"lr": "0:1", "depth": "5"},
        learn_from="a",
        project="b",
        max_experiments=1,
        **TOGETHER,
    )
    assert "a had depth=2, this search depth=5" in notices
    assert {values["depth"] for values, *_ in learned("b")} == {5}


class Listener(Optimizer):
    """Keeps what it is told."""

    name = "listener"
    takes_known = True
    told: ClassVar[list] = []

    def __init__(self, space, *, seed):
        self.told.clear()
        self._space = space

    def ask(self):
        return self._space.suggestion([0.5] * self._space.dimensions)

    def tell(self, suggestion, fitness, *, failure=""):
        self.told.append((suggestion.values, fitness, failure))


@pytest.mark.parametrize(("limit", "taken"), [("1m", ["memory", "timeout"]), ("10m", ["memory"]), (None, ["memory"])])
def test_failures_that_the_values_cause_are_learned(recorded, script, notices, limit, taken):
    """A time limit counts where it is as strict here."""
    script("train.py", TRAIN)
    reasons = [0.5, "memory", "timeout", "crash", 0.7]
    results = [({"lr": number / 10}, reason) for number, reason in enumerate(reasons, 1)]
    recorded("a", results, ranges={"lr": "0:1"}, max_duration=300.0)
    plan = make_plan(
        make_settings(
            "train.py",
            hyperparams={"lr": "0:1"},
            learn_from="a",
            optimizer="gp",
            max_duration=limit,
            max_experiments=1,
        ),
        create_host(),
        Path.cwd(),
    )
    learn_from_others(plan)
    assert [failure for *_, failure in plan.known] == ["", *taken, ""]
    both = "2 failures (memory, timeout)" if limit == "1m" else "1 failure (memory)"
    assert f"learns from 2 results and {both} of a" in plan.notices
    search = Search(plan.space, optimizer=Listener, learn_from=plan.known, max_experiments=1)
    assert Listener.told == [({"lr": pytest.approx(values["lr"])}, *result) for values, *result in plan.known]
    assert search.ask().number == 1
