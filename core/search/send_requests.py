"""Requests of the user to a project while it runs, or after: `studio stop`, `pause`, `retry`, `add`, `resume` and the
buttons of the dashboard.

    check --> a request to the running driver --> message
          --> no driver: `studio resume` has to follow, here or in a process of its own
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import BadInput, StudioError
from studio.experiment import LARGEST_INT, UNFINISHED, is_number
from studio.format import counted
from studio.host import Host
from studio.project import inbox
from studio.project.inbox import Request
from studio.project.lock import is_locked
from studio.project.project import Project
from studio.project.records import Session, read_session, reading
from studio.project.summary import summarize
from studio.search.search_space import read_space
from studio.settings import parse_duration
from studio.space import Array, Choice, Constant, Integer, Parameter, Real, Space
from studio.text import did_you_mean, parse_literal

ACTIONS = ("pause", "resume", "stop", "retry", "add-budget", "add-values")
PICKUP_TIME = 2.0  # seconds in which a driver takes a request, unless it is busy
NOT_RUNNING = "is not running"
NO_LIMIT = "has no limit on experiments, so there is nothing to add to"
NO_TIME = "has no time limit that could be longer"
PROGRAMS = "is driven by a Python program; run that program again to continue"


@dataclass(frozen=True)
class Reply:
    """Result of a request, as a message.

    resume  options of the `studio resume` that carries it out, if no driver runs; else None
    note    the request's file, which waits for that resume
    """

    words: str
    resume: dict[str, str] | None = None
    note: Path | None = None

    def withdraw(self) -> None:
        """Withdraw the request after its resume was refused, so that no later resume carries it out."""
        if self.note is not None:
            self.note.unlink(missing_ok=True)


@contextlib.contextmanager
def withdrawn_on_error(*asked: Reply) -> Iterator[None]:
    """Withdraw requests if the resume that should carry them out fails."""
    try:
        yield
    except StudioError:
        for each in asked:
            each.withdraw()
        raise


def unavailable_actions(
    settings: Mapping[str, Any], session: Session | None, state: str, counts: Mapping[str, int]
) -> dict[str, str]:
    """Return action -> why it cannot be done now, or an empty text if it can, for the buttons of the dashboard.

    `state` is that of the project, `counts` the number of experiments by status.
    """
    if not settings.get("script"):
        return dict.fromkeys(ACTIONS, f"this search {PROGRAMS}")
    at_work = state in ("running", "paused")
    waits = any(counts.get(status) for status in ("queued", "stopped", "running"))
    by_itself, no_limit = _ends_by_itself(settings, session), settings.get("max_experiments") is None
    nothing_to_add = no_limit and (session is None or session.max_time is None) if at_work else by_itself and not waits
    return {
        "pause": "" if state == "running" else "already paused" if at_work else f"the search {NOT_RUNNING}",
        "resume": "already running"
        if state == "running"
        else "already finished"
        if state == "done" and not waits
        else "",
        "stop": "" if at_work else f"the search {NOT_RUNNING}",
        "retry": "" if counts.get("failed") or counts.get("stopped") else "nothing failed",
        "add-budget": (
            f"this search {NO_LIMIT if at_work else _ends_with(settings, session)}" if nothing_to_add else ""
        ),
        "add-values": "",
    }


def stop(name: str, numbers: Sequence[int] = ()) -> Reply:
    """End the search, or only the experiments in `numbers`; they are marked stopped and run again on resume."""
    project = Project(name)
    _script_of(project)
    if not _at_work(project):
        return _not_running(project)
    running = {experiment.number for experiment in project.chosen(numbers) if experiment.status == "running"}
    if idle := [number for number in numbers if number not in running]:
        raise BadInput(f"experiment {idle[0]} of project {name!r} is not running")
    if not _tell(project, Request("stop", list(numbers))):
        return _not_running(project)
    return Reply(f"asked to stop {counted(len(numbers), 'experiment')}" if numbers else "asked the search to stop")


def pause(name: str) -> Reply:
    """Start no more experiments until `go`; running ones continue."""
    project = Project(name)
    _script_of(project)
    if not _at_work(project) or not _tell(project, Request("pause")):
        return _not_running(project)
    return Reply("asked the search to pause: running experiments finish, and no more are started")


def resume_or_unpause(name: str) -> Reply:
    """Continue after a pause or an end."""
    project = Project(name)
    _script_of(project)
    if _at_work(project) and _tell(project, Request("go")):
        return Reply("asked the search to continue")
    return Reply("the search continues", {})


def retry(name: str, numbers: Sequence[int] = ()) -> Reply:
    """Run `numbers`, or all that failed, again under the same numbers."""
    project = Project(name)
    _script_of(project)
    known = {experiment.number: experiment.status for experiment in project.experiments}
    for number in numbers:
        if number not in known:
            raise BadInput(f"project {name!r} has no experiment {number}; it has {len(known)}")
        if known[number] in UNFINISHED:
            raise BadInput(f"experiment {number} of project {name!r} is {known[number]}; retry it when it has ended")
    chosen = list(numbers) or [number for number, status in known.items() if status == "failed"]
    if not chosen:
        return Reply("no experiment failed, so there is nothing to retry")
    return _asked(project, Request("retry", chosen), f"{counted(len(chosen), 'experiment')} will run again")


def add_budget(name: str, experiments: int = 0, time: str | float | None = None) -> Reply:
    """Add experiments, time, or both. Time is for the running session, or for the next one."""
    project = Project(name)
    settings = _script_of(project)
    seconds = parse_duration(time, "--time") or 0.0
    if experiments < 0 or (not experiments and not seconds):
        raise BadInput("give the number of experiments to add, at least 1, or a time such as 30m")
    session = _session(project)
    if experiments and _ends_by_itself(settings, session):
        raise BadInput(f"project {name!r} {_ends_with(settings, session)}")
    if _at_work(project):
        if experiments and settings.get("max_experiments") is None:
            raise BadInput(f"project {name!r} {NO_LIMIT}")
        if seconds and (session is None or session.max_time is None):
            raise BadInput(f"project {name!r} {NO_TIME}")
        if _tell(project, Request("budget", experiments=experiments, seconds=seconds)):
            more = [counted(experiments, "experiment")] if experiments else []
            return Reply(f"the running search gets {' and '.join([*more, str(time)] if seconds else more)} more")
    options = {}
    if experiments:
        options["max_experiments"] = str(_budget(settings, project) + experiments)
    if seconds:
        options["max_time"] = str(time)
    return Reply("the search continues", options)


def add_values(name: str, values: Mapping[str, Any], host: Host) -> Reply:
    """Run these values next: name -> value or its text. Missing names take the best experiment's values."""
    project = Project(name)
    settings = _script_of(project)
    grid = host.optimizer(settings.get("optimizer", "grid")).grid
    space = read_space(settings.get("ranges") or {}, host, grid=grid)
    unknown = [key for key in values if key not in space.names]
    if unknown:
        raise BadInput(f"project {name!r} has no hyperparameter {unknown[0]!r}{did_you_mean(unknown[0], space.names)}")
    if not values:
        raise BadInput(f"no values were given; give at least one, such as {next(iter(space.names), 'lr')}=0.01")
    given = {key: value_of(parameter_of(space, key), value) for key, value in values.items()}
    best = project.best if len(given) < len(space) else None
    if len(given) < len(space) and best is None:
        missing = [key for key in space.names if key not in given]
        raise BadInput(
            f"no value for hyperparameter {', '.join(missing)}, and there is no best experiment yet to take it from"
        )
    whole = {key: given[key] if key in given else best.values[key] for key in space.names}  # type: ignore[union-attr]
    return _asked(project, Request("queue", values=whole), "these values run next")


def value_of(parameter: Parameter, given: Any) -> Any:
    """Return `given`, a value or its text, in the type of `parameter`. A number may be outside its range."""
    value: Any = parse_literal(given) if isinstance(given, str) else given
    if isinstance(value, int) and not -LARGEST_INT < value < LARGEST_INT:
        raise BadInput(f"hyperparameter {parameter.name}: whole numbers have up to 18 digits")
    if isinstance(parameter, Array):
        return _numbers(parameter, given)
    if isinstance(parameter, Choice | Constant):
        known = list(parameter.values) if isinstance(parameter, Choice) else [parameter.value]
        for one in known:
            if str(one) == str(given) or (type(one) is type(value) and one == value):
                return one
        if not all(is_number(one) for one in known):
            raise BadInput(f"hyperparameter {parameter.name}: {given!r} is not one of {', '.join(map(str, known))}")
    if not is_number(value):
        raise BadInput(f"hyperparameter {parameter.name}: {given!r} is not a number")
    if isinstance(parameter, Integer):
        if value != int(value) or not abs(value) < LARGEST_INT:
            raise BadInput(f"hyperparameter {parameter.name}: {given!r} is not a whole number")
        return int(value)
    return float(value) if isinstance(parameter, Real) else value


def _numbers(parameter: Array, given: Any) -> list[float]:
    parts = [parse_literal(part) for part in given.strip("[] ").split(",")] if isinstance(given, str) else given
    if not isinstance(parts, list) or len(parts) != parameter.length or not all(map(is_number, parts)):
        raise BadInput(
            f"hyperparameter {parameter.name}: needs {parameter.length} numbers with commas between, not {given!r}"
        )
    return [float(part) for part in parts]


def parameter_of(space: Space, name: str) -> Parameter:
    return next(parameter for parameter in space if parameter.name == name)


def _at_work(project: Project) -> bool:
    return is_locked(project.folder)


def _not_running(project: Project) -> Reply:
    return Reply(f"project {project.name} {NOT_RUNNING}: {summarize(project.folder).state_text.lower()}")


def _asked(project: Project, request: Request, words: str) -> Reply:
    """Write a request for the running driver, or else for the resume that has to follow."""
    note = inbox.post(project.folder, request)
    if _was_taken(project, note):
        return Reply(words)
    return Reply(words, {}, note)


def _tell(project: Project, request: Request) -> bool:
    """Send a request to the running driver. Return False, and withdraw it, if the driver ended without taking it."""
    note = inbox.post(project.folder, request)
    heard = _was_taken(project, note)
    if not heard:
        note.unlink(missing_ok=True)
    return heard


def _was_taken(project: Project, note: Path) -> bool:
    """Return whether a driver took the request, or runs and will; a driver that is ending takes no more requests."""
    deadline = time.monotonic() + PICKUP_TIME
    while note.exists() and time.monotonic() < deadline:
        if not _at_work(project):
            return not note.exists()
        time.sleep(0.02)
    return True


def _script_of(project: Project) -> dict[str, Any]:
    settings = project.settings
    if not settings.get("script"):
        raise BadInput(f"project {project.name!r} {PROGRAMS}: studio.Search(project={project.name!r}, …)")
    return settings


def _session(project: Project) -> Session | None:
    with reading(project.folder) as connection:
        return read_session(connection)


def _ends_by_itself(settings: Mapping[str, Any], session: Session | None) -> bool:
    """Return whether the optimizer has a size of its own, which no option changes."""
    return settings.get("max_experiments") is None and session is not None and session.size is not None


def _ends_with(settings: Mapping[str, Any], session: Session | None) -> str:
    size = 0 if session is None else session.size
    return f"ends with the {size} experiments of {settings.get('optimizer')}; only your own values can be added"


def _budget(settings: Mapping[str, Any], project: Project) -> int:
    """Return the present limit on the optimizer's experiments; under another limit, the number of experiments so far."""
    given: int | None = settings.get("max_experiments")
    return given if given is not None else len(project.experiments)
