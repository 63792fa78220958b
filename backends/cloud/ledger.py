"""The machines that a search has ordered, and their costs: a file beside its record, for later sessions.

An entry is written before its order is sent. So a driver that is killed at any moment leaves no machine that the next one
does not know and count. The end of a machine may stay unrecorded, as on a full disk: no machine has to wait for it, and
the next session asks the cloud.
"""

import contextlib
import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.backends.cloud.spending import HOUR, Rate
from studio.errors import StudioError
from studio.system.files import write_json

FILE = "machines.json"  # in the project's folder
LEAST_BILLED = 60.0  # seconds; beyond these, Amazon and Google bill by the second


@dataclass(frozen=True)
class Entry:
    """A machine, and the time for which it is billed, in seconds since the epoch by this computer's clock.

    ends   when its lifetime ends it
    ended  when it ended; None: it ran at the last look
    seen   when it was last seen running, if after `ends`
    cloud  empty in searches of older versions
    """

    name: str
    machine_type: str
    zone: str
    spot: bool
    rate: Rate
    begun: float
    ends: float
    ended: float | None = None
    seen: float = 0.0
    cloud: str = ""

    def billed(self, now: float) -> float:
        """Return the seconds billed until now."""
        until = max(min(now, self.ends), self.seen) if self.ended is None else self.ended
        return max(until - self.begun, LEAST_BILLED)

    def spent(self, now: float) -> float:
        """Return the dollars until now, at the price when it was ordered. An unknown price counts 0: with `--max-cost` the
        price must be known.
        """
        return self.billed(now) / HOUR * (self.rate.now or 0.0)

    def committed(self, now: float) -> float:
        """Return the dollars that the machine can have cost until now, and can cost until its end."""
        left = 0.0 if self.ended is not None else max(self.ends - max(now, self.begun + LEAST_BILLED), 0.0)
        dearest = self.rate.now if self.rate.ceiling is None else self.rate.ceiling
        return (self.billed(now) + left) / HOUR * (dearest or 0.0)


class Ledger:
    """The entries of one search. `folder`: the project's; None keeps all in memory. Several threads may write."""

    def __init__(self, folder: Path | None = None):
        self._file = None if folder is None else folder / FILE
        self._lock = threading.Lock()
        self._entries = {} if folder is None else {entry.name: entry for entry in read(folder)}

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def spent(self, now: float) -> float:
        """Return the dollars that all machines have cost."""
        return sum(entry.spent(now) for entry in self.entries)

    def committed(self, now: float) -> float:
        """Return the dollars that can have been spent, and that running machines can still cost."""
        return sum(entry.committed(now) for entry in self.entries)

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def note(self, entry: Entry) -> None:
        """Record a new or changed entry. Raises OSError if it cannot be written."""
        self._change({entry.name: entry})

    def listed(self, names: Iterable[str], now: float) -> None:
        """Record machines that are still running after their lifetime: they keep costing."""
        late = [entry for name in names if (entry := self._entries.get(name)) is not None and now > entry.ends]
        with contextlib.suppress(OSError):
            self._change({entry.name: replace(entry, ended=None, seen=now) for entry in late})

    def ended(self, names: Iterable[str], now: float) -> None:
        """Record that machines ended; each is paid until `now`, or the end of its lifetime, or until it was last seen."""
        found = [entry for name in names if (entry := self._entries.get(name)) is not None and entry.ended is None]
        with contextlib.suppress(OSError):
            self._change({entry.name: replace(entry, ended=_end(entry, now)) for entry in found})

    def drop(self, name: str) -> None:
        """Remove a machine that was never made."""
        with contextlib.suppress(OSError):
            self._change({}, drop=name)

    @property
    def alive(self) -> list[str]:
        return [entry.name for entry in self.entries if entry.ended is None]

    def _change(self, changed: dict[str, Entry], drop: str = "") -> None:
        with self._lock:
            entries = {**self._entries, **changed}
            entries.pop(drop, None)
            new, self._entries = entries != self._entries, entries
            if self._file is not None and new:
                write_json(self._file, [asdict(entry) for entry in entries.values()], synced=True)


def read(folder: Path) -> list[Entry]:
    """Return the entries of the project in `folder`; none if it has had no machines.

    Raises StudioError for a damaged file: the costs are unknown then, not 0.
    """
    file = folder / FILE
    try:
        return [_entry(row) for row in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudioError(
            f"{file} cannot be read ({type(error).__name__}), so the costs of its machines are unknown; end them with "
            "studio cloud gc, then delete the file: costs count from 0 again"
        ) from error


def _end(entry: Entry, now: float) -> float:
    return min(now, max(entry.ends, entry.begun, entry.seen))


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(**{**row, "rate": Rate(**row["rate"])})
