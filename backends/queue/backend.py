"""A backend whose experiments run on workers of a bucket: the driver's side."""

import contextlib
import shlex
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.backends.queue import shipping
from studio.backends.queue.background import Background
from studio.backends.queue.bucket import PASSING, Bucket, BucketError, BucketFull
from studio.backends.queue.job_queue import JobQueue, JobState
from studio.backends.queue.lease_records import JobOutcome
from studio.backends.queue.results import PassedOn, lost, on_our_clock, outcome_of, stopped
from studio.errors import StudioError
from studio.execution.run_folder import recorded_events
from studio.experiment import Outcome, Report, Run
from studio.interfaces import Backend, BackendContext

NEWS = 0.05  # seconds between two checks of transfers
AGAIN = 2.0  # seconds until a failed transfer is retried
ALONE = 10.0  # seconds without a worker after which the user is told how to start one
KILLED = 10.0  # seconds for a worker to confirm a kill
UNTOLD = 10.0  # seconds to deliver a stop to a worker
CLOSING = 10.0  # seconds for last messages to workers


@dataclass
class _Travel:
    """A run in flight: its files go to the bucket, a worker has it, its files come back."""

    run: Run
    job: str
    passed_on: PassedOn
    begun: float
    earliest: float = 0.0  # its script cannot have started before; 0.0: sent by an earlier session
    moving: "Future[Any] | None" = None
    repeated: int = 0  # how often its job was submitted again
    asked: str = ""  # "stop" or "kill", once requested
    told: str = ""  # the request that was written to the bucket
    wanted: float = 0.0  # monotonic time of the last request
    ended: JobOutcome | None = None


class BucketBackend(Backend):
    """Submits runs to the workers of a bucket. A driver that starts a run again attaches to its job.

    A subclass says in `open` which bucket, by `use`.
    """

    bucket: Bucket
    queue: JobQueue
    look: float

    def __init__(self, options: Any, context: BackendContext):
        super().__init__(options, context)
        self._travels: dict[str, _Travel] = {}
        self._taken_over: dict[
            tuple[int, int], _Travel
        ] = {}  # number and attempt whose result came from the attempt before it
        self._recorded: list[Report | Outcome] = []  # of runs that ended before this session
        self._shipper: shipping.Shipper | None = None
        self._sending = Background(1, "send")  # in order, each blob once
        self._fetching = Background(min(8, context.slots), "fetch")
        self._looking = Background(1, "look")
        self._found: Future[tuple[dict[str, JobState], list[JobOutcome]]] | None = None
        self._looked = 0.0
        self._alone_since: float | None = None
        self._said: set[str] = set()

    def use(self, bucket: Bucket, look: float | None = None) -> None:
        """Give runs to the workers of `bucket`.

        look    seconds between two looks into it: two requests and one for each heartbeat, and clouds bill them.
                Default: as often as such a bucket likes
        """
        self.bucket, self.queue = bucket, JobQueue(bucket)
        self.look = look or bucket.driver_look

    def start(self, run: Run) -> None:
        if recorded := recorded_events(run):  # on this machine, or brought home from another place
            self._recorded += recorded
            return
        project = Path(run.folder).parent.parent
        project.mkdir(parents=True, exist_ok=True)
        if self._shipper is None:
            self._shipper = shipping.Shipper(self.bucket, project)
        job = f"{shipping.search_id(project)}-{run.number:08}-{run.attempt:04}"
        if job in self._travels:
            return
        travel = _Travel(run, job, PassedOn(run.metric), time.time())
        self._travels[job] = travel
        before = self._taken_over.pop((run.number, run.attempt), None)
        if before is not None:
            travel.ended = before.ended
            travel.moving = self._fetching.submit(self._fetch, travel)
        else:
            travel.moving = self._sending.submit(self._send, travel)

    def poll(self, timeout: float) -> list[Report | Outcome]:
        deadline = time.monotonic() + timeout
        try:
            while not (events := self._news()) and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(left, NEWS))
        except (BucketFull, shipping.DiskFull) as error:  # running experiments are awaited again after resume
            projects = {travel.run.project for travel in self._travels.values()}
            raise type(error)(f"{error}; free some, then: studio resume {' '.join(projects)}") from error
        return events

    def stop(self, number: int, *, kill: bool) -> None:
        for travel in self._travels.values():
            if travel.run.number == number:
                asked = "kill" if kill else travel.asked or "stop"
                if asked != travel.asked:
                    travel.asked, travel.wanted = asked, time.monotonic()
        self._looked = 0.0  # the next poll writes the request

    def close(self) -> None:
        """Ask workers to end what still runs, if the bucket responds. If not, they finish it for the next driver."""
        self._end_runs()
        self.bucket.close()

    def _end_runs(self) -> None:
        """Ask workers to kill what still runs. No outcome comes after this."""
        self._sending.close()
        self._fetching.close()
        self._looking.close()
        left = list(self._travels.values())
        self._travels.clear()
        for travel in left:
            travel.asked = "kill"
        if left:
            last = Background(1, "close")
            with contextlib.suppress(BucketError, NotInTime):
                last.submit(self._tell_workers, left).result(CLOSING)
            last.close()

    def _news(self) -> list[Report | Outcome]:
        events, self._recorded = self._recorded, []
        for travel in list(self._travels.values()):
            if travel.moving is not None and travel.moving.done():
                moved, travel.moving = travel.moving, None
                events += self._moved(travel, moved)
            elif travel.ended is None and (why := self._overdue(travel)):
                del self._travels[travel.job]
                events.append(stopped(travel.run, travel.begun, f"stopped; {why}"))
        if self._found is not None and self._found.done():
            found, self._found = self._found, None
            events += self._seen(found)
        if self._found is None and time.monotonic() - self._looked >= self.look:
            self._looked = time.monotonic()
            self._found = self._looking.submit(self._look)
        return events

    def _overdue(self, travel: _Travel) -> str:
        """Return why the requested end of a run is no longer awaited, or ""."""
        since = time.monotonic() - travel.wanted
        if travel.asked == "kill" and since >= KILLED:
            return "its worker has not answered yet"
        return "its worker could not be told" if travel.asked != travel.told and since >= UNTOLD else ""

    # --- files ------------------------------------------------------------------------------------------------------

    def _send(self, travel: _Travel, after: float = 0.0) -> None:
        time.sleep(after)
        assert self._shipper is not None
        if travel.job not in self._travels:
            return  # no longer wanted
        if self.queue.submit(travel.job, self._shipper.job_body(travel.run)):
            travel.earliest = travel.begun

    def _fetch(self, travel: _Travel, after: float = 0.0) -> None:
        time.sleep(after)
        assert travel.ended is not None
        shipping.fetch_outputs(self.bucket, travel.ended.job, travel.ended.attempt, Path(travel.run.folder))

    def _moved(self, travel: _Travel, moved: "Future[Any]") -> list[Report | Outcome]:
        """Handle the end of a transfer, in either direction."""
        move, through = (self._send, self._sending) if travel.ended is None else (self._fetch, self._fetching)
        try:
            moved.result()
        except PASSING as error:
            self.trouble(error)
            if travel.asked and travel.ended is None:
                del self._travels[travel.job]
                return [stopped(travel.run, travel.begun, "stopped before it could be sent")]
            travel.moving = through.submit(move, travel, AGAIN)
            return []
        except (BucketError, shipping.DiskFull):
            raise
        except Exception as error:
            if travel.ended is None and not isinstance(error, StudioError | OSError):
                raise  # results come from other machines: an invalid one fails only its run
            del self._travels[travel.job]
            what = "its files could not be sent" if travel.ended is None else "its files could not be fetched"
            return [lost(travel.run, travel.begun, f"{what}: {error}")]
        return [] if travel.ended is None else self._end(travel, travel.ended)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _look(self) -> tuple[dict[str, JobState], list[JobOutcome]]:
        """Return the states of jobs, and those that ended. In a thread: the driver does not wait for the bucket."""
        self._tell_workers(list(self._travels.values()))
        states = self.queue.look()
        if any(state.silent for state in states.values()):
            self.bucket.check_room()  # its worker may be alive, but unable to write a heartbeat
        return states, self.queue.outcomes()  # last, as each comes once

    def _seen(self, found: "Future[tuple[dict[str, JobState], list[JobOutcome]]]") -> list[Report | Outcome]:
        """Return live values, and fetch the files of outcomes, which are returned afterwards."""
        try:
            states, ended = found.result()
        except PASSING as error:
            self.trouble(error)
            return []
        for outcome in ended:
            states.pop(outcome.job, None)
            if (travel := self._travels.get(outcome.job)) is not None:
                travel.ended = outcome
                travel.moving = self._fetching.submit(self._fetch, travel)
        self._watch_for_workers(states.values())
        return [event for state in states.values() for event in self._live(state)]

    def _tell_workers(self, travels: Iterable[_Travel]) -> None:
        for travel in travels:
            if travel.ended is None and travel.asked != travel.told:
                self.queue.cancel(travel.job, kill=travel.asked == "kill")
                travel.told = travel.asked

    def _live(self, state: JobState) -> list[Report | Outcome]:
        travel = self._travels.get(state.job)
        return [] if travel is None else self._reports(travel, state.attempt, state.live)

    def _reports(self, travel: _Travel, attempt: int, body: dict[str, Any] | None) -> list[Report | Outcome]:
        run = travel.run
        new = travel.passed_on.new((travel.job, attempt), (body or {}).get("reports"))
        return [Report(step, value, run.number, run.attempt, source) for step, value, source in new]

    def _end(self, travel: _Travel, ended: JobOutcome) -> list[Report | Outcome]:
        run = travel.run
        reports = self._reports(travel, ended.attempt, ended.body)
        outcome = on_our_clock(outcome_of(run, travel.begun, ended), travel.earliest)
        del self._travels[travel.job]
        if outcome.stopped and not travel.asked:
            self._give_out_again(travel)
            return []
        if travel.passed_on.mixed and not outcome.failed:
            # Reports of a lost attempt cannot be withdrawn. So that attempt ends here as lost, and the next one has
            # the result.
            self._taken_over[run.number, run.attempt + 1] = travel
            reason = "its first worker was lost; the result of the worker that finished it is used"
            return [*reports, lost(run, travel.begun, reason)]
        return [*reports, outcome]

    def _give_out_again(self, travel: _Travel) -> None:
        """Submit a run again that was stopped on request of an earlier driver, which died before it got the outcome."""
        travel.repeated += 1
        travel.job, travel.ended = f"{travel.job.partition('.')[0]}.{travel.repeated}", None
        self._travels[travel.job] = travel
        travel.moving = self._sending.submit(self._send, travel)

    # --- messages to the user ----------------------------------------------------------------------------------------

    def trouble(self, error: BucketError) -> None:
        """Report that the bucket does not respond. Workers and driver continue."""
        self._say_once(type(error).__name__, f"no response, retrying: {error}")

    def _watch_for_workers(self, states: Iterable[JobState]) -> None:
        at_work = [bool(state.worker) and not state.silent for state in states]
        if not at_work or any(at_work):
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since >= ALONE:
            command = f"studio worker {shlex.quote(self.bucket.url)}"
            gpus = max((travel.run.resources.gpus for travel in self._travels.values()), default=0)
            kind, where = (
                (f" with {gpus} free GPUs", "a machine that has them and") if gpus else ("", "any machine that")
            )
            self._say_once("alone", f"no worker{kind} is running; start one on {where} has access: {command}")

    def _say_once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.context.notify(text)
