"""The worker's end of the lease protocol (drawn in `studio.backends.queue.leases`): find and take a job."""

import secrets
import time
from collections.abc import Callable
from typing import Any

from studio.backends.queue.bucket import Bucket, Entry
from studio.backends.queue.lease_records import (
    HELD,
    JOBS,
    LEASES,
    OUTCOMES,
    STOP,
    Clock,
    Damaged,
    LeaseRecord,
    Watch,
    close,
    damaged,
    from_json,
    stop_request,
    verdict,
)
from studio.backends.queue.leases import Lease

TTL = 60.0  # seconds; beats are four times as frequent
PAGE = 1000  # keys listed by one request
QUIET = 3  # looks without a heartbeat after which a lease is read: its holder sends one every two looks, or more often
WHOLE_LOOK = 5.0  # seconds between two listings of all jobs, per full page


class LeaseTaker:
    """Takes jobs for one worker.

    worker      a readable name, which is made unique here
    fits        whether this worker accepts a job, by its body
    dismissed   whether the driver wants no more work done; set by `take`
    """

    def __init__(
        self,
        bucket: Bucket,
        worker: str,
        *,
        ttl: float = TTL,
        clock: Clock = time.monotonic,
        fits: Callable[[dict[str, Any]], bool] = lambda body: True,
    ):
        self.worker = f"{worker}-{secrets.token_hex(4)}"
        self.dismissed = False
        self._bucket, self._ttl, self._clock, self._fits = bucket, ttl, clock, fits
        self._watch = Watch(clock)
        self._leases: dict[str, Lease] = {}
        self._unsure: dict[str, tuple[bytes, float]] = {}  # job -> the take without a response, and when it was sent
        self._settled = ""  # all jobs up to this one have outcomes
        self._next_whole_look = clock()

    def take(self) -> Lease | None:
        """Return a lease of the first job without a holder, or None. Call it every few seconds while a slot is free.

        Silent leases are detected by repeated calls. Raises `BucketError`; then call it again.
        """
        found = self._bucket.get(STOP)
        self.dismissed = found is not None and _says_stop(found[0])
        if self.dismissed:
            return None
        self._leases = {job: lease for job, lease in self._leases.items() if not lease.over}
        listed = {}
        if waiting := self._open_jobs():
            listed = {
                entry.key.removeprefix(LEASES): entry for entry in self._bucket.entries(LEASES, self._after(LEASES))
            }
        for job in waiting:
            lease = self._try(job, listed.get(job))
            if lease is not None:
                return lease
        return None

    def _open_jobs(self) -> list[str]:
        """Return jobs without outcome, oldest first.

        In a long search most listings start after the settled jobs; a complete listing finds later jobs that sort before
        them: retries, and those of an older search.
        """
        whole = self._clock() >= self._next_whole_look
        self._settled = "" if whole else self._settled
        jobs = self._ids(JOBS)
        if whole:
            self._next_whole_look = self._clock() + WHOLE_LOOK * (len(jobs) // PAGE)
        done = set(self._ids(OUTCOMES))
        for job in jobs:
            if job not in done:
                break
            self._settled = job
        waiting = [job for job in jobs if job not in done]
        self._watch.keep(set(waiting))
        return waiting

    def _ids(self, prefix: str) -> list[str]:
        return [key.removeprefix(prefix) for key in self._bucket.list(prefix, self._after(prefix))]

    def _after(self, prefix: str) -> str:
        return prefix + self._settled if self._settled else ""

    def _try(self, job: str, listed: Entry | None) -> Lease | None:
        """Take the job, if it is free. Most are held by other workers: no request for those whose lease changes."""
        if job in self._leases:
            return None
        unchanged = self._watch.unchanged(job, listed.stamp) if listed else 0.0
        if listed and listed.size >= HELD and unchanged < min(self._ttl / 4, QUIET * self._bucket.look):
            return None
        found = self._bucket.get(LEASES + job)
        record, version = LeaseRecord("", attempt=0, ttl=self._ttl), None
        try:
            if found is not None:
                version = found[1]
                record = LeaseRecord.read(found[0])
                # A record with our name that is not among our leases was lost and killed: no need to wait for its silence.
                same = listed is not None and version.endswith(listed.stamp)
                if record.worker not in ("", self.worker) and not (same and unchanged >= record.ttl):
                    return None
            submitted = self._bucket.get(JOBS + job)
            if submitted is None:
                return None  # listed but missing: nothing to work on
            attempts, body = _job(submitted[0])
        except Damaged as error:
            close(self._bucket, job, record, version, damaged(error))
            return None
        data, sent = self._unsure.get(job, (None, 0.0))
        if found is not None and version is not None and found[0] == data:
            return self._lease(job, body, record, version, sent)
        why = verdict(record, attempts=attempts, stopped=stop_request(self._bucket, job) is not None)
        if why is not None:
            close(self._bucket, job, record, version, why)
            return None
        return self._swap_in(job, body, record, version) if self._fits(body) else None

    def _swap_in(self, job: str, body: dict[str, Any], old: LeaseRecord, version: str | None) -> Lease | None:
        mine = LeaseRecord(self.worker, old.attempt + 1, self._ttl, old.preemptions, old.beat + 1)
        sent = self._clock()
        self._unsure[job] = mine.encoded(), sent
        if version is None:
            written = self._bucket.put_if_absent(LEASES + job, mine.encoded())
        else:
            written = self._bucket.put_if_match(LEASES + job, mine.encoded(), version)
        if written is None:
            del self._unsure[job]
            return None
        return self._lease(job, body, mine, written, sent)

    def _lease(self, job: str, body: dict[str, Any], record: LeaseRecord, version: str, sent: float) -> Lease | None:
        """Return the lease of a job that we have taken; None if it got an outcome since it was listed."""
        done = self._bucket.get(OUTCOMES + job) is not None
        del self._unsure[job]
        if done:
            return None
        lease = Lease(self._bucket, job, body, record, version, clock=self._clock, sent=sent)
        self._leases[job] = lease
        return lease


def _job(data: bytes) -> tuple[int, dict[str, Any]]:
    envelope = from_json(data)
    attempts, body = envelope.get("attempts"), envelope.get("job")
    if type(attempts) is not int or attempts < 1 or not isinstance(body, dict):
        raise Damaged("not a job")
    return attempts, body


def _says_stop(data: bytes) -> bool:
    try:
        return from_json(data).get("stop") is True
    except Damaged:
        return False
