"""Checks of a cloud backend before a search: its price, its requests, what an account needs."""

import contextlib
import json
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.cloud.cloud import Cloud, Machine, Offer, Order, Request
from studio.backends.cloud.ledger import Entry, read
from studio.backends.cloud.plan import CloudSettings, Wishes, settle
from studio.backends.cloud.quote import Quote
from studio.backends.cloud.requirements import requirement_files
from studio.backends.cloud.setup import PREFIX, Setup
from studio.backends.cloud.startup import PACKAGES, Startup, render
from studio.backends.queue.bucket import PASSING, BucketError, BucketGone, CredentialsMissing
from studio.backends.queue.bucket_url import check_name, open_bucket
from studio.backends.queue.shipping import tag_of
from studio.errors import BadInput, StudioError
from studio.project.paths import project_folder, project_names, studio_home
from studio.settings import Settings

FRESH = 600.0  # seconds after which offers are asked for again
PORTS = 90.0  # seconds: a machine of EC2 keeps its security group until it has ended
SETUP = "setup/"  # prefix of the files that machines install


class BeforeSearch:
    """The class methods of a cloud backend, which need no search."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    cloud: ClassVar[str]  # ec2, gce
    scheme: ClassVar[str] = ""  # scheme of a bucket's URL; empty: any
    spot: ClassVar[bool] = False
    bids: ClassVar[bool] = True  # whether the cloud takes bids
    extra: ClassVar[str] = ""  # extra of the wheel
    earlier: ClassVar[int] = 0  # seconds by which a machine ends itself before the cloud would end it
    _last: ClassVar[tuple[Any, float, CloudSettings] | None] = None

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
    @abstractmethod
    def setup(cls, bucket: str | None = None) -> Setup:
        """Return the steps of `studio cloud setup`. `bucket`: name of the bucket."""

    @classmethod
    def keypair(cls, given: str) -> str:
        """Return `--ssh-keypair` as the cloud takes it."""
        return given

    @classmethod
    def pace(cls, seconds: float) -> float:
        """Return the seconds between two looks."""
        return seconds

    # --- before a search --------------------------------------------------------------------------------------------

    @classmethod
    def quote(cls, settings: Settings, wishes: Wishes) -> Quote:
        """Return what a search can cost. Asks the cloud. Raises BadInput and CloudError if it cannot be ordered or run."""
        url = cls.bucket_url(wishes)
        settled = cls._settled(settings, wishes)
        region = cls._check_bucket(url, wishes.bucket or url)
        settled.cloud.check(cls._first_order(settled, url, [], None))
        quote = settled.quote
        if region and not quote.offer.zone.startswith(region):  # eu, of Google, is all of europe-west1 and others
            far = f"the bucket is in {region}: traffic between regions is slow, and billed extra"
            return replace(quote, notes=(*quote.notes, far))
        return quote

    @classmethod
    def requests(cls, settings: Settings, source: Path, wishes: Wishes) -> list[Request]:
        """Return the requests for the first machine; each further one has another name and token."""
        settled = cls._settled(settings, wishes)
        files = [f"{SETUP}HASH/{path.name}" for path in requirement_files(source)]
        files += [f"{SETUP}HASH/{PACKAGES}"] if wishes.python_pkg else []
        user = f"{SETUP}HASH/user-script" if wishes.user_startup_script else None
        return settled.cloud.requests(cls._first_order(settled, cls.bucket_url(wishes), files, user))

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
            m.name: replace(entries[m.name], ended=None, seen=now).spell.spent(now)
            for m in machines
            if m.name in entries
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
    def bucket_url(cls, wishes: Wishes) -> str:
        """Return the URL of the bucket. If only the name of a bucket is given: of the part that `studio cloud setup` lets
        machines use.
        """
        found = str(wishes.bucket or remembered(cls.cloud).get("bucket", ""))
        if not found:
            raise BadInput(
                f"--cloud: no bucket is set up; make one with: studio cloud setup {cls.word()}, or give --bucket"
            )
        if not cls.scheme:
            return found.rstrip("/")
        scheme = f"{cls.scheme}://"
        if not found.startswith(scheme):
            raise BadInput(f"--bucket {found}: machines of {cls.word()} need {scheme}NAME")
        name, _, prefix = found.removeprefix(scheme).partition("/")
        setup = f", or make one with: studio cloud setup {cls.word()}"
        given = f"--bucket {found}" if wishes.bucket else f"--bucket {found}, from an earlier studio cloud setup"
        check_name(name, given, f"--bucket={scheme}NAME{setup}")
        return f"{scheme}{name}/{prefix.strip('/') or PREFIX}"

    @classmethod
    def check_setup(cls, bucket: str | None) -> str | None:
        """Return the name of the bucket for setup, if a search would take it. Raises BadInput."""
        if bucket is not None:
            alone = bucket.removeprefix(f"{cls.scheme}://").partition("/")[0]
            check_name(bucket, f"--bucket {bucket}", f"--bucket={'NAME' if alone == bucket else alone or 'NAME'}")
        return bucket

    @classmethod
    def word(cls) -> str:
        """Return the name for `--cloud` used in the manual: gcloud, for which gce is another name."""
        return (*cls.aliases, cls.name)[0]

    @classmethod
    def _check_bucket(cls, url: str, given: str) -> str:
        """Check that the bucket can be used, before anything is billed. Return its region, or "". `given`: as it was typed."""
        setup = f"studio cloud setup {cls.word()}"
        try:
            with open_bucket(f"{url}/PROJECT-ID") as bucket:
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

    @classmethod
    def _first_order(cls, settled: CloudSettings, url: str, files: list[str], user: str | None) -> Order:
        """Return the first order, with placeholders for values that only a project has."""
        wheel = "wheels/HASH/studio_search-0-py3-none-any.whl"
        order = cls._order(settled, f"{url}/PROJECT-ID", "PROJECT-ID", wheel, files, user)
        token = "00000000-0000-4000-8000-000000000000"
        return order(settled.offers[0], "studio-project-id-1", token, settled.quote.lifetime)

    @classmethod
    def _settled(cls, settings: Settings, wishes: Wishes) -> CloudSettings:
        """Return the plan of the search. The cloud takes seconds to respond, so one response serves the quote and the search
        after it, unless the user took so long that prices may have changed.
        """
        asked, last, now = (cls, settings, wishes), BeforeSearch._last, time.monotonic()
        if last is None or last[0] != asked or now - last[1] > FRESH:
            if wishes.ssh_keypair is not None:
                wishes = replace(wishes, ssh_keypair=cls.keypair(wishes.ssh_keypair))
            settled = settle(cls.open_cloud(), settings, wishes, spot=cls.spot, bids=cls.bids)
            last = BeforeSearch._last = asked, now, settled
        return last[2]

    @classmethod
    def _order(
        cls, settled: CloudSettings, place: str, tag: str, wheel: str, files: list[str], user: str | None
    ) -> Callable[[Offer, str, str, int], Order]:
        account = settled.wishes.account or remembered(cls.cloud).get("account") or cls.default_account(settled.cloud)

        def order(offer: Offer, name: str, token: str, lifetime: int) -> Order:
            own = max(lifetime - cls.earlier, 60)
            startup = Startup(
                **cls.snippets(place, offer.zone, own),
                bucket=place,
                wheel=wheel,
                extra=cls.extra,
                name=name,
                idle=settled.idle,
                lifetime=own,
                slots=settled.per_machine,
                files=files,
                user=user,
            )
            return settled.order(offer, tag, name, token, lifetime, render(startup), str(account))

        return order


def remembered(cloud: str) -> dict[str, Any]:
    """Return the bucket and the account that `studio cloud setup` recorded, or {}."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((studio_home() / "cloud" / f"{cloud}.json").read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}
