"""A backend with its own worker processes: `studio run --backend=pool --num-workers=4 …`.

    backend                                              worker (python -m studio_pool)
    start(run), stop(number)   -- JSON lines, stdin -->  studio.Runner: folder, process, limits, metric
    poll() -> reports, outcome  <-- JSON lines, stdout --

A worker runs one experiment at a time. When its standard input ends, it kills the experiment and ends, so that nothing
outlives a killed backend. For workers on other machines, put another command into `Worker`.
"""

import base64
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import Any

import numpy as np

import studio

LOOK = 0.1  # seconds until a busy worker notices a message
PATIENCE = 30.0  # seconds in which a worker has to end


class PoolBackend(studio.Backend):
    """Runs experiments in a pool of worker processes, started when needed. If a worker dies its experiment fails, and another
    worker takes its place.
    """

    name = "pool"

    def __init__(self, options: studio.Backend.Options, context: studio.BackendContext):
        super().__init__(options, context)
        self._slots = context.slots
        self._workers: list[Worker] = []
        self._waiting: deque[studio.Run] = deque()
        self._known: set[tuple[int, int]] = set()  # number and attempt of what waits or runs
        self._events: list[studio.Report | studio.Outcome] = []  # for the next poll
        self._selector = selectors.DefaultSelector()

    def start(self, run: studio.Run) -> None:
        if (run.number, run.attempt) not in self._known:
            self._known.add((run.number, run.attempt))
            self._waiting.append(run)
            self._give_out()

    def poll(self, timeout: float) -> list[studio.Report | studio.Outcome]:
        for key, _ in self._selector.select(0 if self._events else timeout):
            self._hear(key.data)
        self._give_out()
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, studio.Outcome):
                self._known.discard((event.number, event.attempt))
        return events

    def stop(self, number: int, *, kill: bool) -> None:
        for worker in self._workers:
            if worker.run is not None and worker.run.number == number:
                worker.stopping = True
                worker.say({"stop": number, "kill": kill})
        for run in [run for run in self._waiting if run.number == number]:
            self._waiting.remove(run)
            self._events.append(ended(run, "stopped", time.time(), stopped=True))

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._selector.close()

    def _give_out(self) -> None:
        """Give waiting experiments to idle workers."""
        while self._waiting:
            for worker in [worker for worker in self._workers if worker.run is None and worker.is_dead]:
                self._bury(worker)
            worker = next((worker for worker in self._workers if worker.run is None), None)
            if worker is None and len(self._workers) == self._slots:
                return
            if worker is None:
                worker = Worker()
                self._workers.append(worker)
                self._selector.register(worker.channel.source, selectors.EVENT_READ, worker)
            worker.begin(self._waiting.popleft())

    def _hear(self, worker: "Worker") -> None:
        """Handle the messages of a worker, or its death."""
        messages = worker.channel.read()
        for message in messages or ():
            if "report" in message:
                self._events.append(studio.Report(**message["report"]))
            else:
                self._events.append(studio.Outcome(**message["outcome"]))
                worker.run = None
        if messages is None:
            self._bury(worker)

    def _bury(self, worker: "Worker") -> None:
        self._selector.unregister(worker.channel.source)
        self._workers.remove(worker)
        cause = worker.end()
        if worker.run is not None:
            reason = "stopped" if worker.stopping else f"worker died ({cause})"
            self._events.append(ended(worker.run, reason, worker.started, stopped=worker.stopping))


class Worker:
    """A worker process, and its experiment."""

    def __init__(self) -> None:
        self.run: studio.Run | None = None
        self.started = 0.0
        self.stopping = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studio_pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the search, which lets the experiments end
        )
        self.channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def begin(self, run: studio.Run) -> None:
        self.run, self.started, self.stopping = run, time.time(), False
        self.say({"start": asdict(run)})

    def say(self, message: dict[str, Any]) -> None:
        try:
            self.channel.write(message)
        except BrokenPipeError:  # it has died, which the next poll sees
            pass

    def hang_up(self) -> None:
        self._process.stdin.close()

    def end(self) -> str:
        """Wait for the process to end, kill what it left running, and return its exit status as text."""
        self.hang_up()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process.stdout.close()
        if self.run is not None:
            studio.kill_tree(None, self.run.folder)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def ended(run: studio.Run, reason: str, started: float, *, stopped: bool) -> studio.Outcome:
    now = time.time()
    return studio.Outcome(run.number, run.attempt, None, None, reason, started, now, now - started, stopped)


# --- the worker -------------------------------------------------------------------------------------------------------


def work() -> None:
    """Run the experiments sent on standard input, until it ends."""
    channel = Channel(0, os.dup(1))
    os.dup2(2, 1)  # output of plugins is not a message
    runner, busy = studio.Runner(studio.create_host()), False
    try:
        while True:
            if select.select([channel.source], [], [], 0 if busy else None)[0]:
                messages = channel.read()
                if messages is None:
                    return
                for message in messages:
                    if "start" in message:
                        runner.start(run_of(message["start"]))
                        busy = True
                    else:
                        runner.stop(message["stop"], kill=message["kill"])
            for event in runner.poll(LOOK) if busy else ():
                busy = busy and not isinstance(event, studio.Outcome)
                channel.write({"report" if isinstance(event, studio.Report) else "outcome": asdict(event)})
    except BrokenPipeError:  # the backend has ended
        pass
    finally:
        runner.close()


def run_of(data: dict[str, Any]) -> studio.Run:
    return studio.Run(
        **{**data, "metric": studio.Metric(**data["metric"]), "resources": studio.Resources(**data["resources"])}
    )


# --- messages ---------------------------------------------------------------------------------------------------------


class Channel:
    """A channel of JSON objects, one a line, from one file descriptor and to another."""

    def __init__(self, source: int, target: int):
        self.source, self._target = source, target
        self._rest = b""

    def write(self, message: dict[str, Any]) -> None:
        data = memoryview(json.dumps(message, default=packed).encode() + b"\n")
        while data:
            data = data[os.write(self._target, data) :]

    def read(self) -> list[dict[str, Any]] | None:
        """Return the complete messages; None if the other end is closed. Call it when there is something to read."""
        chunk = os.read(self.source, 1 << 16)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line, object_hook=unpacked) for line in lines] if chunk else None


def packed(value: Any) -> dict[str, Any]:
    """Return a value of a `Run` for which JSON has no type."""
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"array": value.tolist(), "dtype": str(value.dtype)}


def unpacked(data: dict[str, Any]) -> Any:
    if data.keys() == {"bytes"}:
        return base64.b64decode(data["bytes"])
    if data.keys() == {"array", "dtype"}:
        return np.array(data["array"], dtype=data["dtype"])
    return data


@studio.hookimpl
def studio_backends() -> list[type[studio.Backend]]:
    return [PoolBackend]


if __name__ == "__main__":
    work()
