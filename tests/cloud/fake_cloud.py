"""A cloud in memory, with the real interface and the faults of real ones."""

import itertools
from collections import deque
from dataclasses import dataclass, field, replace

from studio.backends.cloud.cloud import (
    Cloud,
    CloudDenied,
    CloudUnreachable,
    Gone,
    Machine,
    NoCapacity,
    Offer,
    QuotaRefused,
    Request,
)

GIB = 1 << 30
DYING = 20.0  # seconds
OFFERS = [
    Offer("small", "zone-a", 2, 0, 8 * GIB, on_demand=0.36, spot=0.18),
    Offer("small", "zone-b", 2, 0, 8 * GIB, on_demand=0.36, spot=0.18),
    Offer("large", "zone-a", 8, 0, 32 * GIB, on_demand=1.44, spot=0.72),
]


class Time:
    """A clock that only `sleep` and `pass_by` move. `wall()` is what the user's computer shows: `set_by` more."""

    def __init__(self):
        self.now, self.set_by = 1_000_000.0, 0.0

    def __call__(self):
        return self.now

    def wall(self):
        return self.now + self.set_by

    def sleep(self, seconds):
        assert seconds >= 0
        self.now += seconds

    pass_by = sleep


@dataclass
class _Made:
    machine: Machine
    token: str
    shown: float  # from when on lists have it


class Lost:
    """The machine is made, and the answer is this error. `dies`: it ends before anybody asks again."""

    def __init__(self, error, dies=False):
        self.error, self.dies = error, dies


@dataclass
class FakeCloud(Cloud):
    """Orders are answered by `answers`, one after the other: an exception, a `Lost`, or None for a machine; by a
    machine when none is left. `no_lists` and `no_ends` are errors that come next in place of an answer.

    lag         seconds until lists show a new machine
    stale       how many of the next lists show no machine
    forgotten   what lists do not show, and there is
    quota       how many machines there may be, those included that are on their way out
    sold_out    machine types and zones without capacity
    orders      every order that was answered with a machine, or should have been
    most        how many machines were alive at a time
    """

    time: Time = field(default_factory=Time)
    offered: list = field(default_factory=lambda: list(OFFERS))
    answers: deque = field(default_factory=deque)
    no_lists: deque = field(default_factory=deque)
    no_ends: deque = field(default_factory=deque)
    lag: float = 0.0
    sold_out: set = field(default_factory=set)
    stale: int = 0
    forgotten: set = field(default_factory=set)
    quota: int | None = None

    name = "fake"

    def __post_init__(self):
        self.made: dict[str, _Made] = {}
        self.dying: dict[str, tuple[Machine, float]] = {}  # and until when lists show it
        self.orders = []
        self.gone = set()  # tokens
        self.most = 0
        self.ids = itertools.count(1)

    # --- the interface ----------------------------------------------------------------------------------------------

    def offers(self, wanted):
        found = [
            o for o in self.offered if wanted.machine_type in (None, o.machine_type) and o.cpus >= (wanted.cpus or 0)
        ]
        if not found:
            raise CloudDenied(f"the fake cloud has no machine with {wanted.cpus} cpus; the closest is large")
        return found

    def check(self, order):
        pass

    def requests(self, order):
        return [Request("MakeMachine", {"name": order.name, "type": order.machine_type, "zone": order.zone})]

    def launch(self, order):
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        if (order.machine_type, order.zone) in self.sold_out:
            raise NoCapacity(f"no {order.machine_type} in {order.zone} now")
        machine = self._make(order)
        if isinstance(answer, Lost):
            if answer.dies:
                self.dies(machine.name)
            raise answer.error
        return machine

    def survey(self, project=None):
        if self.no_lists:
            raise self.no_lists.popleft()
        if self.stale:
            self.stale -= 1
            return [], []
        shown = []
        for made in self.made.values():
            if made.shown <= self.time() and project in (None, made.machine.project):
                shown.append(made.machine)
        shown += [machine for machine, until in self.dying.values() if until >= self.time()]
        return [machine for machine in shown if machine.name not in self.forgotten], []

    def terminate(self, machines):
        if self.no_ends:
            raise self.no_ends.popleft()
        for machine in machines:
            self.dies(machine.name)

    # --- what happens to machines -----------------------------------------------------------------------------------

    def dies(self, name):
        """Lists show for some seconds that it is on its way out."""
        if made := self.made.pop(name, None):
            self.gone.add(made.token)
            self.dying[name] = replace(made.machine, state="ending"), self.time() + DYING

    def stops(self, name):
        """As on Google: it is there, costs its disk, and is on its way out."""
        made = self.made[name]
        made.machine = replace(made.machine, state="ending")

    @property
    def alive(self):
        return sorted(made.machine.name for made in self.made.values() if made.machine.state != "ending")

    def _make(self, order):
        same = [made.machine for made in self.made.values() if made.token == order.token]
        if same:
            return same[0]
        if order.token in self.gone:
            raise Gone("IdempotentInstanceTerminated")
        assert order.name not in self.made, "two machines of one name"
        ending = [name for name, (_, until) in self.dying.items() if until >= self.time()]
        if self.quota is not None and len(self.made) + len(ending) >= self.quota:
            raise QuotaRefused("VcpuLimitExceeded")
        self.orders.append(order)
        about = (order.machine_type, order.zone, order.spot)
        machine = Machine(f"m-{next(self.ids)}", order.name, order.project, *about, self.time() - 7200, "starting")
        self.made[order.name] = _Made(machine, order.token, self.time() + self.lag)
        self.most = max(self.most, len(self.alive))
        return machine


def unreachable(text="the network is down"):
    return CloudUnreachable(text)
