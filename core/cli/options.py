"""The options of `studio run` and `studio resume`, made from the schema: `studio.settings` and `Backend.Options`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from studio.cli.names import completing
from studio.cli.usage import PlainUsage
from studio.errors import BadInput
from studio.host import Host, backend_fields
from studio.options import Field
from studio.settings import OPTIONS, OUTPUT, PLACE, SEARCH

BACKEND_GROUP = "Options of "  # the names of the groups that --help-cloud shows begin with it


def _show_backends(ctx: typer.Context, is_set: bool) -> None:
    if is_set:
        assert isinstance(ctx.command, PlainUsage)
        ctx.command.shows = lambda group: group.startswith(BACKEND_GROUP)
        typer.echo(ctx.get_help())
        raise typer.Exit


# Arguments of `inspect` and `init`.
Script = Annotated[str, typer.Argument(metavar="SCRIPT", help="The script, unchanged. Its arguments follow.")]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Arguments of the script.")]
IsModule = Annotated[bool, typer.Option("-m", help="SCRIPT is the name of a module.")]
RunOnce = Annotated[
    bool, typer.Option("--run", help="Run the script once in a copy, and list the metrics that it has.")
]
SCRIPT_CONTEXT = {"allow_interspersed_args": False, "max_content_width": 110}

# Options of `run` and `resume` that are not options of the search itself.
Project = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Default: the script's name and the time.", rich_help_panel=SEARCH),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Accept the estimated cost without asking.", rich_help_panel=PLACE)
]
Json = Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no table.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="A line per experiment, even on a terminal, and plugins that are slow to import.",
        rich_help_panel=OUTPUT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show the plan and the changes to the script; start nothing.", rich_help_panel=OUTPUT
    ),
]
HelpCloud = Annotated[
    bool,
    typer.Option(
        "--help-cloud",
        "--help-backends",
        is_eager=True,
        callback=_show_backends,
        help="Show the options of clouds and other backends and exit.",
        rich_help_panel=OUTPUT,
    ),
]


def with_options(
    function: Callable[..., Any], options: Mapping[str, Field], host: Host, *, help: Mapping[str, str] | None = None
) -> Callable[..., Any]:
    """Return the callback of a command that has `options` and the options of all backends. It calls
    `function(…, search_options=, flag_values=, host=)`.

    search_options  the `options` on the command line, by keyword of `studio.run`: texts, lists of texts, True
    flag_values     the backend options on the command line, by flag
    help            texts that replace those of the schema
    """
    passed = ("search_options", "flag_values", "host")
    explicit = [p for p in inspect.signature(function).parameters.values() if p.name not in passed]
    flags = {name: each for name, each in host.backend_flags().items() if name not in _spellings(options)}
    own = {each.keyword: each for each in options.values()}
    others = {f"backend_{number}": name for number, name in enumerate(flags)}

    def callback(**values: Any) -> Any:
        search_options = {name: values.pop(name) for name in own}
        flag_values = {name: values.pop(parameter) for parameter, name in others.items()}
        return function(
            **values,
            search_options=_without_defaults(search_options),
            flag_values=_without_defaults(flag_values),
            host=host,
        )

    parameters = [
        *(each for each in explicit if each.kind is not each.KEYWORD_ONLY),
        *(
            _parameter(name, each, each.option.group, (help or {}).get(each.name, each.option.help))
            for name, each in own.items()
        ),
        *(
            _parameter(parameter, each, f"{BACKEND_GROUP}{', '.join(backends)}", each.option.help)
            for parameter, (each, backends) in zip(others, flags.values(), strict=True)
        ),
        *(each for each in explicit if each.kind is each.KEYWORD_ONLY),
    ]
    vars(callback)["__signature__"] = inspect.Signature(parameters)
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    callback.__doc__ = function.__doc__
    return callback


def backend_name(search_options: Mapping[str, Any]) -> str:
    """Return the name of the backend in `search_options`; of `slurm:partition` it is `slurm`."""
    name: str = OPTIONS["backend"].read(search_options.get("backend") or "local").partition(":")[0]
    return name


def backend_options(host: Host, backend: str | list[str] | None, flag_values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `flag_values` by the backend's own names of its options. BadInput for an option that the backend does not have."""
    if not flag_values:
        return {}
    name = backend_name({"backend": backend})
    fields = {each.flag: field for field, each in backend_fields(host.backend(name)).items()}
    for flag in flag_values:
        if flag not in fields:
            backends = ", ".join(host.backend_flags()[flag][1])
            raise BadInput(
                f"{flag} is an option of {backends}, and the backend is {name}; add --cloud or --backend, or leave {flag} out"
            )
    return {fields[flag]: value for flag, value in flag_values.items()}


def _spellings(options: Mapping[str, Field]) -> set[str]:
    """Return the names that a backend's option cannot have."""
    ours = {"--project", "--yes", "-y", "--json", "--quiet", "--verbose", "--dry-run", "--help", "--help-cloud"}
    return ours | {name for each in options.values() for name in each.names}


def _parameter(name: str, field: Field, group: str, help: str) -> inspect.Parameter:
    """Return a parameter for the command-line library. Its value stays a text until the schema parses it."""
    kind: Any = bool if field.is_switch else list[str] | None if field.is_repeatable else str | None
    metavar = None if field.is_switch else field.option.metavar
    kind_of_plugin = {"optimizer": "optimizer", "backend": "backend"}.get(field.name)
    option = typer.Option(
        *field.names,
        metavar=metavar,
        help=help,
        rich_help_panel=group,
        show_default=False,
        autocompletion=completing(kind_of_plugin) if kind_of_plugin else None,
    )
    default = False if field.is_switch else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _without_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that were typed."""
    return {name: value for name, value in values.items() if value not in (None, [], (), False)}
