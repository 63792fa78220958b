"""Which of Amazon's machine types do. Pure functions of what DescribeInstanceTypes answers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from studio.backends.machines.cloud import CloudDenied, Wanted
from studio.text import did_you_mean

GIB = 1 << 30
LEAST_RAM = 2 * GIB  # unless one is named: Studio and a script with numpy do not fit into less
# Their last driver is older than the one in the default GPU image: only for those who name them.
OLD_GPUS = {"K520", "K80", "M60", "V100"}


@dataclass(frozen=True)
class MachineType:
    name: str
    cpus: int
    gpus: int
    ram: int
    gpu_type: str = ""
    ordinary: bool = True  # one to choose unasked

    def __str__(self) -> str:
        gpus = f", {self.gpus} gpus {self.gpu_type}" if self.gpus else ""
        return f"{self.name} ({self.cpus} cpus, {self.ram / GIB:g} GB{gpus})"

    @property
    def size(self) -> tuple[int, int, int, str]:
        """What to sort by where no price is known."""
        return self.gpus, self.cpus, self.ram, self.name


def read_type(answer: dict[str, Any]) -> MachineType:
    gpus = answer.get("GpuInfo", {}).get("Gpus", [])
    # A part of a GPU counts 0. Burstable machines are cheap as long as they rest, which experiments do not do.
    # Metal takes many minutes to start. An image fits one architecture. Those before Nitro (2017) have other disks.
    ordinary = (
        not answer.get("BurstablePerformanceSupported")
        and not answer.get("BareMetal")
        and answer.get("Hypervisor") == "nitro"
        and "x86_64" in answer["ProcessorInfo"]["SupportedArchitectures"]
        and all(gpu.get("Manufacturer") == "NVIDIA" for gpu in gpus)
    )
    return MachineType(
        name=answer["InstanceType"],
        cpus=answer["VCpuInfo"]["DefaultVCpus"],
        gpus=sum(gpu.get("Count", 0) for gpu in gpus),
        ram=answer["MemoryInfo"]["SizeInMiB"] << 20,
        gpu_type=gpus[0].get("Name", "") if gpus else "",
        ordinary=ordinary,
    )


def is_arm(machine_type: str) -> bool:
    """Graviton, by its name: a1, t4g, m7gd, c8gn."""
    return bool(re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", machine_type))


def is_burstable(machine_type: str) -> bool:
    return bool(re.match(r"(t2|t3a?|t4g)\.", machine_type))


def suitable(types: Iterable[MachineType], wanted: Wanted, where: str) -> list[MachineType]:
    """Those that have what is wanted, the smallest first. CloudDenied without any, saying what comes closest."""
    types = [kind for kind in types if wanted.machine_type is not None or kind.ordinary]
    found = [kind for kind in types if all(have >= want for have, want in _needs(kind, wanted))]
    if wanted.gpu_type is None and wanted.machine_type is None:
        found = [kind for kind in found if kind.gpu_type not in OLD_GPUS]
    if found:
        return sorted(found, key=lambda kind: kind.size)
    if wanted.machine_type is not None:
        told = ", ".join(str(kind) for kind in types)
        raise CloudDenied(f"{told} has less than you asked for: {describe(wanted)}")
    names = {kind.gpu_type for kind in types if kind.gpu_type}
    if wanted.gpu_type and not any(same_gpu(name, wanted.gpu_type) for name in names):
        raise CloudDenied(
            f"no machine of EC2 in {where} has a {wanted.gpu_type!r}{did_you_mean(wanted.gpu_type, names)}"
        )
    closest = max(types, key=lambda kind: _closeness(kind, wanted), default=None)
    raise CloudDenied(f"no machine of EC2 in {where} has {describe(wanted)}; the closest is {closest}")


def same_gpu(name: str, asked: str) -> bool:
    """Whether EC2's "L40S" is what was asked for: l40s, nvidia-l40s, NVIDIA L40S."""
    short, long = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (name, asked))
    return bool(short) and long in (short, f"nvidia{short}", f"nvidiatesla{short}", f"tesla{short}")


def describe(wanted: Wanted) -> str:
    parts = [
        f"{wanted.cpus} cpus" if wanted.cpus else "",
        f"{wanted.ram / GIB:g} GB of memory" if wanted.ram else "",
        f"{_gpus(wanted)} gpus {wanted.gpu_type or ''}".strip() if _gpus(wanted) else "",
        "spot" if wanted.spot else "",
    ]
    return ", ".join(part for part in parts if part) or "anything"


def _gpus(wanted: Wanted) -> int:
    return max(wanted.gpus, 1) if wanted.gpu_type else wanted.gpus


def _needs(kind: MachineType, wanted: Wanted) -> list[tuple[int, int]]:
    fits = not wanted.gpu_type or same_gpu(kind.gpu_type, wanted.gpu_type)
    return [
        (kind.cpus, wanted.cpus or 0),
        (kind.ram, wanted.ram or (0 if wanted.machine_type else LEAST_RAM)),
        (kind.gpus if fits else 0, _gpus(wanted)),
    ]


def _closeness(kind: MachineType, wanted: Wanted) -> tuple[float, tuple[int, ...]]:
    share = 1.0
    for have, want in _needs(kind, wanted):
        share *= min(have / want, 1.0) if want else 1.0
    return share, (-kind.gpus, -kind.cpus, -kind.ram)
