"""The output of a run, of any length, in pieces: from a position, its end, or the lines with a text.

A growing log that is capped has a hole in its middle; holes are left out.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.dashboard.run_files import is_own
from studio.system.files import open_regular
from studio.system.tail import next_data

MOST = 1 << 20  # bytes in one answer
SEARCHED = 1 << 26  # bytes searched by one request
MATCHES = 200
LINE = 400  # characters of a line shown around a match
_CHUNK = 1 << 20


class Log:
    """The present file `output.log` in `folder`; empty if there is none."""

    def __init__(self, folder: Path):
        self._descriptor = -1
        if not is_own(folder):
            return
        with suppress(OSError):
            self._descriptor = open_regular(folder / "output.log", os.O_RDONLY)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size if self._descriptor >= 0 else 0

    def read_range(self, begin: int, most: int) -> dict[str, Any]:
        """Return up to `most` bytes from `begin` on, as text; a partial character at the end is left for the next call."""
        size, begin = self.size, max(0, begin)
        if begin > size:  # the script emptied it, or it was rewritten without its middle
            begin = 0
        begin, until = self._data(begin, size)
        data = self._read(begin, min(until - begin, max(1, min(most, MOST))))
        more = begin + len(data) < size
        text, used = _decoded(data, keep=more or len(data) < 4)
        return {"text": text, "offset": begin, "next": begin + used, "size": size}

    def tail(self, most: int) -> dict[str, Any]:
        """Return the last `most` bytes, from the beginning of a line if there is one."""
        size, most = self.size, max(1, min(most, MOST))
        begin = max(0, size - most)
        cut = self._read(begin, most).find(b"\n") + 1 if begin else 0
        return self.read_range(begin + cut, most)

    def search(self, wanted: str, begin: int) -> dict[str, Any]:
        """Return lines with `wanted`, ignoring case of ASCII letters. `next`: where to continue, None at the end."""
        needle = wanted.encode("utf-8", "replace").lower()
        matches: list[dict[str, Any]] = []
        if not needle:
            return {"matches": [], "next": None}
        begin = max(0, begin)
        lines = 0 if begin == 0 else None  # lines before the searched part; known if searched from the beginning
        looked, rest = 0, b""
        for at, chunk in self._chunks(begin):
            text = rest + chunk
            origin = at - len(rest)
            lowered = text.lower()
            found = lowered.find(needle)
            while found >= 0:
                first = text.rfind(b"\n", 0, found) + 1
                last = text.find(b"\n", found)
                last = len(text) if last < 0 else last
                shown = text[max(first, found - LINE // 2) : min(last, found + LINE)]
                line = None if lines is None else lines + text.count(b"\n", 0, first) + 1
                matches.append({"offset": origin + first, "line": line, "text": shown.decode(errors="replace")})
                if len(matches) >= MATCHES:
                    return {"matches": matches, "next": origin + last + 1}
                found = lowered.find(needle, last)
            cut = text.rfind(b"\n") + 1
            rest = text[max(cut, len(text) - _CHUNK) :] if needle not in lowered[cut:] else b""
            lines = None if lines is None else lines + text.count(b"\n", 0, len(text) - len(rest))
            looked += len(chunk)
            if looked >= SEARCHED:
                return {"matches": matches, "next": at + len(chunk) - len(rest)}
        return {"matches": matches, "next": None}

    def _chunks(self, begin: int) -> Iterator[tuple[int, bytes]]:
        size = self.size
        while begin < size:
            begin, until = self._data(begin, size)
            chunk = self._read(begin, min(until - begin, _CHUNK))
            if not chunk:
                return
            yield begin, chunk
            begin += len(chunk)

    def _read(self, begin: int, length: int) -> bytes:
        if self._descriptor < 0 or length <= 0:
            return b""
        try:
            return os.pread(self._descriptor, length, begin)
        except OSError:
            return b""

    def _data(self, begin: int, size: int) -> tuple[int, int]:
        """Return the begin and end of the next bytes outside of holes."""
        return next_data(self._descriptor, begin, size) if self._descriptor >= 0 else (size, size)


def _decoded(data: bytes, *, keep: bool) -> tuple[str, int]:
    """Return `data` as text, and the number of bytes used. `keep`: leave out a partial character at the end."""
    used = len(data)
    if keep:
        for back in range(1, min(4, len(data)) + 1):  # RFC 3629: at most four bytes, the first one tells the length
            byte = data[-back]
            if byte & 0xC0 == 0x80:
                continue
            length = (
                1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
            )
            used = len(data) - back if length > back else len(data)
            break
    return data[:used].decode(errors="replace"), used
