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
        ("weight_decay", 0.0, "1e-6:0.1:l"),
        ("depth", 6, "2:24:i"),
        ("hidden", 64, "16:256:il"),
        ("n_layers", 0, "0:4:i"),
        ("nesterov", False, "true,false"),
        ("optimizer", "sgd", "sgd,adam,adamw,rmsprop,adagrad"),
        ("kernel", "rbf", "rbf,linear,poly,sigmoid"),
        ("name", "run-1", ""),
        ("offset", -1.5, ""),
        ("whatever", None, ""),
    ],
)
def test_range_around_a_value(name, value, text):
    assert range_of(name, value) == text


ARGPARSE = "import argparse\np = argparse.ArgumentParser()\n"
ENUM = "import typer\nfrom enum import Enum\nclass Act(str, Enum):\n    relu = 'relu'\n    tanh = 'tanh'\n"


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        (ARGPARSE + "p.add_argument('--opt', choices=['sgd', 'lion'], default='lion')", "opt", "lion,sgd"),
        (ARGPARSE + "p.add_argument('--opt', choices=('sgd', 'lion'))", "opt", "sgd,lion"),
        (ARGPARSE + "p.add_argument('--n', type=int, choices=[1, 2, 4], default=2)", "n", "2,1,4"),
        (ARGPARSE + "p.add_argument('--opt', choices=NAMES, default='sgd')", "opt", "sgd,adam,adamw,rmsprop,adagrad"),
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
        ("import sys\na = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5", "a", "0.05:5:l"),
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
print("done")
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    return Program.at(tmp_path, "train.py")


def test_lines_that_would_be_printed(program):
    assert printed_lines(program) == [
        "epoch 1: val_loss 0.5",
        "accuracy: 0.5",
        "r2 = 0.5",
        "AUC 0.5",
        "rmse: 0.5",
    ]


def test_names_that_trackers_get(program):
    assert logged_names(program) == {"score/test": "TensorBoard", "val_acc": "its logger", "epoch": "its logger"}


def test_hyperparameters_come_before_other_numbers(program):
    assert [one.place.address for one in worth_searching(propose(Places(program).every()))] == [
        "lr",
        "eta",
        "max_depth",
    ]
