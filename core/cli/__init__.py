"""The command `studio`: one file per command, imported only when it is called.

Commands: run resume retry add pause stop rm runs doctor plugins ui tensorboard plot report export inspect init apply
confirm mcp. Beside them: names (which project is meant), console streams usage (what all say and write), options (of run
and resume), dry_run result (what a search would be, and was). config has studio.toml.
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

from studio.cli.streams import settle_streams
from studio.system.signals import check_interrupted, remember_interrupts, was_interrupted, were_heard

if TYPE_CHECKING:  # imports before `main` hears of Ctrl-C are few
    from studio.entry_points import EntryPoint

# Python looks for garbage once more when it ends, for a fifth of a second after numpy, scipy and libcst: with nothing to look at.
atexit.register(gc.freeze)

CLOSE = 0.75  # how like an option another one is that is suggested for it
HELLO = """\
Studio searches hyperparameters of an unmodified script.
  studio inspect train.py                                                    where values can go, metrics, a command
  studio run --hyperparam=lr=0.01:0.01:0.1 train.py                          try ten values
  studio run --optimizer=auto --metric=accuracy:max --hp=lr=1e-5:0.1:l train.py    search what the script prints or logs
Then: studio runs list, studio runs show PROJECT/1, studio resume PROJECT, studio apply PROJECT.
Help: studio --help, studio run --help.
"""

# name -> module and the line that `studio --help` shows, so that the help imports no command. Packages add commands by
# the entry-point group `studio.commands`, as backends that have a command of their own do.
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
ELSEWHERE = {  # names used by other tools
    "ls": "runs list [PROJECT]",
    "list": "runs list [PROJECT]",
    "ps": "runs list [PROJECT]",
    "show": "runs show PROJECT/NUMBER",
    "logs": "runs logs PROJECT/NUMBER",
    "delete": "rm PROJECT",
    "remove": "rm PROJECT",
    "dashboard": "ui",
}
# What Ctrl-C before a search's first experiment has left. A search that runs ends by `Interrupted` instead.
_NOTHING = "interrupted before the search began: nothing was started"
_AGAIN = "interrupted before the search went on: nothing was started; the same command goes on with it"
INTERRUPTED = {"run": _NOTHING, "confirm": _NOTHING, "inspect": "interrupted", "resume": _AGAIN, "retry": _AGAIN}


def main() -> None:
    """Entry point of the command. Errors are one line on stderr; see `studio.errors` for the exit codes."""
    remember_interrupts()
    settle_streams()
    try:
        code = _guarded()
    except KeyboardInterrupt:  # another one while the first was dealt with
        code = 130
    finally:  # Ctrl-C now would print a traceback while the interpreter waits for threads
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if was_interrupted():
        code = 130
        if not were_heard() and sys.argv[1:2] and sys.argv[1] in INTERRUPTED:
            sys.stderr.write(f"studio: {INTERRUPTED[sys.argv[1]]}\n")
    sys.exit(code)


def _guarded() -> int:
    from studio.errors import StudioError

    stdout = sys.stdout
    try:
        if len(sys.argv) == 1 and "_STUDIO_COMPLETE" not in os.environ:
            sys.stdout.write(HELLO)
            result = 0
        else:
            result = _app()(standalone_mode=False, prog_name="studio")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except StudioError as error:
        _complain(str(error), error.lines)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `studio runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except SystemExit:
        if sys.stdout is stdout:
            raise
        return 0  # the command-line library replaces stdout, and exits with 1, if a pipe breaks
    except Exception as error:
        if was_interrupted():  # the interrupted code turned it into another error
            return 130
        # Usage errors of the command-line library, whose classes Typer does not export.
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error}\n")
            return 2
        if hasattr(error, "format_message"):
            ctx = getattr(error, "ctx", None)  # an option without its value has no context
            where = ctx.command_path if ctx else " ".join(["studio", *sys.argv[1:2]])
            if getattr(error, "possibilities", None):  # few of which are like what was typed
                name, known = getattr(error, "option_name", ""), vars(error)["possibilities"]
                vars(error)["possibilities"] = difflib.get_close_matches(name, known, cutoff=CLOSE)
            _complain(f"{error.format_message().rstrip('.')}; see {where} --help")
            return int(getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":
            return 130
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of os.getcwd, which names no file
            _complain("the working directory no longer exists; cd to one that does")
            return 2
        raise


def _complain(text: str, lines: Sequence[str] = ()) -> None:
    from studio.text import clean

    if not was_interrupted():
        more = "".join(f"  {clean(line)}\n" for line in lines)
        sys.stderr.write(f"studio: {' '.join(clean(text).split())}\n{more}")


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

                if args[0] in ELSEWHERE:
                    raise BadInput(f"there is no command {args[0]!r}; it is studio {ELSEWHERE[args[0]]}")
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
        app = importlib.import_module(COMMANDS[name][0]).app  # or a function that makes it
    else:
        app = _load_plugin_command(plugin_commands()[name])
    command = typer.main.get_command(app if isinstance(app, typer.Typer) else app())
    command.name = name
    check_interrupted()
    return command


@functools.cache
def plugin_commands() -> "dict[str, EntryPoint]":
    """Return the commands that packages add, by name. A name of a built-in command stays with that."""
    from studio.entry_points import find_entry_points

    points = find_entry_points("studio.commands")
    return {point.name: point for point in points if point.name not in COMMANDS}


def _load_plugin_command(point: "EntryPoint") -> Any:
    try:
        return getattr(importlib.import_module(point.module), point.attribute or "app")
    except Exception as error:
        from studio.errors import BadInput

        said = f"{type(error).__name__}: {error}"
        raise BadInput(
            f"the command {point.name!r} of {point.distribution} {point.version} cannot be loaded: {said}; "
            f"update that package, or remove it: pip uninstall {point.distribution}"
        ) from error


def _first_line(module: str) -> str:
    """Return the first line of a module's docstring, read from its file: nothing is imported for a help text."""
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
