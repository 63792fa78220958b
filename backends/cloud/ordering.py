"""Order machines: which one, where, for how long; and handle each result.

    book ──► launch ──► made
     ▲          ├────── no capacity: that machine type is not ordered there for a while, another is booked
     └──────────┘
                ├────── no response: the same order again, now and with the next look; it counts as made. If it has
                │       ended meanwhile, another is booked
                ├────── quota refused: again once ending machines are gone; else the search continues with those it
                │       has, and tries again from time to time
                └────── denied, credentials: a pause, and an error if there is no machine at all

Credentials may expire between two attempts at one request, inside the cloud's library: a machine may have been made.

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

CAPACITY_PAUSE = 120.0  # seconds after which a zone without capacity is tried again
LEAVING_PAUSE = 30.0  # seconds between two orders that a quota refuses while a machine is ending
LEFT = 60.0  # seconds that a machine may count against a quota after lists have shown it for the last time
QUOTA_PAUSE = 600.0  # seconds after which a quota may have been raised, or other machines have ended
TRIES, PAUSE = 4, 2.0  # attempts at an order without response; seconds before the second, doubled each time


class NoMachines(StudioError):
    """The search cannot continue: no machine is available, or machines fail before they run an experiment."""


def _none(offer: Offer, name: str, token: str, lifetime: int) -> Order:
    raise NotImplementedError("no offers to order from")


@dataclass(frozen=True)
class Terms:
    """The machines that a search may order. Without offers none are ordered.

    project   tag of the machines, unique to the search
    offers    cheapest first
    order     makes an order from an offer, a name, a token and a lifetime in seconds
    most      machines at a time
    lifetime  seconds
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
    """A machine of a fleet. Times are seconds of the fleet's monotonic clock."""

    name: str
    since: float  # when it was made, or found
    ends: float
    listed: float  # when the cloud's list last had it; before that, when it was ordered or made
    order: Order | None = None  # None: from an earlier session
    machine: Machine | None = None
    unsure: bool = False  # its order is pending, or got no response
    sent: bool = False  # whether its order may have been sent
    doubtful: bool = False  # an attempt got no response
    seen: bool = False  # in the cloud's list
    out: bool = False  # ending; no longer counts
    greeted: bool = False
    worked: bool = False
    dismissed: bool = False  # ended by the fleet
    asked: float | None = None  # when it was asked to end


class Ordering:
    """Sends orders, and adds machines to `members`. One thread calls `launch`.

    most     machines that the account may have, as far as known
    refused  why the last round of orders failed; None: it did not
    broke    --max-cost does not pay for another machine
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
        self.stopped = threading.Event()  # send no more orders
        self._cloud, self._terms, self._ledger, self._members = cloud, terms, ledger, members
        self._tell, self._clock, self._wall, self._sleep, self._together = tell, clock, wall, sleep, together
        self._none_there: dict[tuple[str, str], float] = {}  # machine type and zone -> when to ask again
        self._pause_until = 0.0
        self._most_again = 0.0  # when `most` is reset to the number wanted
        self._left = -LEFT  # when a machine was last ending
        self._missing = 0
        self._lock = threading.RLock()

    def alive(self) -> list[str]:
        """Return the names of machines that exist, or may."""
        with self._lock:
            return sorted(member.name for member in self._members.values() if not member.out)

    def launch(self, needed: int) -> None:
        """Repeat orders without response, and order what is missing of `needed` machines."""
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
        """Add an entry to the ledger."""
        now = self._wall()
        entry = Entry(name, machine_type, zone, spot, rate, now, now + lifetime, cloud=self._cloud.name)
        self._ledger.note(entry)
        return entry

    def check_hope(self) -> None:
        """Raise NoMachines if the last orders were refused for good."""
        if isinstance(self.refused, CloudDenied | CloudCredentials | QuotaRefused):
            raise NoMachines(f"no machine is available: {self.refused}") from self.refused

    # --- one machine ------------------------------------------------------------------------------------------------

    def _launch_one(self) -> None:
        """Order one machine, from whichever offer has capacity."""
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
        """Book the cheapest offer not known to be sold out, with a lifetime that the money allows."""
        now, terms = self._clock(), self._terms
        left = None if terms.max_cost is None else terms.max_cost - committed(self._ledger.spells, self._wall())
        for offer in terms.offers:
            if self._none_there.get((offer.machine_type, offer.zone), 0.0) > now:
                continue
            rate = terms.rate(offer)
            lifetime = affordable_lifetime(left, rate, max(self._missing, 1), terms.lifetime)
            lifetime = lifetime or affordable_lifetime(left, rate, 1, terms.lifetime)  # then fewer machines
            if lifetime <= 0:
                self.broke = True
                return None  # the other offers cost more
            name = f"{_slug(terms.project)}-{token_hex(4)}"
            order = terms.order(offer, name, str(uuid.uuid4()), lifetime)
            self.enter(name, offer.machine_type, offer.zone, order.spot, rate, lifetime)
            member = self._members[name] = Member(name, now, now + lifetime, now, order, unsure=True)
            return member
        return None

    def _send(self, member: Member) -> bool:
        """Send the order; return whether the machine was made, or may have been."""
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
                self._tell(f"no response to an order, sending it again: {error}")
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
        """Drop a machine that was never made. Return False."""
        with self._lock:
            del self._members[member.name]
        self._ledger.drop(member.name)
        return False

    def settle(self) -> None:
        """Find out the result of orders without response: repeating an order makes no second machine. Orders never sent are
        dropped. For the end, when no other thread sends any.
        """
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
                return  # the others would wait as long in vain
            except CloudError:
                pass  # it may have been made: the list will tell
            member.unsure, member.listed = False, self._clock()

    def _take_refusal(self, member: Member, order: Order, error: CloudError) -> None:
        with self._lock:
            now = self._clock()
            if isinstance(error, Gone):  # it has ended, and cost something
                del self._members[member.name]
                self._ledger.ended([member.name], self._wall())
                return
            if member.doubtful or isinstance(error, CloudCredentials):  # it may have been made: the list will tell
                member.unsure, member.listed = False, now
            else:
                self._forget(member)
            if isinstance(error, NoCapacity):
                self._none_there[order.machine_type, order.zone] = now + CAPACITY_PAUSE
                self._tell(f"{error}; looking elsewhere")
                return
            if isinstance(error, QuotaRefused) and now - self._left < LEFT:  # the quota counts ending machines, too
                self._pause_until = now + LEAVING_PAUSE
                self._tell(f"quota reached; waiting until a machine has ended: {error}")
                return
            self.refused = error
            if isinstance(error, QuotaRefused):
                self.most, self._most_again = min(self.most, len(self.alive())), now + QUOTA_PAUSE
                self._tell(f"quota reached; continuing with {self.most} machine{'s' * (self.most != 1)}: {error}")
            else:
                self._pause_until = now + CAPACITY_PAUSE
                self._tell(f"no more machines are ordered for now: {error}")


def _slug(project: str) -> str:
    """Return the beginning of a machine's name, which has to be a letter."""
    return f"studio-{slug(project)}"[:45].rstrip("-")
