"""Where a search ran: interpreter, packages, commit, machine. For people who look at it later; nothing depends on it."""

import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

PATIENCE = 2.0  # seconds for git, which is slow in huge repositories


def describe(command: str, source: Path) -> dict[str, str]:
    """Of scripts that the program `command` runs, with the files in `source`. What cannot be found out is left out."""
    known = {
        "commit": _commit(source),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs",
    }
    if os.path.isabs(command) and os.path.exists(command):  # else it is a program of the user's own
        known |= {"python": _version(command), "interpreter": command, "packages": "\n".join(_packages(command))}
    return {name: text for name, text in known.items() if text}


def _packages(command: str) -> list[str]:
    """`numpy 2.1.0`, by the names of the folders that installers leave: to import or to ask takes seconds."""
    places = sys.path if _is_ours(command) else _site_packages(command)
    found = set()
    for place in map(Path, places):
        if place.name.endswith("-packages"):
            found |= {path.stem for path in place.glob("*.dist-info")}
    return sorted((" ".join(name.rsplit("-", 1)) for name in found), key=str.lower)


def _is_ours(command: str) -> bool:
    """By name: the interpreters of all virtual environments are links to one file."""
    return os.path.abspath(command) == os.path.abspath(sys.executable)


def _site_packages(command: str) -> list[str]:
    return [str(path) for path in Path(command).parent.parent.glob("lib/python3*/site-packages")]


def _version(command: str) -> str:
    """By the folder of its packages, for an interpreter of its own environment."""
    if _is_ours(command):
        return platform.python_version()
    found = re.search(r"python(3\.\d+)", " ".join(_site_packages(command)))
    return found[1] if found else ""


def _commit(source: Path) -> str:
    """`1a2b3c4… (with changes)`, where `source` is in a git repository."""
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
