"""`studio run`: the cases that Studio was made for, typed as a user types them. Ranges: unit/plugins."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

TEN = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]

TRAIN_MNIST_KERAS = """
    import sys

    from keras import optimizers

    lr=0.01
    print('learning rate = {}'.format(lr))
    sgd = optimizers.SGD(lr=lr)
    no_epochs = int(sys.argv[1])
    print(f"epochs = {no_epochs}, SGD has {sgd.lr}")
"""


@pytest.fixture
def fake_keras(script):
    script("keras/__init__.py", "from keras import optimizers\n")
    script("keras/optimizers.py", "class SGD:\n    def __init__(self, lr):\n        self.lr = lr\n")


@pytest.fixture
def dry_run(command, home):
    """The plan of a search, as `--dry-run --json` prints it; nothing is written."""

    def call(*arguments):
        result = command("run", "--dry-run", "--json", *arguments)
        assert result.code == 0, result
        assert not home.exists()
        return json.loads(result.out)

    return call


def log_of(experiment):
    return Path(experiment["folder"], "output.log").read_text()


def test_grid_of_ten(command, home, script, fake_keras):
    source = script("train_mnist_keras.py", TRAIN_MNIST_KERAS)
    before = source.read_bytes()
    result = command("run", "--hyperparam=lr=0.01:0.01:0.1", "train_mnist_keras.py", "30")
    assert result.code == 0, result
    (project,) = (home / "projects").iterdir()
    assert project.name.startswith("train_mnist_keras-")
    assert source.read_bytes() == before

    found = json.loads(command("runs", "list", project.name, "--json").out)
    assert [experiment["values"] for experiment in found] == [{"lr": lr} for lr in TEN]
    assert [experiment["experiment"] for experiment in found] == [f"{project.name}/{n}" for n in range(1, 11)]
    for experiment, lr in zip(found, TEN, strict=True):
        assert (experiment["status"], experiment["fitness"], experiment["metric"]) == ("completed", None, None)
        workspace = Path(experiment["folder"], "workspace")
        text = (workspace / "train_mnist_keras.py").read_text()
        assert "\nlr=0.01\n" in text
        assert f"format({lr})" in text
        assert f"SGD(lr={lr})" in text
        assert (workspace / "keras" / "optimizers.py").is_file()
        assert log_of(experiment) == f"learning rate = {lr}\nepochs = 30, SGD has {lr}\n"


def test_metric_from_event_files(experiments, script):
    script(
        "train.py",
        """
        from tensorboardX import SummaryWriter
        from studio import fs_tracker

        lr = 0.5
        with SummaryWriter(logdir=fs_tracker.get_tensorboard_dir()) as writer:
            for epoch, factor in enumerate([3, 1, 2]):
                writer.add_scalar("val_loss", factor * lr, epoch)
        """,
    )
    (found,) = experiments("--metric=val_loss:min", "--hyperparam=lr=0.25", "train.py")
    assert found["metric"] == {"name": "val_loss", "mode": "min", "value": 0.25}
    assert found["fitness"] == -0.25


def test_array_hyperparameter(command, script):
    script(
        "sum.py",
        """
        import numpy as np
        from studio import fs_tracker

        lr = np.load(fs_tracker.get_artifact('lr'))
        print("fitness: %s" % np.sum(lr))
        """,
    )
    result = command(
        "run", "--optimizer=cma", "--hyperparam=lr=0:1:10:urla", "--max-experiments=3", "--project=sum", "sum.py"
    )
    assert result.code == 0, result
    assert "lower end is read as 0.000001" in result.err or "1e-06" in result.err
    found = json.loads(command("runs", "list", "sum", "--json").out)
    assert len(found) == 3
    for experiment in found:
        values = experiment["values"]["lr"]
        assert len(values) == 10
        assert experiment["fitness"] == pytest.approx(sum(values))
        assert np.load(Path(experiment["folder"], "artifacts", "lr.npy")).tolist() == values
        # The array reaches the script as an artifact, never in its text.
        assert Path(experiment["folder"], "workspace", "sum.py").read_text() == Path("sum.py").read_text()


def test_cma_runs_ranges_of_every_kind(experiments, script):
    script("train.py", "b = c = d = 0\nprint('fitness:', -abs(b) - abs(c) - d + len(f))\n")
    ranges = ("--hp=b=0:5:l", "--hp=c=-1:1:u", "--hp=d=1:8:i", "--hp=f=adam,sgd,rmsprop")
    found = experiments("--optimizer=cma", "--seed=1", "--max-experiments=4", *ranges, "train.py")
    assert [experiment["status"] for experiment in found] == ["completed"] * 4
    for experiment in found:
        b, c, d, f = experiment["values"].values()
        assert experiment["fitness"] == pytest.approx(-abs(b) - abs(c) - d + len(f))


@pytest.mark.parametrize(
    ("hyperparam", "optimizer"),
    [
        (("-hp", "lr=0:1"), ("-opt", "random")),
        (("-hp=lr=0:1",), ("-opt=random",)),
        (("--hp", "lr=0:1"), ("--opt", "random")),
        (("--hp=lr=0:1",), ("--opt=random",)),
        (("--hyperparam", "lr=0:1"), ("--optimizer", "random")),
        (("--hyperparam=lr=0:1",), ("--optimizer=random",)),
    ],
    ids=lambda words: " ".join(words),
)
def test_spellings_of_options(dry_run, script, hyperparam, optimizer):
    script("train.py", "lr = 0.01\nprint(lr)\n")
    plan = dry_run(*hyperparam, *optimizer, "--max-experiments=7", "--", "train.py", "-hp=x", "--opt=y")
    assert plan["experiments"] == 7
    assert all(0 < values["lr"] < 1 for values in plan["values"])
    assert plan["command"][1:] == ["train.py", "-hp=x", "--opt=y"]


# --- other scripts ----------------------------------------------------------------------------------------------------


def test_json_lines_metric(experiments, script):
    script(
        "train.py",
        """
        import json

        lr = 0.5
        with open("metrics.jsonl", "a") as file:
            for epoch, factor in enumerate([3, 1, 2]):
                print(json.dumps({"epoch": epoch, "val_loss": lr * factor}), file=file)
        """,
    )
    found = experiments("--metric=jsonl:metrics.jsonl:val_loss:min", "--hp=lr=0.25,1", "train.py")
    assert [experiment["metric"]["value"] for experiment in found] == [0.25, 1]
    assert [experiment["fitness"] for experiment in found] == [-0.25, -1]


def test_module(experiments, script):
    script("package/__init__.py", "")
    script("package/helper.py", "def double(x):\n    return 2 * x\n")
    script("package/train.py", "from package.helper import double\nlr = 1\nprint('fitness:', double(lr))\n")
    found = experiments("-m", "--hp=lr=3,4", "package.train")
    assert [experiment["fitness"] for experiment in found] == [6, 8]


def test_script_in_a_sub_folder(experiments, script):
    script("data.txt", "7")
    script("code/helper.py", "def double(x):\n    return 2 * x\n")
    script(
        "code/train.py",
        "from helper import double\nlr = 1\nprint('fitness:', double(lr) + int(open('data.txt').read()))\n",
    )
    found = experiments("--hp=lr=3,4", "./code/train.py")
    assert [experiment["fitness"] for experiment in found] == [13, 15]


def test_value_in_arguments(experiments, script):
    script("train.py", "import sys\nprint(sys.argv[1:])\n")
    found = experiments("--hp=lr=0.1", "--hp=name=a b", "train.py", "--lr={lr}", "x{name}y", "{other}", "{}")
    assert log_of(found[0]) == "['--lr=0.1', 'xa by', '{other}', '{}']\n"


def test_executable_that_is_not_python(experiments, script):
    script("train.sh", '#!/bin/sh\necho "fitness: $2"\n').chmod(0o755)
    found = experiments("--optimizer=random", "--seed=1", "--max-experiments=2", "--hp=lr=0:1", "train.sh", "x", "{lr}")
    assert [experiment["fitness"] for experiment in found] == [experiment["values"]["lr"] for experiment in found]


def test_values_in_further_files(experiments, script):
    script("settings.py", "lr = 1\nrate = lr\n")
    script("train.py", "from settings import rate\nprint('fitness:', rate)\n")
    found = experiments("--substitute=settings.py", "--hp=lr=3,4", "train.py")
    assert [experiment["fitness"] for experiment in found] == [3, 4]


def test_without_hyperparameters_a_script_runs_once(experiments, script):
    script("train.py", "print('fitness: 0.5')\n")
    found = experiments("train.py")
    assert [(experiment["values"], experiment["fitness"]) for experiment in found] == [({}, 0.5)]


@pytest.mark.parametrize("python", [".venv/bin/python", "{workdir}/.venv/bin/python"])
def test_a_python_that_is_named_by_its_path_is_no_file_of_a_copy(command, script, workdir, monkeypatch, python):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    script(".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n').chmod(0o755)
    script(".venv/pyvenv.cfg", "home = /usr/bin\n")
    words = ["--hp=lr=1,2", "--", python.format(workdir=workdir), "-u", "train.py"]
    assert command("run", "--project=p", "--max-experiments=1", *words).code == 0
    monkeypatch.chdir("/")
    assert command("resume", "p", "--max-experiments=2").code == 0
