"""The script's own parser tells its options, whatever library makes it; the script does nothing else."""

import os
import sys
import textwrap

import pytest

from studio.script.asked_options import ask_options, with_asked
from studio.script.places import Places
from studio.script.program import Program

ARGPARSE = """
import argparse
parser = argparse.ArgumentParser()
for name, kind in {"lr": float, "depth": int}.items():
    parser.add_argument(f"--{name}", f"-{name[0]}", type=kind, default=kind(3))
parser.add_argument("--act", choices=["relu", "tanh"], default="relu")
parser.add_argument("--amp", action="store_true")
"""
LIBRARIES = {
    "argparse": ARGPARSE + "parser.parse_args()",
    "its subclass, with a file of values": """
        import argparse
        class Parser(argparse.ArgumentParser):
            def parse_known_args(self, args=None, namespace=None):
                self.set_defaults(lr=3.0)
                return super().parse_known_args(args, namespace)
        parser = Parser()
        parser.add_argument("--lr", type=float, default=0.5)
        parser.add_argument("--depth", type=int, default=3)
        parser.add_argument("--act", choices=["relu", "tanh"], default="relu")
        parser.add_argument("--amp", action="store_true")
        parser.parse_args()
        """,
    "click": """
        import click
        @click.command()
        @click.option("--lr", default=3.0)
        @click.option("--depth", type=click.IntRange(1), default=3)
        @click.option("--act", type=click.Choice(["relu", "tanh"]), default="relu")
        @click.option("--amp/--no-amp", default=False)
        def main(**options):
            print("ran")
        main()
        """,
    "typer": """
        import enum, typer
        class Act(str, enum.Enum):
            relu = "relu"
            tanh = "tanh"
        def main(lr: float = 3.0, depth: int = 3, act: Act = Act.relu, amp: bool = False):
            print("ran")
        typer.run(main)
        """,
    "absl": """
        from absl import app, flags
        flags.DEFINE_float("lr", 3.0, "rate")
        flags.DEFINE_integer("depth", 3, "depth")
        flags.DEFINE_enum("act", "relu", ["relu", "tanh"], "act")
        flags.DEFINE_boolean("amp", False, "amp")
        app.run(lambda argv: print("ran"))
        """,
    "tyro": """
        import tyro
        from typing import Literal
        def main(lr: float = 3.0, depth: int = 3, act: Literal["relu", "tanh"] = "relu", amp: bool = False):
            print("ran")
        tyro.cli(main)
        """,
}


@pytest.fixture
def ask(tmp_path):
    def ask(text, *arguments, **env):
        (tmp_path / "train.py").write_text(textwrap.dedent(text))
        program = Program.at(tmp_path, "train.py", arguments, env=env, command=[sys.executable, "train.py"])
        asked = ask_options(program, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
        return program, asked

    return ask


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_parser_tells_its_options(ask, library):
    _, asked = ask(LIBRARIES[library])
    assert asked.whole
    told = {option["spellings"][0]: option for option in asked.options}
    in_force = {name: one["default"] if one["value"] is None else one["value"] for name, one in told.items()}
    assert (in_force["--lr"], in_force["--depth"], in_force["--act"]) == (3, 3, "relu")
    assert (told["--lr"]["kind"], told["--depth"]["kind"], told["--act"]["choices"]) == (
        "float",
        "int",
        ["relu", "tanh"],
    )
    assert told["--amp"]["kind"] in ("flag", "pair")


def test_fire_tells_the_arguments_of_the_function_that_the_command_names(ask):
    text = """
        import fire
        class Work:
            def __init__(self, width=8): pass
            def train(self, lr=0.5): print("ran")
            def test(self, other=1): print("ran")
        fire.Fire(Work)
        """
    _, asked = ask(text, "train")
    assert [(one["spellings"], one["default"]) for one in asked.options] == [(["--width"], 8), (["--lr"], 0.5)]


def test_of_several_parsers_the_last_counts_and_a_subcommand_belongs_to_it(ask):
    text = """
        import argparse
        first = argparse.ArgumentParser(add_help=False)
        first.add_argument("--config")
        known, others = first.parse_known_args()
        parser = argparse.ArgumentParser(parents=[first])
        parser.add_argument("--lr", type=float, default=0.5)
        commands = parser.add_subparsers()
        commands.add_parser("train").add_argument("--decay", type=float, default=0.1)
        commands.add_parser("test").add_argument("--other", type=float)
        parser.parse_args(["--lr=2", *others])
        """
    _, asked = ask(text, "train")
    assert [(one["spellings"][0], one["value"], one["front"]) for one in asked.options] == [
        ("--config", None, True),
        ("--lr", 2.0, True),
        ("--decay", 0.1, False),
    ]


def test_a_script_that_goes_on_after_its_parser_is_ended(ask):
    _, asked = ask(ARGPARSE + "parser.parse_known_args()\nwhile True: pass\n")
    assert (len(asked.options), asked.whole) == (4, False)
    assert asked.end == "it goes on after its parser"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("open('out', 'w')", "it writes out"),
        ("open('out', 'a', opener=os.open)", "it writes out"),
        ("pathlib.Path('out').mkdir()", "it changes out"),
        ("os.rename('train.py', 'other.py')", "it changes train.py"),
        ("os.remove('train.py')", "it changes train.py"),
        ("os.system('touch out')", "it starts a program"),
        ("subprocess.run(['touch', 'out'])", "it starts a program"),
        ("socket.create_connection(('192.0.2.1', 9), 1)", "it opens a connection to 192.0.2.1"),
    ],
)
def test_a_script_is_ended_before_it_changes_something(ask, action, said):
    text = "import os, pathlib, socket, subprocess\n" + ARGPARSE + "parser.parse_known_args()\n" + action
    _, asked = ask(text + "\nparser.add_argument('--late')\nparser.parse_args()\n")
    assert asked.end == said
    _, asked = ask("import os, pathlib, socket, subprocess\n" + action + ARGPARSE + "parser.parse_args()\n")
    assert asked is None


def test_what_has_no_parser_is_not_started(ask):
    assert ask("open('out', 'w')\nlr = 0.1\n")[1] is None


def test_an_environment_has_its_own_hook_and_children_have_none(ask, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text("import builtins; builtins.ours = 0.25\n")
    text = """
        import argparse, os
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=ours)
        parser.add_argument("--path", default=os.environ["PYTHONPATH"])
        parser.add_argument("--record", default=os.environ.get("STUDIO_PROBE_RECORD", "none"))
        parser.parse_args()
        """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        _, asked = ask(text)
    assert [one["value"] for one in asked.options] == [0.25, os.fspath(folder), "none"]


def test_places_have_what_the_parser_tells(ask):
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.5)
        parser.set_defaults(lr=0.25)
        for size in ("width", "height"):
            parser.add_argument(f"--{size}", type=int, default=8)
        parser.add_argument("--" + "fast", action="store_true")
        other = argparse.ArgumentParser()
        other.add_argument("--unused", type=float, default=1.0)
        parser.parse_args()
        """
    program, asked = ask(text, "--height=4")
    places = with_asked(Places(program).every(), asked, program.arguments)
    assert [(one.address, one.value, one.whole) for one in places if one.kind == "option"] == [
        ("--width", 8, True),
        ("--height", 4, True),
        ("lr", 0.25, False),
    ]
