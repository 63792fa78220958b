"""Values written into the user's own files: today's literal changes, and nothing else."""

import subprocess

import pytest

from studio.script.apply import apply_values
from studio.script.program import Program


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ("lr = 0.1  # rate\nfit(lr)\n", {"lr": 0.03}, "lr = 0.03  # rate\nfit(lr)\n"),
        ("fit(SVC(C=1.0))\n", {"C": 2.5}, "fit(SVC(C=2.5))\n"),
        ("p = {'eta': 0.3}\nfit(p)\n", {"eta": 0.1}, "p = {'eta': 0.1}\nfit(p)\n"),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n"
            "args = p.parse_args()\nfit(args.lr)\n",
            {"lr": 0.5},
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.5)\n"
            "args = p.parse_args()\nfit(args.lr)\n",
        ),
    ],
)
def test_the_literal_of_today_takes_the_value(tmp_path, before, values, after):
    path = tmp_path / "train.py"
    path.write_text(before)
    applied = apply_values(Program.at(tmp_path, "train.py"), values)
    assert {name: new.decode() for name, (_, new) in applied.files.items()} == {"train.py": after}
    subprocess.run(["git", "apply", "-"], input=applied.patch, cwd=tmp_path, check=True)
    assert path.read_text() == after


def test_a_variable_of_a_module_takes_the_value_where_it_is_assigned(tmp_path):
    (tmp_path / "sizes.py").write_text("depth = 3  # levels\n")
    (tmp_path / "train.py").write_text("import sizes\nfit(sizes.depth)\n")
    applied = apply_values(Program.at(tmp_path, "train.py"), {"depth": 7})
    assert {name: new.decode() for name, (_, new) in applied.files.items()} == {"sizes.py": "depth = 7  # levels\n"}
    assert applied.passed == {}


def test_a_file_keeps_its_encoding(tmp_path):
    path = tmp_path / "train.py"
    before = "# -*- coding: latin-1 -*-\nlr = 0.1  # caf\xe9\nfit(lr)\n"
    path.write_bytes(before.encode("latin-1"))
    applied = apply_values(Program.at(tmp_path, "train.py"), {"lr": 0.03})
    assert "+lr = 0.03  # caf\xe9\n" in applied.diff
    subprocess.run(["git", "apply", "-"], input=applied.patch, cwd=tmp_path, check=True)
    assert path.read_bytes() == applied.files["train.py"][1] == before.replace("0.1", "0.03").encode("latin-1")


def test_what_stands_in_no_file_is_said(tmp_path):
    (tmp_path / "train.py").write_text("print(1)\n")
    program = Program.at(tmp_path, "train.py", ["--lr", "{lr}"])
    applied = apply_values(program, {"lr": 0.5})
    assert (applied.diff, list(applied.passed)) == ("", ["lr"])


def test_a_value_of_today_stays_as_it_is_written(tmp_path):
    (tmp_path / "train.py").write_text('kind = "adam"\nlr = 4.6708698e-1\nn = 4\nd = 1\nfit(kind, lr, n, d)\n')
    values = {"kind": "adam", "lr": 0.46708697999999993, "n": 4.0, "d": True}
    applied = apply_values(Program.at(tmp_path, "train.py"), values)
    assert [line for line in applied.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-d = 1",
        "+d = True",
    ]


FLAGS = (
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--nesterov', action='store_true')\n"
    "p.add_argument('--no-bias', dest='bias', action='store_false')\np.add_argument('--n', type=int)\np.parse_args()\n"
)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("nesterov", True, "pass it yourself: --nesterov"),
        ("nesterov", False, "leave --nesterov out"),
        ("bias", False, "pass it yourself: --no-bias"),
        ("bias", True, "leave --no-bias out"),
        ("n", 3, "pass it yourself: --n=3"),
    ],
)
def test_an_option_is_passed_as_the_search_passes_it(tmp_path, name, value, says):
    (tmp_path / "train.py").write_text(FLAGS)
    assert apply_values(Program.at(tmp_path, "train.py"), {name: value}).passed == {name: says}
