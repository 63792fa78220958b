"""Random workers and a random driver on a bucket that loses answers: every job gets one outcome, and keeps it."""

import contextlib
import hashlib
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from studio.backends.queue.bucket import Bucket, BucketError, BucketUnreachable, Entry
from studio.backends.queue.job_queue import JobQueue
from studio.backends.queue.lease_records import LeaseRecord
from studio.backends.queue.lease_taker import LeaseTaker
from studio.backends.queue.leases import LeaseLost

TTL, ATTEMPTS, WORKERS, JOBS = 10.0, 2, 3, ["01", "02"]

# What may happen to one write: it does not arrive; it arrives and the answer does not; it arrives after the error; it
# arrives twice; or another worker comes in between what was read and the write.
FAULTS = st.sampled_from(["", "", "", "", "unsent", "lost", "late", "twice", "overtaken", "overtaken"])
WORKER = st.integers(0, WORKERS - 1)


class Store:
    """What is in the bucket, the writes that are still on their way, and every outcome that was ever there."""

    def __init__(self):
        self.values = {}
        self.order = []  # of first writes, for lists that come late
        self.on_the_way = []
        self.outcomes = {}

    def write(self, key, data, version):
        """As S3: the version hashes the content, so A, B, A would be back at A's version."""
        old = self.values.get(key)
        if version != (hashlib.md5(old).hexdigest() if old is not None else None):
            return None
        self.values[key] = data
        if old is None:
            self.order.append(key)
        if key.startswith("outcomes/"):
            assert self.outcomes.setdefault(key, data) == data, "an outcome was overwritten"
        return hashlib.md5(data).hexdigest()


class FaultyBucket(Bucket):
    """One client's way to the store. `fault` is for the next write; `cut` is a network that is gone."""

    def __init__(self, store):
        self.store, self.fault, self.cut, self.late_list = store, "", False, 0
        self.meanwhile = lambda: None
        self.url = "memory:"

    def _reach(self):
        if self.cut:
            raise BucketUnreachable("cut off")

    def get(self, key):
        self._reach()
        data = self.store.values.get(key)
        return None if data is None else (data, hashlib.md5(data).hexdigest())

    def put_if_absent(self, key, data):
        return self._put(key, data, None)

    def put_if_match(self, key, data, version):
        return self._put(key, data, version)

    def _put(self, key, data, version):
        self._reach()
        fault, self.fault = self.fault, ""
        if fault == "overtaken":
            self.meanwhile()
        if fault == "late":
            self.store.on_the_way.append((key, data, version))
        elif fault != "unsent":
            written = self.store.write(key, data, version)
        if fault == "twice":  # sent again by the SDK: refused, because the first one landed
            written = self.store.write(key, data, version)
        if fault in ("unsent", "late", "lost"):
            raise BucketUnreachable("no answer")
        return written if written is not None else self._landed(key, data)

    def entries(self, prefix="", after=""):
        self._reach()
        known = self.store.order[: len(self.store.order) - self.late_list]
        for key in sorted(key for key in known if key.startswith(prefix) and key > after):
            data = self.store.values[key]
            yield Entry(key, hashlib.md5(data).hexdigest(), len(data))

    def upload(self, key, path):
        raise NotImplementedError

    def download(self, key, path):
        raise NotImplementedError


class Worker:
    def __init__(self, machine, number):
        self.bucket = FaultyBucket(machine.store)
        # Clocks of two machines have nothing in common.
        self.taker = LeaseTaker(self.bucket, "w", ttl=TTL, clock=lambda: machine.now + 1000 * number)
        self.clock = lambda: machine.now + 1000 * number
        self.lease = None


class Leases(RuleBasedStateMachine):
    @initialize(jobs=st.sets(st.sampled_from(JOBS)))
    def begin(self, jobs):
        self.now = 0.0
        self.store = Store()
        self.driver_bucket = FaultyBucket(self.store)
        self.submitted, self.cancelled, self.told = set(jobs), set(), {}
        self.given, self.won = set(), {}
        self.released = dict.fromkeys(JOBS, 0)
        self.fired = 0
        self.workers = [self.new_worker() for _ in range(WORKERS)]
        self.start_driver()
        self.collect("")

    def new_worker(self):
        self.fired += 1
        return Worker(self, self.fired)

    def start_driver(self):
        self.driver = JobQueue(self.driver_bucket, attempts=ATTEMPTS, clock=lambda: self.now - 5000)
        self.unattached = self.submitted - self.told.keys()

    # --- the driver -------------------------------------------------------------------------------------------------

    @rule(job=st.sampled_from(JOBS))
    def submit(self, job):
        if job not in self.submitted:
            self.submitted.add(job)
            self.unattached.add(job)

    @rule(fault=FAULTS)
    def collect(self, fault):
        self.driver_bucket.fault = fault
        self.driver_bucket.meanwhile = lambda: self.take_or_beat(0, "")
        try:
            for job in sorted(self.unattached):  # what a driver does that starts again, until it has got through
                self.driver.submit(job, {"name": job})
                self.unattached.remove(job)
            for outcome in self.driver.outcomes():
                assert outcome.job not in self.told, "an outcome came twice"
                self.told[outcome.job] = outcome
            self.driver.look()
        except BucketError:
            pass

    @precondition(lambda self: self.submitted)
    @rule(data=st.data(), kill=st.booleans(), fault=FAULTS)
    def cancel(self, data, kill, fault):
        job = data.draw(st.sampled_from(sorted(self.submitted)))
        self.cancelled.add(job)
        self.driver_bucket.fault = fault
        try:
            self.driver.cancel(job, kill=kill)
        except BucketError:
            pass  # it may have got there all the same

    @rule()
    def restart_driver(self):
        self.start_driver()

    # --- workers: one that no rule picks is paused ------------------------------------------------------------------

    def prepare(self, number, fault):
        worker = self.workers[number]
        worker.bucket.fault = fault
        other = (number + 1) % len(self.workers)
        worker.bucket.meanwhile = lambda: (self.take_or_beat(other, ""), self.finish(other, ""))
        return worker

    @rule(number=WORKER, fault=FAULTS)
    def take_or_beat(self, number, fault):
        worker = self.prepare(number, fault)
        if worker.lease is None:
            self.take(worker)
            return
        try:
            worker.lease.beat({"val_loss": self.now})
        except LeaseLost:
            worker.lease = None
        else:
            assert worker.clock() - worker.lease._confirmed < TTL, "it goes on although its lease may be stolen"

    def take(self, worker):
        try:
            worker.lease = worker.taker.take()
        except BucketError:
            return
        if worker.lease is not None:
            given = worker.lease.job, worker.lease.attempt
            assert given not in self.given, "two leases with one folder for their output"
            self.given.add(given)
            assert worker.lease.body == {"name": worker.lease.job}

    @rule(number=WORKER, fault=FAULTS)
    def finish(self, number, fault):
        self.finish_of(self.prepare(number, fault))

    def finish_of(self, worker):
        if worker.lease is None:
            return
        job, attempt = worker.lease.job, worker.lease.attempt
        try:
            first = worker.lease.finish({"by": attempt})
        except LeaseLost:
            worker.lease = None
        except BucketError:
            pass
        else:
            if first:
                assert self.won.setdefault(job, attempt) == attempt, "two workers were told that they came first"
            worker.lease = None

    @rule(number=WORKER)
    def die(self, number):
        self.workers[number] = self.new_worker()

    @rule(number=WORKER, fault=FAULTS)
    def end_of_life(self, number, fault):
        """The worker ends by itself, with a job that had most of its life: the job is to blame."""
        worker = self.prepare(number, fault)
        self.workers[number] = self.new_worker()
        if worker.lease is not None:
            with contextlib.suppress(BucketError):
                worker.lease.release(preempted=False)

    @rule(number=WORKER, fault=FAULTS)
    def preempt(self, number, fault):
        worker = self.prepare(number, fault)
        self.workers[number] = self.new_worker()
        if worker.lease is not None:
            held = self.lease_of(worker.lease.job).worker == worker.taker.worker
            try:
                worker.lease.release()
            except BucketError:
                return
            freed = self.lease_of(worker.lease.job)
            self.released[worker.lease.job] += held and (freed.worker == "" or freed.attempt > worker.lease.attempt)

    def lease_of(self, job):
        return LeaseRecord.read(self.store.values[f"leases/{job}"])

    # --- time and the network ---------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 4.0, TTL, TTL, 3 * TTL]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(number=st.integers(0, WORKERS), cut=st.booleans())
    def network(self, number, cut):
        self.bucket_of(number).cut = cut

    @rule(number=st.integers(0, WORKERS), by=st.integers(0, 3))
    def lists_come_late(self, number, by):
        self.bucket_of(number).late_list = by

    @precondition(lambda self: self.store.on_the_way)
    @rule()
    def late_write_arrives(self):
        self.store.write(*self.store.on_the_way.pop(0))

    def bucket_of(self, number):
        return self.driver_bucket if number == WORKERS else self.workers[number].bucket

    # --- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def nobody_else_works_on_a_job_while_its_holder_is_sure(self):
        sure = [
            worker.lease.job
            for worker in self.workers
            if worker.lease is not None
            and not worker.lease.over
            and worker.clock() - worker.lease._confirmed < TTL
            and f"outcomes/{worker.lease.job}" not in self.store.values
        ]
        assert len(sure) == len(set(sure))

    @invariant()
    def a_job_with_a_living_holder_is_not_given_up(self):
        for worker in self.workers:
            if worker.lease is not None and worker.clock() - worker.lease._confirmed < TTL:
                assert not self.lease_of(worker.lease.job).closed

    @invariant()
    def attempts_are_bounded(self):
        for job in JOBS:
            if f"leases/{job}" in self.store.values and f"outcomes/{job}" not in self.store.values:
                assert self.lease_of(job).deaths <= ATTEMPTS

    def teardown(self):
        """Things calm down: after a while every job has the one outcome that its winner was told of."""
        if not hasattr(self, "store"):
            return
        zombies, self.workers = self.workers, [self.new_worker()]
        for bucket in [self.driver_bucket, *(zombie.bucket for zombie in zombies)]:
            bucket.fault, bucket.cut, bucket.late_list = "", False, 0
        for write in self.store.on_the_way:
            self.store.write(*write)
        for _ in range(len(JOBS) * (ATTEMPTS + 2)):
            self.take_or_beat(0, "")
            self.finish(0, "")
            self.now += TTL + 1
            self.collect("")
        for zombie in zombies:
            self.finish_of(zombie)
        assert self.told.keys() == self.submitted, "a job was lost"
        for job, outcome in self.told.items():
            assert outcome.encoded() == self.store.values[f"outcomes/{job}"]
            if job in self.won:
                assert (outcome.kind, outcome.attempt) == ("finished", self.won[job])
            elif outcome.kind == "stopped":
                assert job in self.cancelled
            elif outcome.kind == "lost":
                assert outcome.attempt - outcome.preemptions >= ATTEMPTS
                assert outcome.preemptions >= self.released[job], "blamed for a machine that was taken away"


LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
Leases.TestCase.settings = settings(max_examples=3000 if LONG else 100, stateful_step_count=40)
TestLeases = pytest.mark.timeout(600)(Leases.TestCase)
