"""Dollars: what a machine costs an hour, what machines have cost, what may still be spent, and how they are typed. Pure:
dollars, hours' prices, seconds.

The promise of `--max-cost`: what all machines can have cost until now, and what those that are alive can still cost
until their lifetime ends them, never exceeds it together. Each hour counts with the most that its price may have risen
to. So a machine is launched only with a lifetime that fits; nobody has to be awake for the promise to hold.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.backends.cloud.cloud import Offer
from studio.errors import BadInput

HOUR = 3600.0
LEAST_BILLED = 60.0  # seconds; Amazon and Google bill seconds from there on
LEAST_USEFUL = 900  # seconds: with money for less, a machine does little more than start


@dataclass(frozen=True)
class Rate:
    """Dollars an hour of one machine. None: not known.

    now      what it costs
    ceiling  what it can come to cost: a spot price may rise to the bid, or without one to the price on demand
    """

    now: float | None
    ceiling: float | None


def rate_of(offer: Offer, *, spot: bool, price: float | None = None, bid: float | None = None) -> Rate:
    """`price` is what the user says that a machine costs an hour, in place of what the cloud says."""
    if price is not None:
        return Rate(price, max(price, bid or 0.0) if spot else price)
    if not spot:
        return Rate(offer.on_demand, offer.on_demand)
    if offer.spot is None:  # it is less than that, and how much less nobody says
        return Rate(offer.on_demand, offer.on_demand)
    dearest = [price for price in (offer.on_demand, None if bid is None else bid + offer.besides) if price is not None]
    return Rate(offer.spot, max(offer.spot, min(dearest)) if dearest else None)


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
    return min(seconds, wanted) if seconds >= min(LEAST_USEFUL, wanted) else 0


def experiment_cost(rate: Rate, seconds: float, slots: int) -> float | None:
    """Dollars of an experiment on a machine that runs `slots` at a time."""
    return None if rate.now is None else rate.now * seconds / HOUR / slots


# --- as they are typed ------------------------------------------------------------------------------------------------


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
