"""Plan the machines of a search from its options and the cloud's offers.

Settings, Wishes ──┐
Cloud.offers ──────┴─ settle ──► CloudSettings ──► Quote, Order
"""

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from studio.backends.cloud.cloud import Cloud, CloudError, Offer, Wanted
from studio.backends.cloud.packages import is_local
from studio.backends.cloud.spending import Quote, Rate, affordable_lifetime, parse_bid, parse_dollars, rate_of
from studio.errors import BadInput
from studio.format import money
from studio.interfaces import Backend
from studio.options import option, parse_bytes
from studio.settings import Settings, parse_duration

DEFAULT_LIFETIME = 24 * 3600
SPARE = 900  # seconds that a machine gets beyond the time of the search: to start, and to upload files
LEAST_LIFETIME = 600  # seconds: booting and installing take some minutes, which are billed
LEAST_IDLE = 60  # seconds: there may be a pause between two experiments, and a new machine costs at least a minute
IDLE = 300  # seconds without work after which a machine ends


@dataclass(frozen=True)
class Wishes(Backend.Options):
    """The options of a cloud as typed; None: chosen by Studio or the cloud."""

    prefix: ClassVar[str | None] = ""

    bucket: str | None = option(
        None,
        "URL",
        "s3://NAME or gs://NAME. Default: the bucket made by `studio cloud setup`.",
        names=("--bucket", "--cloud-bucket"),
    )
    account: str | None = option(
        None,
        "NAME",
        "Identity of machines. Default: the account made by `studio cloud setup`.",
        names=("--cloud-account",),
    )
    gpu_type: str | None = option(None, "NAME", "GPU type, such as t4, l4, a100.")
    machine_type: str | None = option(
        None, "NAME", "Machine type. Default: the cheapest with --cpus, --gpus and --ram."
    )
    image: str | None = option(None, "NAME", "Disk image. Default: Ubuntu 24.04.")
    per_machine: int | None = option(None, "N", "Experiments at a time on each machine.")
    cloud_timeout: str | None = option(None, "TIME", "Time without work after which a machine ends. Default: 5m.")
    cloud_lifetime: str | None = option(
        None, "TIME", "Time after which a machine ends in any case. Default: --max-time, or 24h."
    )
    max_cost: str | None = option(None, "DOLLARS", "End the search before its machines cost more.")
    price: str | None = option(None, "DOLLARS", "Price per machine and hour, if the cloud does not report one.")
    bid: str | None = option(None, "DOLLARS|N%", "Most to pay per spot machine and hour, if the cloud takes bids.")
    ssh_keypair: str | None = option(None, "NAME", "Open port 22 for this key pair (GCE: USER:FILE.pub).")
    port: int | None = option(None, "N", "Open a port of each machine.")
    user_startup_script: str | None = option(None, "FILE", "Script to run first on each machine, as root.")
    python_pkg: list[str] = option([], "PACKAGE", "Package to install on each machine. Repeatable.", secret=True)

    def check(self, spot: bool) -> None:
        """Check the options by themselves, before any request. Raises BadInput."""
        if self.per_machine is not None and self.per_machine < 1:
            raise BadInput(f"--per-machine {self.per_machine}: at least 1 is needed")
        if self.port is not None and not 0 < self.port < 65536:
            raise BadInput(f"--port {self.port}: a number from 1 to 65535 is needed")
        if self.bid is not None and not spot:
            raise BadInput(f"--bid {self.bid} is for spot machines, such as those of --cloud=ec2spot")
        if self.user_startup_script is not None and not os.path.isfile(self.user_startup_script):
            raise BadInput(f"--user-startup-script {self.user_startup_script!r} is not a file")
        for package in self.python_pkg:
            if package.startswith("-") or not package.strip() or re.search(r"[\x00-\x1f\x7f]", package):
                raise BadInput(f"--python-pkg {package!r} is not a package, such as torch or 'torch==2.5'")
            if re.fullmatch(r"[A-Za-z0-9][^\s;@]*(\s+[A-Za-z][^\s;@]*)+", package.strip()):
                each = " ".join(f"--python-pkg={name}" for name in package.split())
                raise BadInput(f"--python-pkg {package!r} is more than one package; write {each}")
            if is_local(package):
                raise BadInput(f"--python-pkg {package!r} is a file on this machine: give a package, or the URL of one")
        idle = parse_duration(self.cloud_timeout, "--cloud-timeout")
        if idle is not None and idle < LEAST_IDLE:
            raise BadInput(
                f"--cloud-timeout {self.cloud_timeout} is {idle:g} seconds, in which a machine may find no work between "
                f"two experiments; give {LEAST_IDLE}s or more, such as 5m"
            )
        lifetime = parse_duration(self.cloud_lifetime, "--cloud-lifetime")
        if lifetime is not None and lifetime < LEAST_LIFETIME:
            raise BadInput(
                f"--cloud-lifetime {self.cloud_lifetime}: a machine takes some minutes to start and to install packages; "
                f"give {LEAST_LIFETIME // 60}m or more"
            )
        for text, flag in ((self.max_cost, "--max-cost"), (self.price, "--price")):
            parse_dollars(text, flag)
        parse_bid(self.bid, 1.0)


@dataclass(frozen=True)
class CloudSettings:
    """The plan: `machines` of one offer, or of the next best; each runs `per_machine` experiments at a time.

    idle, lifetime  seconds
    price           dollars an hour, if given by the user
    hdd             bytes
    """

    cloud: Cloud
    spot: bool
    wishes: Wishes
    offers: Sequence[Offer]
    machines: int
    per_machine: int
    lifetime: int
    idle: int
    hdd: int
    price: float | None
    bid: float | None
    max_cost: float | None
    bids: bool = True
    notes: tuple[str, ...] = ()

    @property
    def quote(self) -> Quote:
        rate = self.rate(self.offers[0])
        lives = ((n, affordable_lifetime(self.max_cost, rate, n, self.lifetime)) for n in range(self.machines, 0, -1))
        machines, lifetime = next(pair for pair in lives if pair[1])  # `_check_cap` made sure that one is affordable
        terms = {"price": self.price, "bid": self.bid, "max_cost": self.max_cost, "idle": self.idle}
        less = f"--max-cost {self.wishes.max_cost} pays for only {machines} of {self.machines} machines at a time"
        notes = (*self.notes, less) if machines < self.machines else self.notes
        return Quote(self.cloud.name, machines, self.offers[0], self.spot, lifetime, **terms, notes=notes)  # type: ignore[arg-type]

    def rate(self, offer: Offer) -> Rate:
        return rate_of(offer, spot=self.spot, price=self.price, bid=self.bid)


def settle(cloud: Cloud, settings: Settings, wishes: Wishes, *, spot: bool, bids: bool = True) -> CloudSettings:
    """Ask `cloud` for offers that fit `settings`. Raises BadInput if a price is needed and unknown.

    `bids`: whether this cloud takes bids; if not, they are ignored.
    """
    wishes.check(spot)
    if settings.python is not None:
        raise BadInput(
            f"--python {settings.python} is a path on this machine; cloud machines install their own Python, with the packages "
            "of --python-pkg"
        )
    if wishes.per_machine is not None:
        wishes = replace(wishes, per_machine=min(wishes.per_machine, settings.num_workers))
    offers = cloud.offers(wanted(settings, wishes, spot))
    per_machine = wishes.per_machine or _fitting(settings, offers[0])
    if per_machine > (wishes.per_machine or 1):  # the other offers and the disk have to be as large
        offers = cloud.offers(wanted(settings, replace(wishes, per_machine=per_machine), spot))
    if not spot and offers[0].spot is None:
        offers = [replace(offers[0], spot=_spot_price(cloud, offers[0])), *offers[1:]]
    price = parse_dollars(wishes.price, "--price")
    max_cost = parse_dollars(wishes.max_cost, "--max-cost")
    best = offers[0]
    alone = (
        None if best.on_demand is None else best.on_demand - best.besides
    )  # a bid is for the machine without disk and address
    bid = parse_bid(wishes.bid, alone if price is None else price) if bids else None
    settled = CloudSettings(
        cloud=cloud,
        spot=spot,
        wishes=wishes,
        offers=offers,
        machines=math.ceil(settings.num_workers / per_machine),
        per_machine=per_machine,
        lifetime=_lifetime(settings, wishes),
        idle=math.ceil(parse_duration(wishes.cloud_timeout, "--cloud-timeout") or IDLE),
        hdd=(_bytes(settings.hdd, "--hdd") or 0) * per_machine,
        price=price,
        bid=bid,
        max_cost=max_cost,
        bids=bids,
        notes=_notes(settings, wishes, bids),
    )
    _check_disk(settled, settings.hdd)
    if spot:
        _check_bid(settled)
    _check_cap(settled)
    return settled


def _notes(settings: Settings, wishes: Wishes, bids: bool) -> tuple[str, ...]:
    """Return notes on options that are accepted but may not do what was intended."""
    notes = []
    if not bids and wishes.bid is not None:
        notes.append(f"--bid {wishes.bid} is ignored: this cloud takes no bids")
    if settings.max_time is not None and _lifetime(settings, wishes) < settings.max_time:
        notes.append(
            f"--cloud-lifetime {wishes.cloud_lifetime} is less than --max-time: machines end before the search, and are "
            "replaced"
        )
    return tuple(notes)


def wanted(settings: Settings, wishes: Wishes, spot: bool) -> Wanted:
    """Return what one machine must have for as many experiments as it runs at a time."""
    each = Wanted(
        cpus=settings.cpus,
        gpus=settings.gpus,
        ram=_bytes(settings.ram, "--ram"),
        hdd=_bytes(settings.hdd, "--hdd"),
        gpu_type=wishes.gpu_type,
        machine_type=wishes.machine_type,
        spot=spot,
    )
    times = wishes.per_machine or 1
    some = {
        name: value * times for name in ("cpus", "gpus", "ram", "hdd") if (value := getattr(each, name)) is not None
    }
    many = f"{times} times " if times > 1 else ""
    return replace(each, **some, ram_given=many + settings.ram if settings.ram else "")


def _check_disk(settled: CloudSettings, hdd: str | None) -> None:
    if settled.hdd > (most := settled.cloud.largest_disk):
        times = f" for each of {settled.per_machine} experiments of a machine" if settled.per_machine > 1 else ""
        raise BadInput(f"--hdd {hdd}{times}: the disk of a machine has at most {most >> 40} TiB")


def _check_bid(settled: CloudSettings) -> None:
    """Raise BadInput for a bid below the present price, which gets no machine."""
    known = [(offer.spot - offer.besides, offer) for offer in settled.offers if offer.spot is not None]
    if settled.bid is None or settled.price is not None or not known:
        return
    least, offer = min(known, key=lambda entry: entry[0])
    if settled.bid < least:
        given = "" if settled.wishes.bid == f"{settled.bid:g}" else f", which is {money(settled.bid)} an hour"
        raise BadInput(
            f"--bid {settled.wishes.bid}{given}: {offer.machine_type} in {offer.zone} costs {money(least)} an hour now, "
            "and no other zone less; bid more, or leave --bid out"
        )


def _spot_price(cloud: Cloud, offer: Offer) -> float | None:
    """Return the price of the same machine as a spot machine, for the quote; None: unknown."""
    with contextlib.suppress(CloudError):
        found = cloud.offers(Wanted(machine_type=offer.machine_type, spot=True))
        return min((other.spot for other in found if other.spot is not None), default=None)
    return None


def _fitting(settings: Settings, offer: Offer) -> int:
    """Return how many experiments fit on a machine; one if they need no GPU."""
    if not settings.gpus:
        return 1
    needs = (offer.gpus, settings.gpus), (offer.cpus, settings.cpus), (offer.ram, _bytes(settings.ram, "--ram"))
    return max(min(have // need for have, need in needs if need), 1)


def _lifetime(settings: Settings, wishes: Wishes) -> int:
    given = parse_duration(wishes.cloud_lifetime, "--cloud-lifetime")
    if given is not None:
        return math.ceil(given)
    return DEFAULT_LIFETIME if settings.max_time is None else math.ceil(settings.max_time) + SPARE


def _check_cap(settled: CloudSettings) -> None:
    if settled.max_cost is None:
        return
    offer = settled.offers[0]
    rate = settled.rate(offer)
    if rate.ceiling is None and rate.now is not None:
        ways = "--bid or --price" if settled.bids else "--price"
        raise BadInput(
            f"--max-cost {settled.wishes.max_cost}: {offer.machine_type} costs {money(rate.now)} an hour as a spot machine, "
            f"and how far that may rise is unknown; give {ways} DOLLARS an hour"
        )
    if rate.ceiling is None:
        raise BadInput(
            f"--max-cost {settled.wishes.max_cost}: the price of {offer.machine_type} is unknown; give --price DOLLARS an hour"
        )
    if not affordable_lifetime(settled.max_cost, rate, 1, settled.lifetime):
        raise BadInput(
            f"--max-cost {settled.wishes.max_cost}: {offer.machine_type} can cost {money(rate.ceiling)} an hour, "
            f"and needs money for at least 15 minutes"
        )


def _bytes(given: str | None, option: str) -> int | None:
    return None if given is None else parse_bytes(given, option)
