"""The command `studio run [OPTIONS] SCRIPT [ARGS]…`: everything after the script belongs to the script."""

import contextlib
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli import CLOSE, options
from studio.cli.config import FILE, config_text, merged, read_config
from studio.cli.usage import COMMAND, PlainUsage, consent, new_app
from studio.errors import BadInput
from studio.host import Host, create_host
from studio.settings import OPTIONS, OUTPUT, make_settings
from studio.text import parse_literal

SLOW_IMPORT = 1.0  # seconds of import from which --verbose names a plugin
# Behind the script they are refused, unless the script knows them. Scripts often have options such as --seed of their own.
OURS = (
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

ELSEWHERE = {  # as options are called in other tools
    **dict.fromkeys(("n-trials", "num-trials", "max-trials", "trials", "max-evals"), "--max-experiments"),
    **dict.fromkeys(("n-jobs", "jobs"), "--num-workers"),
    "study-name": "--project",
}

EXAMPLES = """\b
Examples:
  studio run --hp=lr=0.01:0.01:0.1 train.py 30                     a grid of ten; 30 goes to the script
  studio run --hp=lr=1e-5:l5:0.1 --hp=units=32,64 train.py         5 x 2 experiments
  studio run --opt=cma --hp=lr=1e-5:0.1:l --num-workers=4 train.py CMA-ES on a log scale, four at a time
  studio run --metric=val_loss:min --hp=lr=1e-4:l4:0.1 train.py    the smallest val_loss in its TensorBoard logs
  studio run --dry-run --hp=lr=1,2 train.py                        show the plan, start nothing

\b
Ranges for grid: start:end, start:step:end, start:count:end, start:l5:end (log), a,b,c
Ranges for other optimizers: min:max[:length][:flags], flags l (log) i (integers) u (unconstrained) r (random start) a (array)
"""


class RunUsage(PlainUsage):
    """Usage that answers an option of the script's before it with where it goes, and how its values are searched."""

    def about_unknown(self, name: str, args: Sequence[str]) -> str:
        ours = [spelling for param in self.params for spelling in param.opts]
        misspelt = difflib.get_close_matches(name, ours, cutoff=CLOSE)
        if meant := ELSEWHERE.get(name.lstrip("-").replace("_", "-")):
            return f"{name} is not an option of studio run; did you mean {meant}?"
        return "" if misspelt or not name.startswith("--") else _of_the_script(name, args)


def _of_the_script(name: str, args: Sequence[str]) -> str:
    from studio.script.proposal import range_of

    at = next(number for number, word in enumerate(args) if word.partition("=")[0] == name)
    _, equals, value = args[at].partition("=")
    more = args[at + 1 : at + 2]
    separate = not equals and bool(more) and not more[0].startswith("-") and len(args) > at + 2
    given = f"{name} {more[0]}" if separate else args[at]
    value = more[0] if separate else value
    low_high = range_of(name.lstrip("-").replace("-", "_"), parse_literal(value)) or "RANGE"
    return (
        f"{name} is not an option of studio run. As an argument of the script, put it after it: SCRIPT {given}; to search its"
        f" values: --hp={name.lstrip('-')}={low_high}"
    )


def app() -> typer.Typer:
    """Return the command, with the options of the schema and of the installed backends."""
    made = new_app()
    context = {"allow_interspersed_args": False, "max_content_width": 110}
    callback = options.with_options(run, OPTIONS, create_host())
    made.command(cls=RunUsage, context_settings=context, epilog=EXAMPLES)(callback)
    return made


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
    given: Mapping[str, Any],
    placed: Mapping[str, Any],
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
    """Search hyperparameters of SCRIPT: copy the working directory per experiment, write values, run it, read its metric."""
    from studio.search.plan.early_check import read_given

    # `studio run [OPTIONS] -- COMMAND…`: all of COMMAND is the script and its arguments
    is_command = bool(ctx.meta.get(COMMAND))
    words = arguments or []
    if not is_command:
        _refuse_misplaced(script, words)
    if script is None:
        script, words, stored, kept = read_config(Path(FILE), host.backend_flags())
        if options.backend_name({**stored, **given}) == options.backend_name(stored):
            placed = {**kept, **placed}
        given = merged(stored, given)
    backend_options = options.backend_options(host, given.get("backend"), placed)
    if show_config:
        print(config_text(script, words, given, placed), end="")
        return 0
    settings = make_settings(script, words, **given, backend_options=backend_options)
    with contextlib.suppress(FileNotFoundError):  # a working directory that is gone, which the plan says
        read_given(settings, host, Path.cwd())
    if dry_run:
        from studio.cli.dry_run import show

        return show(settings, project, host, as_json=json)
    from studio.cli.result import run_and_report
    from studio.search import run as launch
    from studio.search.display import make_observer

    observer = make_observer(quiet=quiet or json, verbose=verbose)
    for name, seconds in host.import_seconds.items():
        if verbose and seconds > SLOW_IMPORT:
            observer.notice(f"importing the plugin {name} took {seconds:.1f} s")
    return run_and_report(
        lambda: launch.start(settings, project, yes=consent(yes), host=host, observer=observer),
        as_json=json,
        quiet=quiet,
    )


def _refuse_misplaced(script: str | None, arguments: Sequence[str]) -> None:
    """BadInput for options of ours behind the script: what they ask for would not be done."""
    found = [argument for argument in arguments if argument.split("=")[0] in OURS]
    found = [argument for argument in found if not _knows(script or "", argument.split("=")[0])]
    if found:
        raise BadInput(
            f"{shlex.join(found)} comes after the script and is passed to it. Put it before {script} if it is"
            f" meant for Studio; if it is the script's: studio run … -- {shlex.join([script or 'SCRIPT', *arguments])}"
        )


def _knows(script: str, option: str) -> bool:
    """Return whether the text of the script contains the option."""
    try:
        text = Path(script).read_text(errors="replace")
    except (OSError, ValueError):
        return False
    return re.search(rf"{option}(?![\w-])", text) is not None
