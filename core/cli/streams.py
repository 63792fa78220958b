"""Standard streams of the command that are closed, full, or connected to a broken pipe.

A closed stream is replaced by the null device, because the next file that is opened would get its number otherwise. If
standard error cannot be written, the message is dropped and the search continues. If standard output cannot be written,
the command ends with an error of one line.
"""

import io
import os
import sys
from typing import Any, TextIO

from studio.errors import StudioError


class _Output(io.FileIO):
    """Standard output. StudioError if it cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # so that buffered data is discarded
            raise StudioError(f"cannot write to standard output: {error.strerror}") from error


class _Messages(io.FileIO):
    """Standard error. Messages that cannot be written are dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Open closed standard streams, and let write errors be handled as described at the top of this file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is `number`
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _text_stream(sys.stdout, sys.__stdout__, _Output(1, "w", closefd=False))
    sys.stderr = _text_stream(sys.stderr, sys.__stderr__, _Messages(2, "w", closefd=False))


def _text_stream(stream: TextIO | None, original: TextIO | None, raw: io.FileIO) -> TextIO:
    """Return a text stream on `raw` with the encoding of `stream`; `stream` itself if it was replaced in this process."""
    if stream is not None and stream is not original:
        return stream
    encoding, errors = (stream.encoding, stream.errors) if stream is not None else ("utf-8", "replace")
    line_by_line = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, newline="\n", line_buffering=line_by_line)
