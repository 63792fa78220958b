"""Additions to the command-line library: a plain usage line, help in groups, and errors that quote the input."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from studio.errors import BadInput
from studio.settings import GROUPS

COMMAND = "studio.command"  # key in a context's `meta`: True if `--` came before the first argument


def new_app(**options: Any) -> typer.Typer:
    """Return an application for the commands of one file, with plain output."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, **options)


class PlainUsage(TyperCommand):
    """A command whose usage line shows its arguments by name, and whose help has the options in groups."""

    shows: Callable[[str], bool] = staticmethod(lambda group: not group.startswith("Options of "))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [str(param.metavar) for param in self.params if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`, and record in the context whether `--` ended the options: then a command follows."""
        typed = list(args)
        try:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            rest = super().parse_args(ctx, args)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":  # a class that Typer does not export
                message = self.explain_unknown(getattr(error, "option_name", ""), typed)
                if message:
                    raise BadInput(message) from None
            raise
        for param in dict.fromkeys(order):
            is_single = param.param_type_name == "option" and not (param.multiple or getattr(param, "is_flag", False))
            if is_single and order.count(param) > 1:
                say(f"{param.opts[0]} is given twice; the last one counts: {ctx.params.get(param.name)}")
        positional = [
            text
            for param in self.params
            if param.param_type_name == "argument"
            for text in _texts(ctx.params.get(param.name))
        ]
        before = typed[: len(typed) - len(positional)]
        ctx.meta[COMMAND] = before[-1:] == ["--"]
        return rest

    def explain_unknown(self, name: str, args: Sequence[str]) -> str:
        """Return the message for the option `name` in `args`, which this command does not have; "" for the usual message."""
        return ""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments first, then a section for each group of options. Without groups there is one section."""
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in ("Arguments", *GROUPS)}
        grouped = any(getattr(param, "rich_help_panel", None) for param in self.params)
        for param in self.get_params(ctx):
            if param.param_type_name == "argument":
                groups["Arguments"].append((str(param.metavar), getattr(param, "help", None) or ""))
            elif (record := param.get_help_record(ctx)) is not None:
                default = GROUPS[-1] if grouped else "Options"
                groups.setdefault(getattr(param, "rich_help_panel", None) or default, []).append(record)
        for group, records in groups.items():
            if self.shows(group) and any(help for _, help in records):
                with formatter.section(group):
                    formatter.write_dl(records)


def _texts(value: Any) -> list[str]:
    """Return the value of an argument as a list: empty for None, one item for a text."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def parse_count(text: str) -> int:
    """Return a whole number that was typed. BadParameter for other text."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def say(message: str) -> None:
    """Print a message to stderr."""
    print(f"studio: {message}", file=sys.stderr)


def ask(text: str) -> bool:
    """Show `text`, ask the user whether to continue, and return the answer."""
    typer.echo(text, err=True)
    return typer.confirm("Continue?", err=True)


def consent(yes: bool) -> bool | Callable[[str], bool]:
    """Return the argument `yes` of `studio.run`: the function `ask` if a user can answer, else `yes`."""
    return ask if not yes and sys.stdin.isatty() and sys.stderr.isatty() else yes
