import re
import sys

import pytest

from studio.errors import BadInput
from studio.script.command import active_interpreter, read_command

PYTHON = sys.executable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with scripts of all kinds, and programs on the PATH."""
    for name in ("train.py", "pkg/train.py", "pkg/__main__.py", "run.sh", "fit.R", "Makefile", "notes.txt"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text("")
    (tmp_path / "work" / "train").write_text("#!/bin/sh\n")
    (tmp_path / "work" / "train").chmod(0o755)
    (tmp_path / "bin").mkdir()
    for name in ("torchrun", "accelerate", "uv", "make", "Rscript", "bash", "mpirun"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("words", "argv", "arguments", "script"),
    [
        ("train.py 30", [PYTHON, "train.py"], "30", "train.py"),
        ("./train.py", [PYTHON, "train.py"], "", "train.py"),
        ("./train a", ["./train"], "a", "train"),
        ("run.sh 3", ["bash", "run.sh"], "3", "run.sh"),
        ("fit.R", ["Rscript", "fit.R"], "", "fit.R"),
        ("python train.py 3", [PYTHON, "train.py"], "3", "train.py"),
        ("python3 -u train.py", [PYTHON, "-u", "train.py"], "", "train.py"),
        ("python -X dev -O train.py a", [PYTHON, "-X", "dev", "-O", "train.py"], "a", "train.py"),
        ("python -m pkg.train 3", [PYTHON, "-m", "pkg.train"], "3", "pkg/train.py"),
        ("python -m pkg", [PYTHON, "-m", "pkg"], "", "pkg/__main__.py"),
        ("python -m json.tool train.py --x", [PYTHON, "-m", "json.tool", "train.py"], "--x", "train.py"),
        ("python -c x 3", [PYTHON, "-c", "x"], "3", None),
        ("torchrun --nproc=2 train.py --lr {lr}", ["torchrun", "--nproc=2", "train.py"], "--lr {lr}", "train.py"),
        ("torchrun -m pkg.train --x", ["torchrun", "-m", "pkg.train"], "--x", "pkg/train.py"),
        ("accelerate launch --cpu pkg/train.py", ["accelerate", "launch", "--cpu", "pkg/train.py"], "", "pkg/train.py"),
        ("uv run train.py 3", ["uv", "run", "train.py"], "3", "train.py"),
        ("uv run python train.py 3", ["uv", "run", "python", "train.py"], "3", "train.py"),
        ("mpirun -n 2 python train.py", ["mpirun", "-n", "2", "python", "train.py"], "", "train.py"),
        ("Rscript --vanilla fit.R 1", ["Rscript", "--vanilla", "fit.R"], "1", "fit.R"),
        ("bash run.sh", ["bash", "run.sh"], "", "run.sh"),
        ("make train LR=3", ["make"], "train LR=3", "Makefile"),
        ("pkg 3", [PYTHON, "pkg/__main__.py"], "3", "pkg/__main__.py"),
    ],
)
def test_commands(folder, words, argv, arguments, script):
    first, *rest = words.split()
    command = read_command(first, rest, folder)
    assert (command.argv, command.arguments, command.script) == (argv, arguments.split(), script)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian.py", "there is no script 'trian.py'; did you mean 'train.py'"),
        ("nothing --x", "there is no script 'nothing'"),
        ("notes.txt", "neither a .py script nor executable"),
        ("python", "needs a script"),
        ("python -m", "needs a module"),
        ("python notes.txt", "neither a .py script"),
        ("python run.sh", "is not a .py script"),
        ("python trian.py", "did you mean 'train.py'"),
        ("../work", "is a folder"),
    ],
)
def test_what_cannot_run_is_refused(folder, words, message):
    first, *rest = words.split()
    with pytest.raises(BadInput) as caught:
        read_command(first, rest, folder)
    assert message in str(caught.value)


def test_the_interpreter_of_the_active_environment_runs_scripts(tmp_path, monkeypatch):
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.setattr(sys, "prefix", str(own))
    assert active_interpreter() is None  # an environment that has Studio among other packages
    (own / "uv-receipt.toml").write_text("")
    assert active_interpreter() == str(python)
    monkeypatch.setenv("PATH", "")
    assert active_interpreter() is None
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path / "env"))
        assert active_interpreter() == str(python)
        monkeypatch.setenv(name, str(own))
        assert active_interpreter() is None
        monkeypatch.delenv(name)


def test_a_notebook_needs_a_kernel_in_its_interpreter(tmp_path):
    (tmp_path / "train.ipynb").write_text("{}")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(BadInput, match=rf"{re.escape(str(python))} has no ipykernel.*-m pip install ipykernel"):
        read_command("train.ipynb", [], tmp_path, python=str(python))
