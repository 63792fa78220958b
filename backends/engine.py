"""Experiments as tasks of an engine with its own scheduler: the base of `dask` and `ray`.

    driver                                     engine              one of its machines (engine_task)
    start ─ submit(carry_out, job) ──────────► schedules ────────► carry_out: the common runner
    look ── call(machine, look_at) ──────────────────────────────► reports, log, event files, so far
    Outcome ◄── result, or an exception ◄──────────────────────── outcome, and the files of the run

An engine may start a task again when it loses a worker. Such a run is reported as lost and retried as a new attempt,
unless no report of the first execution was passed on: two executions are never mixed.
"""

import contextlib
import json
import queue
import secrets
import shutil
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from studio.backends import engine_task
from studio.backends.queue.archives import Unreadable, unpack
from studio.backends.queue.results import lost, on_our_clock, stopped
from studio.backends.queue.shipping import BLOBS, OUTPUTS, Shipper
from studio.errors import EndSearch, StudioError
from studio.execution.run_folder import recorded_events
from studio.experiment import Outcome, Report, Run
from studio.interfaces import Backend, BackendContext
from studio.options import option
from studio.settings import Settings

LOOK = 1.0  # seconds between two polls of the running tasks
CALL_TIMEOUT = 20.0  # seconds for a machine to answer a short call
CLOSE_TIMEOUT = 30.0
GONE = 30.0  # seconds without the scheduler after which the search ends
KILL_TIMEOUT = 15.0  # seconds after a kill until the run counts as stopped


@dataclass
class _Task:
    """A run that was submitted to the engine."""

    run: Run
    handle: Any = None
    started: float = field(default_factory=time.time)
    id: str = ""  # of the execution whose reports were passed on
    passed: int = 0  # number of these reports
    command: str = ""  # "stop" or "kill", once somebody wants its end
    killed: float = 0.0  # monotonic time of the first "kill"
    seen: dict[str, int] = field(default_factory=dict)  # file -> bytes received
    part: bytes = b""  # incomplete last line of news.jsonl


class EngineBackend(Backend):
    """Experiments on an engine. A subclass connects to its engine, in the methods at the end.

    `context.slots` experiments are submitted at a time; how many run depends on the engine's workers.
    """

    @dataclass(frozen=True)
    class Options(Backend.Options):
        address: str = option("", "ADDRESS", "Address of the engine. Default: start one in this process.")

        after_colon: ClassVar[str | None] = "address"

    def __init__(self, options: Options, context: BackendContext):
        super().__init__(options, context)
        self._slots, self._address, self._notice = context.slots, options.address, context.notify
        self._search = f"{int(time.time()):x}{secrets.token_hex(4)}"
        self._tasks: dict[tuple[int, int], _Task] = {}
        self._lock = threading.RLock()
        self._events: queue.SimpleQueue[Report | Outcome | StudioError] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[_Task, Any]] = queue.SimpleQueue()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._pushed: dict[tuple[str, str], int] = {}  # machine, blob -> bytes sent
        self._finished: list[str] = []
        self._answered = time.monotonic()
        self._project: Path | None = None
        self._shipper: Shipper | None = None
        self._blobs: _PackedBlobs | None = None
        self._token = secrets.token_hex(16)
        self._shared = True
        self._calls = ThreadPoolExecutor(16, thread_name_prefix="studio-engine")
        self._looker = threading.Thread(target=self._keep_looking, daemon=True)
        self._connected = False
        self._is_lost = False  # whether the engine no longer responds

    # --- the interface of a backend ---------------------------------------------------------------------------------

    def place(self) -> str:
        return f"{self.name}:{self._address}"

    def estimate(self) -> None:
        """Connect to the engine, and check that a worker has the resources of one experiment; nothing here costs money."""
        self._connect()
        self.check(self.context.settings)

    def open(self, project: Path) -> None:
        self._connect()
        self._meet(project)
        self._looker.start()

    def _connect(self) -> None:
        if not self._connected:
            self.connect()
            self._connected = True

    def start(self, run: Run) -> None:
        with self._lock:
            if (run.number, run.attempt) in self._tasks:
                return
            if recorded := recorded_events(run):  # on this machine, or brought home from another place
                for event in recorded:
                    self._events.put(event)
                return
            task = self._tasks[run.number, run.attempt] = _Task(run)
            self._submit(task)

    def poll(self, timeout: float) -> list[Report | Outcome]:
        events: list[Report | Outcome] = []
        with contextlib.suppress(queue.Empty):
            event = self._events.get(timeout=max(0.0, timeout))
            while True:
                if isinstance(event, StudioError):
                    raise event
                events.append(event)
                event = self._events.get_nowait()
        return events

    def stop(self, number: int, *, kill: bool) -> None:
        with self._lock:
            for task in self._tasks.values():
                if task.run.number == number:
                    if kill and task.command != "kill":
                        task.killed = time.monotonic()
                    task.command = "kill" if kill else task.command or "stop"
                    with contextlib.suppress(Exception):
                        self.cancel_waiting(task.handle)
        self._wake.set()

    def close(self) -> None:
        """End all tasks on the engine, within `CLOSE_TIMEOUT` seconds."""
        self._closing.set()
        self._wake.set()
        if not self._connected:
            return
        if self._looker.is_alive():
            self._looker.join(CALL_TIMEOUT)
        with self._lock:
            for task in self._tasks.values():
                with contextlib.suppress(Exception):
                    self.cancel_waiting(task.handle)
            self._tasks.clear()
        left = threading.Thread(target=self._leave, daemon=True)  # in a thread, as a lost engine does not respond
        left.start()
        left.join(CLOSE_TIMEOUT)
        if self._project is not None:
            (self._project / ".engine").unlink(missing_ok=True)
        if self._blobs is not None:
            self._blobs.remove()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        if not self._is_lost:
            with contextlib.suppress(Exception):
                self._everywhere(engine_task.leave, self._search)
        with contextlib.suppress(Exception):
            self.disconnect()

    # --- starting ---------------------------------------------------------------------------------------------------

    def _meet(self, project: Path) -> None:
        """Find out whether the machines see the project's folder, and which versions they have."""
        self._project = project
        project.mkdir(parents=True, exist_ok=True)
        (project / ".engine").write_text(self._token)
        self._blobs = _PackedBlobs(project / ".engine-blobs")
        self._shipper = Shipper(self._blobs, project)
        answers = self._everywhere(engine_task.describe, str(project), self._token)
        self._shared = all(answer["sees"] for answer in answers.values())
        here = engine_task.describe(str(project), self._token)["versions"]
        for place, answer in answers.items():
            other = answer["versions"]
            names = [name for name in {**here, **other} if here.get(name) != other.get(name)]
            if names:
                differences = ", ".join(f"{n} {other.get(n, 'missing')} (here {here.get(n, 'missing')})" for n in names)
                self._notice(f"{place} has {differences}")

    def _submit(self, task: _Task) -> None:
        run = task.run
        job: dict[str, Any] = {
            "search": self._search,
            "number": run.number,
            "attempt": run.attempt,
            "folder": str(self._project),
            "token": self._token,
            "threads": self.threads(),
            "run": run if self._shared else None,
            "python": run.argv[:1] == [sys.executable],
        }
        if not self._shared:
            assert self._shipper is not None
            job["body"] = self._shipper.job_body(run)
        try:
            task.handle = self.submit(job, run, lambda result: self._note_end(task, result))
        except StudioError:
            raise
        except Exception as error:  # raised by the engine's client
            self._note_end(task, error)

    def _note_end(self, task: _Task, result: Any) -> None:
        """Record the end of a task; called by the engine, in any thread."""
        self._done.put((task, result))
        self._wake.set()

    # --- in the polling thread -----------------------------------------------------------------------------------------

    def _keep_looking(self) -> None:
        next_look = 0.0
        while not self._closing.is_set():
            self._wake.wait(LOOK / 4)
            commanded = self._wake.is_set()
            self._wake.clear()
            try:
                self._take_results()
                now = time.monotonic()
                with self._lock:
                    pending = any(task.command for task in self._tasks.values())
                    old = any(time.time() - task.started > LOOK / 2 for task in self._tasks.values())
                if old and (now >= next_look or (commanded and pending)):
                    self._look()
                    next_look = time.monotonic() + LOOK
                elif not self._tasks:
                    self._answered = now
                self._give_up_on_deaf()
            except Exception as error:  # raised by the engine's client: tried again
                if time.monotonic() - self._answered > GONE or not self.is_connected():
                    self._lose(f"{self.name} no longer responds ({_one_line(error)})")
                    return

    def _lose(self, reason: str) -> None:
        """End the search: the outcomes there are unknown, so the runs count as stopped and run again on resume."""
        self._is_lost = True
        self._events.put(EndSearch(reason, "failed"))
        with self._lock:
            for task in list(self._tasks.values()):
                self._end(task, stopped(task.run, task.started, reason))

    def _look(self) -> None:
        with self._lock:
            commands = {f"{n}-{a}": task.command for (n, a), task in self._tasks.items() if task.command}
            seen = {task.id: dict(task.seen) for task in self._tasks.values() if task.id}
        finished, self._finished = self._finished, []
        for place, answer in self._everywhere(engine_task.look_at, self._search, seen, commands, finished).items():
            for run_id, pieces in answer["runs"].items():
                self._take_news(run_id, pieces)
            for name in answer["wants"]:
                self._push(place, name)

    def _take_news(self, run_id: str, pieces: dict[str, tuple[int, bytes]]) -> None:
        number, attempt, _ = run_id.split("-")
        with self._lock:
            task = self._tasks.get((int(number), int(attempt)))
            if task is None:
                return
            if task.id not in ("", run_id):
                if task.passed:  # started again elsewhere, after reports of the first were passed on
                    self._end(task, lost(task.run, task.started, "its worker was lost"))
                    self.cancel_waiting(task.handle)
                    return
                task.seen, task.part = {}, b""
            task.id = run_id
            for file, (offset, data) in pieces.items():
                if offset != task.seen.get(file, 0):
                    continue  # another process of the same machine responded, too
                task.seen[file] = offset + len(data)
                if file == "news.jsonl":
                    *lines, task.part = (task.part + data).split(b"\n")
                    for line in lines:
                        self._report(task, json.loads(line))
                else:
                    _append(Path(task.run.folder), file.removeprefix("run/"), offset, data)

    def _report(self, task: _Task, report: list[Any]) -> None:
        task.passed += 1
        step, value, source = report
        self._events.put(Report(step, float(value), task.run.number, task.run.attempt, source))

    def _push(self, place: str, name: str) -> None:
        """Send a blob to a machine that wants it, in pieces; other machines are polled in between."""
        assert self._blobs is not None
        until = time.monotonic() + LOOK
        archive = self._blobs.path(name)
        size = archive.stat().st_size
        while time.monotonic() < until:
            offset = self._pushed.get((place, name), 0)
            with open(archive, "rb") as file:
                file.seek(offset)
                data = file.read(engine_task.PIECE)
            last = offset + len(data) >= size
            self.call(place, engine_task.receive, self._search, name, offset, data, last)
            self._pushed[place, name] = 0 if last else offset + len(data)
            if last:
                return
        self._wake.set()

    def _take_results(self) -> None:
        while True:
            try:
                task, result = self._done.get_nowait()
            except queue.Empty:
                return
            with self._lock:
                if self._tasks.get((task.run.number, task.run.attempt)) is not task:
                    continue
            if isinstance(result, BaseException):
                try:
                    self.places()
                except Exception:  # the scheduler is lost, or temporarily away
                    self._done.put((task, result))
                    raise
            self._answered = time.monotonic()
            if isinstance(result, dict) and result.get("unseen"):
                self._shared = False
                self._submit(task)
                continue
            self._end(task, self._outcome_of(task, result))

    def _outcome_of(self, task: _Task, result: Any) -> Outcome:
        run = task.run
        if isinstance(result, BaseException):
            if task.command:
                return stopped(run, task.started, "stopped")
            return lost(run, task.started, f"its worker was lost: {_one_line(result)}")
        if "error" in result:
            return lost(run, task.started, f"could not start: {result['error']}")
        if task.passed and task.id != result["id"]:
            return lost(run, task.started, "its worker was lost")
        try:
            outcome = on_our_clock(Outcome.from_json(result["outcome"]), task.started)
            if "files" in result:
                self._take_files(task, result)
        except (Unreadable, ValueError, OSError) as error:
            return lost(run, task.started, f"its files could not be fetched: {error}")
        for report in result["reports"][task.passed :]:
            self._report(task, report)
        return outcome

    def _take_files(self, task: _Task, result: dict[str, Any]) -> None:
        """Put the files of a run into its folder, replacing those received while it ran."""
        folder = Path(task.run.folder)
        archive = folder.with_name(f"{folder.name}.tar")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            if result["files"] is not None:
                archive.write_bytes(result["files"])
            else:
                self._fetch(result["id"], archive)
            unpack(archive, folder, only=OUTPUTS)
        finally:
            archive.unlink(missing_ok=True)

    def _fetch(self, run_id: str, archive: Path) -> None:
        with open(archive, "wb") as file:
            while True:
                pieces = self._everywhere(engine_task.read_piece, self._search, run_id, file.tell())
                data = next((piece for piece in pieces.values() if piece is not None), None)
                if data is None:
                    raise OSError("their machine is gone")
                if not data:
                    break
                file.write(data)
        self._finished.append(run_id)

    def _give_up_on_deaf(self) -> None:
        """Count tasks as stopped whose machine does not respond after a kill."""
        with self._lock:
            for task in list(self._tasks.values()):
                if task.command == "kill" and time.monotonic() - task.killed > KILL_TIMEOUT:
                    self._end(task, stopped(task.run, task.started, "stopped"))

    def _end(self, task: _Task, outcome: Outcome) -> None:
        with self._lock:
            if self._tasks.pop((task.run.number, task.run.attempt), None) is task:
                self._events.put(outcome)

    def _everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call `function` on all machines in parallel; machines that do not respond are left out. Raises if none does."""
        places = self.places()
        calls = {place: self._calls.submit(self.call, place, function, *arguments) for place in places}
        answers, error = {}, None
        for place, call in calls.items():
            try:
                answers[place] = call.result(CALL_TIMEOUT)
            except Exception as failure:
                error = failure
        if error is not None and not answers:
            raise error
        self._answered = time.monotonic()
        return answers

    # --- the interface of an engine ---------------------------------------------------------------------------------

    @abstractmethod
    def connect(self) -> None:
        """Connect to the engine at `self._address`, or start a local one. BadInput if it does not respond."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close the connection; a local engine ends."""

    @abstractmethod
    def is_connected(self) -> bool:
        """Return whether the scheduler still responds."""

    @abstractmethod
    def check(self, settings: Settings) -> None:
        """Raise BadInput if no worker has the resources of one experiment: its task would wait for ever."""

    @abstractmethod
    def submit(self, job: dict[str, Any], run: Run, done: Callable[[Any], None]) -> Any:
        """Run `carry_out(job)` once, with the resources of `run`, and return a handle. `done` gets its result or an exception."""

    @abstractmethod
    def cancel_waiting(self, handle: Any) -> None:
        """Cancel a task that no worker has started; a running one continues."""

    @abstractmethod
    def places(self) -> list[str]:
        """Return one address for each machine."""

    @abstractmethod
    def call(self, place: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on a machine, beside its experiments, and return the result."""

    def threads(self) -> int | None:
        """Return how many threads each experiment gets; None leaves that to the workers."""
        return None


class _PackedBlobs:
    """Archives on this machine until the engine's machines ask for them: the half of a bucket that sending takes."""

    def __init__(self, folder: Path):
        self._folder = folder

    def upload(self, key: str, path: Path) -> None:
        place = self.path(key.removeprefix(BLOBS))
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, place)

    def path(self, name: str) -> Path:
        """Return the path of blob `name`. Raises ValueError for a name that leads elsewhere."""
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a blob")
        return self._folder / name

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _append(folder: Path, file: str, offset: int, data: bytes) -> None:
    """Write a piece of `file` at its offset below `folder`; a path that leads out of it is ignored."""
    path = folder / file
    if ".." in Path(file).parts or Path(file).is_absolute():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "r+b" if path.exists() else "wb") as target:
        target.seek(offset)
        target.write(data)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
