"""Interpreter, packages, commit and machine of a search: information for the reader, used for nothing else."""

import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

PATIENCE = 2.0  # seconds for git, which is slow in huge repositories


def describe(command: str, source: Path) -> dict[str, str]:
    """Describe interpreter, packages, commit and machine of `command` in `source`; what is unknown is omitted."""
    known = {
        "commit": _commit(source),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs",
    }
    if os.path.isabs(command) and os.path.exists(command):  # else it is not a Python interpreter
        known |= {"python": _version(command), "interpreter": command, "packages": "\n".join(_packages(command))}
    return {name: text for name, text in known.items() if text}


def _packages(command: str) -> list[str]:
    """Return `numpy 2.1.0` and so on, from the names of installed folders: importing or asking takes seconds."""
    places = sys.path if _is_ours(command) else _site_packages(command)
    found = set()
    for place in map(Path, places):
        if place.name.endswith("-packages"):
            found |= {path.stem for path in place.glob("*.dist-info")}
    return sorted((" ".join(name.rsplit("-", 1)) for name in found), key=str.lower)


def _is_ours(command: str) -> bool:
    """Return whether `command` is this interpreter, by name: in all virtual environments it is a link to one file."""
    return os.path.abspath(command) == os.path.abspath(sys.executable)


def _site_packages(command: str) -> list[str]:
    return [str(path) for path in Path(command).parent.parent.glob("lib/python3*/site-packages")]


def _version(command: str) -> str:
    """Return the Python version; for another interpreter from the name of its packages' folder."""
    if _is_ours(command):
        return platform.python_version()
    found = re.search(r"python(3\.\d+)", " ".join(_site_packages(command)))
    return found[1] if found else ""


def _commit(source: Path) -> str:
    """Return `1a2b3c4… (with changes)` if `source` is in a git repository, else empty."""
    commit = _git(source, "rev-parse", "HEAD")
    if not commit:
        return ""
    return f"{commit} (with changes)" if _git(source, "status", "--porcelain", "--untracked-files=no") else commit


def _git(source: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
