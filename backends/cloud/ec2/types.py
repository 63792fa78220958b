"""Machine types of Amazon, read from DescribeInstanceTypes. Pure."""

import re
from typing import Any

from studio.backends.cloud.machine_types import MachineType

# Their last driver is older than the one in the default GPU image: used only if named.
OLD_GPUS = {"K520", "K80", "M60", "V100"}


def read_type(answer: dict[str, Any]) -> MachineType:
    gpus = answer.get("GpuInfo", {}).get("Gpus", [])
    # A part of a GPU counts 0. Burstable machines are cheap only while idle, which experiments are not. Metal takes many
    # minutes to start. An image fits one architecture. Types before Nitro (2017) have other disks.
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
    """Return whether a type is Graviton, by its name: a1, t4g, m7gd, c8gn."""
    return bool(re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", machine_type))


def is_burstable(machine_type: str) -> bool:
    return bool(re.match(r"(t2|t3a?|t4g)\.", machine_type))
