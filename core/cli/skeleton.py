"""The packages that `studio plugins new optimizer NAME` and `new metric NAME` write."""

import re
from importlib import resources
from pathlib import Path

from studio.errors import BadInput

KINDS = ("optimizer", "metric")
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def write_package(kind: str, name: str, parent: Path) -> Path:
    """Write the package below `parent` and return its folder. BadInput for an invalid name or an existing folder."""
    if kind not in KINDS:
        raise BadInput(f"{kind!r} has no skeleton; write: studio plugins new {' or '.join(KINDS)} NAME")
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name of a plugin: lower-case letters, digits and - only, such as my-search")
    folder = parent / f"studio-{name}"
    if folder.exists():
        raise BadInput(f"{folder.name} exists here; choose another name")
    words = {
        "kind": kind,
        "name": name,
        "module": f"studio_{name.replace('-', '_')}",
        "class": "".join(part.capitalize() for part in name.split("-")),
    }
    templates = resources.files("studio.cli") / "templates"
    for template, target in (
        ("pyproject.toml", "pyproject.toml"),
        (f"README-{kind}.md", "README.md"),
        (f"{kind}.py", f"{words['module']}.py"),
        (f"test_{kind}.py", f"tests/test_{words['module']}.py"),
    ):
        path = folder / target
        text = (templates / f"{template}.txt").read_text(encoding="utf-8")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_fill(text, words), encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}; cd to a folder that you can write to") from error
    return folder


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"@(kind|name|module|class)@", lambda match: words[match[1]], text)
