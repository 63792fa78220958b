"""Output of `studio report` and `studio export`: a file that is written whole or not at all, or standard output."""

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from studio.cli.usage import say
from studio.errors import BadInput
from studio.format import byte_size


def save(pieces: Iterable[str | bytes], given: str | None, usual: str | None) -> Path | None:
    """Write to the file `given`, else to `usual`; `-`, or neither, is standard output. Return the file; report it on stderr."""
    name = given or usual or "-"
    if name == "-":
        for piece in pieces:
            if isinstance(piece, str):
                sys.stdout.write(piece)
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(piece)
        return None
    path = Path(name)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # /dev/null or a pipe: not to be replaced
            path.write_bytes(b"".join(map(_encoded, pieces)))
        else:
            _write_whole(Path(os.path.realpath(path)), pieces)
    except OSError as error:
        raise BadInput(f"cannot write {name!r}: {error.strerror}; give another file with -o") from error
    say(f"wrote {name} ({byte_size(path.stat().st_size)})")
    return path


def _write_whole(path: Path, pieces: Iterable[str | bytes]) -> None:
    part = path.parent / f"{path.name}.part-{os.getpid()}"
    try:
        with open(part, "xb") as file:
            file.writelines(map(_encoded, pieces))
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _encoded(piece: str | bytes) -> bytes:
    return piece.encode(errors="replace") if isinstance(piece, str) else piece


def chosen_format(given: str, formats: Iterable[str]) -> str:
    formats = list(formats)
    if given not in formats:
        raise BadInput(f"--format {given!r} is not one of {', '.join(formats)}")
    return given
