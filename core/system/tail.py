"""Growing files, read as they grow: each byte once, in bounded memory, even if a file is cut or replaced.

    Tail   chunks of bytes
    Lines  blocks of complete lines, for text; an incomplete line is held back

`next_data` finds the holes that the cap of a running log leaves, for readers that choose their positions.

A file is identified by device and inode. Another file of its name, or one that became shorter than the part that was
read, is a new file and is read from its beginning. A file that was cut and grew beyond the old position between two
calls looks like one that only grew. So a log that is read here must be thinned by punching holes, not by shortening it.
"""

import errno
import math
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, TypeVar

from studio.system.copying import original_bytes

CHUNK = 1 << 18
LONGEST_LINE = 1 << 16
MOST_VALUES = 20_000
PATIENCE = 0.2  # seconds for reading a running experiment's files: others wait for it

Sample = tuple[int | None, float]  # step, value: the content of a Report
AnySample = TypeVar("AnySample", bound=tuple[Any, ...])  # a Sample, or one with more behind its value

_GONE = (0, 0)  # identity of a file that was deleted: the next one may get the same inode


class Tail:
    """Bytes of the file `path`, which may appear later, grow, be cut, be replaced or never be a regular file.

    start     number of bytes to skip in the first file seen
    original  a file that `path` may be a copy of: its bytes are skipped
    """

    def __init__(self, path: str, *, start: int = 0, original: str | None = None):
        self.path = path
        self.position = start
        self._original = original  # until other bytes were read: the file may be rewritten
        self.generation = 0  # how often the file was replaced: bytes kept from an earlier generation are void
        self._identity: tuple[int, int] | None = None

    def read(self, until: float = math.inf) -> Iterator[bytes]:
        """Yield chunks of the new bytes, up to the size of the file when the call began, so that a flood cannot block it.

        Ends early after the first chunk past the time `until` (monotonic); the next call continues there.
        """
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            end = os.fstat(descriptor).st_size
            while self.position < end and (chunk := self._chunk(descriptor, end - self.position)):
                self.position += len(chunk)
                self._original = None
                if len(chunk) == CHUNK and not any(chunk):  # a hole, as in a capped log: it may be larger than memory
                    self.position = next_data(descriptor, self.position, end)[0]
                yield chunk
                if time.monotonic() > until:
                    return
        finally:
            os.close(descriptor)

    def _chunk(self, descriptor: int, most: int) -> bytes:
        try:
            return os.pread(descriptor, min(CHUNK, most), self.position)
        except OSError:  # the network or disk may be back at the next call
            return b""

    def _open(self) -> int | None:
        try:
            found = os.stat(self.path)
            if self._original is not None and stat.S_ISREG(found.st_mode):
                self.position = original_bytes(self.path, self._original)
            if not self._has_more(found):  # checked before opening, which would wake devices
                return None
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self._identity = self._identity and _GONE
            return None
        except (OSError, ValueError):  # ValueError: not a valid path, such as one with a zero byte
            return None
        if self._has_more(os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
        return None

    def _has_more(self, found: os.stat_result) -> bool:
        if not stat.S_ISREG(found.st_mode):  # opening a FIFO would block
            return False
        identity = (found.st_dev, found.st_ino)
        replaced = self._identity is not None and identity != self._identity
        if replaced or found.st_size < self.position:
            self.position = 0
            self.generation += 1
        self._identity = identity
        return found.st_size > self.position


class Lines:
    """Lines of a growing file. `ends` are the bytes that end one.

    A line longer than `longest` may be left out; whether it is depends on where reads happen to cut it, so callers
    should leave out all longer ones.
    """

    def __init__(
        self,
        path: str,
        *,
        ends: tuple[bytes, ...] = (b"\n",),
        longest: int = LONGEST_LINE,
        start: int = 0,
        original: str | None = None,
    ):
        self._tail = Tail(path, start=start, original=original)
        self._ends = ends
        self._longest = longest
        self._generation = 0
        self._forget()

    @property
    def generation(self) -> int:
        return self._tail.generation

    def _forget(self) -> None:
        self._rest = b""  # the beginning of an incomplete line
        self._too_long = False  # the incomplete line is too long, and nothing of it is kept

    def read(self, *, last: bool = False, until: float = math.inf) -> Iterator[bytes]:
        """Yield blocks of complete lines, until the time `until` (monotonic).

        With `last` the file is complete, and a last line without an end counts as complete.
        """
        for chunk in self._tail.read(math.inf if last else until):
            if self._tail.generation != self._generation:
                self._generation = self._tail.generation
                self._forget()
            if block := self._whole(chunk):
                yield block
        if last:
            rest = self._rest
            self._forget()
            if rest:
                yield rest

    def _whole(self, chunk: bytes) -> bytes:
        cut = 1 + max(chunk.rfind(end) for end in self._ends)
        if not cut:
            self._keep(self._rest + chunk)
            return b""
        if self._too_long:
            begin = 1 + min(at for end in self._ends if (at := chunk.find(end)) >= 0)
        else:
            begin = 0
        block = self._rest + chunk[begin:cut]
        self._forget()
        self._keep(chunk[cut:])
        return block

    def _keep(self, rest: bytes) -> None:
        self._too_long = self._too_long or len(rest) > self._longest
        self._rest = b"" if self._too_long else rest


def soon() -> float:
    """Return the time (monotonic) until which the files of a running experiment may be read now."""
    return time.monotonic() + PATIENCE


def next_data(descriptor: int, position: int, end: int) -> tuple[int, int]:
    """Return the begin and end of the next bytes outside of holes, from `position` on and before `end`."""
    try:
        begin = os.lseek(descriptor, position, os.SEEK_DATA)
        until = os.lseek(descriptor, begin, os.SEEK_HOLE)
    except OSError as error:  # ENXIO: nothing but a hole follows; else the file system knows no holes
        return (end if error.errno == errno.ENXIO else position), end
    return min(begin, end), min(until, end)


def thinned(values: list[AnySample], most: int = MOST_VALUES) -> list[AnySample]:
    """Return `values`, or about half of them if there are more than `most`, to bound the memory of one call.

    The smallest, the largest and the last always stay.
    """
    if len(values) <= most:
        return values
    kept = {len(values) - 1}
    finite = [at for at, sample in enumerate(values) if math.isfinite(sample[1])]
    if finite:
        kept |= {pick(finite, key=lambda at: values[at][1]) for pick in (min, max)}
    return [value for at, value in enumerate(values) if at % 2 or at in kept]
