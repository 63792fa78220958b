"""What the command-line library does not do by itself: a plain usage line, and errors that quote what was given."""

from typing import Any

import typer
from typer.core import TyperCommand


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
