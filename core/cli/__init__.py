"""The command `studio`: one file per command, imported only when it is called.

Commands: run resume retry add pause stop rm runs doctor plugins ui tensorboard plot report export inspect init apply
confirm mcp.

names             find the project and the experiment that the user names
options           the options of `run` and `resume`
usage             usage lines, errors about options, questions
console, streams  output: tables, JSON, files, and the standard streams
dry_run           the output of `studio run --dry-run`
result            the output of a search at its end
config            the file studio.toml
"""

import atexit
import difflib
import functools
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.cli.streams import prepare_streams
from studio.system.signals import check_interrupted, remember_interrupts, was_interrupted, were_heard

if TYPE_CHECKING:  # few modules are imported before `main` handles Ctrl-C
    from studio.entry_points import EntryPoint

# The garbage collection at exit takes 0.2 s if numpy, scipy and libcst are loaded, and frees nothing. This skips it.
atexit.register(gc.freeze)

MIN_SIMILARITY = 0.75  # between a misspelt option and one that is suggested for it, as of `difflib`
WELCOME = """\
Studio searches hyperparameters of an unmodified script.
  studio inspect train.py                                                    where values can go, metrics, a command
  studio run --hyperparam=lr=0.01:0.01:0.1 train.py                          try ten values
  studio run --optimizer=auto --metric=accuracy:max --hp=lr=1e-5:0.1:l train.py    search what the script prints or logs
Then: studio runs list, studio runs show PROJECT/1, studio resume PROJECT, studio apply PROJECT.
Help: studio --help, studio run --help.
"""

# name -> module, and the line in `studio --help`. The lines stand here because the help must not import the commands.
# A package can add a command with the entry-point group `studio.commands`; some backends do.
COMMANDS = {
    "run": ("studio.cli.run", "Search hyperparameters of a script."),
    "inspect": ("studio.cli.inspect", "Show where values can go in a script, its metrics, and a command for it."),
    "init": ("studio.cli.init", "Write a search of a script into studio.toml, for `studio run` without arguments."),
    "resume": ("studio.cli.resume", "Continue a project where it stopped."),
    "retry": ("studio.cli.retry", "Run failed experiments of a project again."),
    "add": ("studio.cli.add", "Add values by hand, experiments or time to a search."),
    "pause": ("studio.cli.pause", "Start no more experiments until resume."),
    "stop": ("studio.cli.stop", "End a running search; it can be resumed."),
    "apply": ("studio.cli.apply", "Write the best values into your own files."),
    "confirm": ("studio.cli.confirm", "Run the best experiments again, with other seeds."),
    "rm": ("studio.cli.rm", "Delete a project and its files."),
    "runs": ("studio.cli.runs", "List and show projects and experiments, and their logs."),
    "doctor": ("studio.cli.doctor", "Check Studio's folder and projects, and fix a damaged record."),
    "plugins": ("studio.cli.plugins", "List installed optimizers, backends, range parsers and metrics."),
    "ui": ("studio.cli.ui", "Open the dashboard on all projects in a browser."),
    "tensorboard": ("studio.cli.tensorboard", "Compare the experiments of a project in TensorBoard."),
    "plot": ("studio.cli.plot", "Draw the results of a project in the terminal."),
    "report": ("studio.cli.report", "Write a report about a project: HTML, or Markdown."),
    "export": ("studio.cli.export", "Write all experiments for other programs: CSV, JSON, Optuna."),
    "mcp": ("studio.cli.mcp", "Serve tools to a coding agent: inspect, start, status, best, patch."),
}
OTHER_TOOLS_COMMANDS = {  # name of a command in other tools -> ours
    "ls": "runs list [PROJECT]",
    "list": "runs list [PROJECT]",
    "ps": "runs list [PROJECT]",
    "show": "runs show PROJECT/NUMBER",
    "logs": "runs logs PROJECT/NUMBER",
    "delete": "rm PROJECT",
    "remove": "rm PROJECT",
    "dashboard": "ui",
}
# Messages after Ctrl-C before the first experiment, by command. A running search raises `Interrupted` instead.
_NOT_STARTED = "interrupted before the search began: nothing was started"
_NOT_CONTINUED = (
    "interrupted before the search continued: nothing was started; to continue, type the same command again"
)
INTERRUPTED_MESSAGES = {
    "run": _NOT_STARTED,
    "confirm": _NOT_STARTED,
    "inspect": "interrupted",
    "resume": _NOT_CONTINUED,
    "retry": _NOT_CONTINUED,
}


def main() -> None:
    """Run the command that was typed, and exit. Errors are one line on stderr; `studio.errors` lists the exit codes."""
    remember_interrupts()
    prepare_streams()
    try:
        code = _run_command()
    except KeyboardInterrupt:  # a second Ctrl-C while the first was handled
        code = 130
    finally:  # from here on Ctrl-C would only print a traceback while the interpreter waits for threads
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if was_interrupted():
        code = 130
        if not were_heard() and sys.argv[1:2] and sys.argv[1] in INTERRUPTED_MESSAGES:
            sys.stderr.write(f"studio: {INTERRUPTED_MESSAGES[sys.argv[1]]}\n")
    sys.exit(code)


def _run_command() -> int:
    """Run the command that was typed, and return its exit code. Errors that a user can cause are printed in one line."""
    from studio.errors import StudioError

    stdout = sys.stdout
    try:
        if len(sys.argv) == 1 and "_STUDIO_COMPLETE" not in os.environ:
            sys.stdout.write(WELCOME)
            result = 0
        else:
            result = _app()(standalone_mode=False, prog_name="studio")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except StudioError as error:
        _print_error(str(error), error.lines)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `studio runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except SystemExit:
        if sys.stdout is stdout:
            raise
        return 0  # a pipe broke: then the command-line library replaces stdout and exits with 1
    except Exception as error:
        if was_interrupted():  # the interrupted code raised another error instead of KeyboardInterrupt
            return 130
        # The following are usage errors of the command-line library. Typer does not export their classes.
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error}\n")
            return 2
        if hasattr(error, "format_message"):
            ctx = getattr(error, "ctx", None)  # None if an option has no value
            command = ctx.command_path if ctx else " ".join(["studio", *sys.argv[1:2]])
            if getattr(error, "possibilities", None):  # the library suggests too many: keep only similar options
                name, options = getattr(error, "option_name", ""), vars(error)["possibilities"]
                vars(error)["possibilities"] = difflib.get_close_matches(name, options, cutoff=MIN_SIMILARITY)
            _print_error(f"{error.format_message().rstrip('.')}; see {command} --help")
            return int(getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":
            return 130
        if isinstance(error, FileNotFoundError) and error.filename is None:  # os.getcwd raises it without a file name
            _print_error("the working directory no longer exists; cd to one that does")
            return 2
        raise


def _print_error(text: str, lines: Sequence[str] = ()) -> None:
    """Print an error to stderr: `text` in one line, then `lines`, each indented. After Ctrl-C nothing is printed."""
    from studio.text import clean

    if not was_interrupted():
        details = "".join(f"  {clean(line)}\n" for line in lines)
        sys.stderr.write(f"studio: {' '.join(clean(text).split())}\n{details}")


def _app() -> Any:
    import typer
    from typer.core import TyperGroup

    class Commands(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*COMMANDS, *plugin_commands()]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in COMMANDS and cmd_name not in plugin_commands():
                return None
            return load(cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] not in COMMANDS and args[0] not in plugin_commands():
                from studio.errors import BadInput
                from studio.text import did_you_mean

                if args[0] in OTHER_TOOLS_COMMANDS:
                    raise BadInput(f"there is no command {args[0]!r}; type studio {OTHER_TOOLS_COMMANDS[args[0]]}")
                raise BadInput(
                    f"there is no command {args[0]!r}{did_you_mean(args[0], [*COMMANDS, *plugin_commands()])}"
                )
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                added = [(name, _first_line(point.module)) for name, point in plugin_commands().items()]
                formatter.write_dl([*((name, line) for name, (_, line) in COMMANDS.items()), *added])

    app = typer.Typer(
        cls=Commands,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Hyperparameter search for unmodified scripts.",
    )

    @app.callback(invoke_without_command=True)
    def studio(
        version: bool = typer.Option(False, "--version", help="Show the version and exit."),
    ) -> None:
        if version:
            print(f"studio {importlib.import_module('studio').__version__}")
            raise typer.Exit

    return typer.main.get_command(app)


def load(name: str) -> Any:
    """Import and return the command called `name`. BadInput if the module of a plugin cannot be loaded."""
    import typer

    if name in COMMANDS:
        app = importlib.import_module(COMMANDS[name][0]).app  # an app, or a function that makes one
    else:
        app = _load_plugin_command(plugin_commands()[name])
    command = typer.main.get_command(app if isinstance(app, typer.Typer) else app())
    command.name = name
    check_interrupted()
    return command


@functools.cache
def plugin_commands() -> "dict[str, EntryPoint]":
    """Return the commands that packages add, by name. A package cannot replace a built-in command."""
    from studio.entry_points import find_entry_points

    points = find_entry_points("studio.commands")
    return {point.name: point for point in points if point.name not in COMMANDS}


def _load_plugin_command(point: "EntryPoint") -> Any:
    try:
        return getattr(importlib.import_module(point.module), point.attribute or "app")
    except Exception as error:
        from studio.errors import BadInput

        problem = f"{type(error).__name__}: {error}"
        raise BadInput(
            f"the command {point.name!r} of {point.distribution} {point.version} cannot be loaded: {problem}; "
            f"update that package, or remove it: pip uninstall {point.distribution}"
        ) from error


def _first_line(module: str) -> str:
    """Return the first line of a module's docstring. It is read from the file, because the help must import no command."""
    import ast

    folders, name, file = None, "", ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = next(filter(None, (finder.find_spec(name, folders) for finder in sys.meta_path)), None)
        if spec is None:
            return ""
        folders, file = spec.submodule_search_locations, str(spec.origin)
    try:
        with open(file, encoding="utf-8") as source:
            doc = ast.get_docstring(ast.parse(source.read())) or ""
    except (OSError, ValueError, SyntaxError):
        return ""
    return doc.partition("\n")[0]
