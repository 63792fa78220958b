"""Ranges that are proposed, what is worth searching, and what a script's text would print."""

import pytest

from studio.script.places import Places
from studio.script.printed import logged_names, printed_lines
from studio.script.program import Program
from studio.script.proposal import propose, range_of, worth_searching


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lr", 0.1, "0.01:1:l"),
        ("learning_rate", 3e-4, "3e-05:0.003:l"),
        ("C", 1.0, "0.1:10:l"),
        ("dropout", 0.5, "0:0.6"),
        ("subsample", 0.8, "0.3:1"),
        ("momentum", 0.9, "0.5:0.999"),
        ("weight_decay", 0.0, "0,1e-6,1e-5,1e-4,1e-3,0.01,0.1"),
        ("weight-decay", 0, "0,1e-6,1e-5,1e-4,1e-3,0.01,0.1"),
        ("learning_rate", 1, "0.1:10:l"),
        ("dropout", 0, "0:0.6"),
        ("momentum", 0, "0:0.99"),
        ("gamma", 0.99, "0.9:0.9999"),
        ("temperature", 1, "0.1:2"),
        ("temperature", 0.07, "0.007:0.7:l"),
        ("temperature", 100.0, "10:1000:l"),
        ("mutation_prob", 0.2, "0.1:0.4"),
        ("strangeness", 0.5, "0.05:1:l"),
        ("scale", 1.0, "0.1:10:l"),
        ("batch_size", 64, "16,32,64,128,256"),
        ("batch_size", 100, "25:400:il"),
        ("kernel_size", 3, "1,3,5,7"),
        ("step_size", 30, "7:120:il"),
        ("O", 2, "0,1,2,3"),
        ("depth", 6, "2:24:i"),
        ("hidden", 64, "16,32,64,128,256"),
        ("hidden_size", 64, "16,32,64,128,256"),
        ("n_heads", 2, "1,2,4,8"),
        ("d_model", 20, "5:80:il"),
        ("n_layers", 0, "0:4:i"),
        ("nesterov", False, "true,false"),
        ("optimizer", "sgd", "sgd,adam,adamw,rmsprop,adagrad"),
        ("kernel", "rbf", "rbf,linear,poly,sigmoid"),
        ("name", "run-1", ""),
        ("offset", -1.5, ""),
        ("whatever", None, ""),
        ("test_size", 0.25, "0.125:0.5"),
        ("mask_ratio", 0.75, "0.375:0.875"),
        ("drop_path_rate", 0.2, "0.1:0.4"),
        ("step_size", 0.2, "0.02:2:l"),
        ("cv", 3, "2:12:i"),
        ("n_splits", 3, "2:12:i"),
    ],
)
def test_range_around_a_value(name, value, text):
    assert range_of(name, value) == text


ARGPARSE = "import argparse\np = argparse.ArgumentParser()\n"
CLICK = "import click\n@click.command()\n@click.option('--n', type=click.{})\ndef f(n): pass"
ENUM = "import typer\nfrom enum import Enum\nclass Act(str, Enum):\n    relu = 'relu'\n    tanh = 'tanh'\n"


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        (ARGPARSE + "p.add_argument('--opt', choices=['sgd', 'lion'], default='lion')", "opt", "lion,sgd"),
        (ARGPARSE + "p.add_argument('--opt', choices=('sgd', 'lion'))", "opt", "sgd,lion"),
        (ARGPARSE + "p.add_argument('--n', type=int, choices=[1, 2, 4], default=2)", "n", "2,1,4"),
        (ARGPARSE + "p.add_argument('--opt', choices=NAMES, default='sgd')", "opt", "sgd,adam,adamw,rmsprop,adagrad"),
        (ARGPARSE + "p.add_argument('--n', type=int, choices=range(1, 5), default=3)", "n", "1:4:i"),
        (ARGPARSE + f"p.add_argument('--n', choices={[*range(0, 99, 9)]}, default=9)", "n", ""),
        (CLICK.format("FloatRange(0, 1), default=0.5"), "n", "0:1"),
        (CLICK.format("FloatRange(0, 1, max_open=True), default=0.5"), "n", "0:0.99"),
        (CLICK.format("FloatRange(max=2.5), default=1.0"), "n", "0.1:2.5:l"),
        (CLICK.format("IntRange(1, 5), default=3"), "n", "1:5:i"),
        (CLICK.format("IntRange(min=2), default=3"), "n", "2:12:i"),
        (CLICK.format("IntRange(1, 5), required=True"), "n", "1:5:i"),
        ("import typer\ndef main(n: int = typer.Option(3, min=2, max=6)): pass\ntyper.run(main)", "n", "2:6:i"),
        (ARGPARSE + "p.add_argument('--rate', default='0.1')", "rate", "0.01:1:l"),
        (
            "import click\n@click.command()\n@click.option('--opt', type=click.Choice(['a', 'b']))\ndef f(opt): pass",
            "opt",
            "a,b",
        ),
        ("from absl import flags\nflags.DEFINE_enum('opt', 'b', ['a', 'b'], 'help')", "opt", "b,a"),
        (
            "import tyro\nfrom typing import Literal\ndef main(opt: Literal['a', 'b'] = 'b'): pass\ntyro.cli(main)",
            "opt",
            "b,a",
        ),
        (ENUM + "def main(act: Act = Act.relu): pass\ntyper.run(main)", "act", "relu,tanh"),
        ('"""Usage: t [--rate=<r>]\n\n  --rate=<r>  Rate [default: 0.1]"""\ndocopt(__doc__)', "rate", "0.01:1:l"),
        ("import sys\na = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5", "a", "0.05:1:l"),
    ],
)
def test_the_choices_and_defaults_of_an_option(tmp_path, text, name, shown):
    (tmp_path / "train.py").write_text(text)
    found = [one.range for one in propose(Places(Program.at(tmp_path, "train.py")).every()) if one.place.name == name]
    assert found[0] == shown


SCRIPT = """
import argparse
from torch.utils.tensorboard import SummaryWriter
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.1)
p.add_argument("--epochs", type=int, default=3)
p.add_argument("--seed", type=int, default=0)
args = p.parse_args()
params = {"eta": 0.3, "max_depth": 6}
for epoch in range(args.epochs):
    loss = 1.0
    print(f"epoch {epoch}: val_loss {loss:.4f}")
    writer.add_scalar("score/test", loss, epoch)
    wandb.log({"val_acc": loss, "epoch": epoch})
print("accuracy: %.3f" % score)
print("r2 =", score)
print("AUC {:.2f}".format(score))
logger.info("rmse: %s", score)
print("scores:", scores)
print(f"maes {maes}")
print(scores.mean(), np.mean(maes))
print("done")
"""


def test_what_is_no_hyperparameter_by_its_name_is_not_searched(tmp_path):
    never = (
        "num_classes=10 data_seed=3 log_interval=5 cache_size=64 max_steps=9 image_size=32 n_samples=500 num_workers=2"
    )
    lines = [*never.split(), "use_bias=True", "zeal=0.5"]
    read = [f"print({line.partition('=')[0]})" for line in lines]
    (tmp_path / "train.py").write_text("\n".join([*lines, "weights = (-1.0, 1.0)", *read]))
    proposed = propose(Places(Program.at(tmp_path, "train.py")).every())
    assert [one.place.address for one in worth_searching(proposed)] == ["zeal"]
    assert not any(one.range for one in proposed if one.place.name.startswith("weights"))
    flags = [one for one in proposed if one.place.name != "zeal"]
    assert [one.place.address for one in worth_searching(flags)] == ["use_bias"]


@pytest.fixture
def program(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    return Program.at(tmp_path, "train.py")


def test_lines_that_would_be_printed(program):
    numbers, arrays = printed_lines(program)
    assert numbers == ["epoch 1: val_loss 0.5", "accuracy: 0.5", "r2 = 0.5", "AUC 0.5", "rmse: 0.5"]
    assert arrays == ["scores: 0.5", "maes 0.5"]


def test_names_that_trackers_get(program):
    assert logged_names(program) == {"score/test": "TensorBoard", "val_acc": "its logger", "epoch": "its logger"}


def test_hyperparameters_come_before_other_numbers(program):
    assert [one.place.address for one in worth_searching(propose(Places(program).every()))] == [
        "lr",
        "eta",
        "max_depth",
    ]


PACKAGE = {
    "train.py": "from lib.models import Forest\nmodel = Forest(trees=7)\nprint('accuracy', model.fit())\n",
    "lib/__init__.py": "from .other import everything\n",
    "lib/models/__init__.py": "from .forest import Forest\nfrom .net import Net\n",
    "lib/models/forest.py": "DEPTH = 3\nclass Forest:\n    def __init__(self, trees, gamma=0.1):\n        self.lr = 0.5\n",
    "lib/models/net.py": "class Net:\n    lr = 0.1\n",
    "lib/other.py": "dropout = 0.5\n",
}


def test_modules_are_those_that_somebody_asks_for():
    files = {path: text.encode() for path, text in PACKAGE.items()}
    read = [source.path for source in Program("train.py", read=files.get).modules]
    assert sorted(read) == ["lib/__init__.py", "lib/models/__init__.py", "lib/models/forest.py"]
    files["train.py"] = b"import lib.models\n"
    assert len(Program("train.py", read=files.get).modules) == 4
    files["train.py"] = b"from lib.models import *\n"
    assert len(Program("train.py", read=files.get).modules) == 4


def test_what_works_inside_a_module_is_not_searched_first():
    files = {path: text.encode() for path, text in PACKAGE.items()}
    proposals = propose(Places(Program("train.py", read=files.get)).every())
    assert [one.place.name for one in worth_searching(proposals, "train.py")] == ["DEPTH"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("total = 0\nlr = 0.1\nfor i in x:\n    total += f(lr)\n    lr *= 0.9\nprint(total)", ["lr"]),
        ("@ex.config\ndef cfg():\n    C = 1.0\n@ex.main\ndef run(C):\n    print(C)\n", ["C"]),
        ("plt.legend(loc=1, fontsize=8)\nSVC(C=1.0)", ["C"]),
        ("XGB(learning_rate=1)", ["learning_rate"]),
        ("LABELS = {'cat': 0, 'dog': 1}\nid2label = {'a': 1}\nf(LABELS, id2label, blur=3)", ["blur"]),
        ("class C:\n    classIds = [1, 2]\nMEAN = [0.4, 0.5]\nsizes = [3]\nf(MEAN, sizes, C.classIds)", ["sizes[0]"]),
    ],
)
def test_what_is_a_hyperparameter(tmp_path, text, names):
    (tmp_path / "train.py").write_text(text)
    found = worth_searching(propose(Places(Program.at(tmp_path, "train.py")).every()), "train.py")
    assert [one.place.name for one in found] == names
