"""`studio resume PROJECT`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from studio.cli import names, options
from studio.cli.usage import PlainUsage, consent, new_app, say
from studio.errors import BadInput, StudioError
from studio.host import Host, backend_fields, create_host
from studio.options import Field
from studio.settings import OPTIONS, RESUME_OPTIONS, SCRIPT, Settings, command_line, read_settings

HELP = {  # help texts of options that mean something else for `studio run`
    "max_experiments": "New number of experiments in total.",
    "max_time": "Time for this session: 90s, 15m, 5h, 2d.",
    "target": "As in `studio run`, from now on.",
    "patience": "As in `studio run`, from now on.",
    "max_failures": "As in `studio run`, from now on.",
    "retry_failed": "As in `studio run`, from now on.",
    "on_failure": "As in `studio run`, from now on.",
    "backend": "Continue elsewhere: local, a folder for workers, a cloud, a plugin.",
    "num_workers": "How many experiments run at a time.",
}


class ResumeUsage(PlainUsage):
    """Usage errors of `studio resume`. An option that only a new search can have is answered with the command of that search."""

    def explain_unknown(self, name: str, args: Sequence[str]) -> str:
        field = next((each for each in OPTIONS.values() if name in each.names), None)
        if field is None:
            return ""
        return f"{name} of a project cannot be changed; for another search, type {_new_search(field, args)}"


def _new_search(field: Field, args: Sequence[str]) -> str:
    """Return the command of a new search: that of the project, with the option `field` as it is in `args`."""
    at = next(number for number, argument in enumerate(args) if argument.partition("=")[0] in field.names)
    _, equals, value = args[at].partition("=")
    rest = [*args[:at], *args[at + 1 :]]
    if not equals and not field.is_switch and at < len(rest):
        value = rest.pop(at)
    from studio.project.project import Project

    try:
        project = next((argument for argument in rest if not argument.startswith("-")), None)
        settings = Settings.from_dict(Project(names.project_of(project)).settings)
        option = read_settings(OPTIONS, {field.keyword: field.is_switch or ([value] if field.is_repeatable else value)})
        changes: dict[str, Any] = {
            name: {**before, **after} if isinstance(before := getattr(settings, name), dict) else after
            for name, after in option.items()
        }
        host = create_host()
        new = _for_its_optimizer(replace(settings, **changes), settings, host)
        return shlex.join(command_line(new, backend_fields(host.backend(new.backend))))
    except StudioError:  # the project or the value does not exist; the new search will report it
        return f"studio run {args[at]} …"


def _for_its_optimizer(new: Settings, old: Settings, host: Host) -> Settings:
    """Return `new`, which differs from `old` in one option, with ranges and options that its optimizer accepts."""
    from studio.search.search_space import GRID, SEARCH, in_grammar, range_to_search

    if new.optimizer == GRID == old.optimizer and (
        range_to_search(new.ranges, host) or new.start_from or new.learn_from
    ):
        new = replace(new, optimizer=SEARCH)
    before, after = host.optimizer(old.optimizer), host.optimizer(new.optimizer)
    new = replace(new, ranges=in_grammar(new.ranges, host, grid=after.grid, was_grid=before.grid))
    if after is before:
        return new
    start_from, learn_from = new.start_from if not after.grid else [], new.learn_from if after.takes_known else []
    return replace(new, options={}, start_from=start_from, learn_from=learn_from)


def app() -> typer.Typer:
    """Return the command, with the options that may change during a project and those of the installed backends."""
    app = new_app()
    app.command(cls=ResumeUsage)(options.with_options(resume, RESUME_OPTIONS, create_host(), help=HELP))
    return app


def resume(
    project: names.Named = None,
    *,
    search_options: Mapping[str, Any] | None = None,
    flag_values: Mapping[str, Any] | None = None,
    host: Host | None = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Use your files as they are now. If the optimizer would suggest other values, start a new one from the record.",
            rich_help_panel=SCRIPT,
        ),
    ] = False,
    keep_source: Annotated[
        bool,
        typer.Option(
            "--keep-source",
            help="Continue with the files as they were when the search started.",
            rich_help_panel=SCRIPT,
        ),
    ] = False,
    yes: options.Yes = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    help_cloud: options.HelpCloud = False,
) -> int:
    """Continue PROJECT where it stopped: same seed, same suggestions, no experiment twice. This also ends a pause."""
    project = names.project_of(project)
    from studio.cli.result import run_and_report
    from studio.project.project import Project
    from studio.search import resume as resuming
    from studio.search import send_requests
    from studio.search.display import make_observer

    record, search_options, host = Project(project), search_options or {}, host or create_host()
    if record.state == "paused":
        if any(name in search_options for name in ("max_experiments", "max_time", "num_workers")):
            raise BadInput(
                f"project {project!r} is paused, and options of a paused search cannot be changed; "
                f"type studio resume {project}, or studio add {project} --experiments 50 for a larger budget"
            )
        say(send_requests.resume_or_unpause(project).words)
        return 0

    backend = search_options.get("backend") or record.settings.get("backend")
    search_options = {**search_options, "backend_options": options.backend_options(host, backend, flag_values or {})}
    return run_and_report(
        lambda: resuming.resume(
            project,
            accept_changes=accept_changes,
            keep_source=keep_source,
            yes=consent(yes),
            host=host,
            observer=make_observer(quiet=quiet or json, verbose=verbose),
            **search_options,
        ),
        as_json=json,
        quiet=quiet,
    )
