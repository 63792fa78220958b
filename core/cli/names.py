"""The project and the experiments that the user names on the command line.

digits     a project; a part such as `dig` is enough if only one name begins with it
digits/7   an experiment of a project
7          an experiment of the newest project
(nothing)  the newest project, which is the last line of `studio runs list`
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.errors import BadInput, ProjectError, StudioError
from studio.project.lock import is_locked
from studio.project.paths import existing_project_folder, project_folder, project_names, split_key

if TYPE_CHECKING:  # to complete a name, the shell waits for no import of the records
    from studio.experiment import Experiment
    from studio.project.project import Project

MAX_LISTED_NAMES = 5  # projects that an error lists


def complete_project(incomplete: str) -> list[str]:
    """Return the projects whose names begin with `incomplete`, for completion in the shell."""
    return [name for name in project_names() if name.startswith(incomplete)]


def complete_experiment(incomplete: str) -> list[str]:
    """Return the experiments whose keys begin with `incomplete`; without a `/`, the projects."""
    from studio.project.project import Project

    name, slash, number = incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in complete_project(incomplete)]
    try:
        experiments = Project(name).experiments
    except StudioError:
        return []
    return [experiment.key for experiment in experiments if str(experiment.number).startswith(number)]


Named = Annotated[
    str | None,
    typer.Argument(metavar="[PROJECT]", help="Default: the newest.", autocompletion=complete_project),
]
NamedExperiment = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXPERIMENT]",
        help="PROJECT/NUMBER, or a NUMBER of the newest project. Default: its last one.",
        autocompletion=complete_experiment,
    ),
]
Experiments = Annotated[list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Numbers, or PROJECT/NUMBER.")]


def project_of(text: str | None, *, prefer_running: bool = False) -> str:
    """Return the name of the project that the user named with `text`.

    None is the newest project or, with `prefer_running`, the project whose search runs on this machine. Errors: ProjectError
    if there is no such project, or more than one.
    """
    from studio.cli.usage import say

    if text is None:
        name = _running_project() if prefer_running else newest_project()
    else:
        name = _project_by_prefix(text)
    if name != text:
        say(f"project {name}")
    return name


def experiment_of(text: str | None) -> tuple[str, int]:
    """Return the project and the number of the experiment that the user named with `text`. None is the one that started last."""
    from studio.project.project import Project

    if text is not None and ("/" in text or not _is_number(text)):
        name, number = split_key(text)
        return project_of(name), number
    name = project_of(None)
    if text is not None:
        return name, int(text)
    started = [experiment.number for experiment in Project(name).experiments if experiment.folder is not None]
    if not started:
        raise BadInput(f"no experiment of project {name} has started yet")
    return name, started[-1]


def existing_experiment(project: "Project", number: int) -> "Experiment":
    """Return the experiment of the project with that number. BadInput if there is none."""
    experiment = project.experiment(number)
    if experiment is None:
        raise BadInput(f"project {project.name!r} has no experiment {number}; it has {len(project.experiments)}")
    return experiment


def project_and_experiments(arguments: Iterable[str | None], *, prefer_running: bool = False) -> tuple[str, list[int]]:
    """Return the project and the numbers of the experiments in the arguments `[PROJECT] [EXPERIMENT]…`."""
    numbers = [argument for argument in arguments if argument is not None]
    project: str | None = None
    if numbers and "/" in numbers[0]:
        project = numbers[0].partition("/")[0]
    elif numbers and not _is_number(numbers[0]):
        project = numbers.pop(0)
    name = project_of(project, prefer_running=prefer_running)
    return name, [_number(name, text) for text in numbers]


def newest_project() -> str:
    """Return the project that was started last. ProjectError if there are no projects."""
    from studio.project.summary import begun

    times: list[tuple[float, str]] = []
    for name in project_names():
        try:
            times.append((begun(project_folder(name)), name))
        except (StudioError, OSError):  # a project that cannot be read is skipped
            continue
    if not times:
        raise ProjectError("there are no projects yet; studio run starts one")
    return max(times)[1]


def _running_project() -> str:
    names = [name for name in project_names() if is_locked(project_folder(name))]
    return _single(names, "run here; name one of them") if names else newest_project()


def _project_by_prefix(text: str) -> str:
    names = project_names()
    matches = [name for name in names if name.startswith(text)] if text else []
    if text in names or not matches:
        return existing_project_folder(text).name
    return _single(matches, f"begin with {text!r}; write more of the name")


def _single(names: Sequence[str], problem: str) -> str:
    """Return the only name in `names`. ProjectError with `problem` if there are several."""
    if len(names) > 1:
        listed = ", ".join(names[:MAX_LISTED_NAMES]) + (", …" if len(names) > MAX_LISTED_NAMES else "")
        raise ProjectError(f"{len(names)} projects {problem}: {listed}")
    return names[0]


def _is_number(text: str) -> bool:
    """Return whether `text` is the number of an experiment: it has only digits, and no project has that name."""
    return text.isdecimal() and text not in project_names()


def _number(project: str, text: str) -> int:
    if text.isdecimal():
        return split_key(f"{project}/{text}")[1]
    owner, number = split_key(text)
    if not owner or not project.startswith(owner):
        raise BadInput(f"experiment {text!r} does not belong to project {project!r}")
    return number


def completing(kind: str) -> Callable[[str], Any]:
    """Return a function that completes the names of plugins; `kind` is `optimizer` or `backend`."""

    def complete(incomplete: str) -> list[str]:
        from studio.host import create_host

        return sorted(piece.name for piece in create_host().items(kind) if piece.name.startswith(incomplete))

    return complete
