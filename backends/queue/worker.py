"""`studio worker URL`: takes jobs from a bucket, runs them here, and uploads their results.

    take ──► fetching ──► running ──► storing ──► finish        (lease lost, or asked to stop: the run is killed)
               thread      backend     thread
             └────────── beat, all the time ───────────┘

One loop in one thread handles the leases; only the transfer of files runs in other threads.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from studio.backends.queue import shipping
from studio.backends.queue.background import Background
from studio.backends.queue.bucket import PASSING, Bucket, BucketDenied, BucketError, BucketFull, BucketGone
from studio.backends.queue.lease_taker import TTL, LeaseTaker
from studio.backends.queue.leases import Lease, LeaseLost
from studio.backends.queue.results import WITH_A_BEAT, WITH_AN_OUTCOME, Collected
from studio.experiment import Outcome, Report, Run
from studio.host import Host
from studio.interfaces import Backend
from studio.settings import Settings
from studio.system.machine import visible_gpus
from studio.system.signals import Interrupts

AGAIN = 1.0  # seconds until a request without response is repeated
DENIED = 60.0  # seconds of refusals at the start after which a worker ends: new rights take a moment to apply
LAST_MINUTES = 120.0  # seconds before the end of the worker's lifetime in which it takes no job


@dataclass
class _Job:
    lease: Lease
    folder: Path
    moving: "Future[Any] | None"  # files on their way in or out
    begun: float = field(default_factory=time.monotonic)
    gpus: list[str] = field(default_factory=list)
    backend: Backend | None = None  # for this job only: jobs of different projects may have the same number
    run: Run | None = None
    outcome: Outcome | None = None
    reports: Collected = field(default_factory=Collected)
    beaten: float = 0.0
    asked: str | None = None  # how the driver asked to stop the run
    trouble: tuple[str, type[BaseException]] | None = None  # the last trouble that the user was told
    full: float | None = None  # monotonic time since which the bucket has no room for the files


class Worker:
    """Runs up to `slots` jobs at a time.

    look      seconds between two looks for a job; each look is four requests, which clouds bill
    idle      seconds without work after which `run` returns; None: never
    lifetime  seconds after which `run` returns in any case and releases its jobs
    ttl       seconds without a heartbeat after which other workers take over its jobs
    """

    def __init__(
        self,
        bucket: Bucket,
        host: Host,
        *,
        name: str = "",
        slots: int = 1,
        look: float = 1.0,
        idle: float | None = None,
        lifetime: float | None = None,
        ttl: float = TTL,
        say: Callable[[str], None] = lambda text: None,
    ):
        self._bucket, self._host, self._slots, self._say = bucket, host, slots, say
        self._idle, self._lifetime, self._look = idle, lifetime, look
        self._ttl, self._beat_every = ttl, min(ttl / 4, 2 * look)
        self._gpus = visible_gpus()
        name = name or socket.gethostname().split(".")[0]
        self._all_gpus = len(self._gpus)
        self._too_many: set[int] = set()  # numbers of GPUs that jobs need and this machine lacks
        self._taker = LeaseTaker(bucket, name, ttl=ttl, fits=self._fits)
        self._jobs: list[_Job] = []
        self._files = Background(2 * slots, "files")
        self._work = Path()
        self._begun = self._busy = time.monotonic()
        self._looked = 0.0
        self._interrupts = Interrupts()
        self._finishing = self._greeted = False
        self._trouble = ""  # why the last look for a job failed

    def run(self) -> None:
        """Take jobs until there is no more work, or the user asks to end: once to finish running ones, twice to release them."""
        with self._interrupts.heard(), work_folder() as self._work:
            try:
                self._busy = time.monotonic()  # a slow start does not count as idle time
                while True:
                    if self._interrupts.count > 1 or self._age() >= (self._lifetime or float("inf")):
                        self._give_back()
                        return
                    self._turn()
                    if self._is_over():
                        return
            finally:
                self._files.close()
                for job in list(self._jobs):  # after an error: the leases expire
                    self._drop(job)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._may_take():
            self._take()
        for job in list(self._jobs):
            try:
                self._beat(job)
                self._advance(job)
            except LeaseLost as error:
                self._say(f"ending {shipping.title(job.lease.body)} here: {error}")
                self._drop(job)
        if self._jobs:
            self._busy = time.monotonic()
        if not any(job.backend is not None for job in self._jobs):
            time.sleep(0.05 if self._jobs else 0.2)  # else the backends have waited

    def _is_over(self) -> bool:
        if self._interrupts.count == 1 and self._jobs and not self._finishing:
            self._finishing = True
            self._say("finishing running experiments (Ctrl-C again releases them)")
        if self._jobs:
            return False
        idle = self._idle is not None and time.monotonic() - self._busy >= self._idle
        return idle or self._taker.dismissed or self._interrupts.count > 0

    def _may_take(self) -> bool:
        late = self._lifetime is not None and self._age() >= self._lifetime - min(LAST_MINUTES, self._lifetime / 10)
        soon = time.monotonic() - self._looked < self._look
        return len(self._jobs) < self._slots and not (late or soon or self._interrupts.count)

    def _age(self) -> float:
        return time.monotonic() - self._begun

    def _take(self) -> None:
        self._looked = time.monotonic()
        try:
            self._greet()
            lease = self._taker.take()
        except BucketGone:
            raise
        except BucketError as error:
            if isinstance(error, BucketDenied) and not self._greeted and self._age() >= DENIED:
                raise
            if str(error) != self._trouble:  # once, not every few seconds
                self._trouble = str(error)
                self._say(f"no response, retrying: {error}")
            return
        self._trouble = ""
        if lease is not None:
            self._looked = 0.0  # there may be more
            job = _Job(lease, self._work / secrets.token_hex(4) / "1" / "1", None, beaten=time.monotonic())
            job.gpus, self._gpus = self._split_gpus(shipping.wanted_gpus(lease.body))
            job.moving = self._files.submit(self._fetch, job)
            self._jobs.append(job)
            self._say(f"took {shipping.title(lease.body)}" + (f", try {lease.attempt}" if lease.attempt > 1 else ""))

    def _fits(self, body: dict[str, Any]) -> bool:
        wanted = shipping.wanted_gpus(body)
        if wanted > self._all_gpus and wanted not in self._too_many:
            self._too_many.add(wanted)
            self._say(
                f"{shipping.title(body)} needs --gpus {wanted}, this worker has {self._all_gpus}: left to other workers"
            )
        return wanted <= len(self._gpus)

    def _split_gpus(self, wanted: int) -> tuple[list[str], list[str]]:
        return self._gpus[:wanted], self._gpus[wanted:]

    def _greet(self) -> None:
        """Tell the driver that this machine is up, before it has any work."""
        if not self._greeted:
            about = f'{{"host": "{socket.gethostname()}"}}'.encode()
            self._bucket.put_if_absent(shipping.WORKERS + self._taker.worker, about)
            self._greeted = True

    # --- one job ----------------------------------------------------------------------------------------------------

    def _advance(self, job: _Job) -> None:
        if job.moving is not None:
            if job.moving.done():
                moved, job.moving = job.moving, None
                self._stored(job, moved) if job.outcome is not None else self._start(job, moved)
        elif job.backend is not None:
            for event in job.backend.poll(0.25 / len(self._jobs)):
                self._hear(job, event)

    def _fetch(self, job: _Job, after: float = 0.0) -> Run:
        time.sleep(after)
        return shipping.run_of(job.lease.body, self._bucket, job.folder, self._work / "cache")

    def _start(self, job: _Job, fetched: "Future[Run]") -> None:
        try:
            run = fetched.result()
            env = {**run.env, "CUDA_VISIBLE_DEVICES": ",".join(job.gpus)} if job.gpus else run.env
            job.run = replace(run, env=env, resources=replace(run.resources, gpus=0))
            job.backend = self._host.make_backend(Settings(""), slots=self._slots, source=self._work, notify=self._say)
            job.backend.start(job.run)
            self._pass_on_stop(job)
        except PASSING as error:
            self._say_again(job, "fetching", error)
            job.moving = self._files.submit(self._fetch, job, AGAIN)
        except Exception as error:  # others wrote the job: an error in it ends only that job
            self._say(f"{shipping.title(job.lease.body)} cannot be run here: {error}")
            self._finish(job, {"outcome": asdict(_not_begun(job.lease.body, str(error))), "reports": []})

    def _hear(self, job: _Job, event: Report | Outcome) -> None:
        if isinstance(event, Report):
            job.reports.add(event)
            return
        assert job.backend is not None
        job.backend.close()
        job.backend = None
        job.outcome = event
        job.moving = self._files.submit(self._store, job)

    def _store(self, job: _Job, after: float = 0.0) -> None:
        time.sleep(after)
        archive = job.folder.parent / "run.tar"
        shipping.pack_outputs(job.folder, archive)
        self._bucket.upload(shipping.outputs_key(job.lease.job, job.lease.attempt), archive)

    def _stored(self, job: _Job, stored: "Future[None]") -> None:
        assert job.outcome is not None
        error = stored.exception()
        if isinstance(error, BucketFull):
            job.full = job.full or time.monotonic()
        full = isinstance(error, BucketFull) and time.monotonic() - (job.full or 0.0) < self._ttl
        if error is not None and (full or isinstance(error, PASSING)):
            self._say_again(job, "storing", error)
            job.moving = self._files.submit(self._store, job, AGAIN)
            return
        if error is not None:
            reason = f"its files could not be uploaded: {error}"
            job.outcome = replace(job.outcome, exit_code=None, reason=reason, failure="lost")
        self._finish(job, {"outcome": asdict(job.outcome), "reports": job.reports.some(WITH_AN_OUTCOME)})

    def _finish(self, job: _Job, body: dict[str, Any]) -> None:
        title = shipping.title(job.lease.body)
        try:
            first = job.lease.finish(body)
        except (*PASSING, BucketFull) as error:  # the lease goes on beating, and the request is repeated
            self._say_again(job, "finishing", error)
            job.moving = self._files.submit(time.sleep, AGAIN)
            job.outcome = job.outcome or Outcome(**body["outcome"])
            return
        except BucketError as error:  # a refusal: other workers may try, and after some tries the job is given up
            self._release(job, preempted=False)
            self._say(f"cannot report the result of {title}: {error}")
            return
        self._say(f"finished {title}" if first else f"{title} was finished by another worker")
        self._drop(job)

    def _say_again(self, job: _Job, doing: str, error: BaseException) -> None:
        """Tell the user once for each trouble, not for each try."""
        if job.trouble != (doing, type(error)):
            job.trouble = doing, type(error)
            why = "no room" if isinstance(error, BucketFull) else "no response"
            self._say(f"{why}, {doing} {shipping.title(job.lease.body)} again: {error}")

    def _beat(self, job: _Job) -> None:
        if time.monotonic() - job.beaten < self._beat_every:
            return
        job.beaten = time.monotonic()
        job.asked = job.lease.beat({"reports": job.reports.some(WITH_A_BEAT)}) or job.asked
        self._pass_on_stop(job)

    def _pass_on_stop(self, job: _Job) -> None:
        if job.asked and job.run is not None and job.backend is not None:
            job.backend.stop(job.run.number, kill=job.asked == "kill")

    def _drop(self, job: _Job) -> None:
        if job.backend is not None:
            job.backend.close()
        self._gpus += job.gpus
        self._jobs.remove(job)
        self._looked = 0.0  # a slot is free
        shutil.rmtree(job.folder.parent.parent, ignore_errors=True)

    def _give_back(self) -> None:
        """Release all jobs, as this worker ends. A job that had most of the worker's lifetime counts an attempt, as if the
        worker had died, or it would be started for ever; not so if the machine is taken away.
        """
        for job in list(self._jobs):
            short = time.monotonic() - job.begun < self._age() / 2
            trouble = self._release(job, preempted=self._interrupts.count > 1 or short)
            title = shipping.title(job.lease.body)
            late = f"{title} could not be released, and is free in {self._ttl:g} s: {trouble}"
            self._say(late if trouble else f"released {title}")

    def _release(self, job: _Job, *, preempted: bool) -> str:
        """Release the job; return why it could not be released, or "". The user is told afterwards: nobody may be left to
        read it.
        """
        if job.backend is not None:
            job.backend.close()
            job.backend = None
        try:
            job.lease.release(preempted=preempted)
            return ""
        except BucketError as error:
            return str(error)
        finally:
            self._drop(job)


def _not_begun(body: dict[str, Any], reason: str) -> Outcome:
    run, now = body.get("run"), time.time()
    number, attempt = (run.get("number", 0), run.get("attempt", 0)) if isinstance(run, dict) else (0, 0)
    return Outcome(number, attempt, None, None, reason, now, now, failure="lost")


# --- the folder of a worker's files, which the next worker removes if this one is killed ----------------------------


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Make a folder below TMPDIR, locked as long as this process lives, and remove it at the end."""
    above = Path(os.environ.get("TMPDIR") or "/tmp").absolute()
    for left in above.glob("studio-worker-*"):
        _remove_if_left(left)
    while True:
        folder = above / f"studio-worker-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _lock(descriptor) and folder.exists():
                break
            os.close(descriptor)  # a worker that starts at this moment took it for a leftover
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    """Remove the folder if it belongs to this user and its worker was killed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.getuid() and _lock(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
