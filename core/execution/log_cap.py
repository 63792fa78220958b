"""Size limit of `output.log`: its head and its tail are kept, and a note between them says how much is left out.

    while the script runs   the middle, once read, becomes a hole: the file keeps its length and frees its blocks
    when it has ended       the file is rewritten without the hole

    head, ending in the note | hole, from `begin` to `end` | tail

The script holds the file open for appending and its readers remember positions, so while it runs it cannot be shortened.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import BinaryIO

from studio.system.files import open_regular

BLOCK = 4096
NOTE = 120  # bytes of the note at the end of the head, with a line break on both sides
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)
_F_PUNCHHOLE = 99  # fcntl(2) on macOS, with struct fpunchhole
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.EAGAIN}  # tried again at the next call


class LogCap:
    """Limiter that keeps the file `path` near `limit` bytes on disk."""

    def __init__(self, path: Path, limit: int):
        self.path = path
        self.head = max(BLOCK, limit // 2 // BLOCK * BLOCK)
        self.tail = max(BLOCK, limit - self.head)
        self.begin = self.head  # of the hole
        self.end = self.head

    @property
    def size(self) -> int:
        try:
            return os.stat(self.path, follow_symlinks=False).st_size
        except OSError:  # not there yet, or the script removed it
            return 0

    def trim(self, read: int) -> bool:
        """Free the blocks between head and tail and before position `read`, up to which the file was read.

        Returns False if this file system cannot, and the file is beyond its limit.
        """
        if read < self.end:  # the script emptied the file and starts again
            self.end = self.begin
        if read < self.head + 2 * self.tail:
            return True
        try:
            descriptor = open_regular(self.path, os.O_RDWR)
        except OSError:  # the script removed it
            return True
        try:
            size = os.fstat(descriptor).st_size
            end = min(read, size - self.tail) // BLOCK * BLOCK
            if end - self.end < self.tail:  # not worth a call yet
                return True
            _punch_hole(descriptor, self.end, end - self.end)
            self.end = end
            os.pwrite(descriptor, self._note(), self.begin - NOTE)
            return True
        except OSError as error:
            return error.errno in _PASSING
        finally:
            os.close(descriptor)

    def compact(self) -> None:
        """Rewrite the log of an ended script without its middle, also if `trim` had no time to free it.

        Raises OSError on failure; then the file is unchanged.
        """
        size = self.size
        if size < self.end:  # emptied since, or replaced
            self.end = self.begin
        if self.end == self.begin and size <= self.head + 2 * self.tail:
            return
        self.end = max(self.end, size - self.tail)
        part = self.path.with_suffix(".part")
        descriptor = open_regular(self.path, os.O_RDONLY)
        try:
            part.unlink(missing_ok=True)
            with open(part, "xb") as new:
                _copy(descriptor, new, 0, self.begin - NOTE)
                new.write(self._note())
                _copy(descriptor, new, self.end, size - self.end)
            shutil.copystat(self.path, part)
            os.replace(part, self.path)
        except OSError:
            with contextlib.suppress(OSError):  # leave nothing behind on a full disk
                part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _note(self) -> bytes:
        left_out = self.end - self.begin + NOTE
        text = f"[studio: {left_out:,} bytes of the output are left out here; --max-log keeps more]"
        return f"\n{text.ljust(NOTE - 2)}\n".encode()


def _punch_hole(descriptor: int, begin: int, length: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, _F_PUNCHHOLE, struct.pack("=IIqq", 0, 0, begin, length))
        return
    libc = ctypes.CDLL(None, use_errno=True)
    place = ctypes.c_long(begin), ctypes.c_long(length)  # off_t is a long where Python 3.11 runs
    if libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, *place):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _copy(source: int, target: BinaryIO, begin: int, length: int) -> None:
    while length and (chunk := os.pread(source, min(length, 1 << 20), begin)):
        target.write(chunk)
        begin, length = begin + len(chunk), length - len(chunk)
