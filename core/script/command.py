"""The command that runs, and the user's script file in it.

studio run train.py 30                       [python, train.py] [30]
studio run -m pkg.train 30                   [python, -m, pkg.train] [30]         the script is pkg/train.py
studio run -- torchrun train.py --lr {lr}    [torchrun, train.py] [--lr, {lr}]    the script is train.py
studio run train.ipynb                       [python, -m, studio.script.run_notebook, train.ipynb]
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.entry_points import install_command
from studio.errors import BadInput
from studio.settings import SCRIPTS
from studio.text import did_you_mean

_PYTHON = re.compile(r"python(\d(\.\d+)?)?w?")
# files that pipx and uv tool leave in an environment of one program
_OWN_ENVIRONMENT = (
    "pipx_metadata.json",
    "uv-receipt.toml",
)
# Options of Python that take a value; the script may follow.
_WITH_VALUE = {"-W", "-X", "--check-hash-based-pycs"}


@dataclass(frozen=True)
class Command:
    """A command: `argv` up to the script, then its `arguments`.

    script     path of the script below the source; None without one
    notebook   the workspace path of the executed notebook
    """

    argv: list[str]
    arguments: list[str]
    script: str | None
    notebook: str = ""


def read_command(
    script: str, arguments: Sequence[str], source: Path, *, module: bool = False, python: str | None = None
) -> Command:
    """Return the command of `studio run SCRIPT ARGUMENTS`, with its files in `source`.

    Raises BadInput for a command that cannot run.
    """
    words = [script, *arguments]
    if module:
        return _module(words, source, python)
    path = Path(os.path.normpath(source / os.path.expanduser(script)))
    is_folder = os.path.isdir(path)  # unlike Path.is_dir, no error for an invalid path
    if os.path.exists(path) and not is_folder:
        return _file(script, path, list(arguments), source, python)
    if _PYTHON.fullmatch(script):
        return _of_python(words, source, python)
    if is_folder and os.path.exists(path / "__main__.py") and not shutil.which(script):
        return _file(f"{script}/__main__.py", path / "__main__.py", list(arguments), source, python)
    if is_folder and not shutil.which(script):
        raise BadInput(f"{script!r} is a folder; name the script in it, or use -m for a package")
    if not script or shutil.which(os.path.expanduser(script)) is None:
        scripts = [str(p.relative_to(source)) for p in source.glob("*.py")]
        raise BadInput(f"there is no script {script!r}{_close(script, scripts)}")
    return _program(words, source)


def python_at(script: str, source: Path) -> str | None:
    """Return the path of the Python that a command names by a path, as `.venv/bin/python train.py` does; None for any other."""
    path = os.path.normpath(source / os.path.expanduser(script))
    named = os.sep in script and _PYTHON.fullmatch(os.path.basename(path))
    return path if named and os.path.isfile(path) and os.access(path, os.X_OK) else None


def interpreter(python: str | None) -> str:
    """Return the path of the Python that runs scripts: `python`, or this one for None."""
    if python is None:
        return sys.executable
    found = shutil.which(os.path.expanduser(python))
    if found is None:
        raise BadInput(f"--python {python!r} is not a program; give the path of an interpreter")
    return os.path.abspath(found)


def active_interpreter() -> str | None:
    """Return the Python of the active environment if Studio runs from another one; None if it is Studio's own.

    If pipx or uv installed Studio, it has an environment of its own, without the script's packages.
    """
    own = any(os.path.exists(os.path.join(sys.prefix, name)) for name in _OWN_ENVIRONMENT)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = os.environ.get(name, "")
        if not folder or (name == "CONDA_PREFIX" and not own):
            continue
        if os.path.realpath(folder) == os.path.realpath(sys.prefix):
            return None
        found = os.path.join(folder, "bin", "python")
        if os.access(found, os.X_OK):
            return found
    if not own:
        return None
    on_path = shutil.which("python") or shutil.which("python3")
    if on_path is None or os.path.realpath(os.path.dirname(os.path.dirname(on_path))) == os.path.realpath(sys.prefix):
        return None
    return on_path


def _file(given: str, path: Path, arguments: list[str], source: Path, python: str | None) -> Command:
    if not os.access(path, os.R_OK):
        raise BadInput(f"script {given!r} cannot be read; check its permissions")
    if not path.is_relative_to(source):
        raise BadInput(
            f"script {given!r} is outside the working directory, and only that is copied; cd {path.parent} first"
        )
    script = str(path.relative_to(source))
    shown = f"./{script}" if script.startswith("-") else script
    if path.suffix == ".py":
        return Command([interpreter(python), shown], arguments, script)
    if path.suffix == ".ipynb":
        return _notebook(script, arguments, python)
    if os.access(path, os.X_OK):
        return Command([f"./{script}"], arguments, script)
    runs = {".sh": "bash", ".bash": "bash", ".zsh": "zsh", ".R": "Rscript", ".r": "Rscript", ".jl": "julia"}
    if path.suffix in runs:
        return Command([runs[path.suffix], shown], arguments, script)
    raise BadInput(f"{given!r} is neither a .py script nor executable; chmod +x it")


def _notebook(script: str, arguments: list[str], python: str | None) -> Command:
    missing = [name for name in ("nbclient", "nbformat", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing and not (missing == ["ipykernel"] and python is not None):
        raise BadInput(f"{script!r} is a notebook, and {missing[0]} is not installed: {install_command('notebook')}")
    kernel = interpreter(python)
    if kernel != sys.executable:
        asked = subprocess.run([kernel, "-c", "import ipykernel"], stdin=subprocess.DEVNULL, capture_output=True)
        if asked.returncode:
            raise BadInput(
                f"{script!r} is a notebook, and {kernel} has no ipykernel, which runs its cells:"
                f" {kernel} -m pip install ipykernel, or give another interpreter with --python"
            )
    executed = str(Path(script).with_name(f"executed-{Path(script).name}"))
    argv = [sys.executable, "-m", "studio.script.run_notebook", kernel, script, executed]
    return Command(argv, arguments, script, executed)


def _module(words: Sequence[str], source: Path, python: str | None) -> Command:
    """Return the command of `-m MODULE`: a local module, or an installed one that may start the user's script."""
    module, *arguments = words
    if not all(part.isidentifier() for part in module.split(".")) or (source / module).is_file():
        raise BadInput(f"-m {module!r} is not a module name; write it with dots and without .py, such as package.train")
    base = module.replace(".", "/")
    local = next((c for c in (f"{base}.py", f"{base}/__main__.py") if (source / c).is_file()), None)
    at = _script_among(arguments, source)
    prefix = [interpreter(python), "-m", module]
    if at is not None:
        return Command([*prefix, *arguments[: at + 1]], list(arguments[at + 1 :]), _relative(arguments[at], source))
    if local is None and python is None and importlib.util.find_spec(module.split(".")[0]) is None:
        raise BadInput(f"-m {module!r}: there is no such module, neither here nor installed")
    return Command(prefix, list(arguments), local)


def _of_python(words: Sequence[str], source: Path, python: str | None) -> Command:
    """Return the command of `python -u train.py 30`: Python's options stay, and `python` is the one that runs scripts."""
    options: list[str] = []
    rest = list(words[1:])
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
        options.append(rest.pop(0))
        if options[-1] in _WITH_VALUE and rest:
            options.append(rest.pop(0))
    if not rest:
        raise BadInput(f"{words[0]!r} needs a script; write {words[0]} train.py")
    if rest[0] in ("-c", "-"):
        return Command([interpreter(python), *options, *rest[:2]], rest[2:], None)
    if rest[0] == "-m":
        if len(rest) < 2:
            raise BadInput(f"{words[0]} -m needs a module; write {words[0]} -m package.train")
        inner = _module(rest[1:], source, python)
    else:
        inner = read_command(rest[0], rest[1:], source, python=python)
        if inner.script is None or not inner.script.endswith(".py"):
            raise BadInput(f"{' '.join(words[:3])!r}: {rest[0]!r} is not a .py script")
    return Command([inner.argv[0], *options, *inner.argv[1:]], inner.arguments, inner.script)


def _program(words: Sequence[str], source: Path) -> Command:
    """Return the command of any program; the script is the first argument that is one, or the module after `-m`."""
    at = _script_among(words[1:], source)
    if at is not None:
        stop = at + 2
        return Command(list(words[:stop]), list(words[stop:]), _relative(words[at + 1], source))
    if "-m" in words[:-1]:
        index = words.index("-m") + 1
        base = words[index].replace(".", "/")
        local = next((c for c in (f"{base}.py", f"{base}/__main__.py") if (source / c).is_file()), None)
        return Command(list(words[: index + 1]), list(words[index + 1 :]), local)
    if words[0] in ("make", "gmake"):
        for name in ("GNUmakefile", "makefile", "Makefile"):
            if (source / name).is_file():
                return Command([words[0]], list(words[1:]), name)
    return Command([words[0]], list(words[1:]), None)


def _script_among(words: Sequence[str], source: Path) -> int | None:
    for index, word in enumerate(words):
        if word.endswith(SCRIPTS) and not word.startswith("-") and (source / word).is_file():
            return index
    return None


def _relative(path: str, source: Path) -> str | None:
    full = Path(os.path.normpath(source / path))
    return str(full.relative_to(source)) if full.is_relative_to(source) else None


def _close(word: str, known: list[str]) -> str:
    return did_you_mean(word, known) if known else " in this folder"
