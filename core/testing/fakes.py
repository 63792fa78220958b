"""Fake plugins for tests of complete searches in milliseconds.

Fake = fake_backend(lambda run: run.values["x"] ** 2)
studio.run("train.py", hyperparams={"x": [1, 2, 3]}, backend="fake", host=studio.create_host(plugins=[Fake.plugin()]))
[run.number for run in Fake.started]
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from studio.experiment import Outcome, Report, Run
from studio.hookspecs import hookimpl
from studio.interfaces import Backend, BackendContext

FOREVER = object()  # behaviour of a run that ends only when it is stopped

Behaviour = Callable[[Run], Any]
Order = Callable[[Sequence[Run]], Run]


class FakeBackend(Backend):
    """A backend that starts nothing. Each `poll` ends one run, by its behaviour; made by `fake_backend`.

    started   the runs it was given, over all sessions
    stops     (number, kill) of every call of `stop`
    most      maximum number of runs at a time
    closed    number of calls of `close`
    """

    name = "fake"
    behave: ClassVar[Behaviour]
    order: ClassVar[Order]
    started: ClassVar[list[Run]]
    stops: ClassVar[list[tuple[int, bool]]]
    most: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def __init__(self, options: Any, context: BackendContext):
        super().__init__(options, context)
        self._running: dict[int, Run] = {}
        self._stopped: list[int] = []

    @classmethod
    def plugin(cls) -> object:
        """Return a plugin with this backend, for `create_host(plugins=[...])`."""

        class Plugin:
            @hookimpl
            def studio_backends(self) -> list[type[Backend]]:
                return [cls]

        return Plugin()

    def start(self, run: Run) -> None:
        self.started.append(run)
        self._running[run.number] = run
        type(self).most = max(self.most, len(self._running))

    def poll(self, timeout: float) -> list[Report | Outcome]:
        if self._stopped:
            run = self._running.pop(self._stopped.pop(0))
            return [outcome_of(run, exit_code=None, signal="SIGTERM", reason="stopped", stopped=True)]
        waiting = dict(self._running)
        while waiting:
            run = waiting.pop(type(self).order(list(waiting.values())).number)
            done = type(self).behave(run)
            if done is not FOREVER:
                del self._running[run.number]
                return events_of(run, done)
        time.sleep(min(timeout, 0.01))
        return []

    def stop(self, number: int, *, kill: bool) -> None:
        self.stops.append((number, kill))
        if number in self._running and number not in self._stopped:
            self._stopped.append(number)

    def close(self) -> None:
        type(self).closed += 1
        self._running.clear()


def fake_backend(behave: Behaviour, order: Order = lambda running: running[0]) -> type[FakeBackend]:
    """Return a backend whose runs end by the result of `behave(run)`:

    a number            one report, then exit code 0
    a list              reports (numbers), and an `Outcome` if the list ends with one
    None                exit code 0 without a report
    an exception        exit code 1, with its text as the last line
    FOREVER             it continues, and is asked again at the next poll

    `order(running)` chooses the next run to end; default: the one started first.
    """
    members = {"behave": staticmethod(behave), "order": staticmethod(order), "started": [], "stops": []}
    return type("Fake", (FakeBackend,), members)


def events_of(run: Run, done: Any) -> list[Report | Outcome]:
    if isinstance(done, Exception):
        return [outcome_of(run, exit_code=1, reason=f"exit code 1: {done}")]
    values = [] if done is None else done if isinstance(done, list) else [done]
    outcomes = [value for value in values if isinstance(value, Outcome)]
    numbers = [value for value in values if not isinstance(value, Outcome)]
    reports = [Report(step, value, run.number, run.attempt) for step, value in enumerate(numbers, 1)]
    return [*reports, *(outcomes or [outcome_of(run, reason="" if reports else f"no {run.metric.name} came")])]


def outcome_of(run: Run, *, exit_code: int | None = 0, reason: str = "", **others: Any) -> Outcome:
    """Return an outcome of `run`, with the present time."""
    fields = {"signal": None, "started": time.time(), "finished": time.time(), **others}
    return Outcome(number=run.number, attempt=run.attempt, exit_code=exit_code, reason=reason, **fields)
