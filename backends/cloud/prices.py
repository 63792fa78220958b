"""A cache of price lists in STUDIO_HOME/cache. Without permission to ask, prices are unknown; that is no error."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from studio.backends.cloud.cloud import CloudDenied, CloudUnreachable
from studio.project.paths import studio_home
from studio.system.files import write_json

DAY = 86400.0

Prices = dict[str, float]  # dollars, by what they pay for


class PriceCache:
    """The cached prices of one cloud and region, which `name` gives for the file."""

    def __init__(self, name: str):
        self._file = studio_home() / "cache" / f"{name}.json"

    def get(self, key: str, seconds: float, ask: Callable[[], Prices]) -> Prices:
        """Return the prices of `ask`, at most `seconds` (a day at most) old. Empty: unknown; machines can still be ordered,
        and the user is asked for --price if one is needed.
        """
        kept = self._read()
        if key in kept and time.time() - kept[key]["at"] < seconds:
            return dict(kept[key]["prices"])
        try:
            prices = ask()
        except (CloudDenied, CloudUnreachable):
            return {}
        if prices:
            self._write(kept | {key: {"at": time.time(), "prices": prices}})
        return prices

    def _read(self) -> dict[str, Any]:
        """Return the entries less than a day old."""
        now = time.time()
        try:
            kept = json.loads(self._file.read_text())
            return {key: entry for key, entry in kept.items() if entry["prices"] and 0 <= now - entry["at"] < DAY}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no file yet, or not written by Studio
            return {}

    def _write(self, kept: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a full disk costs a request, nothing else
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, kept)
