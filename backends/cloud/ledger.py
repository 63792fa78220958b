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

from studio.backends.cloud.spending import Rate, Spell
from studio.errors import StudioError
from studio.system.files import write_json

FILE = "machines.json"  # in the project's folder


@dataclass(frozen=True)
class Entry:
    """A machine. Times are seconds since the epoch, by this computer's clock. `ended`, `seen`: as in a `Spell`."""

    name: str
    machine_type: str
    zone: str
    spot: bool
    rate: Rate
    begun: float
    ends: float
    ended: float | None = None
    seen: float = 0.0
    cloud: str = ""  # empty in searches of older versions

    @property
    def spell(self) -> Spell:
        return Spell(self.rate, self.begun, self.ends, self.ended, self.seen)


class Ledger:
    """The entries of one search. `folder`: the project's; None keeps all in memory. Several threads may write."""

    def __init__(self, folder: Path | None = None):
        self._file = None if folder is None else folder / FILE
        self._lock = threading.Lock()
        self._entries = {} if folder is None else {entry.name: entry for entry in read(folder)}

    @property
    def spells(self) -> list[Spell]:
        return [entry.spell for entry in list(self._entries.values())]

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
        return [entry.name for entry in list(self._entries.values()) if entry.ended is None]

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
