"""The driver's side of machines: a cloud in memory, a bucket in a folder."""

import json
import threading
import time

import pytest
from fake_cloud import OFFERS, FakeCloud

from studio.backends.cloud import machines_backend
from studio.backends.cloud.cloud import Order
from studio.backends.cloud.gce.backend import GCEBackend
from studio.backends.cloud.ledger import Entry, Ledger
from studio.backends.cloud.machines_backend import MachinesBackend
from studio.backends.cloud.plan import Wishes
from studio.backends.cloud.spending import Rate
from studio.backends.queue.backend import BucketBackend
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.lease_records import OUTCOMES, JobOutcome
from studio.backends.queue.shipping import search_tag
from studio.experiment import Run
from studio.interfaces import BackendContext
from studio.project.records import OF_ATTEMPT
from studio.settings import Settings


@pytest.fixture
def backend(tmp_path, home):
    """One whose earlier session left a machine; `said` is what the user hears, `ends` what the bucket held each time a
    machine was ended."""
    project = tmp_path / "digits"
    project.mkdir()

    class Watched(FakeCloud):
        def terminate(self, machines):
            with open_bucket(f"{tmp_path}/bucket/{search_tag(project)}") as bucket:
                ends.append(sorted(bucket.list()))
            super().terminate(machines)

    class Backend(MachinesBackend):
        name = cloud = "fake"
        snippets = default_account = classmethod(lambda cls, *_: None)

        @classmethod
        def open_cloud(cls, *, everywhere=False):
            return made

    ends, said, made = [], [], Watched(time=time.time)
    order = Order(search_tag(project), "studio-digits-1", "t", "small", "zone-a", None, 0, False, 3600, "", "")
    made.launch(order)
    now = time.time()
    Ledger(project).note(Entry(order.name, "small", "zone-a", False, Rate(0.36, 0.36), now, now + 3600))
    context = BackendContext(Settings("train.py"), 1, tmp_path, None, said.append)
    backend = Backend(Wishes(bucket=f"{tmp_path}/bucket"), context)
    backend.open(project)
    backend.made, backend.said, backend.ends = made, said, ends
    yield backend
    backend.close()


def test_workers_hear_of_the_end_before_machines_are_ended(backend):
    backend.close()
    assert backend.made.alive == []
    assert backend.ends[0] != []
    assert backend.said == ["ending 1 machine"]


def test_a_machine_of_google_ends_itself_before_google_does(home, tmp_path, monkeypatch):
    monkeypatch.setattr(GCEBackend, "default_account", classmethod(lambda cls, cloud: "worker"))
    monkeypatch.setattr(GCEBackend, "open_cloud", classmethod(lambda cls: FakeCloud()))
    context = BackendContext(Settings("train.py"), 1, tmp_path, None, print)
    backend = GCEBackend(Wishes(bucket="gs://bucket/search"), context)

    def order(offer, name, token, lifetime):
        return backend._order(offer, name, token, lifetime, backend.command())

    made = order(OFFERS[0], "studio-digits-1", "token", 3600)
    assert made.lifetime == 3600
    assert "sleep 3480; delete_machine" in made.script
    assert "ends=$((${up:-0} + 3480))" in made.script
    assert "left=$((ends - ${up:-0} - 120))" in made.script
    assert "sleep 60; delete_machine" in order(OFFERS[0], "studio-digits-2", "token", 100).script


def test_machines_are_wanted_for_runs_that_a_worker_can_have(backend, tmp_path):
    """Not for one whose files are on their way to the bucket, or back: over a slow line that takes longer than a
    machine waits for work."""

    def poll_until(needed):
        end = time.monotonic() + 30
        while backend._needed() != needed:
            assert time.monotonic() < end
            backend.poll(0.05)

    def hold(line):
        line.submit((let_go := threading.Event()).wait, 60)
        return let_go

    source, folder = tmp_path / "source", tmp_path / "digits" / "runs" / "1"
    source.mkdir()
    run = Run("digits", 1, 1, str(source), {}, {}, ["true"], {}, str(folder))
    up, down = hold(backend._sending), hold(backend._fetching)
    BucketBackend.start(backend, run)  # no thread that orders machines
    assert backend.poll(0.2) == []
    assert backend._needed() == 0
    up.set()
    poll_until(1)
    (job,) = backend._travels
    backend.bucket.put_if_absent(f"{OUTCOMES}{job}", JobOutcome(job, "lost", {}, "studio-digits-1-w", 1).encoded())
    poll_until(0)
    assert list(backend._travels) == [job]
    down.set()


@pytest.mark.parametrize(
    "duration", [pytest.param(10**400, id="huge"), float("inf"), float("nan"), -1, "long", None, []]
)
def test_a_duration_that_cannot_be_costs_nothing(backend, tmp_path, duration):
    backend._note_cost(tmp_path, "studio-digits-1", {"outcome": {"duration": duration}})
    assert json.loads((tmp_path / OF_ATTEMPT).read_text())["dollars"] == 0


def test_prices_are_asked_for_anew_after_a_while(backend, monkeypatch):
    """A quote that is answered hours later orders at the prices of then."""
    asked, clock = [], [1000.0]
    monkeypatch.setattr(machines_backend, "settle", lambda *_, **how: asked.append(how) or len(asked))
    monkeypatch.setattr(machines_backend.time, "monotonic", lambda: clock[0])
    assert [backend._plan() for _ in range(2)] == [1, 1]
    clock[0] += machines_backend.FRESH + 1
    assert backend._plan() == 2
