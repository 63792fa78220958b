"""The project and the experiments that a command is about.

digits   20260-…      a project; the beginning of its name, if no other begins with it
digits/7   7          an experiment; of the newest project, if only its number is given
(nothing)             the newest project: the last line of `studio runs list`
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.errors import BadInput, ProjectError, StudioError
from studio.project.lock import is_locked
from studio.project.paths import existing_project_folder, project_folder, project_names, split_key

if TYPE_CHECKING:  # the records are not needed to complete a name
    from studio.experiment import Experiment
    from studio.project.project import Project

SHOWN = 5  # names that an error lists


def complete_project(incomplete: str) -> list[str]:
    return [name for name in project_names() if name.startswith(incomplete)]


def complete_experiment(incomplete: str) -> list[str]:
    from studio.project.project import Project

    name, slash, number = incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in complete_project(incomplete)]
    try:
        found = Project(name).experiments
    except StudioError:
        return []
    return [one.key for one in found if str(one.number).startswith(number)]


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
Experiments = Annotated[list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Numbers or keys.")]


def project_of(text: str | None, *, at_work: bool = False) -> str:
    """The name of the project that is meant. `at_work`: without a text it is the one whose search runs, if one does."""
    from studio.cli.usage import say

    if text is None:
        name = _at_work() if at_work else newest_project()
    else:
        name = _begins_with(text)
    if name != text:
        say(f"project {name}")
    return name


def experiment_of(text: str | None) -> tuple[str, int]:
    """The project and number of the experiment that is meant."""
    from studio.project.project import Project

    if text is not None and ("/" in text or not _is_number(text)):
        name, number = split_key(text)
        return project_of(name), number
    name = project_of(None)
    if text is not None:
        return name, int(text)
    started = [one.number for one in Project(name).experiments if one.folder is not None]
    if not started:
        raise BadInput(f"no experiment of project {name} has started yet")
    return name, started[-1]


def existing_experiment(project: "Project", number: int) -> "Experiment":
    """The experiment of the project with that number; BadInput where there is none."""
    found = project.experiment(number)
    if found is None:
        raise BadInput(f"project {project.name!r} has no experiment {number}; it has {len(project.experiments)}")
    return found


def project_and_experiments(words: Iterable[str | None], *, at_work: bool = False) -> tuple[str, list[int]]:
    """The project and the numbers that `[PROJECT] [EXPERIMENT]…` names: a project first, unless that is left out."""
    numbers = [word for word in words if word is not None]
    project: str | None = None
    if numbers and "/" in numbers[0]:
        project = numbers[0].partition("/")[0]
    elif numbers and not _is_number(numbers[0]):
        project = numbers.pop(0)
    name = project_of(project, at_work=at_work)
    return name, [_number(name, word) for word in numbers]


def newest_project() -> str:
    """The project that was begun last."""
    from studio.project.summary import begun

    times: list[tuple[float, str]] = []
    for name in project_names():
        try:
            times.append((begun(project_folder(name)), name))
        except (StudioError, OSError):  # one that cannot be read is not what is meant
            continue
    if not times:
        raise ProjectError("there are no projects yet; studio run starts one")
    return max(times)[1]


def _at_work() -> str:
    names = [name for name in project_names() if is_locked(project_folder(name))]
    return _only(names, "run here; name one of them") if names else newest_project()


def _begins_with(text: str) -> str:
    names = project_names()
    found = [name for name in names if name.startswith(text)] if text else []
    if text in names or not found:
        return existing_project_folder(text).name
    return _only(found, f"begin with {text!r}; write more of the name")


def _only(names: Sequence[str], what: str) -> str:
    if len(names) > 1:
        listed = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        raise ProjectError(f"{len(names)} projects {what}: {listed}")
    return names[0]


def _is_number(text: str) -> bool:
    """Return whether `text` is the number of an experiment: only digits, and not the name of a project."""
    return text.isdecimal() and text not in project_names()


def _number(project: str, text: str) -> int:
    if text.isdecimal():
        return split_key(f"{project}/{text}")[1]
    named, number = split_key(text)
    if not named or not project.startswith(named):
        raise BadInput(f"experiment {text!r} is not of project {project!r}")
    return number


def completing(kind: str) -> Callable[[str], Any]:
    """Return a function that completes the names of plugins: optimizers, backends."""

    def complete(incomplete: str) -> list[str]:
        from studio.host import create_host

        return sorted(piece.name for piece in create_host().items(kind) if piece.name.startswith(incomplete))

    return complete
