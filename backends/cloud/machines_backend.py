"""A backend whose workers are cloud machines: a `BucketBackend` for the runs, a `Fleet` for the machines.

    Driver ── start, poll ──► MachinesBackend ── jobs, outcomes ──────► bucket ◄── workers
                                   │ a thread                                        ▲
                                   └── Fleet.tend ── orders, ends ──► cloud ── machines ┘

The driver's thread never waits for the cloud. Nothing is ordered before the first experiment, and however the search
ends, it calls `close`, which ends all machines.
"""

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.backends.cloud.before_search import SETUP, BeforeSearch
from studio.backends.cloud.built_wheel import put_wheel
from studio.backends.cloud.fleet import LIST_LAG, CostReached, Fleet
from studio.backends.cloud.ledger import Ledger
from studio.backends.cloud.ordering import Terms
from studio.backends.cloud.plan import Wishes
from studio.backends.cloud.requirements import requirement_files
from studio.backends.cloud.spending import experiment_cost
from studio.backends.cloud.startup import PACKAGES, log_key
from studio.backends.queue.bucket import Bucket, BucketError
from studio.backends.queue.pool import PooledBackend, copy_of
from studio.backends.queue.shipping import QUEUE, search_tag
from studio.errors import BadInput, EndSearch, StudioError
from studio.experiment import Outcome, Report
from studio.interfaces import BackendContext, Estimate
from studio.project.records import OF_ATTEMPT, OF_PROJECT
from studio.settings import Settings
from studio.system.files import write_json

TEND = 5.0  # seconds between two looks at the machines
LOOK = 5.0  # seconds between two looks at the bucket; requests are billed
TOGETHER = 8  # orders sent at the same time
LOG_LINES = 12  # shown of a machine that failed to start


class MachinesBackend(BeforeSearch, PooledBackend):
    """Runs experiments on machines that are ordered for them; subclasses name the cloud."""

    Options = Wishes

    @classmethod
    def auto_slots(cls, options: Any, settings: Settings) -> int:
        raise BadInput("--num-workers auto counts the CPUs of this machine: give the number of experiments at a time")

    def __init__(self, options: Wishes, context: BackendContext):
        super().__init__(options, context)
        self._wishes, self._settings = options, context.settings

    def place(self) -> str:
        return f"{self.name}:{self._wishes.bucket or ''}"

    def estimate(self) -> Estimate:
        requirement_files(self.context.source)
        quote = self.quote(self._settings, self._wishes)
        return Estimate(quote.text, quote.max_cost)

    def preview(self) -> str:
        requests = self.requests(self._settings, self.context.source, self._wishes)
        texts = [f"{each.method} {json.dumps(each.body, indent=2)}".replace("\\n", "\n") for each in requests]
        return "\n".join(["requests to the cloud for the first machine, in this order:", *texts])

    def open(self, project: Path) -> None:
        self._tag = search_tag(project)
        self.use_place(f"{self.bucket_url(self._wishes)}/{self._tag}", project, self.pace(LOOK))
        self.tend_interval = self.pace(TEND)
        self._ledger = Ledger(project)

    # --- during a search --------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> list[Report | Outcome]:
        if isinstance(self._failure, CostReached):
            self._say_words()
            reached, self._failure = self._failure, None
            raise EndSearch(str(reached), "cost")
        return super().poll(timeout)

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """End the jobs and fetch the results; should the search come back, it finds nothing left here."""
        super().migrate(unfinished)
        if not self._ledger.alive:
            (self._project / QUEUE).unlink(missing_ok=True)

    def _leftover_pool(self) -> Fleet | None:
        if not self._ledger.alive:
            return None
        return Fleet(self.open_cloud(), Terms(self._tag), self._ledger, say=self._say)

    def _end_workers(self) -> None:
        fleet = self._pool = self._pool or self._leftover_pool()
        if isinstance(fleet, Fleet):
            if count := len(fleet.alive):
                self._say(f"ending {count} machine{'s' if count > 1 else ''}")
            fleet.close()
            if self._wishes.port is not None or self._wishes.ssh_keypair is not None:
                self._close_ports()
            self._note_spent(fleet)

    def _close_ports(self) -> None:
        try:
            left = self.close_ports(self.open_cloud())
        except StudioError as error:
            self._say(f"rules for open ports may remain, which costs nothing: {error}; studio cloud gc tries again")
            return
        if left:
            self._say(f"kept {', '.join(left)}: other machines use it; studio cloud gc deletes it later")

    def _note_spent(self, fleet: Fleet) -> None:
        """Record the costs for `studio runs list`; none if a price is unknown."""
        known = all(spell.rate.now is not None for spell in self._ledger.spells)
        with contextlib.suppress(OSError):
            write_json(self._project / OF_PROJECT, {"dollars": fleet.spent if known else None})

    # --- the thread of the machines ---------------------------------------------------------------------------------

    def _make_pool(self) -> Fleet:
        assert self._source is not None
        self.note_use()
        settled = self._settled(self._settings, self._wishes)
        BeforeSearch._last = None
        self._per_worker = settled.per_machine
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

    def _boot_log(self, machine: str) -> str:
        """Return the last lines of a machine's boot log, or ""."""
        try:
            found = self.bucket.get(log_key(machine))
        except BucketError:
            return ""
        lines = found[0].decode(errors="replace").splitlines() if found else []
        return " | ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())

    def _fetch(self, travel: Any, after: float = 0.0) -> None:
        super()._fetch(travel, after)
        if travel.ended.worker:
            self._note_cost(Path(travel.run.folder), copy_of(travel.ended.worker), travel.ended.body)

    def _note_cost(self, folder: Path, machine: str, body: dict[str, Any]) -> None:
        """Write the machine and the experiment's share of its cost beside the run's files."""
        entry = self._ledger.get(machine)
        if entry is None:
            return
        try:
            seconds = float(body["outcome"]["duration"])
        except (KeyError, TypeError, ValueError, OverflowError):  # a script may write there
            seconds = 0.0
        if not 0 <= seconds < math.inf:
            seconds = 0.0
        cost = experiment_cost(entry.rate, seconds, self._per_worker)
        if isinstance(body.get("outcome"), dict):
            body["outcome"]["cost"] = cost
        about = {"machine_type": entry.machine_type, "zone": entry.zone, "spot": entry.spot}
        write_json(
            folder / OF_ATTEMPT, {"machine": machine, **about, "dollars_an_hour": entry.rate.now, "dollars": cost}
        )
        if isinstance(self._pool, Fleet):
            self._note_spent(self._pool)


def put_file(bucket: Bucket, path: Path, name: str = "") -> str:
    """Upload the file, even if the bucket has it: files older than 30 days are deleted there. Return its key."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    key = f"{SETUP}{digest}/{name or path.name}"
    bucket.upload(key, path)
    return key


def put_packages(bucket: Bucket, packages: list[str]) -> str:
    """Upload a requirements file with these packages and return its key. They may hold a token, so they go nowhere else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, PACKAGES)
        file.write_text("".join(f"{package}\n" for package in packages), encoding="utf-8")
        return put_file(bucket, file)
