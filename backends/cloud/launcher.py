"""Machines of a cloud as the workers of a search: which are ordered, where, for how long, and what became of them.

    book ──► launch ──► made
     ▲          ├────── no capacity: that machine type is not ordered there for a while, another is booked
     └──────────┘
                ├────── no response: the same order again, which makes one machine; then the cloud's list tells
                ├────── quota refused: again once ending machines are gone; else the search continues with those it
                │       has, and tries again from time to time
                └────── denied, credentials: a pause, and an error if there is no machine at all

Credentials may expire between two attempts at one request, inside the cloud's library: a machine may have been made.

An entry is in the ledger, and the machine counts, before its order is sent; and until the cloud's list no longer has it,
and has not for a while: lists are late, and one may be stale. So there are never too many, and `end` knows every machine
to look for, whatever was interrupted.
"""

import contextlib
import json
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import ClassVar

from studio.backends.cloud.cloud import (
    Cloud,
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    Gone,
    Machine,
    NoCapacity,
    Offer,
    Order,
    QuotaRefused,
)
from studio.backends.cloud.ledger import Entry, Ledger
from studio.backends.cloud.plan import CloudSettings
from studio.backends.cloud.spending import Rate, affordable_lifetime
from studio.backends.queue.background import Once
from studio.backends.queue.launcher import Copy, Launcher, LauncherError, Refused
from studio.backends.queue.shipping import slug
from studio.errors import EndSearch
from studio.experiment import Resources
from studio.format import money

CAPACITY_PAUSE = 120.0  # seconds after which a zone without capacity is tried again
LEAVING_PAUSE = 30.0  # seconds between two orders that a quota refuses while a machine is ending
LEFT = 60.0  # seconds that a machine may count against a quota after it was last asked to end
QUOTA_PAUSE = 600.0  # seconds after which a quota may have been raised, or other machines have ended
TRIES, PAUSE = 4, 2.0  # attempts at an order without response; seconds before the second, doubled each time
LIST_LAG = 90.0  # seconds by which a list may be late
PATIENCE = 1800.0  # seconds of ordering without any machine after which the search is given up
AGAIN = 20.0  # seconds until the request to end a machine is repeated
FAILED = re.compile(r"studio: the end, with exit code (?!(0|143)\b)")  # in a boot log; 143: a signal ended it
UNINSTALLED = (
    "a package cannot be installed there: correct requirements.txt, pyproject.toml or --python-pkg, and start the search "
    "anew; "
)
WORDS = 3  # lines of a boot log that are shown


@dataclass(eq=False)
class Member:
    """A machine of the search. Times are seconds of the launcher's monotonic clock."""

    name: str
    ends: float
    listed: float  # when the cloud's list last had it; before that, when it was ordered
    order: Order | None = None  # None: from an earlier session
    machine: Machine | None = None
    pending: bool = False  # its order is under way
    asked: float | None = None  # when the cloud accepted its end
    lost: bool = False  # missing from lists for long, but not known to have ended

    @property
    def ending(self) -> bool:
        return self.asked is not None or (self.machine is not None and self.machine.state == "ending")

    @property
    def over(self) -> bool:
        """True once the cloud deletes it: it no longer costs anything."""
        return self.asked is not None and self.machine is not None and self.machine.state == "ending"


class CloudLauncher(Launcher):
    """Launcher with machines that are ordered from a cloud.

    tag         of the machines, unique to the search
    plan        what to order; None: nothing, only what is there is listed and ended
    make_order  makes an order from an offer, a name, a token, a lifetime in seconds and the command
    boot_log    returns the last lines that the machine of that name wrote, or ""
    say         tells the user of problems, from any thread
    wall        seconds since the epoch, of this computer, for the ledger; never compared with the cloud's
    together    orders sent at the same time
    list_lag    seconds in which the cloud's list may miss a new machine
    """

    max_failed_starts: ClassVar[int] = 2
    max_failed_in_place: ClassVar[int] = 1  # each start costs money
    start_timeout: ClassVar[float] = 1200.0  # a machine has to install everything
    end_timeout: ClassVar[float] = 300.0

    def __init__(
        self,
        cloud: Cloud,
        tag: str,
        ledger: Ledger,
        plan: CloudSettings | None = None,
        make_order: Callable[[Offer, str, str, int, Sequence[str]], Order] | None = None,
        *,
        boot_log: Callable[[str], str] = lambda name: "",
        say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        together: int = 1,
        list_lag: float = LIST_LAG,
    ):
        self._cloud, self._tag, self._ledger, self._plan, self._make_order = cloud, tag, ledger, plan, make_order
        self._boot_log, self._say, self._clock, self._wall, self._sleep = boot_log, Once(say), clock, wall, sleep
        self._together, self._list_lag = together, list_lag
        self._stopped = threading.Event()  # send no more orders
        self._lock = threading.RLock()
        self._missing = 0  # machines still to be ordered
        self._refused: CloudError | None = None  # why the last orders failed; None: they did not
        self._broke = False  # --max-cost does not pay for another machine
        self._none_there: dict[tuple[str, str], float] = {}  # machine type and zone -> when to ask again
        self._avoided: set[str] = set()  # zones
        self._pause_until = 0.0
        self._quota, self._quota_until = math.inf, 0.0  # machines that the account may have, as far as known
        self._left = -LEFT  # when a machine was last asked to end
        self._ordered = False  # since the last look
        self._vain: float | None = None  # since when there have been orders, and no machine
        self._members: dict[str, Member] = {}
        for name in ledger.alive:  # machines of an earlier session: the first list tells which remain
            entry = ledger.get(name)
            assert entry is not None
            self._members[name] = Member(name, self._on_clock(entry.ends), self._on_clock(entry.begun))

    # --- start ------------------------------------------------------------------------------------------------------

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        """Return the requests for the first machine; each further one has another name and token."""
        requests = self._cloud.requests(self.first_order(command))
        texts = [f"{each.method} {json.dumps(each.body, indent=2)}".replace("\\n", "\n") for each in requests]
        return "\n".join(["requests to the cloud for the first machine, in this order:", *texts])

    def first_order(self, command: Sequence[str]) -> Order:
        """Return the first order, with placeholders for values that are drawn."""
        assert self._plan is not None
        token = "00000000-0000-4000-8000-000000000000"
        return self._order(self._plan.offers[0], f"{_slug(self._tag)}-1", token, self._plan.quote.lifetime, command)

    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        """Order up to `n` machines of the plan; fewer if the cloud or the account has no more for now.

        Raises Refused if no machine is available, and `EndSearch` if --max-cost pays for none, and there is none.
        """
        now = self._clock()
        self._ordered, self._vain = True, now if self._vain is None else self._vain
        names: list[str] = []
        if now >= self._pause_until:
            if now >= self._quota_until:
                self._quota = math.inf
            self._refused, self._broke = None, False
            count = self._missing = int(max(min(n, self._quota - len(self._here())), 0))
            if self._together == 1 or count < 2:
                names = [self._launch_one(command) for _ in range(count)]
            else:
                with ThreadPoolExecutor(self._together, thread_name_prefix="launch") as pool:
                    names = list(pool.map(self._launch_one, [command] * count))
        if self._any_made():
            self._vain = None
        elif not self._here() and not self._stopped.is_set():
            self._check_hope()
        return [name for name in names if name]

    def interrupt(self) -> None:
        self._stopped.set()

    def _check_hope(self) -> None:
        """Raise if the last orders were refused for good."""
        if isinstance(self._refused, CloudDenied | CloudCredentials | QuotaRefused):
            raise Refused(f"no machine is available: {self._refused}") from self._refused
        if self._broke:
            most, now = self._ledger.committed(self._wall()), self._ledger.spent(self._wall())
            spot = f" (up to {money(most)}, if prices rose)" if most > now * 1.01 else ""
            of = f"{money(now)} of {money(self._plan.max_cost if self._plan else None)}"
            raise EndSearch(f"--max-cost: {of} is spent{spot}; the rest does not pay for another machine", "cost")

    def _launch_one(self, command: Sequence[str]) -> str:
        """Order one machine, from whichever offer has capacity. Return its name, or "" if it is not known to be made."""
        while not self._stopped.is_set() and self._refused is None and self._clock() >= self._pause_until:
            with self._lock:
                booked = self._book(command)
                self._missing -= booked is not None
            if booked is None:
                break
            if self._send(booked):
                return "" if booked.machine is None else booked.name
            with self._lock:
                self._missing += 1
        return ""

    def _book(self, command: Sequence[str]) -> Member | None:
        """Book the cheapest offer not known to be sold out, with a lifetime that the money allows."""
        now, plan = self._clock(), self._plan
        if plan is None:
            return None
        left = None if plan.max_cost is None else plan.max_cost - self._ledger.committed(self._wall())
        for offer in plan.offers:
            if offer.zone in self._avoided or self._none_there.get((offer.machine_type, offer.zone), 0.0) > now:
                continue
            rate = plan.rate(offer)
            lifetime = affordable_lifetime(left, rate, max(self._missing, 1), plan.lifetime)
            lifetime = lifetime or affordable_lifetime(left, rate, 1, plan.lifetime)  # then fewer machines
            if lifetime <= 0:
                self._broke = True
                return None  # the other offers cost more
            name = f"{_slug(self._tag)}-{token_hex(4)}"
            order = self._order(offer, name, str(uuid.uuid4()), lifetime, command)
            self._enter(name, offer.machine_type, offer.zone, order.spot, rate, lifetime)
            member = self._members[name] = Member(name, now + lifetime, now, order, pending=True)
            return member
        return None

    def _order(self, offer: Offer, name: str, token: str, lifetime: int, command: Sequence[str]) -> Order:
        assert self._make_order is not None
        return self._make_order(offer, name, token, lifetime, command)

    def _enter(self, name: str, machine_type: str, zone: str, spot: bool, rate: Rate, lifetime: float) -> None:
        now = self._wall()
        self._ledger.note(Entry(name, machine_type, zone, spot, rate, now, now + lifetime, cloud=self._cloud.name))

    def _send(self, member: Member) -> bool:
        """Send the order; return whether the machine was made, or may have been."""
        assert member.order is not None
        sent = False
        try:
            for attempt in range(TRIES):
                if self._stopped.is_set():
                    break
                try:
                    sent = True
                    member.machine = self._cloud.launch(member.order)
                    return True
                except CloudUnreachable as error:
                    self._say(f"no response to an order, sending it again: {error}")
                    if attempt < TRIES - 1:
                        self._sleep(PAUSE * 2**attempt)
                except CloudError as error:
                    return self._take_refusal(member, member.order, error, doubtful=attempt > 0)
            return sent or self._forget(member)
        finally:
            member.listed, member.pending = self._clock(), False

    def _forget(self, member: Member) -> bool:
        """Drop a machine that was never made. Return False."""
        self._members.pop(member.name, None)
        self._ledger.drop(member.name)
        return False

    def _take_refusal(self, member: Member, order: Order, error: CloudError, *, doubtful: bool) -> bool:
        """Note what a refusal means for further orders. Return whether the machine may have been made: if an attempt got no
        response, or credentials expired between two.
        """
        with self._lock:
            now = self._clock()
            if isinstance(error, Gone):  # it has ended, and cost something
                self._members.pop(member.name, None)
                self._ledger.ended([member.name], self._wall())
                return False
            made = doubtful or isinstance(error, CloudCredentials) or self._forget(member)
            if isinstance(error, NoCapacity):
                self._none_there[order.machine_type, order.zone] = now + CAPACITY_PAUSE
                self._say(f"{error}; looking elsewhere")
            elif isinstance(error, QuotaRefused) and now - self._left < LEFT:  # the quota counts ending machines, too
                self._pause_until = now + LEAVING_PAUSE
                self._say(f"quota reached; waiting until a machine has ended: {error}")
            elif isinstance(error, QuotaRefused):
                self._refused = error
                self._quota, self._quota_until = min(self._quota, len(self._here())), now + QUOTA_PAUSE
                self._say(f"quota reached; continuing with {self._quota} machine{'s' * (self._quota != 1)}: {error}")
            else:
                self._refused, self._pause_until = error, now + CAPACITY_PAUSE
                self._say(f"no more machines are ordered for now: {error}")
            return made

    # --- alive ------------------------------------------------------------------------------------------------------

    def alive(self) -> dict[str, Copy]:
        """Return the machines that may cost money. Those that stopped without ending, or outlived their lifetime, are ended.

        Raises Refused if there has been no machine for long, and `EndSearch` if --max-cost is spent.
        """
        try:
            self._look()
        except CloudError as error:
            raise LauncherError(f"cannot list the machines: {error}") from error
        now, members = self._clock(), list(self._members.values())
        try:
            self._terminate(member for member in members if member.ending or now > member.ends + LIST_LAG)
        except CloudError as error:
            self._say(f"cannot end machines, retrying: {error}")
        self._ledger.ended([member.name for member in members if member.over], self._wall())
        if not self._stopped.is_set():
            self._check_money()
            self._check_patience()
        return {
            member.name: Copy("ending" if member.ending else "waiting" if member.machine is None else "running")
            for member in members
            if not member.over and not member.lost
        }

    def _here(self) -> list[Member]:
        """Return the machines that exist, or may, and are not ending."""
        return [member for member in list(self._members.values()) if not member.ending and not member.lost]

    def _any_made(self) -> bool:
        return any(member.machine is not None for member in self._here())

    def _look(self) -> None:
        """Update the members from the cloud's list."""
        now = self._clock()
        listed = {machine.name: machine for machine in self._cloud.machines(self._tag)}
        for name, machine in listed.items():
            member = self._members.get(name)
            if member is None or member.lost:
                member = self._adopt(machine)
            member.machine, member.listed = machine, now
        self._ledger.listed(listed, self._wall())
        for member in list(self._members.values()):
            if member.name in listed or member.pending:
                continue
            late = now - member.listed > self._list_lag or self._failed_to_start(member.name)
            if member.ending or (late and member.machine is None):
                self._members.pop(member.name, None)
            elif late:
                member.lost = True  # the list may be wrong
            if member.ending or late:
                self._ledger.ended([member.name], self._wall())

    def _failed_to_start(self, name: str) -> bool:
        """Return whether the boot log of a machine missing from the list says that it ended."""
        return not self._stopped.is_set() and FAILED.search(self._boot_log(name)) is not None

    def _adopt(self, machine: Machine) -> Member:
        """Add a machine of an earlier session of this search, or one that lists did not have for a while."""
        known, plan = self._ledger.get(machine.name), self._plan
        lifetime = 0 if plan is None else plan.lifetime
        ends = self._clock() + lifetime if known is None else self._on_clock(known.ends)
        member = self._members[machine.name] = Member(machine.name, ends, self._clock())
        with contextlib.suppress(OSError):  # the machine exists, whether this can be written or not
            if known is None:
                offers = [] if plan is None else list(plan.offers)
                same = [offer for offer in offers if offer.machine_type == machine.machine_type] or offers
                rate = plan.rate(same[0]) if plan is not None and same else Rate(None, None)
                self._enter(machine.name, machine.machine_type, machine.zone, machine.spot, rate, lifetime)
            elif known.ended is not None:  # the list was wrong
                self._ledger.note(replace(known, ended=None))
        return member

    def _on_clock(self, at: float) -> float:
        """Convert a time of the ledger to the launcher's clock."""
        return self._clock() + at - self._wall()

    def _check_money(self) -> None:
        cap = None if self._plan is None else self._plan.max_cost
        if cap is not None and (now := self._ledger.spent(self._wall())) >= cap * 0.999:
            raise EndSearch(f"--max-cost: the machines have cost {money(now)} of {money(cap)}", "cost")

    def _check_patience(self) -> None:
        """Raise if machines have been ordered for long, and none came."""
        if self._any_made() or not (self._ordered or self._here()):
            self._vain = None
        elif self._vain is not None and self._clock() - self._vain > PATIENCE:
            raise Refused(
                f"no machine was available for {PATIENCE / 60:.0f} minutes; try another --machine-type or region"
            )
        self._ordered = False

    # --- end --------------------------------------------------------------------------------------------------------

    def end(self, names: Collection[str] | None = None) -> None:
        """Delete machines, also those that lists have not shown for long: one that has ended is no error."""
        if names is not None:
            self._terminate(member for name in names if (member := self._members.get(name)) is not None)
            return
        self._terminate(list(self._members.values()))
        self._look()
        self._terminate(list(self._members.values()))

    def _terminate(self, members: Iterable[Member]) -> None:
        """Ask the machines to end, unless they were asked a moment ago."""
        now = self._clock()
        due = [m for m in members if m.machine is not None and (m.asked is None or now - m.asked >= AGAIN)]
        if due:
            self._cloud.terminate([member.machine for member in due if member.machine is not None])
            self._left = now
            for member in due:
                member.asked = now

    def places(self) -> Collection[str]:
        """Return the zones of the two cheapest offers in different zones: if both fail, it is not the zone's fault."""
        zones = [] if self._plan is None else [offer.zone for offer in self._plan.offers]
        return list(dict.fromkeys(zones))[:2]

    def place_of(self, name: str) -> str:
        entry = self._ledger.get(name)
        return "" if entry is None else entry.zone

    def avoid(self, places: Collection[str]) -> None:
        self._avoided = set(places)

    def last_words(self, name: str) -> str:
        entry = self._ledger.get(name)
        if entry is None:
            return ""
        lines = [line.strip() for line in self._boot_log(name).splitlines() if line.strip() and not FAILED.search(line)]
        if not lines:
            cause = "it may have been preempted" if entry.spot else "check that its account can write to the bucket"
            return f"it left no log; {cause}"
        advice = UNINSTALLED if any("studio: a package was not installed" in line for line in lines) else ""
        return advice + " | ".join(lines[-WORDS:])

    def taken_away(self, name: str) -> bool:
        """Return whether it was a spot machine whose log tells of no failure."""
        entry = self._ledger.get(name)
        return entry is not None and entry.spot and FAILED.search(self._boot_log(name)) is None


def _slug(tag: str) -> str:
    """Return the beginning of a machine's name, which has to be a letter."""
    return f"studio-{slug(tag)}"[:45].rstrip("-")
