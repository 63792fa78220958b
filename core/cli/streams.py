"""Standard streams of the command that are closed, full, or connected to a broken pipe.

A closed stream becomes the null device: else the next opened file would take its number. Output that cannot be written to
standard error is dropped, and the search continues; on standard output it is an error of one line.
"""

import io
import os
import sys
from typing import Any, TextIO

from studio.errors import StudioError


class _Output(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # discard what is still in buffers
            raise StudioError(f"cannot write to standard output: {error.strerror}") from error


class _Messages(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def settle_streams() -> None:
    """Make sure that standard input, output and error are open, and that write errors are handled as above."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _settled(sys.stdout, sys.__stdout__, _Output(1, "w", closefd=False))
    sys.stderr = _settled(sys.stderr, sys.__stderr__, _Messages(2, "w", closefd=False))


def _settled(stream: TextIO | None, original: TextIO | None, raw: io.FileIO) -> TextIO:
    if stream is not None and stream is not original:  # replaced by a caller in the same process
        return stream
    encoding, errors = (stream.encoding, stream.errors) if stream is not None else ("utf-8", "replace")
    line_by_line = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, newline="\n", line_buffering=line_by_line)
