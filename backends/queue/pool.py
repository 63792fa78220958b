"""Keep as many workers as a search needs, on whatever engine starts them, and leave none at its end.

    WorkerPool        looks at the copies of a `Launcher`, and starts and ends some
    LaunchedBackend   a queue whose workers a pool keeps, in a thread: the driver never waits for an engine

A copy that ends before its worker runs an experiment is a failed start; `failed_starts` tells what follows. Nothing is
started before the first experiment, and `close` ends all workers.
"""

import contextlib
import math
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.backends.queue.backend import CLOSING, NEWS, BucketBackend
from studio.backends.queue.background import Once
from studio.backends.queue.bucket import BucketError
from studio.backends.queue.bucket_url import open_bucket, open_to_use
from studio.backends.queue.failed_starts import FailedStarts
from studio.backends.queue.job_queue import JobState
from studio.backends.queue.launcher import Copy, Launcher, LauncherError, Refused, worker_command
from studio.backends.queue.leaving import call_home
from studio.backends.queue.shipping import WORKERS, search_tag
from studio.errors import EndSearch, StudioError
from studio.experiment import Outcome, Report, Resources, Run
from studio.interfaces import Backend, BackendContext
from studio.options import option
from studio.settings import parse_duration

TOGETHER = 0.5  # seconds in which further experiments count as starting together
ENDING = 30.0  # seconds until the request to end a copy is repeated
REFUSED = 30.0  # seconds that `close` keeps asking an engine that refuses to end copies
JOINING = 15.0  # seconds that the end of a search waits for a request to an engine that is under way
SLOW = 10.0  # seconds of ending workers after which the user is told
WORD_AFTER = 1.0  # seconds of that waiting after which the user is told


class LaunchFailed(StudioError):
    """The search cannot go on: workers fail before they run an experiment, or an engine refuses them."""


class WorkerPool:
    """Keeps up to `most` copies of `command` alive. Called from one thread; `interrupt` and `close` from any.

    say   tells the user, from any thread, each text once
    """

    def __init__(
        self,
        launcher: Launcher,
        command: Sequence[str],
        resources: Resources,
        *,
        most: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._launcher, self._command, self._resources, self._most = launcher, command, resources, most
        self._say_once, self._clock, self._sleep = Once(say), clock, sleep
        self._interrupted = threading.Event()
        self._reported: set[str] = set()  # these sets are added to by another thread
        self._at_work: set[str] = set()
        self._silent: set[str] = set()
        self._known: set[str] = set()  # copies in the last list of the engine
        self._ours: set[str] = set()  # copies that this pool has started
        self._words: dict[str, str] = {}  # last words of copies that have ended
        self._running: dict[str, float] = {}  # since when
        self._unwanted: dict[str, float] = {}  # when the engine was last asked to end them; -inf: it has not accepted
        self._mute: set[str] = set()  # unwanted because they did not report
        self._jobless: set[str] = set()  # ended without having taken a job, as far as known
        self._failed_starts = FailedStarts(launcher, self._say_once, clock)
        self._counted: set[str] = set()  # of `_at_work`: those that `_failed_starts` knows

    def reported(self, names: Iterable[str]) -> None:
        """Note that these workers have reported that they run."""
        self._reported.update(names)

    def took_job(self, name: str) -> None:
        """Note that this worker has taken a job."""
        self._reported.add(name)
        self._at_work.add(name)

    def silent(self, name: str) -> None:
        """Note that this worker holds a job and has stopped responding."""
        self._silent.add(name)

    def words_about(self, name: str) -> str:
        """Return why the copy of that name ended after it had taken a job, in the engine's words, or ""."""
        return self._words.get(name, "")

    def interrupt(self) -> None:
        """Start no more workers. From any thread."""
        self._interrupted.set()
        self._launcher.interrupt()

    def maintain(self, needed: int, *, waiting: bool) -> None:
        """Look once, and start what is missing of `needed` workers. `waiting`: some job has no worker.

        Raises LaunchFailed if the search cannot continue. If the engine does not respond, the next look tries again.
        """
        if self._interrupted.is_set():
            return
        try:
            copies = self._launcher.alive()
            self._count_failed_starts(set(copies), waiting)
            self._end_some(copies)
            for reason in sorted({copy.reason for copy in copies.values() if copy.state == "waiting" and copy.reason}):
                self._say_once(f"workers wait for the engine: {reason}")
            missing = self._missing(needed, copies)
            if missing > 0 and not self._interrupted.is_set():
                started = self._launcher.start(missing, self._command, self._resources)
                self._known.update(started)
                self._ours.update(started)
        except Refused as error:
            raise LaunchFailed(str(error)) from error
        except LauncherError as error:
            self._say_once(f"no response, retrying: {error}")

    def close(self) -> bool:
        """End all copies, with those of an earlier driver. Return whether the engine lists none any more."""
        self.interrupt()
        begun, again, refused, trouble = self._clock(), -math.inf, None, ""
        left, asked = set(self._known), set[str]()
        while True:
            try:
                if self._clock() >= again or left - asked:
                    self._launcher.end()
                    again, asked = self._clock() + ENDING, asked | left
                left, refused, trouble = set(self._launcher.alive()), None, ""
                if not left:
                    return True
            except StudioError as error:
                trouble = f" ({error})"
                refused = (self._clock() if refused is None else refused) if isinstance(error, Refused) else None
            now = self._clock()
            if now - begun >= self._launcher.end_timeout or (refused is not None and now - refused >= REFUSED):
                names = ", ".join(sorted(left)) or "workers of this search"
                self._say_once(f"could not confirm that these ended: {names}{trouble}")
                return False
            if now - begun >= SLOW:
                self._say_once(f"waiting for all workers to end, {self._launcher.end_timeout:g} s at most")
            self._sleep(min(1.0, self._launcher.poll_interval))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _that_count(self, copies: Mapping[str, Copy]) -> list[str]:
        """Return the copies that do or will work, and those that the engine has not agreed to end."""
        return [
            name for name, copy in copies.items() if copy.state != "ending" and self._unwanted.get(name, -1.0) < 0.0
        ]

    def _missing(self, needed: int, copies: Mapping[str, Copy]) -> int:
        """Return how many copies to start now, and tell the launcher where not."""
        count = len(self._that_count(copies))
        avoided = self._failed_starts.places_to_avoid()
        self._launcher.avoid(avoided)
        if "" in avoided:
            return 0
        if self._failed_starts.nothing_works and not self._at_work.intersection(copies):
            return 1 - count  # it shows whether workers work again
        return min(needed, self._most) - count

    def _count_failed_starts(self, listed: set[str], waiting: bool) -> None:
        for name in sorted(self._at_work - self._counted):
            self._failed_starts.worked(name)
            self._counted.add(name)
        gone = self._known - listed
        self._known = set(listed)
        self._words |= {name: self._launcher.last_words(name) for name in gone & self._at_work}
        failed = self._jobless - self._at_work
        idle = (gone & self._ours) - self._at_work - (set(self._unwanted) - self._mute)
        self._jobless = idle & self._reported if waiting else set()  # the next look may know of a job
        failed |= idle - self._reported
        for name in sorted(failed):
            self._failed_starts.add(name)
        if self._at_work & listed - self._silent:
            self._failed_starts.still_works()
        elif reason := self._failed_starts.end_reason():
            raise LaunchFailed(reason)

    def _end_some(self, copies: Mapping[str, Copy]) -> None:
        """End copies that hang, that never reported, and those beyond the number wanted."""
        now, patience = self._clock(), self._launcher.start_timeout
        self._unwanted = {name: at for name, at in self._unwanted.items() if name in copies}
        for name, copy in copies.items():
            since = self._running.setdefault(name, now) if copy.state == "running" else now
            if name in self._silent:
                self._drop(name, "stopped responding while running an experiment; replacing it")
            elif name not in self._reported and now - since > patience:
                self._mute.add(name)
                self._drop(name, f"has not reported for {patience / 60:.0f} minutes; ending it")
        there = [name for name in self._that_count(copies) if name not in self._unwanted]
        there.sort(key=lambda name: (name in self._at_work, name in self._reported, -self._running.get(name, math.inf)))
        for name in there[: max(len(there) - self._most, 0)]:
            self._drop(name, "is no longer needed; ending it")
        due = sorted(name for name, at in self._unwanted.items() if now - at >= ENDING)
        if due:
            try:
                self._launcher.end(due)
                self._unwanted |= dict.fromkeys(due, now)
            except LauncherError as error:
                self._say_once(f"cannot end workers, retrying: {error}")

    def _drop(self, name: str, why: str) -> None:
        if name not in self._unwanted:
            self._unwanted[name] = -math.inf
            self._say_once(f"{name} {why}")


def seconds(given: Any, flag: str) -> float:
    """A parser for options that are durations."""
    return parse_duration(given, flag) or 0.0


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(Backend.Options):
    """The options of backends whose workers an engine starts."""

    idle: float = option(60.0, "TIME", "Time without work after which a worker ends. Default: 60s.", parse=seconds)


class LaunchedBackend(BucketBackend):
    """Runs go to a bucket that is this search's alone, and whose workers an engine starts. Subclasses define the options,
    `bucket_url` and `launcher`.

    tag  name of this search on the engine; unique
    """

    tend_interval = 5.0  # seconds between two looks of the pool

    def __init__(self, options: Any, context: BackendContext):
        super().__init__(options, context)
        settings = context.settings
        self._resources = Resources(settings.cpus, settings.gpus, settings.ram)
        self._slots = context.slots
        self._per_worker = 1  # experiments that one worker runs at a time
        self._words: deque[str] = deque()  # notices of the other thread, for the user
        self._alone = False  # the other thread has ended
        self._failure: BaseException | None = None
        self._ending = threading.Event()
        self._greeting = threading.Lock()  # welcome or dismissal of workers: the later one counts
        self._pool: WorkerPool | None = None
        self._thread: threading.Thread | None = None
        self._at_work: set[str] = set()
        self._silent: set[str] = set()
        self._holders: dict[str, str] = {}  # the last worker of each job
        self._waiting = True
        self._source: Path | None = None
        self._name_search("PROJECT-ID", Path("PROJECT"))  # until there is a project: for a preview

    def _name_search(self, tag: str, project: Path) -> None:
        self.tag, self._project = tag, project
        self._place = f"{self.bucket_url()}/{tag}"

    def place(self) -> str:
        return f"{self.name}:{self.bucket_url()}"

    def preview(self) -> str:
        return self.launcher().preview(self._slots, self.command(), self._resources)

    def open(self, project: Path) -> None:
        self._name_search(search_tag(project), project)
        self.use(open_to_use(self._place))

    def bucket_url(self) -> str:
        """Return the bucket that all workers reach; by default the option `url`."""
        return str(self.options.url)

    @abstractmethod
    def launcher(self) -> Launcher:
        """Make the object that starts workers, for a pool or a preview. It starts nothing."""

    def command(self) -> list[str]:
        return worker_command(self._place, idle=self.options.idle)

    def _make_pool(self) -> WorkerPool:
        """Make the pool. Called once, in the pool's thread, when the first experiment has started."""
        launcher, most = self.launcher(), -(-self._slots // self._per_worker)
        self.tend_interval = launcher.poll_interval
        return WorkerPool(launcher, self.command(), self._resources, most=most, say=self._say)

    def _leftover_pool(self) -> WorkerPool | None:
        """Return a pool that ends workers of an earlier session, if this session started none; None: there are none."""
        return self._make_pool()  # only the engine knows the workers of a driver that was killed

    # --- during a search --------------------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        super().start(run)
        self._source = self._source or Path(run.snapshot)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_workers, name="workers", daemon=True)
            self._thread.start()

    def poll(self, timeout: float) -> list[Report | Outcome]:
        self._say_words()
        if self._failure is not None:
            failure = self._failure
            if isinstance(failure, EndSearch):  # raised once: running experiments are stopped, and awaited
                self._failure = None
            raise failure
        return super().poll(timeout)

    def close(self) -> None:
        """Mark the search as ended in the bucket, then end all workers. Workers read the mark, and end by themselves if
        the user does not wait.
        """
        self._ending.set()
        if self._pool is not None:
            self._pool.interrupt()
        try:
            self._dismiss()
            self._end_runs()
            self._join()
            self._alone = True
            self._say_words()
            super().close()
        finally:
            self._end_workers()

    def _dismiss(self) -> None:
        """Mark the search as ended, if the bucket responds in time."""

        def tell() -> None:
            with self._greeting, contextlib.suppress(BucketError):
                self.queue.dismiss()

        last = threading.Thread(target=tell, name="dismiss", daemon=True)
        last.start()
        last.join(CLOSING)

    def _join(self) -> None:
        """Wait for the pending request to the engine: with a notice, and not for ever. What it starts is in the list, or is
        found by the next session, or ends by itself.
        """
        if self._thread is None:
            return
        self._thread.join(WORD_AFTER)
        if self._thread.is_alive():
            self.context.notify(f"waiting {JOINING:g} s at most for a pending request, to end the workers it starts")
            self._thread.join(JOINING)
        if self._thread.is_alive():
            self.context.notify("the request has no response yet; continuing without it")

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """End all jobs of the search, as it continues elsewhere, and fetch the results of finished ones."""
        self.close()
        with open_bucket(self._place) as bucket:
            call_home(bucket, self._project)

    def _end_workers(self) -> None:
        pool = self._pool or self._leftover_pool()
        if pool is not None:
            pool.close()

    # --- the thread of the pool -------------------------------------------------------------------------------------

    def _keep_workers(self) -> None:
        try:
            with self._greeting:
                if not self._ending.is_set():
                    self.queue.welcome()
            pool = self._pool = self._make_pool()
            needed = 0
            while not self._ending.is_set():
                needed = self._wait_for_more(needed)
                self._pass_on_signs(pool)
                pool.maintain(needed, waiting=self._waiting)
        except BaseException as error:  # the driver's thread raises it
            self._failure = error

    def _wait_for_more(self, needed: int) -> int:
        """Wait until the next look is due, or a moment after more than `needed` workers are needed; return how many are
        needed now. So workers needed at about the same time are one request to the engine.
        """
        until = time.monotonic() + self.tend_interval
        while not self._ending.is_set() and (now := time.monotonic()) < until:
            if (more := self._needed()) > needed:
                until, needed = min(until, now + TOGETHER), more
            self._ending.wait(NEWS)
        return self._needed()

    def _needed(self) -> int:
        """Return how many workers all running experiments need: those with a job in the bucket that has not ended."""
        runs = [travel for travel in list(self._travels.values()) if travel.moving is None and travel.ended is None]
        return -(-len(runs) // self._per_worker)

    def _pass_on_signs(self, pool: WorkerPool) -> None:
        with contextlib.suppress(BucketError):  # the driver's thread says so
            pool.reported({copy_of(key.removeprefix(WORKERS)) for key in self.bucket.list(WORKERS)})
        for worker in list(self._at_work):
            pool.took_job(copy_of(worker))
        for worker in list(self._silent):
            pool.silent(copy_of(worker))

    def _say(self, text: str) -> None:
        self._words.append(text)
        if self._alone:
            self._say_words()

    def _say_words(self) -> None:
        while self._words:
            self.context.notify(self._words.popleft())

    # --- what the bucket says ---------------------------------------------------------------------------------------

    def _watch_for_workers(self, states: Iterable[JobState]) -> None:
        """Note signs of life for the pool, instead of advice to start a worker."""
        waiting = False
        for state in states:
            waiting |= not state.worker or state.silent
            if state.worker:
                self._at_work.add(state.worker)
                self._holders[state.job] = copy_of(state.worker)
            if state.silent:
                self._silent.add(state.worker)
        self._waiting = waiting

    def _fetch(self, travel: Any, after: float = 0.0) -> None:
        super()._fetch(travel, after)
        if travel.ended.worker:
            self._at_work.add(travel.ended.worker)

    def _end(self, travel: Any, ended: Any) -> list[Report | Outcome]:
        """Add the engine's own reason if workers were lost with an experiment."""
        events = super()._end(travel, ended)
        holder = self._holders.pop(ended.job, "")
        words = self._pool.words_about(holder) if self._pool is not None and ended.kind == "lost" else ""
        return [replace(e, reason=f"{e.reason}; {words}") if words and isinstance(e, Outcome) else e for e in events]


def copy_of(worker: str) -> str:
    """Return the name of the copy or machine of a worker, whose name is that name and a unique suffix."""
    return worker.rpartition("-")[0]
