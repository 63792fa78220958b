"""Ranges that are proposed, what is worth searching, and what a script's text would print."""

import pytest

from studio.script.places import find_places
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
        ("depth", 6, "1:24:i"),
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


def test_hyperparameters_come_before_other_numbers(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    places = find_places(tmp_path, "train.py")
    assert [one.place.address for one in worth_searching(propose(places))] == ["lr", "eta", "max_depth"]
