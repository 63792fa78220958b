"""CPUs and GPUs of this machine, and the share of one experiment."""

import itertools
import os
import re
import subprocess
import sys

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_DEVICE = re.compile(r"\d+|(GPU|MIG)-\S+")


def with_thread_share(env: dict[str, str], cpus: int) -> dict[str, str]:
    """Return `env` with the thread counts of numeric libraries set to `cpus`, except those that the user set."""
    return {**dict.fromkeys(_THREADS, str(max(1, cpus))), **env}


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs of this machine that CUDA_VISIBLE_DEVICES allows, named as in that variable.

    As CUDA reads it, the first name of no device ends the list: -1, or the NoDevFiles of Slurm.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = (name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(","))
        return list(itertools.takewhile(_DEVICE.fullmatch, names))
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(index) for index, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]
