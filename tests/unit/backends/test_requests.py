"""How many requests a look of a driver or of a free worker is: clouds bill each, and many workers look."""

import json
from collections import Counter
from dataclasses import asdict

import pytest

from studio.backends.queue.bucket import Bucket, Entry
from studio.backends.queue.job_queue import JobQueue
from studio.backends.queue.lease_records import HELD, LeaseRecord
from studio.backends.queue.lease_taker import LeaseTaker

JOBS = 200


class Counted(Bucket):
    """Counts requests, each by its name, and keys that were listed. The version of a value is how many were written."""

    url = "memory:"

    def __init__(self):
        self.values, self.requests, self.writes = {}, Counter(), 0

    def get(self, key):
        self.requests["GET"] += 1
        return self.values.get(key)

    def put_if_absent(self, key, data):
        return self.put_if_match(key, data, None)

    def put_if_match(self, key, data, version):
        if self.values.get(key, (b"", None))[1] != version:
            return None
        self.writes += 1
        self.values[key] = data, f"{self.writes:06}"
        return self.values[key][1]

    def entries(self, prefix="", after=""):
        keys = sorted(key for key in self.values if key.startswith(prefix) and key > after)
        self.requests += Counter({"LIST": 1, "keys": len(keys)})
        return (Entry(key, self.values[key][1], len(self.values[key][0])) for key in keys)

    def upload(self, key, path):
        raise NotImplementedError

    def download(self, key, path):
        raise NotImplementedError


class Moments:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def bucket():
    return Counted()


@pytest.fixture
def clock():
    return Moments()


@pytest.fixture
def queue(bucket, clock):
    """A driver with 200 jobs, of a search that began before another one."""
    other = JobQueue(bucket)
    for number in range(50):
        other.submit(f"b-{number:04}", {})
        bucket.put_if_absent(f"outcomes/b-{number:04}", b"{}")
    one = JobQueue(bucket, clock=clock)
    for number in range(JOBS):
        one.submit(f"a-{number:04}", {})
    return one


@pytest.fixture
def leases(bucket, queue):
    """Those of one worker that has all of them."""
    taker = LeaseTaker(bucket, "busy")
    return [taker.take() for _ in range(JOBS)]


@pytest.fixture
def requests(bucket, leases):
    bucket.requests.clear()
    return bucket.requests


@pytest.fixture
def free(bucket, clock):
    return LeaseTaker(bucket, "free", clock=clock)


def test_a_free_worker_asks_for_no_job_that_another_one_has(free, requests, leases):
    assert free.take() is None
    assert requests["GET"] == 1, "whether the search has ended"
    assert requests["LIST"] == 3, "jobs, outcomes and leases"
    for lease in leases:
        lease.beat({"reports": []})
    requests.clear()
    assert free.take() is None
    assert (requests["GET"], requests["LIST"]) == (1, 3)


def test_a_driver_asks_for_leases_that_have_changed_and_for_no_other_search(queue, requests, leases):
    queue.look()
    assert queue.outcomes() == []
    assert (requests["LIST"], requests["keys"]) == (2, JOBS)
    leases[7].beat({"reports": [[0, 1, 0.5]]})
    requests.clear()
    assert queue.look()["a-0007"].live == {"reports": [[0, 1, 0.5]]}
    assert requests["GET"] == 1
    leases[7].finish({})
    requests.clear()
    assert [outcome.job for outcome in queue.outcomes()] == ["a-0007"]
    assert (requests["GET"], requests["LIST"]) == (1, 1)


def test_a_released_job_is_taken_at_the_next_look(free, leases):
    assert free.take() is None
    leases[3].beat({"reports": [[0, 1, 0.5]] * 100})
    leases[3].release()
    assert free.take().job == "a-0003"


def test_a_silent_job_is_taken_after_its_time_and_no_later(free, clock, leases):
    assert free.take() is None
    for clock.now in (14.0, 15.0, 59.9):
        assert free.take() is None
    clock.now = 60.0
    assert free.take().attempt == 2


def test_a_silent_job_with_a_shorter_time_is_taken_after_that(bucket, queue, free, clock):
    busy = LeaseTaker(bucket, "busy", ttl=20.0)
    for _ in range(JOBS):
        busy.take()
    assert free.take() is None
    clock.now = 19.9
    assert free.take() is None
    clock.now = 20.0
    assert free.take().attempt == 2


def test_a_lease_of_an_earlier_version_is_asked_for_and_left_to_its_holder(bucket, queue, free, clock):
    """It is as short as that of a job without a holder."""
    old = json.dumps(asdict(LeaseRecord("old-1", 1, 60.0)), sort_keys=True).encode()
    assert len(old) < HELD
    for number in range(JOBS):
        bucket.put_if_absent(f"leases/a-{number:04}", old)
    assert free.take() is None
    assert queue.look()["a-0000"].worker == "old-1"
    clock.now = 60.0
    assert (free.take().job, queue.look()["a-0001"].silent) == ("a-0000", True)
