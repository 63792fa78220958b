"""Records in the bucket, and their writers.

    jobs/ID        the driver, once: {"attempts": 3, "job": {...}}; ID sorts in the order of submission
    leases/ID      the winner of the compare-and-swap: `LeaseRecord`
    outcomes/ID    the first writer, once: `JobOutcome`
    stops/ID       the driver: {"kill": false}, later perhaps true
    stop           the driver: {"stop": true}; workers take no more jobs
    out/ID/ATTEMPT/…   the holder of that attempt: files

All records are JSON. A record that cannot be read raises `Damaged`, and its job is given up, so that nothing waits for it
for ever.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from studio.backends.queue.bucket import Bucket, BucketError
from studio.experiment import LARGEST_INT

JOBS, LEASES, OUTCOMES, STOPS, STOP = "jobs/", "leases/", "outcomes/", "stops/", "stop"
ATTEMPTS = 3  # how many workers may die with a job
LONGEST_TTL = 86400.0  # seconds; a longer ttl would block a job for ever
HELD = 512  # bytes that a lease with a holder has at least, and one without it has not: a listing tells them apart
TRIES = 10  # how often a job is started at all: a script that shuts its machine down looks like a preempted machine

Clock = Callable[[], float]  # monotonic seconds; clocks of different processes are never compared
Stop = Literal["stop", "kill"]
Closed = Literal["stopped", "lost"]
Kind = Literal["finished", "stopped", "lost"]


class Damaged(ValueError):
    pass


@dataclass(frozen=True)
class LeaseRecord:
    """The value of `leases/ID`. No two writes are the same bytes: (worker, attempt, beat) is unique.

    worker       the holder; "" if there is none
    attempt      how often the job was taken, this time included; names the folder of its output
    preemptions  how many of those times the machine was preempted, which is not the job's fault
    beat         grows with every write
    ttl          seconds without a beat after which the holder counts as dead, set by the holder
    live         newest values of metrics
    closed       why it may no longer be taken, or ""; whoever sees this writes the outcome
    reason       the same in words
    """

    worker: str
    attempt: int
    ttl: float
    preemptions: int = 0
    beat: int = 0
    live: dict[str, Any] = field(default_factory=dict)
    closed: Literal["", "stopped", "lost"] = ""
    reason: str = ""

    @property
    def deaths(self) -> int:
        """Number of attempts that ended without outcome and without excuse, the present one included."""
        return self.attempt - self.preemptions

    def encoded(self) -> bytes:
        return to_json(asdict(self)).ljust(HELD if self.worker else 0)

    @classmethod
    def read(cls, data: bytes) -> Self:
        body = from_json(data)
        try:
            record = cls(**{name.name: body[name.name] for name in fields(cls)})
        except KeyError as error:
            raise Damaged(f"a lease without {error}") from None
        numbers = record.attempt, record.preemptions, record.beat
        sound = (
            all(_counts(number) for number in numbers)
            and isinstance(record.worker, str)
            and isinstance(record.ttl, int | float)
            and 0 < record.ttl <= LONGEST_TTL
            and isinstance(record.live, dict)
            and record.closed in ("", "stopped", "lost")
            and isinstance(record.reason, str)
        )
        if not sound:
            raise Damaged("a lease with a field of a wrong type or value")
        return record


@dataclass(frozen=True)
class JobOutcome:
    """The value of `outcomes/ID`: how a job ended, final.

    kind         finished: `body` is the worker's result. stopped: stopped before it ran. lost: given up
    worker       the worker that finished it; "" if it was closed
    attempt      the attempt with this result; its files are in out/ID/ATTEMPT/
    """

    job: str
    kind: Kind
    body: dict[str, Any]
    worker: str = ""
    attempt: int = 0
    preemptions: int = 0
    reason: str = ""

    def encoded(self) -> bytes:
        return to_json(asdict(self))

    @classmethod
    def read(cls, job: str, data: bytes) -> Self:
        """Return the outcome; one that cannot be read counts as lost, because the driver needs an outcome."""
        try:
            body = from_json(data)
            outcome = replace(cls(**{name.name: body[name.name] for name in fields(cls)}), job=job)
            numbers = outcome.attempt, outcome.preemptions
            sound = (
                outcome.kind in ("finished", "stopped", "lost")
                and all(_counts(number) for number in numbers)
                and (outcome.attempt > 0 or outcome.kind != "finished")  # a job that was never taken has no attempt
                and isinstance(outcome.body, dict)
                and isinstance(outcome.worker, str)
                and isinstance(outcome.reason, str)
            )
            if not sound:
                raise Damaged("an outcome with a field of a wrong type or value")
        except (Damaged, KeyError) as error:
            return cls(job, "lost", {}, reason=f"its outcome in the bucket cannot be read: {error}")
        return outcome


class Watch:
    """Detector of silent leases: those whose stamp in the listing has not changed for `ttl` seconds of this clock."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}

    def unchanged(self, job: str, stamp: str) -> float:
        """Return for how many seconds the lease has had the stamp that was just listed. 0 at the first call."""
        now = self._clock()
        seen, since = self._since.get(job, (None, now))
        if seen != stamp:
            self._since[job] = stamp, now
            return 0.0
        return now - since

    def keep(self, jobs: set[str]) -> None:
        """Forget all other jobs."""
        for job in self._since.keys() - jobs:
            del self._since[job]


def verdict(record: LeaseRecord, *, attempts: int, stopped: bool) -> tuple[Closed, str] | None:
    """Return how and why a job without a live holder must be closed instead of taken; None if it may be taken."""
    if record.closed:
        return record.closed, record.reason
    if stopped:
        return "stopped", "stopped"
    if record.deaths >= attempts:
        return (
            "lost",
            f"given up: {record.deaths} workers died, stopped responding or reached their lifetime with it",
        )
    if record.attempt >= TRIES:
        longer = "if it takes longer than a worker lives, give workers a longer --lifetime, machines a longer --cloud-lifetime"
        return (
            "lost",
            f"given up: started {record.attempt} times, and its workers were always preempted or shut down; {longer}",
        )
    return None


def damaged(error: Damaged) -> tuple[Closed, str]:
    return "lost", f"its record in the bucket cannot be read: {error}"


def close(bucket: Bucket, job: str, record: LeaseRecord, version: str | None, why: tuple[Closed, str]) -> bool:
    """Give up a job without a live holder. `version` is that of its lease, None for no lease. Return whether it was closed.

    The lease is written first, by compare-and-swap: if the holder has sent a beat meanwhile, nothing happens. If we die
    between the two writes, whoever sees a closed lease writes the same outcome.
    """
    kind, reason = why
    if not record.closed:
        record = replace(record, worker="", beat=record.beat + 1, closed=kind, reason=reason)
        if version is None:
            written = bucket.put_if_absent(LEASES + job, record.encoded())
        else:
            written = bucket.put_if_match(LEASES + job, record.encoded(), version)
        if written is None:
            return False
    outcome = JobOutcome(job, kind, {}, "", record.attempt, record.preemptions, reason)
    bucket.put_if_absent(OUTCOMES + job, outcome.encoded())
    return True


def _counts(number: Any) -> bool:
    return type(number) is int and 0 <= number < LARGEST_INT


def stop_request(bucket: Bucket, job: str) -> Stop | None:
    found = bucket.get(STOPS + job)
    if found is None:
        return None
    try:
        return "kill" if from_json(found[0]).get("kill") is True else "stop"
    except Damaged:
        return "stop"


def job_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise BucketError(f"{text[:100]!r} cannot be a job: letters, digits and . _ - only")
    return text


def to_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()


def from_json(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Damaged("not a JSON object")
    return body
