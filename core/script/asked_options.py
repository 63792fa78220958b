"""Options that the script's own parser has: the script is started, and ended once its parser has read the arguments.

    program --parser_probe in its interpreter--> FILE as JSON --> [Asked] --with_asked--> places

The hook in `parser_probe` describes what the script may do until then. A script in another language is not asked.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.script.constants import UNKNOWN
from studio.script.places.options import by_its_name, spellings_of
from studio.script.places.place import Place
from studio.script.program import Program
from studio.system.processes import output_within
from studio.text import parse_literal

TIMEOUT = 10.0  # seconds; a library that is slow to import takes most of it
_HOOK = Path(__file__).with_name("parser_probe")
_SWITCHES = ("flag", "off", "pair", "bool", "const")
_PYTHON = re.compile(r"python(\d(\.\d+)?)?w?")
_PARSES = re.compile(
    r"argparse|optparse|click|typer|absl|fire|tyro|\bcli\b|\btap\b|docopt|draccus|pyrallis|(?i:pars(?:er|e_|ing))|settings|\bflags\b"
)


@dataclass(frozen=True)
class Asked:
    """The options of a parser.

    options  as the record of `parser_probe` has them
    whole    whether the parser has no others
    end      why the script was ended before its parser had told all; empty if it had
    """

    options: Sequence[dict[str, Any]]
    whole: bool
    end: str = ""


def ask_options(program: Program, folder: Path) -> Asked | None:
    """Start the program in `folder`, and return what its parser has; None if the program has no parser that is known."""
    if not _is_python(program) or not (program.script is None or any(map(_has_parser, program.python))):
        return None
    with tempfile.TemporaryDirectory() as home:
        record = Path(home, "record")
        path = os.pathsep.join(filter(None, [str(_HOOK), os.environ.get("PYTHONPATH")]))
        env = {**program.env, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "STUDIO_PROBE_RECORD": str(record)}
        output_within([*program.command, *program.arguments], folder, TIMEOUT, env)
        try:
            told = json.loads(record.read_text())
        except (OSError, ValueError):
            return None
    return Asked(told["options"], told["whole"], told["end"]) if told["options"] else None


def _is_python(program: Program) -> bool:
    """Return True if Python itself runs the script, and not a launcher or a notebook."""
    command = program.command
    return bool(command) and bool(
        (os.path.realpath(command[0]) == os.path.realpath(sys.executable) or _PYTHON.fullmatch(Path(command[0]).name))
        and not {"-c", "-I", "-E", "-S"} & {*command[1:]}
        and not (program.script or "").endswith(".ipynb")
    )


def _has_parser(source: Any) -> bool:
    return bool(_PARSES.search(source.file.text))


def with_asked(places: Sequence[Place], asked: Asked, arguments: Sequence[str]) -> list[Place]:
    """Return the places with what the parser tells of them, without options that it does not have, and with those that the
    text does not show."""
    known = {spelling: option for option in asked.options for spelling in option["spellings"]}
    result: list[Place] = []
    shown: set[int] = set()
    for place in places:
        option = next((known[one] for one in (place.prefix, *spellings_of(place)) if one in known), None)
        if place.kind == "option" and option is None and asked.whole and not _is_below(place.prefix, known):
            continue
        if option is not None and place.kind == "option":
            shown.add(id(option))
            place = _told(place, option)
        result.append(place)
    front = [
        _place(option, arguments) for option in asked.options if id(option) not in shown and _takes_a_value(option)
    ]
    return [*front, *result]


def _is_below(spelling: str, known: dict[str, Any]) -> bool:
    """Return True for `--config.lr` if the parser has `--config`, which reads the rest itself."""
    return any(spelling.startswith(f"{one}.") for one in known)


def _takes_a_value(option: dict[str, Any]) -> bool:
    return option["kind"] not in _SWITCHES and not option.get("many")


def _told(place: Place, option: dict[str, Any]) -> Place:
    """Return the place with the value that is in force, and with the limits of the parser where the text shows none."""
    value = option["value"] if option["value"] is not None else option["default"]
    if value is not None and not isinstance(place.value, bool):
        place = replace(place, value=parse_literal(value) if isinstance(value, str) else value)
    low, high = option.get("low"), option.get("high")
    return replace(
        place,
        choices=place.choices or tuple(option["choices"]),
        bounds=place.bounds if place.bounds != (None, None) else (low, high),
        whole=place.whole or (option["kind"] == "int" and not option.get("many")),
        required=place.required or bool(option.get("required")),
    )


def _place(option: dict[str, Any], arguments: Sequence[str]) -> Place:
    spelling = option["spellings"][0]
    place = by_its_name(spelling, arguments)
    *within, name = place.name.split(".")
    told = _told(replace(place, name=name, within=tuple(within), address=spelling), option)
    if place.value is not UNKNOWN:
        return replace(told, value=place.value)
    return told if told.value is UNKNOWN else replace(told, shown=f"{spelling} ({told.value!r} by default)")
