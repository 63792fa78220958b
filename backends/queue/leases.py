"""Leases: a job in a bucket has one worker at a time, and exactly one outcome, whichever process dies.

    driver (job_queue)                 bucket                    worker (lease_taker, here)
    JobQueue.submit     ── create ──►  jobs/ID     ◄── list ───  LeaseTaker.take
                                       leases/ID   ◄── swap ───  take, Lease.beat, Lease.release
    JobQueue.cancel     ── write ───►  stops/ID    ◄── read ───  beat
    JobQueue.outcomes   ◄── list ────  outcomes/ID ◄─ create ──  Lease.finish

                 take                        beat: the same holder, a new version
    no lease ────────────►  HELD by worker ───┐
                 take       ▲     ▲   │   ▲   │
              ┌─────────────┘     │   │   └───┘
              │                   │   │  no new version for `ttl` seconds, on the reader's clock:
            FREE  ◄── release ────┼───┤      another one takes it, as attempt + 1
              │                   └───┘
              └────────► CLOSED ◄── (silent)     tried too often, or was stopped: outcome `lost` or `stopped`

    * Every arrow on a lease is a compare-and-swap on the version that was read: one of two workers gets it.
    * A lease only says who may work. An outcome is final because it is created once. A worker
      that was paused and lost its lease either learns of it, or writes the first outcome, which is as good as
      any; the other one then learns of it.
    * A worker that cannot reach the bucket keeps trying until `ttl` seconds after its last confirmed beat was sent.
      Then its lease is lost: it must kill the experiment. Nobody can have taken the lease before, if its clock ran; one
      that was suspended learns at its next beat what happened.

Nothing here waits, sleeps or starts a thread.
"""

import time
from dataclasses import replace
from typing import Any, NoReturn

from studio.backends.queue.bucket import Bucket, BucketError, BucketGone, BucketUnreachable
from studio.backends.queue.lease_records import (
    LEASES,
    OUTCOMES,
    Clock,
    Damaged,
    JobOutcome,
    LeaseRecord,
    Stop,
    stop_request,
)
from studio.errors import StudioError

SWAPS = 4  # a swap is refused once if our response was lost; more often only while others write


class LeaseLost(StudioError):
    """The lease may belong to another worker by now: kill the experiment, write nothing."""


class Lease:
    """A lease for one attempt at one job. Call `beat` about four times in `ttl` seconds until `finish` or `release`.

    That includes uploads. Not thread-safe.

    job, body   its id, and the data submitted by the driver
    attempt     from 1; output goes to out/JOB/ATTEMPT/
    over        whether it was finished, released or lost: nothing more is written
    """

    def __init__(
        self,
        bucket: Bucket,
        job: str,
        body: dict[str, Any],
        record: LeaseRecord,
        version: str,
        *,
        clock: Clock = time.monotonic,
        sent: float,
    ):
        """Take over `record`, written as `version` by a request that was sent at `sent` on `clock`."""
        self.job, self.body, self.attempt = job, body, record.attempt
        self.over = False
        self._bucket, self._record, self._version, self._clock = bucket, record, version, clock
        self._confirmed = sent  # when the last confirmed write was sent: nobody saw its version before
        self._stop: Stop | None = None

    def beat(self, live: dict[str, Any] | None = None) -> Stop | None:
        """Renew, with the newest metric values. Return the driver's request, if any. Raises `LeaseLost`."""
        self._check()
        try:
            self._swap(replace(self._record, live=self._record.live if live is None else live))
            self._stop = stop_request(self._bucket, self.job) or self._stop
            self._check_outcome()
        except BucketError as error:
            self._bear(error)
        return self._stop

    def finish(self, body: dict[str, Any]) -> bool:
        """Write the outcome. Return False if the job had one already, and this one is ignored.

        Raises `BucketError` without a response: beat, and call it again with the same body. Raises `LeaseLost`.
        """
        if self.over:
            return False
        record = self._record
        outcome = JobOutcome(self.job, "finished", body, record.worker, record.attempt, record.preemptions)
        try:
            first = self._bucket.put_if_absent(OUTCOMES + self.job, outcome.encoded()) is not None
        except BucketError as error:
            self._bear(error)
            raise
        self.over = True
        return first

    def release(self, *, preempted: bool = True) -> None:
        """Release the job for other workers; not after `finish`. `preempted`: the machine ends, which is not the job's fault.

        Raises `BucketError` without a response: call it again, or wait for the `ttl`.
        """
        if self.over:
            return
        freed = replace(self._record, worker="", live={}, preemptions=self._record.preemptions + preempted)
        try:
            self._swap(freed)
        except LeaseLost:
            pass  # it is no longer ours, which was the goal
        self.over = True

    # --- inside -----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.over:
            raise LeaseLost(f"job {self.job}: this lease is over")

    def _swap(self, wanted: LeaseRecord) -> None:
        """Write `wanted` with the next beat number. A number is used once, whether or not its write succeeded."""
        for _ in range(SWAPS):
            self._record = replace(self._record, beat=self._record.beat + 1)
            sent = self._clock()
            data = replace(wanted, beat=self._record.beat).encoded()
            version = self._bucket.put_if_match(LEASES + self.job, data, self._version)
            if version is not None:
                self._record, self._version, self._confirmed = replace(wanted, beat=self._record.beat), version, sent
                return
            found = self._bucket.get(LEASES + self.job)
            if found is None or not self._is_ours(found[0]):
                self._lose("another worker has it")
            self._version = found[1]  # an earlier write of ours succeeded, and its response was lost
        raise BucketUnreachable(f"job {self.job}: its lease is changed by another process")

    def _is_ours(self, data: bytes) -> bool:
        try:
            record = LeaseRecord.read(data)
        except Damaged:
            return False
        return (record.worker, record.attempt) == (self._record.worker, self.attempt)

    def _check_outcome(self) -> None:
        found = self._bucket.get(OUTCOMES + self.job)
        if found is not None:
            outcome = JobOutcome.read(self.job, found[0])
            ours = (outcome.worker, outcome.attempt) == (self._record.worker, self.attempt)  # written by our `finish`
            if not ours:
                self._lose("it has an outcome already")

    def _bear(self, error: BucketError) -> None:
        """Handle an error of the bucket: continue while nobody can have taken the lease, else raise LeaseLost."""
        if isinstance(error, BucketGone):
            self._lose(str(error))
        if self._clock() - self._confirmed >= self._record.ttl:
            self._lose(f"no beat got through for {self._record.ttl:g} s: {error}")

    def _lose(self, why: str) -> NoReturn:
        self.over = True
        raise LeaseLost(f"job {self.job}: {why}")
