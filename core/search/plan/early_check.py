"""The options of a search, checked without a look into the script: a mistake in them is answered before much is imported."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.errors import BadInput
from studio.experiment import Metric
from studio.host import Host
from studio.interfaces import Optimizer
from studio.options import convert_options
from studio.script.command import Command, python_at, read_command
from studio.search.search_space import GRID, SEARCH, range_to_search, read_space, read_start
from studio.settings import Settings, check_environment, parse_metric
from studio.space import Space


@dataclass(frozen=True)
class Given:
    """A search that `settings` ask for, with the optimizer that they name or mean."""

    settings: Settings
    optimizer: type[Optimizer]
    options: dict[str, Any]  # of the optimizer
    space: Space
    starts: list[dict[str, Any]]  # values of the first experiments
    metric: Metric
    command: Command
    notices: list[str]


def read_given(settings: Settings, host: Host, source: Path, snapshot: Path | None = None) -> Given:
    """Check `settings` of a search of a script in `source`, or in its `snapshot`. Raises BadInput."""
    settings, optimizer, notices = _choose_optimizer(with_its_python(settings, source), host)
    options = convert_options(optimizer, settings.options)
    space = read_space(settings.ranges, host, grid=optimizer.grid)
    metric = parse_metric(settings.metric)
    starts = [read_start(text, space) for text in settings.start_from]
    settings = replace(settings, script=_below(settings.script, source)) if not settings.module else settings
    command = read_command(
        settings.script, settings.arguments, snapshot or source, module=settings.module, python=settings.python
    )
    if settings.prune:
        host.pruner(settings.prune)
    elif settings.prune_after is not None:
        raise BadInput(f"--prune-after {settings.prune_after} has no effect without --prune; add --prune")
    check_environment(settings.env)
    notices += [parameter.notice for parameter in space if parameter.notice]
    return Given(settings, optimizer, options, space, starts, metric, command, notices)


def with_its_python(settings: Settings, source: Path) -> Settings:
    """Return `settings` with the Python that their command names by a path, which is no file of a copy, as `--python`."""
    found = None if settings.module or settings.python else python_at(settings.script, source)
    return settings if found is None else replace(settings, script="python", python=found)


def _choose_optimizer(settings: Settings, host: Host) -> tuple[Settings, type[Optimizer], list[str]]:
    """Return `settings` with an optimizer, its class, and what the user should know about it."""
    notices = []
    searched = "" if settings.optimizer else range_to_search(settings.ranges, host)
    if not settings.optimizer:
        settings = replace(settings, optimizer=SEARCH if searched else GRID)
    optimizer = host.optimizer(settings.optimizer)
    if settings.start_from and optimizer.grid:
        raise BadInput("--start-from does not apply to a grid, which runs all of its values")
    if settings.start_from and optimizer.needs_fitness and not optimizer.takes_known:
        notices.append(f"{optimizer.name} does not learn from --start-from: it knows what it asked for alone")
    if searched:
        notices.append(f"optimizer {SEARCH}, because {searched} is not a grid; choose another with --optimizer")
    return settings, optimizer, notices


def _below(script: str, source: Path) -> str:
    """Return `script` as a path below `source`, if it is there, so that it is found in a copy as well."""
    path = Path(os.path.normpath(source / os.path.expanduser(script)))
    if not path.is_relative_to(source) and os.path.exists(path.parent):  # through a link, as /tmp is on macOS
        path = path.parent.resolve() / path.name
    return str(path.relative_to(source)) if path.is_relative_to(source) else script
