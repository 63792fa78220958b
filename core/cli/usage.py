"""What the command-line library does not do by itself: a plain usage line, errors that quote what was given, and words."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from studio.errors import BadInput
from studio.project.paths import split_key


class PlainUsage(TyperCommand):
    """A command whose usage line shows its arguments as they are named, without brackets around the brackets."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [str(param.metavar) for param in self.params if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def say(words: str) -> None:
    print(f"studio: {words}", file=sys.stderr)


def which(project: str, texts: Sequence[str] | None) -> list[int]:
    """The experiments of `project` that are named by number or by key."""
    return [_number(project, text) for text in texts or ()]


def _number(project: str, text: str) -> int:
    if text.isdecimal():
        return int(text)
    named, number = split_key(text)
    if named != project:
        raise BadInput(f"experiment {text!r} is not of project {project!r}")
    return number
