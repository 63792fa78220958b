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

HELP = {  # texts that differ from those of `studio run`
    "max_experiments": "New number of experiments in total.",
    "max_time": "Time for this session: 90s, 15m, 5h, 2d.",
    "retry_failed": "As in `studio run`, from now on.",
    "on_failure": "As in `studio run`, from now on.",
    "backend": "Continue elsewhere: local, a folder for workers, a cloud, a plugin.",
    "num_workers": "How many experiments run at a time.",
}


class ResumeUsage(PlainUsage):
    """Usage that answers an option that only a new search has with the command of that search."""

    def about_unknown(self, name: str, args: Sequence[str]) -> str:
        field = next((each for each in OPTIONS.values() if name in each.names), None)
        if field is None:
            return ""
        return f"{name} of a project cannot be changed; for another search: {_instead(field, args)}"


def _instead(field: Field, args: Sequence[str]) -> str:
    """Return the command of the project's search with the option that `args` give."""
    at = next(number for number, word in enumerate(args) if word.partition("=")[0] in field.names)
    _, equals, value = args[at].partition("=")
    rest = [*args[:at], *args[at + 1 :]]
    if not equals and not field.is_switch and at < len(rest):
        value = rest.pop(at)
    from studio.project.project import Project

    try:
        named = next((word for word in rest if not word.startswith("-")), None)
        settings = Settings.from_dict(Project(names.project_of(named)).settings)
        given = read_settings(OPTIONS, {field.keyword: field.is_switch or ([value] if field.is_repeatable else value)})
        changed: dict[str, Any] = {
            name: {**before, **after} if isinstance(before := getattr(settings, name), dict) else after
            for name, after in given.items()
        }
        host = create_host()
        new = _in_agreement(replace(settings, **changed), settings, host)
        return shlex.join(command_line(new, backend_fields(host.backend(new.backend))))
    except StudioError:  # no such project, or a value that is none: the new search says so
        return f"studio run {args[at]} …"


def _in_agreement(new: Settings, old: Settings, host: Host) -> Settings:
    """Return the settings `new`, which differ in one option from `old`, as their optimizer takes them."""
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
    """Return the command, with the options of the schema that may change, and those of the installed backends."""
    made = new_app()
    made.command(cls=ResumeUsage)(options.with_options(resume, RESUME_OPTIONS, create_host(), help=HELP))
    return made


def resume(
    project: names.Named = None,
    *,
    given: Mapping[str, Any] | None = None,
    placed: Mapping[str, Any] | None = None,
    host: Host | None = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Use your files as they are now; start a new optimizer from the record if it would suggest something else.",
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
    """Continue PROJECT where it stopped: same seed, same suggestions, nothing done twice. Also ends a pause."""
    project = names.project_of(project)
    from studio.cli.result import run_and_report
    from studio.project.project import Project
    from studio.search import resume as resuming
    from studio.search import send_requests
    from studio.search.display import make_observer

    found, given, host = Project(project), given or {}, host or create_host()
    if found.state == "paused":
        if any(name in given for name in ("max_experiments", "max_time", "num_workers")):
            raise BadInput(
                f"project {project!r} is paused; continue it with studio resume {project}, and add to its budget with studio add"
            )
        say(send_requests.resume_or_unpause(project).words)
        return 0

    backend = given.get("backend") or found.settings.get("backend")
    given = {**given, "backend_options": options.backend_options(host, backend, placed or {})}
    return run_and_report(
        lambda: resuming.resume(
            project,
            accept_changes=accept_changes,
            keep_source=keep_source,
            yes=consent(yes),
            host=host,
            observer=make_observer(quiet=quiet or json, verbose=verbose),
            **given,
        ),
        as_json=json,
        quiet=quiet,
    )
