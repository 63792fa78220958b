"""Values as Python text that fits in the place of a `Read`."""

import math
import warnings

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.python_file import PythonFile
from studio.script.reads import Read


def write_literal(file: PythonFile, place: Read, value: object) -> str:
    """Return Python text that means `value` and fits at `place`.

    Raises SubstitutionError for a value that has no literal, or none that fits into an f-string around the place.
    """
    value = plain(value)
    if type(value) is str:
        return _string(file, place, value)
    if type(value) not in (int, float, bool, type(None)) or value != value:
        raise SubstitutionError(
            f"{place.name}={value!r} has no literal: choose an int, float, str, bool or None, or an array"
        )
    text = repr(value)
    if type(value) is float and math.isinf(value):
        text = text.replace("inf", "1e999")  # `inf` would be a name
    number = type(value) in (int, float)
    if number and (place.attribute or (place.tight and text.startswith("-"))):
        return f"({text})"
    return text


def _string(file: PythonFile, place: Read, value: str) -> str:
    if not place.quotes:
        return repr(value) if file.can_encode(value) else ascii(value)
    if value.isprintable() and "\\" not in value and file.can_encode(value):
        for quote in ("'", '"', "'''", '"""'):
            text = f"{quote}{value}{quote}"
            clash = quote in value or value.endswith(quote[0]) or any(outer in text for outer in place.quotes)
            if not clash:
                return text
    raise SubstitutionError(
        f"{file.path}:{place.line}: {place.name}={value!r} cannot be written into the f-string, "
        f"which has its quotes or needs a backslash: format another variable there (text = {place.name})"
    )


def compiles(path: str, text: str) -> SyntaxError | None:
    """Return the error of this interpreter for `text`; None if it compiles."""
    with warnings.catch_warnings(action="ignore"):
        try:
            compile(text, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            return error
        except (RecursionError, MemoryError, ValueError) as error:
            return SyntaxError(str(error))
    return None
