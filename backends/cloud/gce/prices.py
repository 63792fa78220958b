"""Prices of machines of Google Compute Engine an hour, from the Cloud Billing Catalog.

Google sells cores, memory, GPUs, disks and addresses, each as an SKU with a description:

    Spot Preemptible N2D AMD Instance Core running in Americas   ->  spot       n2d core
    Nvidia L4 GPU running in Americas                            ->  on_demand  gpu l4
    Balanced PD Capacity                                         ->  on_demand  disk pd-balanced

The catalogue has some 30,000 SKUs, so those of one region are kept for a day. A machine with a part that is not found
has no price: a sum without it would be too low.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studio.backends.cloud.gce.errors import google_errors
from studio.backends.cloud.machine_types import GIB, gpu_key
from studio.backends.cloud.prices import DAY, PriceCache, Prices

CATALOGUE = "https://cloudbilling.googleapis.com"
COMPUTE_ENGINE = "6F81-5844-456A"  # its id in the catalogue
MONTH = 730  # hours, by Google's count
LOCAL_SSD = 375  # GiB of one partition, in all series but Z3
ADDRESS = 0.005  # dollars an hour, if the catalogue does not say
SHARED_CORES = {"e2-micro": 0.25, "e2-small": 0.5, "e2-medium": 1.0}  # billed cores of the two visible ones

# "on_demand" and "spot" -> dollars an hour by "e2 core", "e2 ram" (a GiB), "gpu t4" ...
Rates = dict[str, dict[str, float]]

_MACHINE = re.compile(
    r"(?:Spot Preemptible )?(?P<series>[A-Z]\d\w*)(?: (?:AMD|Arm|Predefined|Memory-optimized))? Instance "
    r"(?P<part>Core|Ram) running in .*"
)
_C2 = re.compile(r"(?:Spot Preemptible )?Compute optimized (?:Instance )?(?P<part>Core|Ram) running in .*")
_GPU = re.compile(r"Nvidia (?P<name>.+?) GPU (?:attached to Spot Preemptible VMs )?running in .*")
_OTHER = {
    re.compile(r"Balanced PD Capacity(?: in .*)?"): "disk pd-balanced",
    re.compile(r"Hyperdisk Balanced Capacity(?: in .*)?"): "disk hyperdisk-balanced",
    re.compile(r"SSD backed Local Storage(?: attached to Spot Preemptible VMs)?(?: in .*)?"): "local ssd",
    re.compile(r"External IP Charge on a Standard VM.*"): "address",
    re.compile(r"External IP Charge on a Spot Preemptible VM.*"): "spot address",
}


@dataclass(frozen=True)
class Parts:
    """The billed parts of a machine. `ram` and `disk` in bytes; `local_ssds`: partitions included in the machine type."""

    machine_type: str
    cpus: int
    ram: int
    disk: int
    disk_type: str
    gpus: int = 0
    gpu_type: str | None = None
    local_ssds: int = 0


def price(rates: Rates, parts: Parts, *, spot: bool) -> float | None:
    """Return dollars an hour, with the disk and the address; None if a part's price is unknown."""
    whole, running = rates["on_demand"], rates["spot" if spot else "on_demand"]
    series = billed_series(parts.machine_type)
    needed = [
        (running.get(f"{series} core"), SHARED_CORES.get(parts.machine_type, parts.cpus)),
        (running.get(f"{series} ram"), parts.ram / GIB),
        (whole.get(f"disk {parts.disk_type}"), parts.disk / GIB),
        (whole.get("spot address" if spot else "address", ADDRESS), 1),
    ]
    if parts.gpus:
        needed.append((running.get(f"gpu {gpu_key(parts.gpu_type or '')}"), parts.gpus))
    if parts.local_ssds:
        known = None if series == "z3" else running.get("local ssd")
        needed.append((known, parts.local_ssds * LOCAL_SSD))
    total = 0.0
    for rate, amount in needed:
        if rate is None:
            return None
        total += rate * amount
    return total


def billed_series(machine_type: str) -> str:
    """Return `n2d` for `n2d-standard-4`. The larger types of A3 have prices of their own."""
    series, _, kind = machine_type.partition("-")
    if series == "a3":
        return {"megagpu": "a3plus", "ultragpu": "a3ultra"}.get(kind.partition("-")[0], series)
    return "custom" if kind.startswith("custom") else series


def rates_of(skus: Iterator[dict[str, Any]], region: str) -> Rates:
    """Return the catalogue's prices of one region. Of two prices for the same part, the higher one."""
    rates: Rates = {"on_demand": {}, "spot": {}}
    for sku in skus:
        usage = sku.get("category", {}).get("usageType")
        key = _key(sku.get("description", ""))
        if usage not in ("OnDemand", "Preemptible") or key is None:
            continue
        if not {region, "global"} & set(sku.get("serviceRegions", [])):
            continue
        rate = _dollars(sku)
        if rate is not None:
            kind = rates["spot" if usage == "Preemptible" and not key.endswith("address") else "on_demand"]
            kind[key] = max(rate, kind.get(key, 0.0))
    return rates


def _key(description: str) -> str | None:
    if found := _MACHINE.fullmatch(description):
        return f"{found['series'].lower()} {found['part'].lower()}"
    if found := _C2.fullmatch(description):
        return f"c2 {found['part'].lower()}"
    if found := _GPU.fullmatch(description):
        return f"gpu {gpu_key(found['name'])}"
    return next((key for pattern, key in _OTHER.items() if pattern.fullmatch(description)), None)


def _dollars(sku: dict[str, Any]) -> float | None:
    """Return dollars an hour of one unit, of the last tier: the account may have used up the free ones."""
    with contextlib.suppress(KeyError, IndexError, ValueError, TypeError):
        expression = sku["pricingInfo"][-1]["pricingExpression"]
        unit = expression["tieredRates"][-1]["unitPrice"]
        dollars = int(unit.get("units") or 0) + int(unit.get("nanos") or 0) / 1e9
        if unit.get("currencyCode", "USD") != "USD":
            return None
        return dollars / MONTH if expression.get("usageUnit", "").endswith("mo") else dollars
    return None


def load_rates(session: Any, region: str, *, catalogue: str = CATALOGUE) -> Rates:
    """Return the prices of a region. `session` is an HTTP session with credentials. The catalogue needs no role, only the
    Cloud Billing API enabled in the project.
    """

    def ask() -> Prices:
        with google_errors("prices of Google"):
            rates = rates_of(_skus(session, catalogue), region)
        return {f"{kind} {part}": price for kind in rates for part, price in rates[kind].items()}

    rates: Rates = {"on_demand": {}, "spot": {}}
    for name, price in PriceCache(f"gce-prices-{region}").get("all", DAY, ask).items():
        kind, _, part = name.partition(" ")
        rates[kind][part] = price
    return rates


def _skus(session: Any, catalogue: str) -> Iterator[dict[str, Any]]:
    page = ""
    while True:
        answer = session.get(
            f"{catalogue}/v1/services/{COMPUTE_ENGINE}/skus",
            params={"pageSize": 5000, "currencyCode": "USD", **({"pageToken": page} if page else {})},
            timeout=(5, 60),
        )
        answer.raise_for_status()
        body = answer.json()
        yield from body.get("skus", [])
        page = body.get("nextPageToken", "")
        if not page:
            return
