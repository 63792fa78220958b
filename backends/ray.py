"""Backend `ray`: experiments as tasks of a Ray cluster.

    studio run --backend=ray --num-workers=8 …                     a Ray of its own on this machine
    studio run --backend=ray:auto …                                the cluster that this machine belongs to
    studio run --backend=ray://head:10001 --num-workers=64 …       another cluster: KubeRay, `ray up`

Nodes need Studio and the script's packages. Ray schedules by `--cpus`, `--gpus` and `--ram`; a script sees its GPUs in
CUDA_VISIBLE_DEVICES.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from studio.backends.engine import EngineBackend
from studio.backends.engine_task import carry_out
from studio.entry_points import install_command
from studio.errors import BadInput
from studio.experiment import Run
from studio.hookspecs import hookimpl
from studio.options import parse_bytes
from studio.settings import Settings
from studio.system.machine import usable_cpus

CALL_TIMEOUT = 20.0  # seconds
CONNECT_TIMEOUT = 10.0  # seconds


class RayBackend(EngineBackend):
    """Experiments on the nodes of a Ray cluster; without an address, on one that this process starts."""

    name = "ray"

    def connect(self) -> None:
        try:
            import ray
        except ImportError:
            raise BadInput(f"--backend=ray needs Ray: {install_command('ray')}") from None
        self._ray = ray
        self._mine = not ray.is_initialized()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if not self._mine:
                return
            if not self._address:
                # Only on loopback, and with a CPU for each slot, whatever this machine has.
                ray.init(num_cpus=self._slots, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                _check_port(self._address)
                address = f"ray:{self._address}" if self._address.startswith("//") else self._address
                ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise BadInput(
                f"--backend=ray:{self._address}: no Ray cluster responds there ({type(error).__name__}); "
                "start one with: ray start --head"
            ) from error

    def disconnect(self) -> None:
        if self._mine:
            self._ray.shutdown()

    def is_connected(self) -> bool:
        return bool(self._ray.is_initialized())

    def check(self, settings: Settings) -> None:
        wanted = self._wanted(settings.cpus, settings.gpus, settings.ram)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in nodes):
            asked = ", ".join(f"{name} {amount:g}" for name, amount in wanted.items() if amount)
            largest = ", ".join(f"{name} {max((n.get(name, 0.0) for n in nodes), default=0.0):g}" for name in wanted)
            raise BadInput(f"no Ray node has {asked}; the largest has {largest}")

    def _wanted(self, cpus: int | None, gpus: int, ram: str | None) -> dict[str, float]:
        """Return the resources by which Ray schedules one experiment; on a Ray of our own a slot is a CPU."""
        wanted = {"CPU": float(cpus or 1) if self._address else 1.0, "GPU": float(gpus)}
        return wanted | ({"memory": float(parse_bytes(ram, "--ram"))} if ram else {})

    def submit(self, job: dict[str, Any], run: Run, done: Callable[[Any], None]) -> Any:
        wanted = self._wanted(run.resources.cpus, run.resources.gpus, run.resources.ram)
        task = self._ray.remote(carry_out).options(
            num_cpus=wanted["CPU"],
            num_gpus=wanted["GPU"],
            memory=wanted.get("memory"),
            max_retries=0,  # a lost run is tried again by the driver, as a new attempt
            name=f"studio {run.key}",
        )
        handle = task.remote(job)
        handle.future().add_done_callback(lambda ended: done(ended.exception() or ended.result()))
        return handle

    def cancel_waiting(self, handle: Any) -> None:
        """Cancel a task that waits. Ray would raise an exception in a running one and lose its outcome: it ends by command."""
        if handle is None:
            return
        from ray.util.state import get_task

        with contextlib.suppress(Exception):  # the state API is informational, and may be late or absent
            state = get_task(handle.task_id().hex(), timeout=2)
            if state is not None and str(getattr(state, "state", "")).startswith("PENDING"):
                self._ray.cancel(handle)

    def places(self) -> list[str]:
        return [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]

    def call(self, place: str, function: Callable[..., Any], *arguments: Any) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(place, soft=False)
        beside = self._ray.remote(function).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
        return self._ray.get(beside.remote(*arguments), timeout=CALL_TIMEOUT)

    def threads(self) -> int | None:
        return None if self._address else max(1, usable_cpus() // self._slots)


def _check_port(address: str) -> None:
    """Raise OSError if no server listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("//").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()


@hookimpl
def studio_backends() -> list[Any]:
    return [RayBackend]
