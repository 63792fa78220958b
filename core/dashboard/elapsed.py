"""How long a search has worked: in all its sessions, and without the time in which it was paused or nobody was at work.

    earlier sessions   what their experiments took together, overlaps once: the record has no other trace of them
    this one           from its beginning to now, or to its end, without pauses

A program's own loop has no sessions but the one that holds the lock.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from studio.project.records import Session

SAME_SESSION = 5.0  # seconds between two experiments that are no break: copying, asking, writing
_RAN = """
SELECT started AS begun, finished AS ended FROM attempts WHERE started IS NOT NULL AND finished <= ?1
UNION ALL
SELECT at - duration, at FROM events AS told WHERE kind = 'tell' AND duration IS NOT NULL AND at <= ?1
AND NOT EXISTS (SELECT 1 FROM attempts WHERE number = told.number)
ORDER BY begun
"""

Pauses = Sequence[Sequence[float | None]]  # [from, until]; None: it is paused


def earlier_seconds(connection: sqlite3.Connection, moment: float) -> float:
    """Seconds until `moment`, by the experiments that ended until then."""
    return union_length(connection.execute(_RAN, (moment,)))


def union_length(spans: Iterable[tuple[float, float]]) -> float:
    """The length of (begin, end) together, in order of their begins; small gaps belong to it, overlaps count once."""
    total, reached = 0.0, None
    for begun, ended in spans:
        if reached is None or begun > reached + SAME_SESSION:
            total, reached = total + max(0.0, ended - begun), max(begun, ended)
        elif ended > reached:
            total, reached = total + ended - reached, ended
    return total


def seconds_outside(begun: float, until: float, pauses: Pauses) -> float:
    """Seconds from `begun` to `until` that are in no pause."""
    paused = 0.0
    for start, end in pauses:
        if start is not None:
            paused += max(0.0, min(until, until if end is None else end) - max(begun, start))
    return max(0.0, until - begun - paused)


def pauses_of(session: Session | None) -> Pauses:
    return () if session is None else session.pauses
