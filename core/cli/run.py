"""The command `studio run [OPTIONS] SCRIPT [ARGS]…`: everything after the script belongs to the script."""

import contextlib
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli import MIN_SIMILARITY, options
from studio.cli.config import FILE, config_text, merged, read_config
from studio.cli.usage import COMMAND, PlainUsage, consent, new_app
from studio.errors import BadInput
from studio.host import Host, create_host
from studio.settings import OPTIONS, OUTPUT, SAFE, make_settings
from studio.text import parse_literal

SLOW_IMPORT_SECONDS = 1.0  # --verbose names a plugin whose import takes longer
# These options are refused after the script, unless the script's text contains them. Options such as --seed are not among
# them, because many scripts have their own.
REFUSED_AFTER_SCRIPT = (
    "--hyperparam",
    "--hp",
    "-hp",
    "--optimizer",
    "--opt",
    "-opt",
    "--metric",
    "--num-workers",
    "--max-experiments",
    "--dry-run",
)

OTHER_TOOLS_OPTIONS = {  # name of an option in other tools, without dashes -> ours
    **dict.fromkeys(("n-trials", "num-trials", "max-trials", "trials", "max-evals"), "--max-experiments"),
    **dict.fromkeys(("n-jobs", "jobs"), "--num-workers"),
    "study-name": "--project",
}

EXAMPLES = """\b
Examples:
  studio run --hp=lr=0.01:0.01:0.1 train.py 30                     a grid of ten; 30 is an argument of the script
  studio run --hp=lr=1e-5:l5:0.1 --hp=units=32,64 train.py         5 x 2 experiments
  studio run --opt=cma --hp=lr=1e-5:0.1:l --num-workers=4 train.py CMA-ES on a log scale, four at a time
  studio run --metric=val_loss:min --hp=lr=1e-4:l4:0.1 train.py    the smallest val_loss in its TensorBoard logs
  studio run --dry-run --hp=lr=1,2 train.py                        show the plan, start nothing

\b
Ranges for grid: start:end, start:step:end, start:count:end, start:l5:end (log), a,b,c
Ranges for other optimizers: min:max[:length][:flags], flags l (log) i (integers) u (unconstrained) r (random start) a (array)
"""


class RunUsage(PlainUsage):
    """Usage errors of `studio run`. An option of the script that stands before the script is answered with its right place."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`. `--prune` without a rule is `--prune=safe`: the word after it is the script."""
        takes_value = {
            spelling
            for param in self.params
            if param.param_type_name == "option" and not getattr(param, "is_flag", False)
            for spelling in param.opts
        }
        own = iter(list(args))
        typed: list[str] = []
        for argument in own:
            if argument == "--" or not argument.startswith("-"):
                typed += [argument, *own]  # the script begins here
            elif argument == "--prune":
                typed.append(f"--prune={SAFE}")
            else:
                typed += [argument, *([next(own)] if argument in takes_value and len(typed) + 1 < len(args) else [])]
        return super().parse_args(ctx, typed)

    def explain_unknown(self, name: str, args: Sequence[str]) -> str:
        ours = [spelling for param in self.params for spelling in param.opts]
        similar = difflib.get_close_matches(name, ours, cutoff=MIN_SIMILARITY)
        if our_name := OTHER_TOOLS_OPTIONS.get(name.lstrip("-").replace("_", "-")):
            return f"{name} is not an option of studio run; did you mean {our_name}?"
        return "" if similar or not name.startswith("--") else _explain_script_option(name, args)


def _explain_script_option(name: str, args: Sequence[str]) -> str:
    """Return the message for the script's own option `name`, which was typed before the script."""
    from studio.script.proposal import range_of

    at = next(number for number, argument in enumerate(args) if argument.partition("=")[0] == name)
    _, equals, value = args[at].partition("=")
    following = args[at + 1 : at + 2]
    has_separate_value = not equals and bool(following) and not following[0].startswith("-") and len(args) > at + 2
    typed = f"{name} {following[0]}" if has_separate_value else args[at]
    value = following[0] if has_separate_value else value
    low_high = range_of(name.lstrip("-").replace("-", "_"), parse_literal(value)) or "RANGE"
    return (
        f"{name} is not an option of studio run. If it is an option of the script, write it after the script: SCRIPT {typed};"
        f" to search its values, write --hp={name.lstrip('-')}={low_high}"
    )


def app() -> typer.Typer:
    """Return the command, with the options of the schema and of the installed backends."""
    app = new_app()
    context = {"allow_interspersed_args": False, "max_content_width": 110}
    callback = options.with_options(run, OPTIONS, create_host())
    app.command(cls=RunUsage, context_settings=context, epilog=EXAMPLES)(callback)
    return app


def run(
    ctx: typer.Context,
    script: Annotated[
        str | None,
        typer.Argument(
            metavar="SCRIPT", help="The unmodified script; its arguments follow. Default: from studio.toml."
        ),
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Arguments of the script; {lr} becomes the value of lr."),
    ] = None,
    *,
    search_options: Mapping[str, Any],
    flag_values: Mapping[str, Any],
    host: Host,
    project: options.Project = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the search as a studio.toml and exit.", rich_help_panel=OUTPUT)
    ] = False,
    help_cloud: options.HelpCloud = False,
) -> int:
    """Search hyperparameters of SCRIPT. Each experiment copies the working directory, writes values into the script, runs
    it and reads its metric."""
    from studio.search.plan.early_check import read_given

    # In `studio run [OPTIONS] -- COMMAND…` everything after `--` is the script and its arguments.
    is_command = bool(ctx.meta.get(COMMAND))
    script_arguments = arguments or []
    if not is_command:
        _refuse_misplaced(script, script_arguments)
    if script is None:
        script, script_arguments, stored, stored_flags = read_config(Path(FILE), host.backend_flags())
        if options.backend_name({**stored, **search_options}) == options.backend_name(stored):
            flag_values = {**stored_flags, **flag_values}
        search_options = merged(stored, search_options)
    backend_options = options.backend_options(host, search_options.get("backend"), flag_values)
    if show_config:
        print(config_text(script, script_arguments, search_options, flag_values), end="")
        return 0
    settings = make_settings(script, script_arguments, **search_options, backend_options=backend_options)
    with contextlib.suppress(FileNotFoundError):  # the working directory is gone; the plan reports it
        read_given(settings, host, Path.cwd())
    if dry_run:
        from studio.cli.dry_run import show

        return show(settings, project, host, as_json=json)
    from studio.cli.result import run_and_report
    from studio.search import run as launch
    from studio.search.display import make_observer

    observer = make_observer(quiet=quiet or json, verbose=verbose)
    for name, seconds in host.import_seconds.items():
        if verbose and seconds > SLOW_IMPORT_SECONDS:
            observer.notice(f"importing the plugin {name} took {seconds:.1f} s")
    return run_and_report(
        lambda: launch.start(settings, project, yes=consent(yes), host=host, observer=observer),
        as_json=json,
        quiet=quiet,
    )


def _refuse_misplaced(script: str | None, arguments: Sequence[str]) -> None:
    """Raise BadInput for options of Studio after the script. They would be passed to the script and have no effect."""
    misplaced = [argument for argument in arguments if argument.split("=")[0] in REFUSED_AFTER_SCRIPT]
    misplaced = [argument for argument in misplaced if not _contains_option(script or "", argument.split("=")[0])]
    if misplaced:
        raise BadInput(
            f"{shlex.join(misplaced)} comes after the script and is passed to it. If it is an option of Studio, put it before"
            f" {script}; if it is the script's, write studio run … -- {shlex.join([script or 'SCRIPT', *arguments])}"
        )


def _contains_option(script: str, option: str) -> bool:
    """Return whether the text of the script contains the option."""
    try:
        text = Path(script).read_text(errors="replace")
    except (OSError, ValueError):
        return False
    return re.search(rf"{option}(?![\w-])", text) is not None
