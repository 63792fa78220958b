"""Values in a configuration file that the script reads: `config.yaml:optimizer.lr`.

To support another format, add a file that finds its `Scalar`s and a line to `FORMATS`.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import PurePosixPath

from studio.errors import SubstitutionError
from studio.script.json_file import json_scalars
from studio.script.places.ini_file import ini_scalars
from studio.script.places.place import Edit, Place
from studio.script.places.toml_file import toml_scalars
from studio.script.places.yaml_file import yaml_scalars
from studio.script.program import Program
from studio.script.scalar import Scalar

FORMATS: dict[str, Callable[[str, str], list[Scalar]]] = {
    ".yaml": yaml_scalars,
    ".yml": yaml_scalars,
    ".json": json_scalars,
    ".jsonc": json_scalars,
    ".json5": json_scalars,
    ".toml": toml_scalars,
    ".ini": ini_scalars,
    ".cfg": ini_scalars,
    ".conf": ini_scalars,
    ".env": ini_scalars,
    ".properties": ini_scalars,
}
_NAME = re.compile(r"[\w./-]+")
_WRITTEN = re.compile(r"""["']([^"'\n]{1,200})["']\s*\)?,\s*(?:mode\s*=\s*)?["'][wax]""")  # `open("results.json", "w")`
_WITHOUT_SUFFIX = ("", ".txt", ".config", ".local", ".example", ".params")


def find_in_files(program: Program, words: Collection[str] | None) -> Iterator[Place]:
    """Yield values in files that are named in the arguments or, as a string, in the script or its modules."""
    for path in files_read(program):
        text = file_text(program, path)
        if text is None or (words is not None and not any(word in text for word in words)):
            continue
        try:
            places = list(places_in(path, text))
        except SubstitutionError:  # the script has its own way to read it
            continue
        yield from places


def files_read(program: Program) -> list[str]:
    """Return paths of configuration files that the program seems to read, those in the arguments first."""
    found: dict[str, None] = {}
    written = {name for source in program.python for name in _WRITTEN.findall(source.file.text)}
    texts = named_in_arguments(program)
    for source in program.python:
        texts += re.findall(r"""["']([^"'\n]{1,200})["']""", source.file.text)
    if any("load_dotenv" in source.file.text or "dotenv" in source.file.text for source in program.python):
        texts.append(".env")
    for more in program.more:
        texts.append(more)
    folders = dict.fromkeys([".", str(PurePosixPath(program.script or "x").parent)])
    for text in texts:
        if not _NAME.fullmatch(text) or text.endswith(".py") or text in written:
            continue
        for folder in folders:
            path = str(PurePosixPath(folder, text))
            if format_of(path) is not None and program.data(path) is not None:
                found[path] = None
                break
    return list(found)


def named_in_arguments(program: Program) -> list[str]:
    """Return the words of the arguments, which may be paths of files: `other.yaml` of `--config=other.yaml`."""
    return [part for argument in program.arguments for part in re.split(r"[=,]", argument)]


def places_in(path: str, text: str) -> Iterator[Place]:
    """Yield every value of one file. Raises SubstitutionError if it does not parse."""
    reader = format_of(path)
    if reader is None:
        raise SubstitutionError(f"{path!r}: values go into .py, YAML, JSON, TOML, INI and .env files")
    for scalar in reader(path, text):
        if isinstance(scalar.value, str) and "${" in scalar.value:  # an interpolation of OmegaConf stays
            continue
        *within, name = scalar.keys
        edit = Edit(path, scalar.start, scalar.stop, partial(_write, path, scalar))
        shown = f"{'.'.join(scalar.keys)} = {scalar.value!r}"
        yield Place(name, tuple(within), "file", path, scalar.line, scalar.value, shown, (edit,), prefix=f"{path}:")


def _write(path: str, scalar: Scalar, value: object) -> str:
    try:
        return scalar.write(value)
    except SubstitutionError as error:
        raise SubstitutionError(f"{path}:{scalar.line}: {error}") from None


def file_text(program: Program, path: str) -> str | None:
    """Return the text of a configuration file; None if it is missing or not UTF-8."""
    try:
        return None if program.data(path) is None else program.text(path)
    except SubstitutionError:
        return None


def format_of(path: str) -> Callable[[str, str], list[Scalar]] | None:
    """Return the reader of the format of `path`, by its suffix; files without one, and `.env.local`, as `name = value`."""
    name = PurePosixPath(path).name
    suffix = PurePosixPath(path).suffix.lower()
    if name == ".env" or name.startswith(".env."):
        return ini_scalars
    if suffix in FORMATS:
        return FORMATS[suffix]
    return ini_scalars if suffix in _WITHOUT_SUFFIX else None
