"""The quote: what a search in a cloud can cost, shown before it starts."""

from dataclasses import dataclass

from studio.backends.cloud.cloud import Offer
from studio.backends.cloud.spending import HOUR, rate_of
from studio.format import money


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
