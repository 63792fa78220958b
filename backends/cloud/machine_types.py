"""Choose the machine types that meet the requirements, and the closest if none does. Pure."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from studio.backends.cloud.cloud import NotOffered, Wanted
from studio.text import did_you_mean

GIB = 1 << 30
LEAST_RAM = 2 * GIB  # unless a type is named: Studio and a script with numpy need that much


@dataclass(frozen=True)
class MachineType:
    """A machine type of a cloud. `ram` in bytes. `ordinary`: may be chosen without being named."""

    name: str
    cpus: int
    gpus: int
    ram: int
    gpu_type: str = ""
    ordinary: bool = True

    def __str__(self) -> str:
        gpus = f", {self.gpus} gpus {self.gpu_type}" if self.gpus else ""
        return f"{self.name} ({self.cpus} cpus, {self.ram / GIB:g} GB{gpus})"

    @property
    def size(self) -> tuple[int, int, int, str]:
        """Sort key for when no price is known."""
        return self.gpus, self.cpus, self.ram, self.name


Kind = TypeVar("Kind", bound=MachineType)


def suitable(types: Iterable[Kind], wanted: Wanted, where: str, old_gpus: Collection[str] = ()) -> list[Kind]:
    """Return the types that meet `wanted`, smallest first. Raises NotOffered if none does, naming the closest.

    `where`: as in "no machine of EC2 in us-east-1"; `old_gpus`: used only if named.
    """
    types = [kind for kind in types if wanted.machine_type is not None or kind.ordinary]
    found = [kind for kind in types if _has(kind, wanted)]
    if wanted.gpu_type is None and wanted.machine_type is None:
        found = [kind for kind in found if kind.gpu_type not in old_gpus]
    if not found:
        raise NotOffered(_nothing(types, wanted, where))
    return sorted(found, key=lambda kind: kind.size)


def gpu_key(name: str) -> str:
    """Return a key of a GPU's name: the same for `nvidia-h100-mega-80gb` and `H100 80GB Mega`."""
    words = re.split(r"[ -]+", name.lower())
    return "-".join(sorted(word for word in words if word not in ("nvidia", "tesla", "")))


def same_gpu(name: str, asked: str) -> bool:
    """Return whether the cloud's "nvidia-tesla-t4" is what was asked for: t4, Tesla T4, nvidia-t4; H100 matches all its
    variants.
    """
    return set(gpu_key(asked).split("-")) <= set(gpu_key(name).split("-"))


def wanted_gpus(wanted: Wanted) -> int:
    return max(wanted.gpus, 1) if wanted.gpu_type else wanted.gpus


def _has(kind: MachineType, wanted: Wanted) -> bool:
    return all(have >= want for have, want in _needs(kind, wanted))


def _needs(kind: MachineType, wanted: Wanted) -> list[tuple[int, int]]:
    """Return pairs of what the type has and what is wanted."""
    fits = not wanted.gpu_type or same_gpu(kind.gpu_type, wanted.gpu_type)
    return [
        (kind.cpus, wanted.cpus or 0),
        (kind.ram, wanted.ram or (0 if wanted.machine_type else LEAST_RAM)),
        (kind.gpus if fits else 0, wanted_gpus(wanted)),
    ]


def _nothing(types: list[Kind], wanted: Wanted, where: str) -> str:
    if wanted.machine_type is not None:
        told = ", ".join(sorted({str(kind) for kind in types}))
        return (
            f"--machine-type {told} is too small for {_options(wanted)}; name a larger one, or leave "
            "--machine-type out for the cheapest that fits"
        )
    names = {kind.gpu_type for kind in types if kind.gpu_type}
    if wanted.gpu_type and not any(same_gpu(name, wanted.gpu_type) for name in names):
        close = did_you_mean(wanted.gpu_type, names)
        return f"--gpu-type {wanted.gpu_type!r}: no machine of {where} has one{close}"
    closest = max(types, key=lambda kind: _closeness(kind, wanted), default=None)
    return f"no machine of {where} has {_options(wanted)}; the closest is {closest}"


def _closeness(kind: MachineType, wanted: Wanted) -> tuple[float, tuple[int, ...]]:
    share = 1.0
    for have, want in _needs(kind, wanted):
        share *= min(have / want, 1.0) if want else 1.0
    return share, (-kind.gpus, -kind.cpus, -kind.ram)


def _options(wanted: Wanted) -> str:
    gpus = wanted_gpus(wanted)
    parts = [
        f"{wanted.cpus} cpus" if wanted.cpus else "",
        f"{wanted.ram_given or f'{wanted.ram / GIB:g} GB'} of memory" if wanted.ram else "",
        f"{gpus} gpus {wanted.gpu_type or ''}".strip() if gpus else "",
        "spot" if wanted.spot else "",
    ]
    return ", ".join(part for part in parts if part) or "anything"
