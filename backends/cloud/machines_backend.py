"""A backend whose workers are cloud machines: options, prices and checks before a search, what machines install, costs.

    Driver ── start, poll ──► MachinesBackend ── jobs, outcomes ─────────────────────► bucket ◄── workers
                                   │ a thread                                                        ▲
                                   └── WorkerPool ── CloudLauncher ── orders, ends ──► cloud ── machines ┘

The driver's thread never waits for the cloud. Nothing is ordered before the first experiment, and however the search
ends, it calls `close`, which ends all machines.
"""

import contextlib
import math
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.cloud.cloud import Cloud, Machine, Offer, Order
from studio.backends.cloud.launcher import LIST_LAG, CloudLauncher
from studio.backends.cloud.ledger import Entry, Ledger, read
from studio.backends.cloud.packages import SETUP, put_file, put_packages, put_wheel, requirement_files
from studio.backends.cloud.plan import CloudSettings, Wishes, settle
from studio.backends.cloud.setup import PREFIX, Setup, remembered
from studio.backends.cloud.spending import experiment_cost
from studio.backends.cloud.startup import PACKAGES, Startup, log_key, render
from studio.backends.queue.bucket import PASSING, BucketError, BucketGone, CredentialsMissing
from studio.backends.queue.bucket_url import check_name, open_bucket
from studio.backends.queue.launcher import worker_command
from studio.backends.queue.pool import LaunchedBackend, WorkerPool, copy_of
from studio.backends.queue.shipping import QUEUE, tag_of
from studio.errors import BadInput, StudioError
from studio.interfaces import BackendContext, Estimate
from studio.project.paths import project_folder, project_names, studio_home
from studio.project.records import OF_ATTEMPT, OF_PROJECT
from studio.settings import Settings
from studio.system.files import write_json

FRESH = 600.0  # seconds after which offers are asked for again
PORTS = 90.0  # seconds: a machine of EC2 keeps its security group until it has ended
LOOK = 5.0  # seconds between two looks at the bucket; requests are billed
TOGETHER = 8  # orders sent at the same time
LOG_LINES = 12  # in which a machine says how its start failed


class MachinesBackend(LaunchedBackend):
    """Runs experiments on machines that are ordered for them; subclasses name the cloud."""

    Options = Wishes

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    cloud: ClassVar[str]  # ec2, gce
    scheme: ClassVar[str] = ""  # scheme of a bucket's URL; empty: any
    spot: ClassVar[bool] = False
    bids: ClassVar[bool] = True  # whether the cloud takes bids
    extra: ClassVar[str] = ""  # extra of the wheel
    make_setup: ClassVar[Callable[[str | None], Setup]]  # takes the name of a bucket
    earlier: ClassVar[int] = 0  # seconds by which a machine ends itself before the cloud would end it

    # --- defined by subclasses --------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def open_cloud(cls, *, everywhere: bool = False) -> Cloud:
        """Return the cloud; with `everywhere`, one that lists machines of all regions."""

    @classmethod
    @abstractmethod
    def snippets(cls, bucket: str, zone: str, lifetime: int) -> dict[str, str]:
        """Return `arm`, `end`, `fetch` and `store` of a `Startup`."""

    @classmethod
    @abstractmethod
    def default_account(cls, cloud: Cloud) -> str:
        """Return the account that `studio cloud setup` makes for machines."""

    @classmethod
    def keypair(cls, given: str) -> str:
        """Return `--ssh-keypair` as the cloud takes it."""
        return given

    @classmethod
    def pace(cls, seconds: float) -> float:
        """Return the seconds between two looks."""
        return seconds

    @classmethod
    def auto_slots(cls, options: Any, settings: Settings) -> int:
        raise BadInput("--num-workers auto counts the CPUs of this machine: give the number of experiments at a time")

    def __init__(self, options: Wishes, context: BackendContext):
        self._wishes, self._settings = options, context.settings
        self._planned: tuple[float, CloudSettings] | None = None
        self._uploads: tuple[str, list[str], str | None] | None = None
        self._ledger = Ledger()
        super().__init__(options, context)

    def place(self) -> str:
        return f"{self.name}:{self._wishes.bucket or ''}"

    def bucket_url(self) -> str:
        """Return the URL of the bucket. If only the name of a bucket is given: of the part that `studio cloud setup` lets
        machines use.
        """
        found = str(self._wishes.bucket or remembered(self.cloud).get("bucket", ""))
        if not found:
            raise BadInput(
                f"--cloud: no bucket is set up; make one with: studio cloud setup {self.word()}, or give --bucket"
            )
        if not self.scheme:
            return found.rstrip("/")
        scheme = f"{self.scheme}://"
        if not found.startswith(scheme):
            raise BadInput(f"--bucket {found}: machines of {self.word()} need {scheme}NAME")
        name, _, prefix = found.removeprefix(scheme).partition("/")
        setup = f", or make one with: studio cloud setup {self.word()}"
        given = f"--bucket {found}" if self._wishes.bucket else f"--bucket {found}, from an earlier studio cloud setup"
        check_name(name, given, f"--bucket={scheme}NAME{setup}")
        return f"{scheme}{name}/{prefix.strip('/') or PREFIX}"

    # --- before a search --------------------------------------------------------------------------------------------

    def estimate(self) -> Estimate:
        requirement_files(self.context.source)
        plan, region = self._plan(), self._check_bucket()
        plan.cloud.check(self.launcher().first_order(self.command()))
        quote = plan.quote
        if region and not quote.offer.zone.startswith(region):  # eu, of Google, is all of europe-west1 and others
            far = f"the bucket is in {region}: traffic between regions is slow, and billed extra"
            quote = replace(quote, notes=(*quote.notes, far))
        return Estimate(quote.text, quote.max_cost)

    def open(self, project: Path) -> None:
        super().open(project)
        self.look = self.pace(LOOK)
        self._ledger = Ledger(project)

    def _check_bucket(self) -> str:
        """Check that the bucket can be used, before anything is billed. Return its region, or ""."""
        given, setup = self._wishes.bucket or self.bucket_url(), f"studio cloud setup {self.word()}"
        try:
            with open_bucket(self._place) as bucket:
                next(iter(bucket.list()), None)
                with contextlib.suppress(BucketError):
                    return bucket.region()
                return ""
        except CredentialsMissing as error:
            raise BadInput(str(error)) from error
        except BucketGone as error:
            raise BadInput(
                f"--bucket {given}: there is no such bucket; make one with: {setup}, or give another"
            ) from error
        except PASSING:
            raise
        except BucketError as error:
            raise BadInput(
                f"no permission to use --bucket {given} ({error}); the permissions needed are listed by: {setup}"
            ) from error

    def _plan(self) -> CloudSettings:
        """Return the plan of the search. The cloud takes seconds to respond, so one response serves the quote and the search
        after it, unless the user took so long that prices may have changed.
        """
        now = time.monotonic()
        if self._planned is None or now - self._planned[0] > FRESH:
            wishes = self._wishes
            if wishes.ssh_keypair is not None:
                wishes = replace(wishes, ssh_keypair=self.keypair(wishes.ssh_keypair))
            self._planned = now, settle(self.open_cloud(), self._settings, wishes, spot=self.spot, bids=self.bids)
        return self._planned[1]

    # --- the launcher -----------------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        plan = self._plan()
        return worker_command(self._place, idle=plan.idle, slots=plan.per_machine, program=["studio"])

    def launcher(self) -> CloudLauncher:
        plan = self._plan()
        about: dict[str, Any] = {"boot_log": self._boot_log, "say": self._say, "list_lag": self.pace(LIST_LAG)}
        return CloudLauncher(plan.cloud, self.tag, self._ledger, plan, self._order, together=TOGETHER, **about)

    def _order(self, offer: Offer, name: str, token: str, lifetime: int, command: Sequence[str]) -> Order:
        plan, wishes = self._plan(), self._wishes
        account = wishes.account or remembered(self.cloud).get("account") or self.default_account(plan.cloud)
        wheel, files, user = self._uploads or self._placeholders()
        own = max(lifetime - self.earlier, 60)
        startup = Startup(
            **self.snippets(self._place, offer.zone, own),
            command=command,
            wheel=wheel,
            extra=self.extra,
            name=name,
            lifetime=own,
            files=files,
            user=user,
        )
        return Order(
            project=self.tag,
            name=name,
            token=token,
            machine_type=offer.machine_type,
            zone=offer.zone,
            image=wishes.image,
            hdd=plan.hdd,
            spot=plan.spot,
            lifetime=lifetime,
            script=render(startup),
            account=str(account),
            bid=plan.bid,
            gpus=offer.gpus,
            gpu_type=wishes.gpu_type,
            keypair=plan.wishes.ssh_keypair,
            port=wishes.port,
        )

    def _placeholders(self) -> tuple[str, list[str], str | None]:
        """Return the keys of `_upload` with placeholders for hashes, before anything is uploaded."""
        files = [f"{SETUP}HASH/{path.name}" for path in requirement_files(self.context.source)]
        files += [f"{SETUP}HASH/{PACKAGES}"] if self._wishes.python_pkg else []
        user = f"{SETUP}HASH/user-script" if self._wishes.user_startup_script else None
        return "wheels/HASH/studio_search-0-py3-none-any.whl", files, user

    def _upload(self, source: Path) -> tuple[str, list[str], str | None]:
        """Upload what machines install. Return the keys of Studio's wheel, of files to install from, and of the user's script."""
        files = [put_file(self.bucket, path) for path in requirement_files(source)]
        if self._wishes.python_pkg:
            files.append(put_packages(self.bucket, self._wishes.python_pkg))
        script = self._wishes.user_startup_script
        user = None if script is None else put_file(self.bucket, Path(script), "user-script")
        return put_wheel(self.bucket), files, user

    def _make_pool(self) -> WorkerPool:
        assert self._source is not None
        self.note_use()
        plan = self._plan()
        self._planned = math.inf, plan  # for the rest of the search
        self._per_worker = plan.per_machine
        self._uploads = self._upload(self._source)
        pool = super()._make_pool()
        self.tend_interval = self.pace(self.tend_interval)
        return pool

    def _leftover_pool(self) -> WorkerPool | None:
        if not self._ledger.alive:
            return None
        launcher = CloudLauncher(self.open_cloud(), self.tag, self._ledger, say=self._say)
        return WorkerPool(launcher, [], self._resources, most=0, say=self._say)

    # --- during a search --------------------------------------------------------------------------------------------

    def migrate(self, unfinished: Sequence[tuple[int, int]]) -> None:
        """End the jobs and fetch the results; should the search come back, it finds nothing left here."""
        super().migrate(unfinished)
        if not self._ledger.alive:
            (self._project / QUEUE).unlink(missing_ok=True)

    def _end_workers(self) -> None:
        pool = self._pool = self._pool or self._leftover_pool()
        if pool is None:
            return
        if count := len(self._ledger.alive):
            self._say(f"ending {count} machine{'s' if count > 1 else ''}")
        if not pool.close():
            self._say("machines end by themselves; check with: studio cloud gc")
        if self._wishes.port is not None or self._wishes.ssh_keypair is not None:
            self._close_ports()
        self._note_spent()

    def _close_ports(self) -> None:
        try:
            left = self.close_ports(self.open_cloud())
        except StudioError as error:
            self._say(f"rules for open ports may remain, which costs nothing: {error}; studio cloud gc tries again")
            return
        if left:
            self._say(f"kept {', '.join(left)}: other machines use it; studio cloud gc deletes it later")

    def _note_spent(self) -> None:
        """Record the costs for `studio runs list`; none if a price is unknown."""
        known = all(entry.rate.now is not None for entry in self._ledger.entries)
        dollars = self._ledger.spent(time.time()) if known else None
        with contextlib.suppress(OSError):
            write_json(self._project / OF_PROJECT, {"dollars": dollars})

    def _boot_log(self, machine: str) -> str:
        """Return the last lines of a machine's boot log, or ""."""
        try:
            found = self.bucket.get(log_key(machine))
        except BucketError:
            return ""
        return "\n".join(found[0].decode(errors="replace").splitlines()[-LOG_LINES:]) if found else ""

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
        self._note_spent()

    # --- for `studio cloud`, without a search ---------------------------------------------------------------------

    @classmethod
    def costs(cls, machines: Iterable[Machine]) -> dict[str, float | None]:
        """Return the dollars so far of each machine that a search on this computer ordered, by its name. The machines run
        now, whatever the ledger says.
        """
        entries: dict[str, Entry] = {}
        for name in project_names():
            with contextlib.suppress(StudioError):  # a damaged ledger; the costs of others are known
                entries |= {entry.name: entry for entry in read(project_folder(name))}
        now = time.time()
        return {
            m.name: replace(entries[m.name], ended=None, seen=now).spent(now) for m in machines if m.name in entries
        }

    @classmethod
    def leftovers(cls, project: Path) -> list[str]:
        """Return the machines of the project in that folder that this cloud still has. Raises StudioError if it cannot be asked."""
        ordered = {entry.name for entry in read(project) if entry.ended is None and entry.cloud in ("", cls.cloud)}
        if not ordered:
            return []
        return sorted(machine.name for machine in cls.open_cloud().machines() if machine.name in ordered)

    @classmethod
    def is_of(cls, machine: Machine, project: str) -> bool:
        """Return whether a machine is of `project`: a tag as `studio cloud list` shows it, or the name of a project of this
        or another computer.
        """
        tag = rf"{re.escape(tag_of(project))}-[0-9a-f]{{6}}"
        return machine.project == project or re.fullmatch(tag, machine.project) is not None

    @classmethod
    def close_ports(cls, cloud: Cloud) -> list[str]:
        """Delete the rules that open ports of machines that have ended, or soon will. Return the names of rules that others
        still use.
        """
        end = time.monotonic() + PORTS
        while left := cloud.close_ports():
            if time.monotonic() > end or any(machine.state != "ending" for machine in cloud.machines()):
                break
            time.sleep(cls.pace(5.0))
        return left

    @classmethod
    def note_use(cls) -> None:
        """Record, before a machine is ordered, that `studio cloud gc` has to look in this cloud."""
        folder = studio_home() / "cloud"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{cls.cloud}-used").touch()

    @classmethod
    def was_used(cls) -> bool:
        """Return whether machines of this cloud may have been ordered from this computer."""
        return any((studio_home() / "cloud" / f"{cls.cloud}{end}").exists() for end in ("-used", ".json"))

    @classmethod
    def setup(cls, bucket: str | None = None) -> Setup:
        """Return the steps of `studio cloud setup`. Raises BadInput for a name of a bucket that no search takes."""
        if bucket is not None:
            alone = bucket.removeprefix(f"{cls.scheme}://").partition("/")[0]
            check_name(bucket, f"--bucket {bucket}", f"--bucket={'NAME' if alone == bucket else alone or 'NAME'}")
        return cls.make_setup(bucket)

    @classmethod
    def word(cls) -> str:
        """Return the name for `--cloud` used in the manual: gcloud, for which gce is another name."""
        return (*cls.aliases, cls.name)[0]
