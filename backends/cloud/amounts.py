"""Dollars as the user types them."""

import re

from studio.errors import BadInput

HOUR = 3600.0


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
