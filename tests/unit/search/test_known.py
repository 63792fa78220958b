"""The script's own values come first, and are what the search is measured by."""

import pytest

from studio.cli.result import gained
from studio.experiment import Experiment
from studio.host import create_host
from studio.project.project import Project
from studio.script.places import Places
from studio.script.program import Program
from studio.search.known import own_values
from studio.search.ranges import read_space
from studio.search.resume import resume
from studio.search.run import run
from studio.search.search import Search
from studio.settings import Settings

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
    ("text", "arguments", "ranges", "reason"),
    [
        ("lr = 5.0\nprint(lr)", [], {"lr": "0.01:1:l"}, "hyperparameter lr: 5.0 is outside 0.01:1.0"),
        ("m = Tree(max_depth=None)", [], {"max_depth": "1:8:i"}, "hyperparameter max_depth: None is outside 1.0:8.0"),
        ("m = SVC(kernel='rbf')", [], {"kernel": "a,b"}, "hyperparameter kernel: 'rbf' is not one of 'a', 'b'"),
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


def test_starts_are_run_as_they_were_given():
    search = Search({"lr": "1e-5:0.1:l", "n": "1:8:i"}, optimizer="random", start_from=[{"lr": 0.003, "n": 3.0}])
    assert search.ask().values == {"lr": 0.003, "n": 3}


def experiment(number, values, value):
    metric = {"name": "val_loss", "mode": "min", "value": value}
    return Experiment("p", number, "completed", values, metric=metric, fitness=-value)


def test_the_summary_says_what_was_gained():
    before = experiment(1, {"lr": 0.1, "kind": "sgd", "n": 3}, 0.52)
    after = experiment(7, {"lr": 0.003, "kind": "adam", "n": 3}, 0.31)
    assert gained(before, after, "val_loss") == (
        "lr 0.1 → 0.003, kind sgd → adam: val_loss 0.52 → 0.31 over the script's own values"
    )
    assert gained(before, before, "val_loss") == "nothing was better than the script's own values: val_loss 0.52"
