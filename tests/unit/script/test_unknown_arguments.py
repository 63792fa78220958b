"""An argument that an argparse parser refuses is found in the text, and nothing else is taken for one."""

import pytest

from studio.script.program import Program
from studio.script.unknown_arguments import refused_argument

PARSER = """
import argparse
parser = argparse.ArgumentParser(description="x")
parser.add_argument("data", nargs="?")
parser.add_argument("--epochs", "-e", type=int, default=3)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--fast", action="store_true")
parser.add_argument("--amp", action=argparse.BooleanOptionalAction)
parser.add_argument("--sizes", type=int, nargs="+")
group = parser.add_argument_group("more")
inner = group.add_mutually_exclusive_group()
inner.add_argument("--depth", choices=[1, 2])
"""
PARSES = "args = parser.parse_args()\n"


def refused(text, arguments, **modules):
    files = {"train.py": text.encode(), **{f"{name}.py": module.encode() for name, module in modules.items()}}
    return refused_argument(Program("train.py", arguments.split(), read=files.get))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--epochz 3", "train.py takes no argument '--epochz'; did you mean '--epochs'?"),
        ("--lr=1 --Epochs=3", "train.py takes no argument '--Epochs=3'; did you mean '--epochs'?"),
        ("digits 30", "train.py takes no argument '30'; it is one too many"),
        ("digits --no-fast", "train.py takes no argument '--no-fast'; did you mean '--fast'?"),
        ("--epoch 3 -e4 digits --no-amp --sizes 1 2 --dep {depth} --fa", ""),
        ("--help", ""),
        ("--epochs", ""),  # another error, which the script says
        ("", ""),
    ],
)
def test_what_the_parser_refuses_and_what_it_takes(arguments, said):
    assert refused(PARSER + PARSES, arguments) == said
    guarded = PARSER + "def main():\n    return vars(parser.parse_args())\nif __name__ == '__main__':\n    main()\n"
    assert refused(guarded, arguments) == said


def test_beginnings_of_names_are_refused_where_the_parser_says_so():
    strict = PARSER.replace('description="x"', "allow_abbrev=False")
    assert "did you mean '--epochs'" in refused(strict + PARSES, "--epoch 3")


@pytest.mark.parametrize(
    "text",
    [
        PARSER,
        PARSER + "args, others = parser.parse_known_args()\n",
        PARSER + "args = parser.parse_args([])\n",
        PARSER + "Trainer.add_arguments(parser)\n" + PARSES,
        PARSER + "import sys\nsys.argv = sys.argv[:1]\n" + PARSES,
        PARSER + "import mine\n" + PARSES,
        PARSER + "if LOCAL:\n    args = parser.parse_args()\n",
        PARSER + "try:\n    args = parser.parse_args()\nexcept SystemExit:\n    pass\n",
        PARSER + "def main():\n    args = parser.parse_args()\n",
        PARSER + "sub = parser.add_subparsers()\n" + PARSES,
        PARSER + "for name in names:\n    parser.add_argument('--' + name)\n" + PARSES,
        PARSER + "parser.add_argument('--x', **more)\n" + PARSES,
        PARSER + "parser.add_argument('rest', nargs=argparse.REMAINDER)\n" + PARSES,
        PARSER + "parser.add_argument('rest', nargs='...')\n" + PARSES,
        PARSER + "parser.add_argument('--x', action=Mine)\n" + PARSES,
        PARSER + "other = argparse.ArgumentParser()\n" + PARSES,
        PARSER.replace('description="x"', "parents=[base]") + PARSES,
        PARSER.replace('description="x"', "prefix_chars='+'") + PARSES,
        PARSER.replace("import argparse", "import configargparse as argparse") + PARSES,
        PARSER.replace("import argparse", "import argparse, hydra") + PARSES,
        PARSER + "class Mine(argparse.ArgumentParser): pass\n" + PARSES,
        "print('no parser')\n",
        "def broken(:\n",
    ],
)
def test_where_the_text_does_not_tell_nothing_is_refused(text):
    assert refused(text, "--epochz 3", mine="import sys\nsys.argv.pop()\n") == ""


def test_it_is_said_before_anything_starts(script, command, home):
    script("train.py", PARSER + PARSES + "print('fitness:', args.lr)\n")
    result = command("run", "--project=p", "--hp=lr=1,2", "train.py", "--epochz", "3")
    assert (result.code, result.err) == (2, "studio: train.py takes no argument '--epochz'; did you mean '--epochs'?\n")
    assert not (home / "projects" / "p").exists()
    assert command("run", "--project=p", "--hp=lr=1,2", "train.py", "--epoch", "3").code == 0
