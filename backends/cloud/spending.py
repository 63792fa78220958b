"""Dollars that a machine costs an hour, that the user types, and the quote of what a search can cost. Pure: dollars, hours'
prices, seconds. What machines have cost: `ledger`.

The promise of `--max-cost`: the cost of all machines until now, and the cost of running ones until their lifetime ends
them, never exceed it together. Each hour counts with the highest price that may have applied. So a machine is launched
only with a lifetime that fits; the promise holds even if no driver runs.
"""

import math
import re
from dataclasses import dataclass

from studio.backends.cloud.cloud import Offer
from studio.errors import BadInput
from studio.format import money

HOUR = 3600.0
LEAST_USEFUL = 900  # seconds: with money for less, a machine does little more than start


@dataclass(frozen=True)
class Rate:
    """Dollars an hour of one machine; None: unknown.

    now      the present price
    ceiling  the highest possible price: a spot price may rise to the bid, or without one to the on-demand price
    """

    now: float | None
    ceiling: float | None


def rate_of(offer: Offer, *, spot: bool, price: float | None = None, bid: float | None = None) -> Rate:
    """Return the rate of an offer. `price` is the user's price an hour, used instead of the cloud's."""
    if price is not None:
        return Rate(price, max(price, bid or 0.0) if spot else price)
    if not spot:
        return Rate(offer.on_demand, offer.on_demand)
    if offer.spot is None:  # the spot price is lower, but unknown
        return Rate(offer.on_demand, offer.on_demand)
    dearest = [price for price in (offer.on_demand, None if bid is None else bid + offer.besides) if price is not None]
    return Rate(offer.spot, max(offer.spot, min(dearest)) if dearest else None)


def affordable_lifetime(left: float | None, rate: Rate, machines: int, wanted: int) -> int:
    """Return the seconds that each of `machines` new ones may live with `left` dollars; at most `wanted`. 0: none may be
    launched. `left` None: no limit.
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
    """Return the dollars of an experiment on a machine that runs `slots` at a time; None: unknown."""
    return None if rate.now is None else rate.now * seconds / HOUR / slots


# --- as they are typed ------------------------------------------------------------------------------------------------


def parse_dollars(given: str | float | None, option: str) -> float | None:
    """Parse `20`, `$20` or `0.35`. Raises BadInput."""
    if given is None:
        return None
    amount = _amount(str(given).strip().removeprefix("$"))
    if amount is None:
        raise BadInput(f"{option} {given!r} is not an amount of dollars; write for example 20 or 0.35")
    return amount


def parse_bid(given: str | float | None, on_demand: float | None) -> float | None:
    """Parse `0.35` or `$0.35` an hour, or `60%` of the on-demand price, into dollars an hour. Raises BadInput."""
    if given is None:
        return None
    text = str(given).strip()
    if not text.endswith("%"):
        amount = _amount(text.removeprefix("$"))
        if amount is None:
            raise BadInput(
                f"--bid {given!r}: give dollars per hour, such as 0.35, or a percentage of the price, such as 60%"
            )
        return amount
    percent = _amount(text.removesuffix("%").strip())
    if percent is None:
        raise BadInput(f"--bid {given!r} is not a percentage; write for example 60%")
    if on_demand is None:
        raise BadInput(f"--bid {given!r}: the on-demand price is unknown; give the bid in dollars, or --price as well")
    return on_demand * percent / 100


def _amount(text: str) -> float | None:
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)", text):
        return None
    amount = float(text)
    return amount if 0 < amount < 1e9 else None


# --- the quote, shown before a search starts ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Quote:
    """Costs that a search in a cloud can have. `idle` and `lifetime` in seconds."""

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
        """Dollars that all machines can cost in their lifetime; None: unknown."""
        ceiling = rate_of(self.offer, spot=self.spot, price=self.price, bid=self.bid).ceiling
        whole = None if ceiling is None else ceiling * self.machines * self.lifetime / HOUR
        known = [amount for amount in (whole, self.max_cost) if amount is not None]
        return min(known) if known else None

    @property
    def text(self) -> str:
        offer = self.offer
        what = f"{self.machines} machine{'s' if self.machines > 1 else ''} {offer.machine_type}"
        gpus = f", {offer.gpus} GPU{'s' if offer.gpus > 1 else ''}" if offer.gpus else ""
        many = "s" if offer.cpus != 1 else ""
        size = f"{offer.cpus} CPU{many}, {offer.ram / (1 << 30):.4g} GB{gpus}"
        lines = [f"{what} ({size}) of {self.cloud} in {offer.zone}, each for at most {hours(self.lifetime)}:"]
        if self.price is not None:
            lines.append(self._line("--price", self.price, True))
        else:
            lines.append(self._line("spot", offer.spot, self.spot))
            lines.append(self._line("on demand", offer.on_demand, not self.spot))
        if self.spot and self.bid is not None:
            lines.append(f"  a spot machine ends when it costs more than {money(self.bid)} an hour")
        lines.append(f"  a machine ends after {hours(self.idle)} without work, and with the search")
        if self.max_cost is not None:
            lines.append(f"  --max-cost ends the search before it costs more than {money(self.max_cost)}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    @property
    def _unknown(self) -> str:
        if self.spot and self.offer.on_demand is not None:
            return "; counted as on demand"
        return "; look it up and pass --price=DOLLARS (per machine and hour)"

    def _line(self, kind: str, price: float | None, chosen: bool) -> str:
        mark = "*" if chosen else " "
        if price is None:
            return f"{mark} {kind:10} price unknown{self._unknown if chosen else ''}"
        whole = price * self.machines
        return (
            f"{mark} {kind:10} {money(price)} an hour each, {money(whole)} together: "
            f"{money(whole * self.lifetime / HOUR)} in all that time"
        )


def hours(seconds: float) -> str:
    """Format seconds as `5 minutes`, `1.5 hours`, `24 hours`."""
    if seconds < 2 * HOUR:
        whole = max(round(seconds / 60), 1)
        return "1 minute" if whole == 1 else f"{whole} minutes"
    return f"{round(seconds / HOUR, 1):g} hours"
