"""`studio worker`: what it says, when it ends, and what it does with jobs and buckets that are not as they should be."""

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bucket_tools import bucket_backend

from studio.backends.cloud import machines_backend
from studio.backends.queue import backend as driver_side
from studio.backends.queue import worker as worker_side
from studio.backends.queue.bucket import Bucket, BucketDenied, BucketFull, BucketUnreachable
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.command import worker as worker_command
from studio.backends.queue.folder_backend import FolderBackend
from studio.backends.queue.folder_bucket import FolderBucket
from studio.backends.queue.job_queue import JobQueue
from studio.backends.queue.lease_records import LeaseRecord
from studio.backends.queue.lease_taker import LeaseTaker
from studio.backends.queue.worker import Worker
from studio.experiment import Outcome, Report, Resources
from studio.host import create_host
from studio.testing import BackendContract
from studio.testing.backends import open_backend

PATIENCE = 60.0  # seconds, for a busy machine


@pytest.fixture
def share(tmp_path, monkeypatch):
    """A folder that is a bucket. Workers have their temporary files below this test's folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    open_bucket(str(tmp_path / "share"), create=True)
    return tmp_path / "share"


@pytest.fixture
def backend(share):
    one = bucket_backend(open_bucket(str(share)), slots=4)
    yield one
    one.close()


@pytest.fixture
def work(share):
    """`work(idle=1)`: a worker in a thread of this process; its `said` are its words."""
    started = []

    def start(bucket=None, **options):
        said = []
        one = Worker(bucket or open_bucket(str(share)), create_host(), look=0.05, say=said.append, **options)
        one.said = said
        one.thread = threading.Thread(target=one.run)
        one.thread.start()
        started.append(one)
        return one

    yield start
    JobQueue(open_bucket(str(share))).dismiss()
    for one in started:
        one.thread.join(PATIENCE)
        assert not one.thread.is_alive()


def outcomes(backend, count=1):
    found, deadline = [], time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < deadline:
        found += [event for event in backend.poll(0.05) if isinstance(event, Outcome)]
    return {outcome.number: outcome for outcome in found}


def wait_for(what):
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def make_run(tmp_path, number, text, **fields):
    return replace(BackendContract().make_run(tmp_path, number, text), **fields)


# --- words ------------------------------------------------------------------------------------------------------------


def test_help_says_what_it_is_for(command):
    shown = " ".join(command("worker", "--help").out.split())
    assert "Usage: studio worker [OPTIONS] URL" in shown
    assert "Run experiments of searches that were started with --backend=folder:URL" in shown
    assert "Ctrl-C once finishes running experiments, twice releases them" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument 'URL'; see studio worker --help"),
        (["--slots=0", "share"], "--slots 0: at least 1 is needed"),
        (["--slots=many", "share"], "'many' is not a whole number"),
        (["--name=a/b", "share"], "--name 'a/b': letters, digits and . _ - only, at most 60"),
        (["--name=", "share"], "--name '': letters, digits and . _ - only"),
        (["--idle=soon", "share"], "--idle 'soon' is not a duration; write for example 90s, 15m, 5h or 2d"),
        (["--lifetime=0", "share"], "--lifetime '0' must be longer than 0"),
        (["--ttl=-1s", "share"], "--ttl '-1s'"),
        (["--ttl=25h", "share"], "--ttl '25h': at most a day"),
        (
            ["http://host/x"],
            "'http://host/x' is not a bucket: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder",
        ),
        (
            ["s3://Upper/x"],
            "'Upper' cannot be the name of a bucket, which has at least 3 lower case letters, digits, - or .; write s3://BUCKET/PREFIX",
        ),
        (["--slot=2", "share"], "No such option: --slot"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_work_is_said_in_one_line(arguments, says, command, workdir):
    result = command("worker", *arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert result.err.startswith("studio: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "module", "says"),
    [
        ("s3://somebodys/x", "boto3", "no AWS credentials; run aws configure, or set AWS_ACCESS_KEY_ID"),
        (
            "gs://somebodys/x",
            "google.cloud.storage",
            "no Google credentials; run gcloud auth application-default login",
        ),
    ],
)
def test_without_credentials_it_ends_and_says_how_to_give_them(url, module, says, command, monkeypatch, tmp_path):
    pytest.importorskip(module)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, str(tmp_path / "no such file"))
    result = command("worker", url)
    assert (result.code, result.out) == (2, "")
    assert f"studio: {url}/: {says}" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("place", ["nothing/here", "."])
def test_a_worker_waits_for_its_search_as_long_as_it_may_be_idle(place, command, workdir):
    result = command("worker", "--idle=0.1", place)
    waiting, error = result.err.splitlines()
    assert (result.code, result.out) == (2, "")
    assert f"{workdir if place == '.' else place} is not a bucket: it has no .studio-bucket/" in waiting
    assert waiting.endswith(f"waiting for its search: studio run --backend=folder:{os.path.abspath(place)} …")
    assert "start the search first: studio run --backend=folder:/" in error


def test_a_worker_may_start_before_its_search(tmp_path, monkeypatch):
    """Engines start workers when they like."""
    monkeypatch.setattr("studio.backends.queue.command.AGAIN", 0.05)
    place = tmp_path / "later"
    early = threading.Thread(target=worker_command, args=(f"{place}",), kwargs={"idle": "60s", "quiet": True})
    early.start()
    time.sleep(0.2)
    assert early.is_alive()
    late = bucket_backend(open_bucket(f"{place}", create=True))
    late.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    assert outcomes(late)[1].exit_code == 0
    late.queue.dismiss()
    early.join(PATIENCE)
    assert not early.is_alive()
    late.close()


def test_the_place_may_be_copied_from_the_line_of_the_search(command, share):
    result = command("worker", "--idle=0.01", f"folder:{share}")
    assert (result.code, result.err) == (0, f"studio: waiting for experiments in {share}\n")


def test_it_says_what_it_does_or_nothing(command, share, tmp_path, backend):
    backend.start(make_run(tmp_path, 7, "print('fitness: 1')"))
    backend._travels[next(iter(backend._travels))].moving.result(PATIENCE)
    result = command("worker", "--idle=0.2", str(share))
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines() == [
        f"studio: waiting for experiments in {share}",
        "studio: took contract/7",
        "studio: finished contract/7",
    ]
    assert command("worker", "--idle=0.2", "--quiet", str(share)).err == ""


# --- ends -------------------------------------------------------------------------------------------------------------


def test_it_ends_without_work_or_when_it_is_dismissed(work, share):
    work(idle=0.2).thread.join(PATIENCE)
    waiting = work()
    JobQueue(open_bucket(str(share))).dismiss()
    waiting.thread.join(PATIENCE)
    assert not waiting.thread.is_alive()


def test_at_the_end_of_its_life_it_gives_back_what_it_has(work, backend, tmp_path):
    first = tmp_path / "first"
    text = f"import os, time\nif not os.path.exists({str(first)!r}): open({str(first)!r}, 'w'); time.sleep(60)"
    backend.start(make_run(tmp_path, 1, text))
    short = work(lifetime=3600, ttl=3600)
    wait_for(first.exists)
    short._lifetime = 0.001  # its time is over
    short.thread.join(PATIENCE)
    assert short.said[-1] == "released contract/1"
    work(ttl=3600)
    assert outcomes(backend)[1].exit_code == 0


def test_an_experiment_that_takes_longer_than_its_workers_live_is_given_up(work, backend, tmp_path):
    backend.start(make_run(tmp_path, 1, "import time; time.sleep(60)"))
    for _ in range(3):
        one = work(lifetime=3600, ttl=3600)
        wait_for(lambda one=one: one._jobs and one._jobs[0].backend)
        one._begun, one._lifetime = one._jobs[0].begun, 0.001  # it had nothing else, and its time is over
        one.thread.join(PATIENCE)
    found = outcomes(backend).values()
    reason = "given up: 3 workers died, stopped responding or reached their lifetime with it"
    assert [(outcome.failure, outcome.reason) for outcome in found] == [("crash", reason)]


def test_a_job_whose_machines_are_always_taken_away_is_given_up_some_time(share):
    queue, taker = JobQueue(open_bucket(str(share))), LeaseTaker(open_bucket(str(share)), "w")
    queue.submit("long", {})
    for _ in range(10):
        taker.take().release(preempted=True)
    assert taker.take() is None
    (outcome,) = queue.outcomes()
    assert (outcome.kind, outcome.attempt) == ("lost", 10)
    assert "started 10 times" in outcome.reason
    assert "--lifetime" in outcome.reason
    assert "--cloud-lifetime" in outcome.reason


def test_it_gives_back_what_it_has_when_nobody_reads_its_words_any_more(backend, tmp_path, share):
    backend.start(make_run(tmp_path, 1, "import time; time.sleep(60)"))
    code = "from studio.cli import main; main()"
    command = [sys.executable, "-c", code, "worker", "--ttl=1h", str(share)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as one:
        while "took" not in one.stderr.readline():
            backend.poll(0.01)
        one.stderr.close()
        one.send_signal(signal.SIGTERM)
        one.wait(PATIENCE)
    (lease,) = share.glob("leases/*")
    record = LeaseRecord.read(lease.read_bytes())
    assert (record.worker, record.preemptions) == ("", 1)


def test_a_long_upload_does_not_hold_up_the_end_of_a_process():
    code = """
        import time
        from studio.backends.queue.background import Background
        files = Background(2, "files")
        started = [files.submit(time.sleep, 60) for _ in range(3)]
        files.close()
        assert started[2].cancelled()
    """
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=PATIENCE)
    assert time.monotonic() - begun < 30


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_experiments_that_want_gpus_wait_for_a_worker_with_free_ones(work, backend, tmp_path, monkeypatch):
    alone = f"open({str(tmp_path / 'busy')!r}, 'x')\nimport os, time; time.sleep(0.2)\nos.remove({str(tmp_path / 'busy')!r})\n"
    shown = "print('fitness:', os.environ['CUDA_VISIBLE_DEVICES'].replace(',', ''))"
    for number in (1, 2):
        backend.start(make_run(tmp_path, number, alone + shown, resources=Resources(gpus=2)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    without = work(slots=2)
    backend.start(make_run(tmp_path, 3, "print('fitness: 1')"))
    assert set(outcomes(backend)) == {3}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    work(slots=2)
    found = outcomes(backend, 2)
    assert [(number, found[number].exit_code, found[number].reason) for number in (1, 2)] == [(1, 0, ""), (2, 0, "")]
    assert without.said == [
        "contract/1 needs --gpus 2, this worker has 0: left to other workers",
        "took contract/3",
        "finished contract/3",
    ]


def test_a_job_that_comes_late_and_sorts_early_is_found_at_once(share):
    """A retry of experiment 1 when 2 is done, or the next experiment of an older search."""
    queue, taker = JobQueue(open_bucket(str(share))), LeaseTaker(open_bucket(str(share)), "w")
    queue.submit("search-00002-0001", {})
    taker.take().finish({})
    assert taker.take() is None
    queue.submit("search-00001-0002", {})
    assert taker.take().job == "search-00001-0002"


def test_a_job_that_cannot_be_read_is_lost_and_the_next_one_runs(work, backend, tmp_path, share):
    bucket = open_bucket(str(share))
    bucket.put_if_absent("jobs/0-garbage", b"\xff{")
    bucket.put_if_absent("jobs/0-strange", b'{"attempts": 3, "job": {"token": "x", "run": 7}}')
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    worker = work()
    assert outcomes(backend)[1].exit_code == 0
    assert b"cannot be read" in bucket.get("outcomes/0-garbage")[0]
    assert b"not written by this version of Studio" in bucket.get("outcomes/0-strange")[0]
    assert "an unreadable job cannot be run here: this job was not written by this version" in " ".join(worker.said)


class Shaky(FolderBucket):
    """The first request of each kind has no answer, and then every seventh."""

    calls: dict[str, int]

    def __getattribute__(self, name):
        if name in ("get", "put_if_absent", "upload", "download"):
            calls = self.__dict__.setdefault("calls", {})
            calls[name] = calls.get(name, 0) + 1
            if calls[name] % 7 == 1:
                raise BucketUnreachable(f"no answer to {name}")
        return super().__getattribute__(name)


def test_requests_without_an_answer_are_made_again(share, work, tmp_path, monkeypatch):
    for side in (driver_side, worker_side):
        monkeypatch.setattr(side, "AGAIN", 0.02)
    said = []
    backend = bucket_backend(Shaky(share), look=0.02, notice=said.append)
    backend.start(
        make_run(tmp_path, 1, "open('kept', 'w').write('kept')\nprint('fitness: 0.5')", captures={"a": "kept"})
    )
    work(Shaky(share))
    events, deadline = [], time.monotonic() + PATIENCE
    while not any(isinstance(event, Outcome) for event in events) and time.monotonic() < deadline:
        events += backend.poll(0.02)
    *reports, outcome = events
    assert (outcome.exit_code, reports) == (0, [Report(1, 0.5, 1, 1)])
    assert (tmp_path / "project" / "1" / "1" / "artifacts" / "a").read_text() == "kept"
    assert [text.partition(": ")[0] for text in said] == ["no response, retrying"]
    backend.close()


class Forbidding(FolderBucket):
    """As an account that may read, and not write or not fetch files."""

    forbidden = ""

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "forbidden"):
            raise BucketDenied(f"{name}: access denied")
        return super().__getattribute__(name)


@pytest.mark.parametrize("forbidden", ["download", "upload"])
def test_a_refusal_is_not_asked_for_again(forbidden, share, work, backend, tmp_path):
    bucket = Forbidding(share)
    bucket.forbidden = forbidden
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    worker = work(bucket, ttl=3600)
    outcome = outcomes(backend)[1]
    assert outcome.failure == "lost"
    assert f"{forbidden}: access denied" in outcome.reason
    assert "again" not in " ".join(worker.said)


class Closed(FolderBucket):
    """As an account that may do nothing, or a machine whose clock is wrong; until it is let in."""

    until = float("inf")

    def __getattribute__(self, name):
        if name in ("get", "put_if_absent", "list") and time.monotonic() < object.__getattribute__(self, "until"):
            raise BucketDenied("access denied")
        return super().__getattribute__(name)


def test_a_worker_that_was_never_let_in_ends_after_a_while(share, monkeypatch):
    monkeypatch.setattr(worker_side, "DENIED", 0.2)
    said = []
    with pytest.raises(BucketDenied, match="access denied"):
        Worker(Closed(share), create_host(), look=0.02, say=said.append).run()
    assert said == ["no response, retrying: access denied"]


def test_a_worker_waits_for_its_rights_and_then_says_that_it_is_there(share, work, backend, tmp_path):
    bucket = Closed(share)
    bucket.until = time.monotonic() + 2.0
    worker = work(bucket)
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    assert outcomes(backend)[1].exit_code == 0
    assert worker.said[0] == "no response, retrying: access denied"
    assert len(list(share.glob("workers/*"))) == 1


def test_each_kind_of_bucket_says_how_often_it_is_looked_at(share, command, monkeypatch, tmp_path):
    """And neither a worker nor a driver knows which kinds there are."""
    monkeypatch.setattr(FolderBucket, "look", 0.4)
    made = []
    monkeypatch.setattr(Worker, "run", lambda self: made.append(self))
    assert command("worker", str(share)).code == 0
    assert made[0]._look == 0.4
    driver = open_backend(FolderBackend, tmp_path / "p", url=str(share))
    driver.close()
    assert driver.look == FolderBucket.driver_look == 0.25
    assert (Bucket.look, Bucket.driver_look) == (5.0, 5.0), "what docs/cloud.md prices"


class Billed(FolderBucket):
    """Counts cents as S3 does. To whoever may list only below a prefix it says no more of a missing key than "forbidden",
    so `S3Bucket` then asks for a list, too."""

    cents = 0.0
    READ, WRITE = 0.04 / 1000, 0.5 / 1000

    def get(self, key):
        found = super().get(key)
        self.cents += self.READ if found is not None else self.READ + self.WRITE
        return found

    def put_if_match(self, key, data, version):
        self.cents += self.WRITE
        with self._lock():  # without the look of a folder at what is there
            return self._write(key, data)

    def list(self, prefix="", after=""):
        self.cents += self.WRITE
        return super().list(prefix, after)


def test_requests_cost_what_the_document_says(share):
    workers, driver = Billed(share), Billed(share)
    queue = JobQueue(driver)
    for number in range(4):
        queue.submit(f"job-{number}", {})
    taker = LeaseTaker(workers, "w")
    leases = [taker.take() for _ in range(4)]
    workers.cents = driver.cents = 0.0
    for lease in leases:
        lease.beat({})
    queue.outcomes()
    queue.look()
    driver.list("workers/")  # whether a new machine has said a word
    look = machines_backend.LOOK
    beat = Worker(workers, create_host(), look=look)._beat_every
    an_hour = 3600 * (workers.cents / beat + driver.cents / look)
    document = (Path(__file__).parents[2] / "docs" / "cloud.md").read_text()
    assert f"about {an_hour:.0f} cents an hour for four workers" in document


class Slow(FolderBucket):
    """Lists nothing until `let_go` is set."""

    def __init__(self, folder):
        super().__init__(folder)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def entries(self, prefix="", after=""):
        self.asked.set()
        self.let_go.wait(PATIENCE)
        return super().entries(prefix, after)


def test_a_driver_does_not_wait_for_a_bucket_that_is_slow(share, work, tmp_path):
    bucket = Slow(share)
    backend = bucket_backend(bucket, look=0.02)
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    while not bucket.asked.is_set():
        backend.poll(0.01)
    begun = time.monotonic()
    assert backend.poll(0.05) == []
    assert time.monotonic() - begun < PATIENCE / 2
    bucket.let_go.set()
    work()
    assert outcomes(backend)[1].exit_code == 0
    backend.close()


class Crowded(FolderBucket):
    """Full, but for small values."""

    def upload(self, key, path):
        raise BucketFull("no space left")


def test_files_that_find_no_room_are_given_up_after_a_while_and_said_once(share, work, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_side, "AGAIN", 0.05)
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    worker = work(Crowded(share), ttl=1.0)
    outcome = outcomes(backend)[1]
    assert (outcome.failure, outcome.exit_code) == ("lost", None)
    assert outcome.reason == "its files could not be uploaded: no space left"
    assert worker.said == [
        "took contract/1",
        "no room, storing contract/1 again: no space left",
        "finished contract/1",
    ]


class Mute(FolderBucket):
    """As an account that may not write outcomes."""

    def put_if_absent(self, key, data):
        if key.startswith("outcomes/"):
            raise BucketDenied("access denied")
        return super().put_if_absent(key, data)


def test_an_outcome_that_may_not_be_written_frees_its_job(share, work, backend, tmp_path):
    backend.start(make_run(tmp_path, 1, "print('fitness: 1')"))
    worker = work(Mute(share), ttl=3600)
    assert outcomes(backend)[1].reason.startswith("given up: 3 workers")
    assert worker.said.count("cannot report the result of contract/1: access denied") == 3


def test_what_a_worker_left_that_was_killed_is_removed_and_nothing_else(share, command, tmp_path):
    left, busy = tmp_path / "tmp" / "studio-worker-left", tmp_path / "tmp" / "studio-worker-busy"
    for folder in (left, busy):
        (folder / "cache").mkdir(parents=True)
    (tmp_path / "tmp" / "studio-worker-link").symlink_to(share)
    descriptor = os.open(busy, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert command("worker", "--idle=0.01", str(share)).code == 0
    os.close(descriptor)
    assert sorted(path.name for path in Path(tmp_path / "tmp").iterdir()) == [
        "studio-worker-busy",
        "studio-worker-link",
    ]
    assert (share / ".studio-bucket").is_dir()
