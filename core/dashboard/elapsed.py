"""Working time of a search, over all its sessions, without pauses and time without a driver.

    earlier sessions   time of their experiments, overlaps counted once: the record has nothing else about them
    this session       from its start to now, or to its end, without pauses

A program's own loop has only the session that holds the lock.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from studio.project.records import Session

SAME_SESSION = 5.0  # gaps up to this many seconds between experiments count: copying, asking, writing
_RAN = """
SELECT started AS begun, finished AS ended FROM attempts WHERE started IS NOT NULL AND finished <= ?1
UNION ALL
SELECT at - duration, at FROM events AS told WHERE kind = 'tell' AND duration IS NOT NULL AND at <= ?1
AND NOT EXISTS (SELECT 1 FROM attempts WHERE number = told.number)
ORDER BY begun
"""

Pauses = Sequence[Sequence[float | None]]  # [from, until]; None while paused


def earlier_seconds(connection: sqlite3.Connection, moment: float) -> float:
    """Return the working time until `moment`, from the experiments that ended before it."""
    return union_length(connection.execute(_RAN, (moment,)))


def union_length(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans (begin, end), sorted by begin, bridging gaps up to `SAME_SESSION`."""
    total, reached = 0.0, None
    for begun, ended in spans:
        if reached is None or begun > reached + SAME_SESSION:
            total, reached = total + max(0.0, ended - begun), max(begun, ended)
        elif ended > reached:
            total, reached = total + ended - reached, ended
    return total


def seconds_outside(begun: float, until: float, pauses: Pauses) -> float:
    """Return the seconds from `begun` to `until` outside of pauses."""
    paused = 0.0
    for start, end in pauses:
        if start is not None:
            paused += max(0.0, min(until, until if end is None else end) - max(begun, start))
    return max(0.0, until - begun - paused)


def pauses_of(session: Session | None) -> Pauses:
    return () if session is None else session.pauses
