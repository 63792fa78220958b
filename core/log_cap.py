"""A cap on `output.log`: its head and its tail stay, and a note between them says how much is left out.

    while the script runs   the middle, which was read, becomes a hole: the file keeps its length and loses its blocks
    when it has ended       the file is written anew, without the hole

The script holds the file open for appending and its readers remember positions, so while it runs it cannot be shortened.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import struct
import sys
from pathlib import Path

BLOCK = 4096
NOTE = 120  # bytes at the head's end that hold the note
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)
_F_PUNCHHOLE = 99  # fcntl(2) on macOS, with struct fpunchhole


class LogCap:
    """Keeps the file `path` near `limit` bytes on disk."""

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
        """Free what lies between head and tail and before position `read`, up to which the file was read.

        False: this file system cannot, and the file is beyond its limit.
        """
        if read < self.head + 2 * self.tail:
            return True
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # the script removed it
            return True
        try:
            size = os.fstat(descriptor).st_size
            end = min(read, size - self.tail) // BLOCK * BLOCK
            if end - self.end < self.tail:  # not worth a call yet
                return True
            _punch_hole(descriptor, self.end, end - self.end)
            self.end = end
            os.pwrite(descriptor, self._note().ljust(NOTE).encode() + b"\n", self.begin)
            return True
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY):
                return False
            raise
        finally:
            os.close(descriptor)

    def compact(self) -> None:
        """Nobody writes any more: leave the hole out. A script may end between two looks: then all is cut here."""
        size = self.size
        if self.end == self.begin and size <= self.head + 2 * self.tail:
            return
        self.end = max(self.end, size - self.tail)
        part = self.path.with_suffix(".part")
        with open(self.path, "rb") as old, open(part, "wb") as new:
            _copy(old.fileno(), new.fileno(), 0, self.begin)
            new.write(b"\n" + self._note().encode() + b"\n")
            new.flush()
            _copy(old.fileno(), new.fileno(), self.end, size - self.end)
        shutil.copystat(self.path, part)
        os.replace(part, self.path)

    def _note(self) -> str:
        return f"[studio: {self.end - self.begin:,} bytes of the output are left out here; --max-log keeps more]"


def _punch_hole(descriptor: int, begin: int, length: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, _F_PUNCHHOLE, struct.pack("=IIqq", 0, 0, begin, length))
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(
        descriptor, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_long(begin), ctypes.c_long(length)
    ):  # off_t is a long where Python 3.11 runs
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _copy(source: int, target: int, begin: int, length: int) -> None:
    while length and (chunk := os.pread(source, min(length, 1 << 20), begin)):
        os.write(target, chunk)
        begin, length = begin + len(chunk), length - len(chunk)
