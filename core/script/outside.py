"""Files beside the working directory that a script reads by a relative path: `../data`. They are linked, not copied."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.errors import BadInput
from studio.script.program import Program

LEVELS = 2  # above it lie the folders of other experiments
# What Studio has beside a workspace: those names are its own.
_TAKEN = {"workspace", "tb", "modeldir", "artifacts", "output.log"}
_TEXT = re.compile(r"""["'(=\s]((?:\./)?\.\./[^"'\n\s,)]*)""")


def outside_paths(program: Program, source: Path, more: Sequence[str] = ()) -> dict[str, str]:
    """Links that each workspace needs: path from the workspace, `../data`, -> absolute path that exists.

    more  paths given with `--link`, which have to exist
    """
    found: dict[str, str] = {}
    for text in more:
        link = _link(text, source, source)
        if link is None:
            raise BadInput(
                f"--link {text!r} is no path that exists outside the working directory, at most {LEVELS} folders above it"
            )
        found[link[0]] = link[1]
    for text, folder in _mentioned(program):
        link = _link(text, source / folder, source)
        if link is not None:
            found.setdefault(*link)
    return found


def _mentioned(program: Program) -> Iterator[tuple[str, str]]:
    """Texts that may be such paths, each with the folder it is relative to: the working directory, or the script's."""
    texts = [part for argument in program.arguments for part in [argument, argument.partition("=")[2]]]
    folders = dict.fromkeys(["", os.path.dirname(program.script or "")])
    for text in texts:
        if text.startswith(("../", "./../")):
            yield text, ""
    paths = [path for path in [program.script, *program.more] if path is not None]
    contents = [(program.data(path) or b"").decode(errors="replace") for path in paths]
    contents += [source.file.text for source in program.modules]
    for content in contents:
        for match in _TEXT.finditer(content):
            for folder in folders:
                yield match[1], folder


def _link(text: str, folder: Path, source: Path) -> tuple[str, str] | None:
    """`("../data", "/home/me/data")` of `../data/train.csv`."""
    try:
        full = os.path.normpath(folder / text)
        relative = os.path.relpath(full, source)
        parts = Path(relative).parts
        up = sum(1 for part in parts if part == "..")
        if not 1 <= up <= LEVELS or len(parts) == up:
            return None
        top = os.path.join(*parts[: up + 1])
        target = os.path.normpath(source / top)
        if not os.path.exists(target) or Path(target) == source:
            return None
    except (ValueError, OSError):  # no path at all
        return None
    name = parts[up]
    taken = (up == 1 and (name in _TAKEN or name.endswith(".json"))) or (up > 1 and name.isdigit())
    return None if taken else (top, target)
