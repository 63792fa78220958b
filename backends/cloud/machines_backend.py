"""A backend whose workers are machines of a cloud: `BucketBackend` carries the runs, a `Fleet` the machines.

    Driver ── start, poll ──► MachinesBackend ── jobs, outcomes ──────► bucket ◄── workers
                                   │ a thread                                        ▲
                                   └── Fleet.tend ── orders, ends ──► cloud ── machines ┘

The driver's thread never waits for the cloud. Nothing is ordered before the first experiment, and whatever ends the
search goes through `close`, which ends all machines.
"""

import contextlib
import hashlib
import math
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from studio.backends.cloud.before_search import SETUP, BeforeSearch, tag_of
from studio.backends.cloud.built_wheel import put_wheel
from studio.backends.cloud.fleet import LIST_LAG, CostReached, Fleet
from studio.backends.cloud.ledger import Ledger
from studio.backends.cloud.ordering import Terms
from studio.backends.cloud.plan import Wishes
from studio.backends.cloud.requirements import requirement_files
from studio.backends.cloud.spending import experiment_cost
from studio.backends.cloud.startup import PACKAGES, log_key
from studio.backends.queue.backend import CLOSING, BucketBackend
from studio.backends.queue.bucket import Bucket, BucketError
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.job_queue import JobState
from studio.backends.queue.leaving import call_home
from studio.backends.queue.shipping import QUEUE, WORKERS, search_id
from studio.errors import StudioError
from studio.experiment import Outcome, Report, Run
from studio.project import inbox as requests
from studio.project.costs import OF_ATTEMPT, OF_PROJECT
from studio.settings import Settings
from studio.system.files import write_json

TEND = 5.0  # seconds between two looks at the machines
LOOK = 5.0  # seconds between two looks into the bucket; requests are billed
TOGETHER = 8  # orders that are sent at a time
LOG_LINES = 12  # of a machine that came to nothing


class MachinesBackend(BeforeSearch, BucketBackend):
    """Subclasses say which cloud. Options are those of `Wishes`; `settings`, `project` (its folder) and `notice` come
    from Studio."""

    def __init__(
        self,
        *,
        slots: int,
        settings: Settings,
        project: Path,
        notice: Callable[[str], None],
        bucket: str | None = None,
        account: str | None = None,
        gpu_type: str | None = None,
        machine_type: str | None = None,
        image: str | None = None,
        per_machine: int | None = None,
        cloud_timeout: str | None = None,
        cloud_lifetime: str | None = None,
        max_cost: str | None = None,
        price: str | None = None,
        bid: str | None = None,
        ssh_keypair: str | None = None,
        port: int | None = None,
        user_startup_script: str | None = None,
        python_pkg: list[str] | None = None,
    ):
        given = {
            name: value for name, value in locals().items() if name in Wishes.__annotations__ and value is not None
        }
        self._wishes, self._settings, self._project = Wishes(**given), settings, project
        self._tag = machine_tag(project)
        place = f"{self.bucket_url(self._wishes)}/{self._tag}"
        super().__init__(slots=slots, bucket=open_bucket(place, create=True), look=self.pace(LOOK), notice=notice)
        self._place = place
        self._words: deque[str] = deque()  # of the other thread, for the user
        self._alone = False  # there is no other thread any more
        self._failure: BaseException | None = None
        self._cost_reached: CostReached | None = None
        self._ending = threading.Event()
        self._greeting = threading.Lock()  # welcome to workers, or dismissal: the later word counts
        self._fleet: Fleet | None = None
        self._ledger = Ledger(project)
        self._thread: threading.Thread | None = None
        self._at_work: set[str] = set()
        self._silent: set[str] = set()
        self._waiting = True
        self._source: Path | None = None
        self._slots_of_machine = 1

    # --- during a search --------------------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        super().start(run)
        self._source = self._source or Path(run.snapshot)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_machines, name="machines", daemon=True)
            self._thread.start()

    def poll(self, timeout: float) -> list[Report | Outcome]:
        self._say_words()
        if self._failure is not None:
            raise self._failure
        if self._cost_reached is not None:
            self.notice(str(self._cost_reached))
            self._cost_reached = None
            requests.leave(self._project, requests.Request("stop"))
        return super().poll(timeout)

    def close(self) -> None:
        """Say in the bucket that there is no work any more, then end all machines. Should somebody not wait for that,
        their workers hear it, and end them."""
        self._ending.set()
        if self._fleet is not None:
            self._fleet.interrupt()
        try:
            self._dismiss()
            if self._thread is not None:
                self._thread.join()
            self._alone = True
            self._say_words()
            super().close()
        finally:
            self._end_machines()

    def _dismiss(self) -> None:
        """As far as the bucket answers in time."""

        def tell() -> None:
            with self._greeting, contextlib.suppress(BucketError):
                self.queue.dismiss()

        last = threading.Thread(target=tell, name="dismiss", daemon=True)
        last.start()
        last.join(CLOSING)

    def leave(self) -> None:
        """The search goes on elsewhere. Should it come back, it finds none of what it left here."""
        self.close()
        with open_bucket(self._place) as bucket:
            call_home(bucket, self._project)
        if not self._ledger.alive:
            (self._project / QUEUE).unlink(missing_ok=True)

    def _end_machines(self) -> None:
        if self._fleet is None and self._ledger.alive:  # of an earlier session; nothing was started in this one
            self._fleet = Fleet(self.open_cloud(), Terms(self._tag), self._ledger, say=self._say)
        if self._fleet is not None:
            if count := len(self._fleet.alive):
                self._say(f"ending {count} machine{'s' if count > 1 else ''}")
            self._fleet.close()
            if self._wishes.port is not None or self._wishes.ssh_keypair is not None:
                self._close_ports()
            self._note_spent(self._fleet)

    def _close_ports(self) -> None:
        try:
            left = self.close_ports(self.open_cloud())
        except StudioError as error:
            self._say(
                f"what opened ports may still be there, which costs nothing: {error}; studio cloud gc tries again"
            )
            return
        if left:
            self._say(f"{', '.join(left)} stays, as other machines use it; studio cloud gc deletes it later")

    def _note_spent(self, fleet: Fleet) -> None:
        """For `studio runs list`. Nothing where a price is not known."""
        known = all(spell.rate.now is not None for spell in self._ledger.spells)
        with contextlib.suppress(OSError):
            write_json(self._project / OF_PROJECT, {"dollars": fleet.spent if known else None})

    # --- the thread of the machines ---------------------------------------------------------------------------------

    def _keep_machines(self) -> None:
        try:
            fleet = self._fleet = self._make_fleet()
            while not self._ending.is_set():
                self._pass_on_signs(fleet)
                fleet.tend(self._needed(), waiting=self._waiting)
                self._ending.wait(self.pace(TEND))
        except CostReached as error:
            self._cost_reached = error
        except BaseException as error:  # the driver's thread raises it
            self._failure = error

    def _make_fleet(self) -> Fleet:
        assert self._source is not None
        with self._greeting:
            if not self._ending.is_set():
                self.queue.welcome()
        self.note_use()
        settled = self._settled(self._settings, self._wishes)
        BeforeSearch._last = None
        self._slots_of_machine = settled.per_machine
        files = [put_file(self.bucket, path) for path in requirement_files(self._source)]
        if self._wishes.python_pkg:
            files.append(put_packages(self.bucket, self._wishes.python_pkg))
        script = self._wishes.user_startup_script
        user = None if script is None else put_file(self.bucket, Path(script), "user-script")
        order = self._order(settled, self._place, self._tag, put_wheel(self.bucket), files, user)
        terms = Terms(
            self._tag, settled.offers, settled.rate, order, settled.machines, settled.lifetime, settled.max_cost
        )
        return Fleet(
            settled.cloud,
            terms,
            self._ledger,
            boot_log=self._boot_log,
            say=self._say,
            together=TOGETHER,
            list_lag=self.pace(LIST_LAG),
        )

    def _say(self, text: str) -> None:
        self._words.append(text)
        if self._alone:
            self._say_words()

    def _say_words(self) -> None:
        while self._words:
            self.notice(self._words.popleft())

    def _needed(self) -> int:
        """Machines for all runs that a worker can have now: those are in the bucket, and have not ended."""
        runs = [travel for travel in list(self._travels.values()) if travel.moving is None and travel.ended is None]
        return -(-len(runs) // self._slots_of_machine)

    def _pass_on_signs(self, fleet: Fleet) -> None:
        with contextlib.suppress(BucketError):  # the driver's thread says so
            fleet.greeted({machine_of(key.removeprefix(WORKERS)) for key in self.bucket.list(WORKERS)})
        for worker in list(self._at_work):
            fleet.worked(machine_of(worker))
        for worker in list(self._silent):
            fleet.silent(machine_of(worker))

    def _boot_log(self, machine: str) -> str:
        """Its last lines, or nothing."""
        try:
            found = self.bucket.get(log_key(machine))
        except BucketError:
            return ""
        lines = found[0].decode(errors="replace").splitlines() if found else []
        return " | ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())

    # --- what the bucket says ---------------------------------------------------------------------------------------

    def _watch_for_workers(self, states: Iterable[JobState]) -> None:
        """In place of advice to start a worker: signs for the fleet."""
        waiting = False
        for state in states:
            waiting |= not state.worker or state.silent
            if state.worker:
                self._at_work.add(state.worker)
            if state.silent:
                self._silent.add(state.worker)
        self._waiting = waiting

    def _fetch(self, travel: Any, after: float = 0.0) -> None:
        super()._fetch(travel, after)
        if travel.ended.worker:
            self._at_work.add(travel.ended.worker)
            self._note_cost(Path(travel.run.folder), machine_of(travel.ended.worker), travel.ended.body)

    def _note_cost(self, folder: Path, machine: str, body: dict[str, Any]) -> None:
        """Beside the run's files: the machine, and what the experiment cost of it."""
        entry = self._ledger.get(machine)
        if entry is None:
            return
        try:
            seconds = float(body["outcome"]["duration"])
        except (KeyError, TypeError, ValueError, OverflowError):  # a script may write there
            seconds = 0.0
        if not 0 <= seconds < math.inf:
            seconds = 0.0
        cost = experiment_cost(entry.rate, seconds, self._slots_of_machine)
        about = {"machine_type": entry.machine_type, "zone": entry.zone, "spot": entry.spot}
        write_json(
            folder / OF_ATTEMPT, {"machine": machine, **about, "dollars_an_hour": entry.rate.now, "dollars": cost}
        )
        if self._fleet is not None:
            self._note_spent(self._fleet)


def machine_tag(project: Path) -> str:
    """What the machines of the project in that folder are tagged with: its name, and what makes it the only one of
    that name in the account."""
    return f"{tag_of(project.name)}-{search_id(project)[-6:]}"


def machine_of(worker: str) -> str:
    """Workers have the name of their machine, and something behind it that makes them unique."""
    return worker.rpartition("-")[0]


def put_file(bucket: Bucket, path: Path, name: str = "") -> str:
    """The key of the file, which is in the bucket when this returns. It is sent also where it is there: the bucket deletes
    what is older than 30 days."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    key = f"{SETUP}{digest}/{name or path.name}"
    bucket.upload(key, path)
    return key


def put_packages(bucket: Bucket, packages: list[str]) -> str:
    """The key of a requirements file with these. They may hold a token, so they are nowhere else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, PACKAGES)
        file.write_text("".join(f"{package}\n" for package in packages), encoding="utf-8")
        return put_file(bucket, file)
