"""Choose Google machine types that meet the requirements, and their zones. Pure.

GPUs belong to a machine type (A2, A3, G2, G4), or are attached to one of N1, up to a number of cores.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from studio.backends.cloud.cloud import NotOffered, Offer, Order, Wanted
from studio.backends.cloud.gce.prices import Parts, Rates, price
from studio.backends.cloud.machine_types import GIB, MachineType, same_gpu, suitable, wanted_gpus
from studio.text import did_you_mean

MOST_TYPES = 10  # types offered
DISK, DISK_WITH_DRIVER = 16, 64  # least GiB: an image does not boot from a disk smaller than itself
ARM = ("t2a", "c4a", "n4a")  # series
HYPERDISK = ("c4", "c4a", "c4d", "n4", "n4a", "n4d", "h4d", "g4", "a4", "x4", "m4")  # series without Persistent Disk
# https://cloud.google.com/compute/docs/gpus: how many can be attached, and to at most how many cores of N1.
GUEST_GPUS = {
    "nvidia-tesla-t4": {1: 48, 2: 48, 4: 96},
    "nvidia-tesla-p4": {1: 24, 2: 48, 4: 96},
    "nvidia-tesla-p100": {1: 16, 2: 32, 4: 64},
    "nvidia-tesla-v100": {1: 12, 2: 24, 4: 48, 8: 96},
}
DEFAULT_GUEST = "nvidia-tesla-t4"  # the others are old, and used only if named


@dataclass(frozen=True)
class ZoneType(MachineType):
    """A machine type in one zone. `local_ssds`: partitions included."""

    zone: str = ""
    local_ssds: int = 0


def series(machine_type: str) -> str:
    """Return the series: `n2d` of `n2d-standard-4`; `n1` of `custom-4-8192`."""
    first = machine_type.partition("-")[0]
    return "n1" if first == "custom" else first


def read_type(answer: Any, zone: str) -> ZoneType:
    """Convert a `compute_v1.MachineType`."""
    gpus = list(answer.accelerators)
    # A shared core is cheap only while idle, which experiments are not. Metal takes many minutes to start.
    ordinary = (
        not answer.is_shared_cpu
        and not answer.name.endswith("-metal")
        and not answer.deprecated.state
        and series(answer.name) not in ARM
        and all(gpu.guest_accelerator_type.startswith("nvidia") for gpu in gpus)
    )
    return ZoneType(
        name=answer.name,
        zone=zone,
        cpus=answer.guest_cpus,
        ram=answer.memory_mb << 20,
        gpus=sum(gpu.guest_accelerator_count for gpu in gpus),
        gpu_type=gpus[0].guest_accelerator_type if gpus else "",
        local_ssds=answer.bundled_local_ssds.partition_count,
        ordinary=ordinary,
    )


def with_guests(types: Iterable[ZoneType], zone_gpus: dict[str, set[str]], wanted: Wanted) -> Iterator[ZoneType]:
    """Yield `types`, and types of N1 with GPUs attached to them. `zone_gpus`: GPUs that can be attached, by zone."""
    for kind in types:
        yield kind
        if series(kind.name) != "n1" or not wanted_gpus(wanted) or kind.gpus:
            continue
        known = set(GUEST_GPUS) if wanted.gpu_type else {DEFAULT_GUEST}
        for gpu in sorted(zone_gpus.get(kind.zone, set()) & known):
            for count, most_cpus in GUEST_GPUS[gpu].items():
                if count >= wanted_gpus(wanted) and kind.cpus <= most_cpus:
                    yield replace(kind, gpus=count, gpu_type=gpu)
                    break


def choose(types: Iterable[ZoneType], wanted: Wanted, rates: Rates, region: str, near: str = "") -> list[Offer]:
    """Return offers, cheapest first, and of equal ones first those in zone `near`. Raises NotOffered if there are none."""
    found = suitable(types, wanted, f"Google in {region}")
    priced = [(kind, _offer(kind, wanted, rates)) for kind in found]

    def rank(entry: tuple[ZoneType, Offer]) -> tuple[Any, ...]:
        kind, offer = entry
        hourly = offer.spot if wanted.spot else offer.on_demand
        return math.inf if hourly is None else hourly, kind.size, kind.zone != near

    offers = [offer for _, offer in sorted(priced, key=rank)]
    names = list(dict.fromkeys(offer.machine_type for offer in offers))[:MOST_TYPES]
    return [offer for offer in offers if offer.machine_type in names]


def guest_gpus(order: Order) -> str | None:
    """Return the GPU to attach; None if there is none, or the machine type has its own."""
    if not order.gpus or series(order.machine_type) != "n1":
        return None
    asked = order.gpu_type or DEFAULT_GUEST
    found = next((name for name in GUEST_GPUS if same_gpu(name, asked)), None)
    if found is None:
        raise NotOffered(
            f"--gpu-type {asked!r} cannot be attached to {order.machine_type}{did_you_mean(asked, GUEST_GPUS)}"
        )
    return found


def disk_type(machine_type: str) -> str:
    return "hyperdisk-balanced" if series(machine_type) in HYPERDISK else "pd-balanced"


def disk_gib(hdd: int, gpus: int) -> int:
    """Return the size of the disk in GiB. `hdd` in bytes."""
    return max(math.ceil(hdd / GIB), DISK_WITH_DRIVER if gpus else DISK)


def _offer(kind: ZoneType, wanted: Wanted, rates: Rates) -> Offer:
    parts = Parts(
        machine_type=kind.name,
        cpus=kind.cpus,
        ram=kind.ram,
        disk=disk_gib(wanted.hdd or 0, kind.gpus) * GIB,
        disk_type=disk_type(kind.name),
        gpus=kind.gpus,
        gpu_type=kind.gpu_type,
        local_ssds=kind.local_ssds,
    )
    return Offer(
        machine_type=kind.name,
        zone=kind.zone,
        cpus=kind.cpus,
        gpus=kind.gpus,
        ram=kind.ram,
        on_demand=price(rates, parts, spot=False),
        spot=price(rates, parts, spot=True),
    )
