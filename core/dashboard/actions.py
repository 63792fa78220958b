"""Actions of the buttons: the same code as the commands, `studio.search.send_requests`. Without a driver, `studio resume` is
started in a process of its own, which continues when the dashboard ends."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.dashboard.columns import name_of
from studio.errors import BadInput, StudioError
from studio.host import create_host
from studio.project.paths import project_folder
from studio.project.records import read_session, reading
from studio.search import send_requests
from studio.search.send_requests import Reply
from studio.settings import parse_duration

SETTLE = 20.0  # seconds in which a resumed search has started, or reported an error
MOST_NUMBERS = 100_000


def _pause(project: str, given: dict[str, Any]) -> Reply:
    return send_requests.pause(project)


def _go(project: str, given: dict[str, Any]) -> Reply:
    return send_requests.resume_or_unpause(project)


def _stop(project: str, given: dict[str, Any]) -> Reply:
    return send_requests.stop(project, _chosen(given))


def _retry(project: str, given: dict[str, Any]) -> Reply:
    return send_requests.retry(project, _chosen(given))


def _budget(project: str, given: dict[str, Any]) -> Reply:
    experiments, length = given.get("experiments") or 0, given.get("time") or None
    if not isinstance(experiments, int) or isinstance(experiments, bool) or experiments > 10**9:
        raise BadInput(f"experiments: {experiments!r} is not a whole number")
    if isinstance(length, bool) or not isinstance(length, str | int | float | None):
        raise BadInput(f"time: {length!r} is not a duration; write for example 90s, 15m, 5h or 2d")
    parse_duration(length, "time:")  # checked here, for an error with the field's name of the page
    return send_requests.add_budget(project, experiments, length)


def _queue(project: str, given: dict[str, Any]) -> Reply:
    values = given.get("values")
    if not isinstance(values, dict):
        raise BadInput('values: give names with values, such as {"lr": 0.01}')
    return send_requests.add_values(
        project, {name_of(key): value for key, value in values.items() if value not in ("", None)}, create_host()
    )


ACTIONS: dict[str, Callable[[str, dict[str, Any]], Reply]] = {
    "pause": _pause,
    "resume": _go,
    "stop": _stop,
    "retry": _retry,
    "add-budget": _budget,
    "add-values": _queue,
}


def act(action: str, project: str, given: dict[str, Any]) -> str:
    """Carry out the action; return a message for the user. Raises BadInput."""
    asked = ACTIONS[action](project, given)
    if asked.resume is not None:
        with send_requests.withdrawn_on_error(asked):
            _resume(project, asked.resume)
    return asked.words


def numbers_of(given: dict[str, Any]) -> list[int]:
    """Return `numbers` of a request; empty if there are none. Raises BadInput."""
    numbers = given.get("numbers", [])
    whole = isinstance(numbers, list) and all(type(number) is int and 0 < number < 2**53 for number in numbers)
    if not whole or len(numbers) > MOST_NUMBERS:
        raise BadInput("numbers: give a list of experiment numbers")
    return numbers


def _chosen(given: dict[str, Any]) -> list[int]:
    """Return the experiments of a request; empty for the whole search, which only a request without fields means."""
    if unknown := [name for name in given if name != "numbers"]:
        raise BadInput(f"{unknown[0]!r} is no field of this request; write numbers: [1, 2]")
    numbers = numbers_of(given)
    if given and not numbers:
        raise BadInput("numbers: the list is empty; leave the field out to mean the whole search")
    return numbers


def _resume(project: str, options: dict[str, str]) -> None:
    """Start `studio resume`, in a session of its own, so that Ctrl-C at the dashboard does not reach it.

    Raises BadInput with its message if it could not start.
    """
    folder, asked = project_folder(project), time.time()
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "studio", "resume", project, "--quiet", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True).start()  # reap the process
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if (code := process.poll()) is not None:
                if code in (0, 3, 4):  # it had little to do
                    return
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise BadInput(
                    lines[-1].removeprefix("studio: ") if lines else f"studio resume ended with exit code {code}"
                )
            if _began(folder) >= asked:
                return


def _began(folder: Path) -> float:
    """Return when the latest session started, in seconds since the epoch."""
    with contextlib.suppress(StudioError), reading(folder) as connection:
        session = read_session(connection)
        return session.begun if session else 0.0
    return 0.0
