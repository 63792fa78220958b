"""The driver's end of the lease protocol (drawn in `studio.backends.queue.leases`): submit, watch, stop, collect."""

import os
import time
from dataclasses import dataclass
from typing import Any

from studio.backends.queue.bucket import Bucket, BucketError, Entry
from studio.backends.queue.lease_records import (
    ATTEMPTS,
    JOBS,
    LEASES,
    OUTCOMES,
    STOP,
    STOPS,
    Clock,
    Damaged,
    JobOutcome,
    LeaseRecord,
    Watch,
    close,
    damaged,
    job_id,
    to_json,
    verdict,
)

TTL_OF_NOBODY = 60.0  # in a lease that was never held; not waited for


@dataclass(frozen=True)
class JobState:
    """State of a job without outcome, from its lease.

    worker   the holder; "" while it waits for one
    silent   no heartbeat of the holder for its ttl: probably dead; the next free worker takes the job
    live     newest metric values, from the last holder
    """

    job: str
    worker: str
    attempt: int = 0
    preemptions: int = 0
    beat: int = 0
    silent: bool = False
    live: dict[str, Any] | None = None


class JobQueue:
    """The jobs of one driver. A driver that starts again submits its open jobs again."""

    def __init__(self, bucket: Bucket, *, attempts: int = ATTEMPTS, clock: Clock = time.monotonic):
        self._bucket, self._attempts = bucket, attempts
        self._watch = Watch(clock)
        self._open: set[str] = set()
        self._cancelled: set[str] = set()
        self._read: dict[str, tuple[str, LeaseRecord, str | None]] = {}  # job -> its lease: stamp, record, version

    def submit(self, job: str, body: dict[str, Any]) -> bool:
        """Queue a job, durable when this returns. False if it was queued before, with whatever body; then wait for it again.

        Jobs are taken in the order of their ids; a retry is a job with its own id.
        """
        data = to_json({"attempts": self._attempts, "job": body})
        already = self._bucket.get(JOBS + job_id(job)) is not None
        if not already:
            self._bucket.put_if_absent(JOBS + job, data)
        self._open.add(job)
        return not already

    def outcomes(self) -> list[JobOutcome]:
        """Return outcomes of submitted jobs that were not returned before, in order of id.

        Each is returned once; after an error the next call returns all.
        """
        ended = []
        for job in self._listed(OUTCOMES):
            found = self._bucket.get(OUTCOMES + job)
            if found is not None:
                ended.append(JobOutcome.read(job, found[0]))
        gone = {outcome.job for outcome in ended}
        self._open -= gone
        self._cancelled -= gone
        return ended

    def look(self) -> dict[str, JobState]:
        """Return the state of every open job. Call it every few seconds, also if all workers are gone.

        Closes jobs that died too often, and cancelled ones without a live holder: the next `outcomes` has them.
        """
        self._watch.keep(self._open)
        listed = self._listed(LEASES)
        self._read = {job: read for job, read in self._read.items() if job in listed}
        return {job: self._look_at(job, listed.get(job)) for job in sorted(self._open)}

    def cancel(self, job: str, *, kill: bool = False) -> None:
        """Ask the holder to end the job, with `kill` at once; it sees this at the next beat. Its outcome still comes."""
        self._write(STOPS + job_id(job), {"kill": kill})
        self._cancelled.add(job)

    def dismiss(self) -> None:
        """Tell workers to take no more jobs; idle ones end. Running jobs continue: `cancel` ends them."""
        self._write(STOP, {"stop": True})

    def welcome(self) -> None:
        """Undo `dismiss`; a driver calls this before it starts workers."""
        if self._bucket.get(STOP) is not None:
            self._write(STOP, {"stop": False})

    # --- inside -----------------------------------------------------------------------------------------------------

    def _listed(self, prefix: str) -> dict[str, Entry]:
        """Return the entries of open jobs, by one request for all: of their search alone, and none before the oldest."""
        jobs = sorted(self._open)
        if not jobs:
            return {}
        begin = os.path.commonprefix(jobs)  # noqa: RUF071 - a prefix of keys, letter by letter
        entries = self._bucket.entries(prefix + begin, after=(prefix + jobs[0])[:-1])
        return {job: entry for entry in entries if (job := entry.key.removeprefix(prefix)) in self._open}

    def _look_at(self, job: str, listed: Entry | None) -> JobState:
        stamp, record, version = self._read.get(job, ("", LeaseRecord("", attempt=0, ttl=TTL_OF_NOBODY), None))
        if listed and listed.stamp != stamp and (found := self._bucket.get(LEASES + job)) is not None:
            version = found[1]
            try:
                record = LeaseRecord.read(found[0])
            except Damaged as error:
                close(self._bucket, job, record, version, damaged(error))
                return JobState(job, "")
            if version.endswith(listed.stamp):
                self._read[job] = listed.stamp, record, version
        unchanged = self._watch.unchanged(job, listed.stamp) if listed else 0.0
        silent = bool(record.worker) and job in self._read and unchanged >= record.ttl
        if silent or not record.worker:
            why = verdict(record, attempts=self._attempts, stopped=job in self._cancelled)
            if why is not None:
                close(self._bucket, job, record, version, why)
        return JobState(job, record.worker, record.attempt, record.preemptions, record.beat, silent, record.live)

    def _write(self, key: str, body: dict[str, Any]) -> None:
        """Write a value that only the driver writes."""
        for _ in range(3):
            found = self._bucket.get(key)
            if found is None:
                written = self._bucket.put_if_absent(key, to_json(body))
            else:
                written = self._bucket.put_if_match(key, to_json(body), found[1])
            if written is not None:
                return
        raise BucketError(f"{key}: another driver is writing it")
