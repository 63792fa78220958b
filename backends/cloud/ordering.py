"""Orders machines: which one, where, for how long; and what follows from each answer.

    book ──► launch ──► made
     ▲          ├────── no capacity: that machine type is not asked for there for a while, another one is booked
     └──────────┘
                ├────── no answer: the same order again, now and with the next look; it counts as made. Should it have
                │       ended meanwhile, another one is booked
                ├────── quota refused: again once those on their way out are gone; else the search goes on with those it
                │       has, and tries anew from time to time
                └────── denied, credentials: a pause, and the end where there is no machine at all

Credentials may have expired between two sendings of one request, inside the cloud's library: a machine may be made.

An entry is in the ledger, and the machine among `members`, before its order is sent.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from secrets import token_hex

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
from studio.backends.cloud.spending import Rate, affordable_lifetime, committed
from studio.backends.queue.shipping import slug
from studio.errors import StudioError

CAPACITY_PAUSE = 120.0  # seconds after which a zone that had none is asked again
LEAVING_PAUSE = 30.0  # seconds between two orders that a quota refuses while a machine is on its way out
LEFT = 60.0  # seconds that a machine may count against a quota after lists have shown it for the last time
QUOTA_PAUSE = 600.0  # seconds after which a quota may have been raised, or others' machines be gone
TRIES, PAUSE = 4, 2.0  # of one order that had no answer; seconds before the second, doubled each time


class NoMachines(StudioError):
    """The search cannot go on: no machine is to be had, or those that are come to nothing."""


def _none(offer: Offer, name: str, token: str, lifetime: int) -> Order:
    raise NotImplementedError("there are no offers to order from")


@dataclass(frozen=True)
class Terms:
    """What is ordered; with a project alone, nothing. `order(offer, name, token, lifetime)` makes it complete; `lifetime`
    in seconds.

    project  what the machines are tagged with: no other search, of anybody, has the same
    offers   the cheapest first
    most     machines at a time
    """

    project: str
    offers: Sequence[Offer] = ()
    rate: Callable[[Offer], Rate] = lambda offer: Rate(None, None)
    order: Callable[[Offer, str, str, int], Order] = _none
    most: int = 0
    lifetime: int = 0
    max_cost: float | None = None


@dataclass(eq=False)
class Member:
    """One machine of a fleet. Times are seconds of the fleet's clock, which nobody sets."""

    name: str
    since: float  # when it was made, or found
    ends: float
    listed: float  # when the cloud's list had it last; before that, when it was ordered or answered for
    order: Order | None = None  # None: of an earlier session
    machine: Machine | None = None
    unsure: bool = False  # its order is under way, or had no answer
    sent: bool = False  # its order, as far as anybody knows
    doubtful: bool = False  # there was a time without answer
    seen: bool = False  # in the cloud's list
    out: bool = False  # on its way out; counts no more
    greeted: bool = False
    worked: bool = False
    dismissed: bool = False  # by us
    asked: float | None = None  # when it was asked to end


class Ordering:
    """Adds to `members`. One thread calls `launch`.

    most     machines that the account may have, as far as is known
    refused  why the last round of orders came to nothing; None: it did not
    broke    what may be spent pays for no machine
    """

    def __init__(
        self,
        cloud: Cloud,
        terms: Terms,
        ledger: Ledger,
        members: dict[str, Member],
        *,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        together: int = 1,
    ):
        self.most = terms.most
        self.refused: CloudError | None = None
        self.broke = False
        self.stopped = threading.Event()  # no order is sent any more
        self._cloud, self._terms, self._ledger, self._members = cloud, terms, ledger, members
        self._tell, self._clock, self._wall, self._sleep, self._together = tell, clock, wall, sleep, together
        self._none_there: dict[tuple[str, str], float] = {}  # machine type and zone -> when to ask again
        self._pause_until = 0.0
        self._most_again = 0.0  # when `most` is what was wanted
        self._left = -LEFT  # when a machine was on its way out last
        self._missing = 0
        self._lock = threading.RLock()

    def alive(self) -> list[str]:
        """Names of machines that exist, or may."""
        with self._lock:
            return sorted(member.name for member in self._members.values() if not member.out)

    def launch(self, needed: int) -> None:
        """Send again what had no answer, and order what is missing of `needed` machines."""
        now = self._clock()
        if any(member.out for member in self._members.values()):
            self._left = now
        if now < self._pause_until:
            return
        if now >= self._most_again:
            self.most = self._terms.most
        self.refused, self.broke = None, False
        again = [member for member in self._members.values() if member.unsure] if needed > 0 else []
        self._missing = max(min(needed, self.most) - len(self.alive()), 0)
        if self._together == 1 or len(again) + self._missing < 2:
            for member in again:
                self._send_again(member)
            for _ in range(self._missing):
                self._launch_one()
            return
        with ThreadPoolExecutor(self._together, thread_name_prefix="launch") as pool:
            orders = [pool.submit(self._send_again, member) for member in again]
            orders += [pool.submit(self._launch_one) for _ in range(self._missing)]
        for order in orders:
            order.result()

    def enter(self, name: str, machine_type: str, zone: str, spot: bool, rate: Rate, lifetime: float) -> Entry:
        """Into the ledger."""
        now = self._wall()
        entry = Entry(name, machine_type, zone, spot, rate, now, now + lifetime, cloud=self._cloud.name)
        self._ledger.note(entry)
        return entry

    def check_hope(self) -> None:
        """NoMachines where the last round says that there will be none."""
        if isinstance(self.refused, CloudDenied | CloudCredentials | QuotaRefused):
            raise NoMachines(f"no machine can be had: {self.refused}") from self.refused

    # --- one machine ------------------------------------------------------------------------------------------------

    def _launch_one(self) -> None:
        """Wherever there is one."""
        while not self.stopped.is_set() and self.refused is None and self._clock() >= self._pause_until:
            with self._lock:
                booked = self._book()
                self._missing -= booked is not None
            if booked is None or self._send(booked):
                return
            with self._lock:
                self._missing += 1

    def _send_again(self, member: Member) -> None:
        if not self._send(member):
            self._launch_one()

    def _book(self) -> Member | None:
        """The cheapest offer that is not known to be sold out, with a lifetime that the money allows."""
        now, terms = self._clock(), self._terms
        left = None if terms.max_cost is None else terms.max_cost - committed(self._ledger.spells, self._wall())
        for offer in terms.offers:
            if self._none_there.get((offer.machine_type, offer.zone), 0.0) > now:
                continue
            rate = terms.rate(offer)
            lifetime = affordable_lifetime(left, rate, max(self._missing, 1), terms.lifetime)
            lifetime = lifetime or affordable_lifetime(left, rate, 1, terms.lifetime)  # then fewer of them
            if lifetime <= 0:
                self.broke = True
                return None  # the others cost more
            name = f"{_slug(terms.project)}-{token_hex(4)}"
            order = terms.order(offer, name, str(uuid.uuid4()), lifetime)
            self.enter(name, offer.machine_type, offer.zone, order.spot, rate, lifetime)
            member = self._members[name] = Member(name, now, now + lifetime, now, order, unsure=True)
            return member
        return None

    def _send(self, member: Member) -> bool:
        """Whether it was made, or may have been."""
        order = member.order
        assert order is not None
        for attempt in range(TRIES):
            if self.stopped.is_set():
                return member.sent or self._forget(member)
            try:
                member.sent = True
                machine = self._cloud.launch(order)
            except CloudUnreachable as error:
                member.doubtful = True
                self._tell(f"no answer to an order, sending it again: {error}")
                if attempt < TRIES - 1:
                    self._sleep(PAUSE * 2**attempt)
                continue
            except CloudError as error:
                self._take_refusal(member, order, error)
                return False
            member.machine, member.unsure = machine, False
            member.since = member.listed = self._clock()
            return True
        return True

    def _forget(self, member: Member) -> bool:
        """It was never made. False."""
        with self._lock:
            del self._members[member.name]
        self._ledger.drop(member.name)
        return False

    def settle(self) -> None:
        """What became of orders without answer: the same order makes no second machine. Those that were never sent are
        dropped. For the end, when no other thread sends any."""
        for member in list(self._members.values()):
            if not member.unsure or member.order is None:
                continue
            if not member.sent:
                self._forget(member)
                continue
            try:
                member.machine = self._cloud.launch(member.order)
            except Gone as error:
                self._take_refusal(member, member.order, error)
            except CloudUnreachable:
                return  # the others would wait as long for nothing
            except CloudError:
                pass  # it may be made: the list will tell
            member.unsure, member.listed = False, self._clock()

    def _take_refusal(self, member: Member, order: Order, error: CloudError) -> None:
        with self._lock:
            now = self._clock()
            if isinstance(error, Gone):  # it cost something
                del self._members[member.name]
                self._ledger.ended([member.name], self._wall())
                return
            if member.doubtful or isinstance(error, CloudCredentials):  # it may be made: the list will tell
                member.unsure, member.listed = False, now
            else:
                self._forget(member)
            if isinstance(error, NoCapacity):
                self._none_there[order.machine_type, order.zone] = now + CAPACITY_PAUSE
                self._tell(f"{error}; looking elsewhere")
                return
            if isinstance(error, QuotaRefused) and now - self._left < LEFT:  # it counts those that are ending, too
                self._pause_until = now + LEAVING_PAUSE
                self._tell(f"waiting until a machine is gone: {error}")
                return
            self.refused = error
            if isinstance(error, QuotaRefused):
                self.most, self._most_again = min(self.most, len(self.alive())), now + QUOTA_PAUSE
                self._tell(f"going on with {self.most} machines: {error}")
            else:
                self._pause_until = now + CAPACITY_PAUSE
                self._tell(f"no more machines for now: {error}")


def _slug(project: str) -> str:
    """For the name of a machine: it begins with a letter."""
    return f"studio-{slug(project)}"[:45].rstrip("-")
