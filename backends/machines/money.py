"""What machines cost, and what may still be spent. Pure: dollars, hours' prices, seconds.

The promise of `--max-cost`: what all machines can have cost until now, and what those that are alive can still cost
until their lifetime ends them, never exceeds it together. Each hour counts with the most that its price may have risen
to. So a machine is launched only with a lifetime that fits; nobody has to be awake for the promise to hold.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.backends.machines.cloud import Offer
from studio.errors import BadInput

HOUR = 3600.0
LEAST_BILLED = 60.0  # seconds; Amazon and Google bill seconds from there on
LEAST_LIFETIME = 900  # seconds: in less a machine does little more than start
DEFAULT_LIFETIME = 24 * 3600
DISK_AND_ADDRESS = 0.02  # dollars an hour, at most, that a bid does not cover
SPARE = 900  # seconds a machine gets beyond the time of the search: to start, and to bring its files home


@dataclass(frozen=True)
class Rate:
    """Dollars an hour of one machine. None: not known.

    now      what it costs
    ceiling  what it can come to cost: a spot price may rise to the bid, or without one to the price on demand
    """

    now: float | None
    ceiling: float | None


@dataclass(frozen=True)
class Spell:
    """One machine's time on the bill, in seconds of one clock.

    ends   its lifetime should end it
    ended  it is gone; None: it was there when looked at last
    seen   when it was seen alive last, where that was after `ends`
    """

    rate: Rate
    begun: float
    ends: float
    ended: float | None = None
    seen: float = 0.0

    def billed(self, now: float) -> float:
        """Seconds until now."""
        until = max(min(now, self.ends), self.seen) if self.ended is None else self.ended
        return max(until - self.begun, LEAST_BILLED)

    def spent(self, now: float) -> float:
        """Dollars until now, at the price it was ordered for. A price that is not known counts nothing: with
        `--max-cost` it must be known."""
        return self.billed(now) / HOUR * (self.rate.now or 0.0)

    def committed(self, now: float) -> float:
        """Dollars that it can have cost until now, and can cost yet."""
        left = 0.0 if self.ended is not None else max(self.ends - max(now, self.begun + LEAST_BILLED), 0.0)
        dearest = self.rate.now if self.rate.ceiling is None else self.rate.ceiling
        return (self.billed(now) + left) / HOUR * (dearest or 0.0)


def rate_of(offer: Offer, *, spot: bool, price: float | None = None, bid: float | None = None) -> Rate:
    """`price` is what the user says that a machine costs an hour, in place of what the cloud says."""
    if price is not None:
        return Rate(price, max(price, bid or 0.0) if spot else price)
    if not spot:
        return Rate(offer.on_demand, offer.on_demand)
    if offer.spot is None:  # it is less than that, and how much less nobody says
        return Rate(offer.on_demand, offer.on_demand)
    dearest = [
        price for price in (offer.on_demand, None if bid is None else bid + DISK_AND_ADDRESS) if price is not None
    ]
    return Rate(offer.spot, max(offer.spot, min(dearest)) if dearest else None)


def spent(spells: Iterable[Spell], now: float) -> float:
    return sum(spell.spent(now) for spell in spells)


def committed(spells: Iterable[Spell], now: float) -> float:
    """What can have been spent, and what those that are alive can cost yet."""
    return sum(spell.committed(now) for spell in spells)


def affordable_lifetime(left: float | None, rate: Rate, machines: int, wanted: int) -> int:
    """Seconds that each of `machines` new ones may live with `left` dollars; at most `wanted`. 0: none may be launched.

    `left` None: as long as is wanted.
    """
    if left is None:
        return wanted
    if rate.ceiling is None:
        return 0
    if rate.ceiling <= 0:
        return wanted
    seconds = math.floor(max(left, 0.0) / (rate.ceiling * machines) * HOUR)
    return min(seconds, wanted) if seconds >= min(LEAST_LIFETIME, wanted) else 0


def default_lifetime(max_time: float | None) -> int:
    """Seconds: the search's own limit and some to spare, or a day."""
    return DEFAULT_LIFETIME if max_time is None else math.ceil(max_time) + SPARE


def experiment_cost(rate: Rate, seconds: float, slots: int) -> float | None:
    """Dollars of an experiment on a machine that runs `slots` at a time."""
    return None if rate.now is None else rate.now * seconds / HOUR / slots


# --- what the user types ----------------------------------------------------------------------------------------------


def parse_dollars(given: str | float | None, option: str) -> float | None:
    """`20`, `$20`, `0.35`."""
    if given is None:
        return None
    amount = _amount(str(given).strip().removeprefix("$"))
    if amount is None:
        raise BadInput(f"{option} {given!r} is no amount of dollars; write for example 20 or 0.35")
    return amount


def parse_bid(given: str | float | None, on_demand: float | None) -> float | None:
    """`0.35` or `$0.35` an hour, or `60%` of the price on demand."""
    if given is None:
        return None
    text = str(given).strip()
    if not text.endswith("%"):
        amount = _amount(text.removeprefix("$"))
        if amount is None:
            raise BadInput(f"--bid {given!r}: write dollars an hour, such as 0.35, or a part of the price, such as 60%")
        return amount
    percent = _amount(text.removesuffix("%").strip())
    if percent is None:
        raise BadInput(f"--bid {given!r} is no percentage; write for example 60%")
    if on_demand is None:
        raise BadInput(f"--bid {given!r}: the price on demand is not known; give the bid in dollars, or --price too")
    return on_demand * percent / 100


def _amount(text: str) -> float | None:
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)", text):
        return None
    amount = float(text)
    return amount if 0 < amount < 1e9 else None


# --- what the user reads ----------------------------------------------------------------------------------------------


def dollars(amount: float | None) -> str:
    """`$0.042`, `$3.86`, `$1,204`; prices an hour keep the digits that matter."""
    if amount is None:
        return "not known"
    if amount >= 1000:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 0.0995 or amount == 0 else f"${amount:.2g}"


def hours(seconds: float) -> str:
    """`5 minutes`, `1.5 hours`, `24 hours`"""
    if seconds < 2 * HOUR:
        whole = max(round(seconds / 60), 1)
        return "1 minute" if whole == 1 else f"{whole} minutes"
    return f"{round(seconds / HOUR, 1):g} hours"


@dataclass(frozen=True)
class Quote:
    """What a search in a cloud can cost. `idle` and `lifetime` in seconds."""

    cloud: str
    machines: int
    offer: Offer
    spot: bool
    lifetime: int
    price: float | None = None
    bid: float | None = None
    max_cost: float | None = None
    idle: float = 300.0
    notes: tuple[str, ...] = ()

    @property
    def most(self) -> float | None:
        """Dollars that all machines can cost in their lifetime."""
        ceiling = rate_of(self.offer, spot=self.spot, price=self.price, bid=self.bid).ceiling
        whole = None if ceiling is None else ceiling * self.machines * self.lifetime / HOUR
        known = [amount for amount in (whole, self.max_cost) if amount is not None]
        return min(known) if known else None

    @property
    def text(self) -> str:
        offer = self.offer
        what = f"{self.machines} machine{'s' if self.machines > 1 else ''} {offer.machine_type}"
        gpus = f", {offer.gpus} GPU{'s' if offer.gpus > 1 else ''}" if offer.gpus else ""
        size = f"{offer.cpus} CPUs, {offer.ram / (1 << 30):.4g} GB{gpus}"
        lines = [f"{what} ({size}) of {self.cloud} in {offer.zone}, each for at most {hours(self.lifetime)}:"]
        if self.price is not None:
            lines.append(self._line("as you say", self.price, True))
        else:
            lines.append(self._line("spot", offer.spot, self.spot))
            lines.append(self._line("on demand", offer.on_demand, not self.spot))
        if self.spot and self.bid is not None:
            lines.append(f"  a spot machine is given up when it costs more than {dollars(self.bid)} an hour")
        lines.append(f"  a machine ends after {hours(self.idle)} without work, and with the search")
        if self.max_cost is not None:
            lines.append(f"  --max-cost ends the search before it costs more than {dollars(self.max_cost)}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _line(self, kind: str, price: float | None, chosen: bool) -> str:
        mark = "*" if chosen else " "
        if price is None:
            return f"{mark} {kind:10} price not known (--price says it)"
        whole = price * self.machines
        return (
            f"{mark} {kind:10} {dollars(price)} an hour each, {dollars(whole)} together: "
            f"{dollars(whole * self.lifetime / HOUR)} in all that time"
        )
