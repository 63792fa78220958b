"""Backend `local`: experiments as processes of this machine, `slots` at a time."""

import os
from typing import Any

from studio.errors import BadInput
from studio.execution.runner import Runner
from studio.experiment import Outcome, Report, Run
from studio.format import counted
from studio.hookspecs import hookimpl
from studio.interfaces import Backend, BackendContext
from studio.system.machine import usable_cpus, visible_gpus, with_thread_share


class LocalBackend(Backend):
    """Experiments as processes in their own sessions. Slots share the CPUs evenly; GPUs by CUDA_VISIBLE_DEVICES."""

    name = "local"

    def __init__(self, options: Any, context: BackendContext):
        super().__init__(options, context)
        self._runner = Runner(context.host)
        self._env = with_thread_share(dict(os.environ), usable_cpus() // context.slots)
        self._free_gpus: list[str] | None = None
        self._gpus_of: dict[tuple[int, int], list[str]] = {}

    def estimate(self) -> None:
        """Check that this machine has the GPUs; nothing here costs money."""
        wanted, slots = self.context.settings.gpus, self.context.slots
        if wanted and len(visible_gpus()) < wanted * slots:
            raise BadInput(
                f"--gpus {wanted} for {counted(slots, 'worker')}: this machine has {counted(len(visible_gpus()), 'visible GPU')}"
            )

    def start(self, run: Run) -> None:
        env = dict(self._env)
        if run.resources.cpus:
            env = with_thread_share(dict(os.environ), run.resources.cpus)
        if run.resources.gpus and (run.number, run.attempt) not in self._gpus_of:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(self._take_gpus(run))
        self._runner.start(run, env)

    def poll(self, timeout: float) -> list[Report | Outcome]:
        events = self._runner.poll(timeout)
        for event in events:
            if isinstance(event, Outcome) and self._free_gpus is not None:
                self._free_gpus += self._gpus_of.pop((event.number, event.attempt), [])
        return events

    def stop(self, number: int, *, kill: bool) -> None:
        self._runner.stop(number, kill=kill)

    def close(self) -> None:
        self._runner.close()

    def _take_gpus(self, run: Run) -> list[str]:
        if self._free_gpus is None:
            self._free_gpus = visible_gpus()
        wanted = run.resources.gpus
        if len(self._free_gpus) < wanted:
            raise BadInput(
                f"--gpus {wanted}: {len(self._free_gpus)} GPUs are free for experiment {run.key}; lower --num-workers or --gpus"
            )
        taken, self._free_gpus = self._free_gpus[:wanted], self._free_gpus[wanted:]
        self._gpus_of[run.number, run.attempt] = taken
        return taken


@hookimpl
def studio_backends() -> list[Any]:
    return [LocalBackend]
