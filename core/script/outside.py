"""Files beside the working directory that a script reads: `../data`, `Path(__file__).parent.parent / "data"`, and modules of a
folder that it adds to `sys.path`. They are linked, not copied."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from studio.errors import BadInput
from studio.script.paths import PathReader
from studio.script.program import Program, imports_of

MOST_FILES = 300  # of a package, that are searched
LEVELS = 2  # folders above the workspace; higher up are other experiments
# Names of Studio's own files beside a workspace.
_TAKEN = {"workspace", "tb", "modeldir", "artifacts", "output.log"}
_CLIMBS = re.compile(r"""__file__|pardir|\.\.[/\\"']|\.parent""")  # what a path out of the working directory needs
_TEXT = re.compile(r"""["'(=\s]((?:\./)?\.\./[^"'\n\s,)]*)""")


def outside_paths(program: Program, source: Path, more: Sequence[str] = ()) -> dict[str, str]:
    """Return the links that each workspace needs: path from the workspace, `../data`, -> existing absolute path.

    more  paths given with `--link`, which have to exist
    """
    found: dict[str, str] = {}
    for text in more:
        link = _link(os.path.join(source, text), source)
        if link is None:
            raise BadInput(
                f"--link {text!r} is not an existing path outside the working directory, at most {LEVELS} folders above it"
            )
        found[link[0]] = link[1]
    for path in _mentioned(program, source):
        link = _link(path, source)
        if link is not None:
            found.setdefault(*link)
    return found


def _mentioned(program: Program, source: Path) -> Iterator[str]:
    """Yield possible outside paths, absolute: relative ones below the working directory and the script's folder."""
    folders = [source, source / os.path.dirname(program.script or "")]
    for argument in program.arguments:
        for text in (argument, argument.partition("=")[2]):
            if text.startswith(("../", "./../")):
                yield os.path.join(source, text)
    reader = PathReader(str(source))
    imported: list[str] = []
    near = {one.path for one in program.limited.modules}
    modules = [one.path for one in program.modules if one.path in near or _CLIMBS.search(one.file.text)]
    for path in dict.fromkeys(filter(None, [program.script, *program.more, *modules])):
        python = program.python_source(path)
        text = (program.data(path) or b"").decode(errors="replace") if python is None else python.file.text
        try:
            texts = list(reader.read(text, path)) if python is not None else _TEXT.findall(text)
        except (
            SyntaxError,
            ValueError,
            RecursionError,
            MemoryError,
        ):  # magics of a notebook, or another version of Python
            texts = _TEXT.findall(text)
        for found in texts:
            yield from dict.fromkeys(os.path.join(folder, found) for folder in folders)
        if python is not None and "sys.path" in text:
            imported += [os.path.join(folder, found) for found in texts for folder in folders]
    yield from _modules(program, source, dict.fromkeys(map(os.path.normpath, imported)))


def _modules(program: Program, source: Path, folders: Iterable[str]) -> Iterator[str]:
    """Modules that lie in one of `folders`, outside of `source`, and are imported by the program or by one another."""
    outside = [folder for folder in folders if not Path(folder).is_relative_to(source) and os.path.isdir(folder)]
    waiting = [one.file.text for one in program.python] if outside else []
    seen: set[str] = set()
    while waiting:
        for module, _ in imports_of(waiting.pop()):
            top = module.partition(".")[0]
            for folder in outside if top and top not in seen else ():
                for path in (os.path.join(folder, top), os.path.join(folder, f"{top}.py")):
                    if os.path.exists(path):
                        seen.add(top)
                        yield path
                        files = Path(path).rglob("*.py") if os.path.isdir(path) else [Path(path)]
                        waiting += [file.read_text(errors="replace") for file in itertools.islice(files, MOST_FILES)]


def _link(full: str, source: Path) -> tuple[str, str] | None:
    """Return `("../data", "/home/me/data")` for `/home/me/data/train.csv`."""
    try:
        relative = os.path.relpath(full, source)
        parts = Path(relative).parts
        up = sum(1 for part in parts if part == "..")
        if not 1 <= up <= LEVELS or len(parts) == up:
            return None
        top = os.path.join(*parts[: up + 1])
        target = os.path.normpath(source / top)
        if not os.path.exists(target) or Path(target) == source:
            return None
    except (ValueError, OSError):  # not a valid path
        return None
    name = parts[up]
    taken = (up == 1 and (name in _TAKEN or name.endswith(".json"))) or (up > 1 and name.isdigit())
    return None if taken else (top, target)
