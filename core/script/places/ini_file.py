"""INI files, `.env` files, and others with lines `name = value`: each value by its section and name."""

import re
from functools import partial

from studio.errors import SubstitutionError
from studio.experiment import plain
from studio.script.scalar import Scalar
from studio.text import parse_literal

_LINE = re.compile(
    r"^(?P<name>[ \t]*(?:export[ \t]+)?[\w.\- ]*[\w\]])(?P<is>[ \t]*[=:][ \t]*)(?P<value>[^\n\r]*)", re.ASCII
)
_SECTION = re.compile(r"^\s*\[([^\]\n]+)\]\s*([#;].*)?$")
_COMMENT = re.compile(r"\s+[#;].*$")


def ini_scalars(path: str, text: str) -> list[Scalar]:
    """Return every value of `text` by its section, if any, and its name."""
    found: list[Scalar] = []
    section: tuple[str, ...] = ()
    position = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if match := _SECTION.match(line):
            section = (match[1].strip(),)
        elif not line.lstrip().startswith(("#", ";", "!")) and (match := _LINE.match(line)):
            name = match["name"].strip().removeprefix("export ").strip()
            raw = match["value"]
            value, quote = _read(raw)
            start = position + len(line[: match.start("value")].encode())
            stop = start + len(value.encode())
            inner = value[1:-1] if quote else value
            known = inner if quote else parse_literal(inner) if inner else None
            found.append(
                Scalar(
                    (*section, name), start, stop, number, known, partial(_write, quote=quote, quote_blanks=not section)
                )
            )
        position += len(line.encode())
    return found


def _read(raw: str) -> tuple[str, str]:
    """Return the text of the value without a comment after it, and its quotes."""
    if raw[:1] in ("'", '"') and (end := raw.find(raw[0], 1)) > 0:
        return raw[: end + 1], raw[0]
    return _COMMENT.sub("", raw).rstrip(), ""


def _write(value: object, quote: str, quote_blanks: bool) -> str:
    value = plain(value)
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if "\n" in text or "\r" in text or (quote and quote in text):
        raise SubstitutionError(f"{value!r} cannot be written into a file with lines `name = value`")
    if quote:
        return f"{quote}{text}{quote}"
    if quote_blanks and (text != text.strip() or re.search(r"\s", text)):
        return f'"{text}"'
    return text
