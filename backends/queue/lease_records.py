"""What stands in the bucket, and who may write it.

    jobs/ID        the driver, once: {"attempts": 3, "job": {...}}; ID sorts in the order of submission
    leases/ID      whoever wins the compare-and-swap: `LeaseRecord`
    outcomes/ID    whoever comes first, once: `JobOutcome`
    stops/ID       the driver: {"kill": false}, later perhaps true
    stop           the driver: {"stop": true}; workers take nothing more
    out/ID/ATTEMPT/…   the holder of that attempt: files

Everything is JSON, read without evaluating anything. A record that cannot be read is a `Damaged`, and its job is
given up: nobody may hang on it for ever.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from studio.backends.queue.bucket import Bucket, BucketError
from studio.experiment import LARGEST

JOBS, LEASES, OUTCOMES, STOPS, STOP = "jobs/", "leases/", "outcomes/", "stops/", "stop"
ATTEMPTS = 3  # how often a job may take its worker with it
LONGEST_TTL = 86400.0  # seconds; whoever promised more would hold a job for ever
TRIES = 10  # how often it is begun at all: a script that shuts its machine down looks like a machine that is taken away

Clock = Callable[[], float]  # monotonic seconds; each process has its own, and they are never compared
Stop = Literal["stop", "kill"]
Closed = Literal["stopped", "lost"]
Kind = Literal["finished", "stopped", "lost"]


class Damaged(ValueError):
    pass


@dataclass(frozen=True)
class LeaseRecord:
    """The value of `leases/ID`. No two writes are the same bytes: (worker, attempt, beat) never comes twice.

    worker       who holds it; "" when nobody does
    attempt      how often the job was taken, this time included; names the folder of its output
    preemptions  how many of those times the machine was taken away, which is not the job's fault
    beat         grows with every write
    ttl          seconds without a beat after which its holder is dead: the holder's own promise
    live         newest values of metrics
    closed       why nobody may take it any more, or ""; its outcome is written next, by whoever sees this
    reason       that, in words
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
        """How many attempts ended without outcome and without excuse, the present one included."""
        return self.attempt - self.preemptions

    def encoded(self) -> bytes:
        return to_json(asdict(self))

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
            raise Damaged("a lease with a field that cannot be")
        return record


@dataclass(frozen=True)
class JobOutcome:
    """The value of `outcomes/ID`: how a job ended, for ever.

    kind         finished: the worker says how, in `body`. stopped: it was asked to end before it ran. lost: given up
    worker       who finished it; "" when it was closed
    attempt      the attempt that came to this end; its files are in out/ID/ATTEMPT/
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
        """What cannot be read is lost, and says so: the driver has to hear something."""
        try:
            body = from_json(data)
            outcome = replace(cls(**{name.name: body[name.name] for name in fields(cls)}), job=job)
            numbers = outcome.attempt, outcome.preemptions
            sound = (
                outcome.kind in ("finished", "stopped", "lost")
                and all(_counts(number) for number in numbers)
                and (outcome.attempt > 0 or outcome.kind != "finished")  # what nobody took has no attempt
                and isinstance(outcome.body, dict)
                and isinstance(outcome.worker, str)
                and isinstance(outcome.reason, str)
            )
            if not sound:
                raise Damaged("an outcome with a field that cannot be")
        except (Damaged, KeyError) as error:
            return cls(job, "lost", {}, reason=f"its outcome in the bucket cannot be read: {error}")
        return outcome


class Watch:
    """Which leases are silent: their version has not changed for `ttl` seconds of this clock alone."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}

    def silent(self, job: str, version: str, ttl: float) -> bool:
        """Look at a version that was just read. The first look never finds silence."""
        now = self._clock()
        seen, since = self._since.get(job, (None, now))
        if seen != version:
            self._since[job] = version, now
            return False
        return now - since >= ttl

    def keep(self, jobs: set[str]) -> None:
        """Forget all others."""
        for job in self._since.keys() - jobs:
            del self._since[job]


def verdict(record: LeaseRecord, *, attempts: int, stopped: bool) -> tuple[Closed, str] | None:
    """Whether a job that nobody holds alive is to be closed instead of taken: how, and why in words."""
    if record.closed:
        return record.closed, record.reason
    if stopped:
        return "stopped", "stopped"
    if record.deaths >= attempts:
        return (
            "lost",
            f"given up: {record.deaths} workers died, fell silent or came to the end of their lifetime with it",
        )
    if record.attempt >= TRIES:
        longer = "if it takes longer than a worker lives, give workers a longer --lifetime, machines a longer --cloud-lifetime"
        return (
            "lost",
            f"given up: begun {record.attempt} times, and its workers were always taken away or shut down; {longer}",
        )
    return None


def damaged(error: Damaged) -> tuple[Closed, str]:
    return "lost", f"its record in the bucket cannot be read: {error}"


def close(bucket: Bucket, job: str, record: LeaseRecord, version: str | None, why: tuple[Closed, str]) -> bool:
    """Give up a job that nobody holds alive: `version` is what its lease had then, None for no lease.

    The lease first, by compare-and-swap: a holder that beat in the meantime is alive, and nothing happens. If we die
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
    return type(number) is int and 0 <= number < LARGEST


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
        raise Damaged(f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Damaged("no JSON object")
    return body
