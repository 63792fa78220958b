"""Backend `dask`: experiments as tasks of a Dask cluster.

    studio run --backend=dask --num-workers=8 …                        a cluster on this machine
    studio run --backend=dask:tcp://host:8786 --num-workers=64 …       an existing one: Coiled, dask-jobqueue, dask-kubernetes
    studio run --backend=dask:scheduler.json …                         the same, by its scheduler file

Workers need Studio and the script's packages. `--cpus` and `--gpus` ask for the worker resources CPU and GPU.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.backends.engine import EngineBackend
from studio.backends.engine_task import aside, carry_out
from studio.entry_points import install_command
from studio.errors import BadInput
from studio.experiment import Run
from studio.hookspecs import hookimpl
from studio.settings import Settings
from studio.system.machine import usable_cpus

CONNECT_TIMEOUT = 15.0  # seconds


class DaskBackend(EngineBackend):
    """Experiments on the workers of a Dask scheduler; without an address, on a cluster of this process."""

    name = "dask"

    def connect(self) -> None:
        try:
            from distributed import Client, Scheduler, SpecCluster, Worker
        except ImportError:
            raise BadInput(f"--backend=dask needs distributed: {install_command('dask')}") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the search reports errors
        self._cluster = None
        try:
            if not self._address:
                # In this process: no interpreter has to start. Both listen for HTTP whatever they are told, by default
                # on all interfaces and on port 8787.
                options = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
                worker = {"cls": Worker, "options": {**options, "nthreads": self._slots}}
                self._cluster = SpecCluster(
                    scheduler={"cls": Scheduler, "options": options},
                    workers={0: worker},
                    silence_logs=logging.CRITICAL,
                )
                self._client = Client(self._cluster)
            else:
                where = {"address": self._address}
                if "://" not in self._address and self._address.endswith(".json"):
                    Path(self._address).read_bytes()  # the client would wait for it for ever
                    where = {"scheduler_file": self._address}
                self._client = Client(**where, timeout=CONNECT_TIMEOUT, name="studio")
        except (OSError, ValueError) as error:
            raise BadInput(
                f"--backend=dask:{self._address}: no Dask scheduler responds there ({type(error).__name__}); "
                "start one with: dask scheduler"
            ) from error

    def disconnect(self) -> None:
        self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=5)

    def is_connected(self) -> bool:
        return str(self._client.status) in ("running", "connecting")

    def check(self, settings: Settings) -> None:
        """Compare with the resources that workers declare; `--cpus` counts if they declare CPU."""
        if not settings.gpus:
            return
        most = max((worker.get("resources", {}).get("GPU", 0.0) for worker in self._workers().values()), default=0.0)
        if settings.gpus > most:
            raise BadInput(
                f"--gpus {settings.gpus}: no Dask worker declares as many ({most:g}); "
                f'start workers with --resources "GPU={settings.gpus}"'
            )

    def submit(self, job: dict[str, Any], run: Run, done: Callable[[Any], None]) -> Any:
        key = f"studio-{job['search']}-{run.number}-{run.attempt}"
        future = self._client.submit(carry_out, job, key=key, pure=False, resources=self._resources(run) or None)
        future.add_done_callback(lambda ended: done(_result_of(ended)))
        return future

    def cancel_waiting(self, handle: Any) -> None:
        if handle is not None and not self._client.processing().get(handle.key):
            handle.cancel(force=True)

    def places(self) -> list[str]:
        """Return one worker for each host."""
        workers = self._workers()
        return list({worker["host"]: address for address, worker in workers.items()}.values())

    def call(self, place: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.run(aside, function, *arguments, workers=[place])[place]

    def threads(self) -> int | None:
        return max(1, usable_cpus() // self._slots) if self._cluster is not None else None

    def _workers(self) -> dict[str, Any]:
        info = self._client.scheduler_info(n_workers=-1)
        if "workers" not in info:
            raise ConnectionError("the scheduler is gone")
        workers: dict[str, Any] = info["workers"]
        return workers

    def _resources(self, run: Run) -> dict[str, float]:
        """Return the worker resources that the run takes, as far as workers declare them."""
        wanted = {"CPU": float(run.resources.cpus or 0), "GPU": float(run.resources.gpus)}
        if not any(wanted.values()):
            return {}
        declared = [worker.get("resources", {}) for worker in self._workers().values()]
        return {
            name: amount
            for name, amount in wanted.items()
            if amount and any(each.get(name, 0.0) >= amount for each in declared)
        }


def _result_of(future: Any) -> Any:
    """Return the result of `carry_out`, or the exception that prevented it."""
    if future.status == "finished":
        try:
            return future.result(timeout=30)
        except Exception as error:
            return error
    if future.status == "error":
        return future.exception(timeout=30) or RuntimeError("the task failed")
    return RuntimeError(f"the task was {future.status}")


@hookimpl
def studio_backends() -> list[Any]:
    return [DaskBackend]
