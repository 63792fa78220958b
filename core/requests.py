"""What other processes ask of a project's driver: one file each in `requests/`, taken up by the driver or the next resume.

The driver is the only writer of the database, so `studio stop`, `studio retry` and the UI leave a note.
"""

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from studio.home import write_json

ACTIONS = ("stop", "retry")


@dataclass(frozen=True)
class Request:
    """`stop`: end the search, or only the experiments in `numbers`. `retry`: run `numbers` once more."""

    action: str
    numbers: list[int] = field(default_factory=list)


def leave(project: Path, request: Request) -> None:
    folder = project / "requests"
    folder.mkdir(exist_ok=True, mode=0o700)
    write_json(folder / f"{uuid.uuid4().hex}.json", asdict(request))


def drop_stops(project: Path) -> None:
    """Forget requests to stop: they were for a driver that has ended."""
    for file, request in pending(project):
        if request.action == "stop":
            file.unlink()


def pending(project: Path) -> list[tuple[Path, Request]]:
    """The requests that wait, oldest first. Remove a file when its request has been taken up. What is no request is removed."""
    found = []
    folder = project / "requests"
    for file in sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns) if folder.is_dir() else ():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            request = Request(str(data["action"]), [int(number) for number in data.get("numbers", [])])
        except (ValueError, KeyError, TypeError, AttributeError):
            file.unlink()
            continue
        if request.action in ACTIONS:
            found.append((file, request))
        else:
            file.unlink()
    return found
