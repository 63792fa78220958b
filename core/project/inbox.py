"""Requests to a project's driver: one file each in `requests/`, handled by the driver or the next resume.

The driver is the only writer of the database, so `studio stop`, `studio retry` and the others, and the dashboard, write a
file.
"""

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from studio.system.files import write_json

ACTIONS = ("stop", "pause", "go", "retry", "budget", "queue")
ONLY_WHILE_RUNNING = ("stop", "pause", "go")  # void when the driver has ended


@dataclass(frozen=True)
class Request:
    """A request to the driver.

    stop    end the search, or only the experiments in `numbers`
    pause   start nothing more until `go`
    retry   run `numbers` again
    budget  add `experiments` and `seconds` to the limits of the search
    queue   run `values` next; they are the user's own, and the optimizer is not told the result
    """

    action: str
    numbers: list[int] = field(default_factory=list)
    experiments: int = 0
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)


def post(project: Path, request: Request) -> Path:
    """Write the request's file and return its path. The process that handles the request removes it."""
    folder = project / "requests"
    folder.mkdir(exist_ok=True, mode=0o700)
    note = folder / f"{uuid.uuid4().hex}.json"
    write_json(note, asdict(request))
    return note


def discard_stale(project: Path) -> None:
    """Delete requests to stop or pause: they were for a driver that has ended."""
    for file, request in pending(project):
        if request.action in ONLY_WHILE_RUNNING:
            file.unlink(missing_ok=True)


def pending(project: Path) -> list[tuple[Path, Request]]:
    """Return the waiting requests, oldest first. Remove a file once its request is handled. Invalid files are removed."""
    found = []
    folder = project / "requests"
    for file in sorted(folder.glob("*.json"), key=_left_at) if folder.is_dir() else ():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            request = Request(
                str(data["action"]),
                [int(number) for number in data.get("numbers", [])],
                max(0, int(data.get("experiments", 0))),
                max(0.0, float(data.get("seconds", 0))),
                dict(data.get("values", {})),
            )
        except FileNotFoundError:  # its sender withdrew it
            continue
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            file.unlink(missing_ok=True)
            continue
        if request.action in ACTIONS:
            found.append((file, request))
        else:
            file.unlink(missing_ok=True)
    return found


def _left_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
