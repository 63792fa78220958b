"""What one machine costs an hour, and how far that may rise."""

from dataclasses import dataclass

from studio.backends.cloud.cloud import Offer


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
