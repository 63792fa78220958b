"""The packages that a script needs, by the files in its working directory."""

import re
from pathlib import Path

from studio.errors import BadInput


def requirement_files(source: Path) -> list[Path]:
    """Return the files that list the packages of the script: requirements.txt, else pyproject.toml with or without uv.lock.

    Raises BadInput for a requirements.txt that names other files: machines do not have them when they install packages.
    """
    if (file := source / "requirements.txt").is_file():
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if is_local(line):
                raise BadInput(
                    f"{file}, line {number}: {line.strip()!r} is a file on this machine, and others install from "
                    "requirements.txt only: name packages there, or install it in a --user-startup-script"
                )
        return [file]
    if not (source / "pyproject.toml").is_file():
        return []
    return [path for name in ("pyproject.toml", "uv.lock") if (path := source / name).is_file()]


def is_local(requirement: str) -> bool:
    """Return whether a line of a requirements file names a file or folder: `-r other.txt`, `-e .`, `./pkg`, `a.whl`."""
    text = re.sub(r"(^|\s)#.*", "", requirement).strip()
    option = re.match(r"(-[rce]|--(requirement|constraint|editable))[\s=]*", text)
    text = text[option.end() :] if option else text
    if re.match(r"[\w+.-]+://", text) or (not option and text.startswith("-")):
        return text.startswith("file:")
    path = re.match(r"[.~]|[\w.-]*/|[^@;]*\.(whl|zip|tar\.gz)\s*(;|$)", text)
    return bool(option or path or re.search(r"\bfile:", text))
