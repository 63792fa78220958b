"""Experiments on this machine: folder, processes, limits and metric of each.

    run --create_run_folder--> folder --spawn--> script --wait--> other processes killed --> outcome.json, Outcome

A backend that runs scripts on its own machine needs only a `Runner`.
"""

import contextlib
import errno
import os
import queue
import secrets
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from studio.execution.log_cap import LogCap
from studio.execution.memory import oom_kills
from studio.execution.metric_value import MetricValue
from studio.execution.metrics_seen import why_missing
from studio.execution.reason import last_words, says_out_of_memory, signal_name
from studio.execution.run_folder import RunFolder, create_run_folder, recorded_events, save_captures
from studio.execution.script_process import has_ended, reap, spawn, wait_for_exit
from studio.experiment import FITNESS, Failure, Outcome, Report, Run
from studio.format import byte_size
from studio.host import Host
from studio.interfaces import MetricReader
from studio.system.files import inode_of
from studio.system.processes import Watchdog, has_own_session, kill_tree, signal_tree
from studio.system.tail import PATIENCE

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
CLOSING = 30.0  # seconds to wait for killed processes
UNREAD = 4  # unread output may be this many times --max-log
SPARE = 20  # or this fraction of the free disk space (1/20): finds a metric in the middle of much output
# seconds between two tries to start a script on a machine without room
START_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NO_ROOM = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no process, descriptor or memory is free
READ_EVERY = 0.25  # seconds between two reads of a running experiment's metric


@dataclass
class _Execution:
    run: Run
    log: LogCap
    claim: RunFolder | None = None
    process: subprocess.Popen[bytes] | None = None
    reader: MetricReader | None = None
    started: float = 0.0
    clock: float = 0.0  # monotonic time of the start
    finished: float = 0.0  # when the script's process had ended; `duration`: how long it ran
    duration: float = 0.0
    deadline: float | None = None  # monotonic time of the next step towards its end
    limit_hit: str = ""  # the limit, in words
    failure: Failure = ""  # its class, if known before the end
    oom_kills: int = 0  # of this machine, when it started
    stopping: bool = False
    error: str = ""
    no_room: bool = False  # whether `error` is that the machine has no free process, descriptor or memory
    notice: str = ""
    prepared: bool = False  # before that, the files are those of an interrupted attempt
    opened: bool = False  # whether the host was asked for a reader
    reader_error: str = ""
    returncode: int | None = None
    recorded: list[Report | Outcome] = field(default_factory=list)  # what an earlier driver saw
    summary: MetricValue = field(init=False)
    missing: str = ""  # the metrics of a run with exit code 0 that lacks the requested one
    last_reports: list[Report] = field(default_factory=list)
    closed: bool = False  # whether the reader was closed
    reading: threading.Lock = field(default_factory=threading.Lock)
    cpu: float | None = None  # seconds
    memory: int | None = None  # bytes, peak of one process
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.summary = MetricValue(self.run.metric)


class Runner:
    """A runner of `Run`s as processes of this machine. Call `poll` often; it blocks until something ends."""

    def __init__(self, host: Host):
        self._host = host
        self._running: dict[tuple[int, int], _Execution] = {}
        self._ended: queue.SimpleQueue[_Execution] = queue.SimpleQueue()
        self._last_read = 0.0
        self._closing = False
        self._waited = False  # whether a run had to wait for room on this machine, which is said once
        self._listed = False  # whether the metrics of a run without fitness were listed once
        self._watchdog: Watchdog | None = None
        self._lock = (0, 0)  # identity of the lock file of the driver that uses this runner
        self._session = secrets.token_hex(8)  # marks this runner's processes, against those of an earlier or later one

    def start(self, run: Run, env: dict[str, str] | None = None) -> None:
        """Prepare and start `run` in a thread, so that copying a large workspace blocks nothing. `env`: base environment.

        A run that an earlier driver finished is not repeated: its outcome comes with the next `poll`.
        """
        if (run.number, run.attempt) in self._running:
            return
        log = LogCap(Path(run.folder) / "output.log", run.max_log)
        execution = _Execution(run, log, started=time.time(), clock=time.monotonic(), oom_kills=oom_kills())
        self._running[run.number, run.attempt] = execution
        if self._watchdog is None:
            self._watchdog = Watchdog(str(Path(run.folder).parent.parent), self._session)
            self._lock = inode_of(_lock_of(run))
        given = dict(os.environ if env is None else env)
        try:
            threading.Thread(target=self._run_thread, args=(execution, given), daemon=True).start()
        except RuntimeError as error:  # no thread is free
            execution.error, execution.no_room = f"could not start: {error}", True
            self._ended.put(execution)

    def poll(self, timeout: float) -> list[Report | Outcome]:
        self._enforce_limits()
        events: list[Report | Outcome] = []
        for execution in self._wait(self._patience(timeout)):
            events += self._finish(execution)
        if time.monotonic() - self._last_read >= READ_EVERY:
            self._last_read = time.monotonic()
            for execution in [one for one in self._running.values() if one.prepared]:
                events += self._look_at(execution)
        return events

    def stop(self, number: int, *, kill: bool) -> None:
        """Ask experiment `number` to end, or kill it. Each change counts once: a script that was asked to end has `GRACE`
        seconds from the first time, however often it is asked."""
        for execution in self._running.values():
            if execution.run.number == number and not _has_ended(execution):
                asked, execution.stopping = execution.stopping or bool(execution.limit_hit), True
                if kill or not asked:
                    self._end(execution, kill)

    def close(self) -> None:
        for execution in self._wait(0):  # runs that ended meanwhile: the next driver finds their outcomes
            self._finish(execution)
        self._closing = True
        for execution in list(self._running.values()):
            execution.stopping = True
            self._end(execution, kill=True)
        deadline = time.monotonic() + CLOSING
        while self._running and time.monotonic() < deadline:
            for execution in self._wait(READ_EVERY):
                self._running.pop(self._key(execution), None)
                if execution.claim is not None:
                    execution.claim.release()
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    # --- in the execution's thread ----------------------------------------------------------------------------------

    def _run_thread(self, execution: _Execution, env: dict[str, str]) -> None:
        try:
            execution.recorded = recorded_events(execution.run)
            if execution.recorded:
                return
            pauses = iter(START_PAUSES)
            while not self._prepare_and_run(execution, env, next(pauses, None)):
                pass
        except Exception as error:  # affects this experiment only: the reason says so, and the search continues
            execution.error, execution.no_room = f"could not start: {error}", _has_no_room(execution, error)
        finally:
            if not execution.recorded and not self._closing:
                self._read_to_the_end(execution)
            self._ended.put(execution)

    def _prepare_and_run(self, execution: _Execution, env: dict[str, str], pause: float | None) -> bool:
        """Make the folder of the run, and run its script to the end. False, after `pause` seconds, if the machine had no
        process, descriptor or memory free to start it; without a pause that is an OSError."""
        try:
            self._check_lock(execution.run)
            if execution.claim is not None:  # of the try before
                execution.claim.release()
                execution.claim = None
            execution.claim = RunFolder(execution.run, lambda: self._check_lock(execution.run))
            create_run_folder(execution.run)
            if not execution.claim.is_there():
                raise RuntimeError("another driver made the folder anew")
            execution.prepared = True
            while not execution.stopping and not self._run_script(execution, env):
                pass
        except OSError as error:
            if pause is None or not _has_no_room(execution, error):
                raise
            if not self._waited:
                self._waited = True
                execution.notice = f"it had to wait for a free process or file descriptor: {error.strerror}"
            begun = time.monotonic()
            while not execution.stopping and time.monotonic() - begun < pause:
                time.sleep(min(pause, READ_EVERY))
            return execution.stopping
        return True

    def _check_lock(self, run: Run) -> None:
        """Raise RuntimeError if this process was paused, and the folder of `run` now belongs to another driver."""
        if inode_of(_lock_of(run)) != self._lock:
            raise RuntimeError("another driver has the project")

    def _read_to_the_end(self, execution: _Execution) -> None:
        """Read the rest of the metric in the run's thread, so that a large file does not delay other experiments' limits."""
        run = execution.run
        with execution.reading:
            execution.last_reports, execution.closed = self._read(execution, last=True), True
            if execution.returncode == 0 and execution.summary.value is None and not execution.reader_error:
                # without --metric only once: all runs of a search are alike
                asked = run.metric != FITNESS or not self._listed
                self._listed = True
                execution.missing = why_missing(run, execution.reader, self._host if asked else None)

    def _run_script(self, execution: _Execution, env: dict[str, str]) -> bool:
        """Run the script to its end. False if Ctrl-C, meant for this process, ended it before it had its own session."""
        with execution.lock:
            if execution.stopping:
                return True
            process = execution.process = spawn(execution.run, env, self._session)
            execution.returncode = None
            # Making the workspace does not count as the script's time.
            execution.started, execution.clock = time.time(), time.monotonic()
            if execution.run.max_duration is not None:
                execution.deadline = execution.clock + execution.run.max_duration
        seen = wait_for_exit(process)
        execution.finished, execution.duration = time.time(), time.monotonic() - execution.clock
        began = has_own_session(process.pid)
        kill_tree(process.pid if began else None, execution.run.folder, self._session)
        with execution.lock:  # after waiting, its id may belong to another process
            execution.process = None
            execution.returncode, execution.cpu, execution.memory = reap(process, seen)
        return began

    # --- in the caller's thread -------------------------------------------------------------------------------------

    def _wait(self, timeout: float) -> list[_Execution]:
        ended = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        return ended

    def _patience(self, timeout: float) -> float:
        """Return the time until the next limit or the next read of the metrics, at most `timeout`."""
        now = time.monotonic()
        deadlines = [execution.deadline for execution in self._running.values() if execution.deadline is not None]
        timeout = min([timeout, *(deadline - now for deadline in deadlines)])
        return max(0.0, min(timeout, READ_EVERY) if self._running else timeout)

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for execution in self._running.values():
            if execution.deadline is not None and now >= execution.deadline and not _has_ended(execution):
                if execution.limit_hit or execution.stopping:
                    self._end(execution, kill=True)
                else:
                    self._hit_limit(execution, "timeout", f"took longer than {execution.run.max_duration:g} s")

    def _hit_limit(self, execution: _Execution, failure: Failure, text: str) -> None:
        execution.failure, execution.limit_hit = failure, text
        self._end(execution, kill=False)

    def _end(self, execution: _Execution, kill: bool) -> None:
        """Ask all processes of the run to end; after `GRACE` they are killed."""
        with execution.lock:  # while it is held, the process is not waited for, so its id stays valid
            execution.deadline = time.monotonic() + GRACE
            process = execution.process
            if process is None:
                return
            if kill:
                kill_tree(process.pid, execution.run.folder, self._session)
                return
            for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process handles the first after the second
                signal_tree(process.pid, execution.run.folder, number, self._session)

    def _finish(self, execution: _Execution) -> list[Report | Outcome]:
        del self._running[self._key(execution)]
        run = execution.run
        if execution.recorded:  # not read again: the middle of its log may be gone
            return execution.recorded
        events: list[Report | Outcome] = list(execution.last_reports)
        outcome = self._outcome(execution)
        notices = [execution.notice, save_captures(run, expected=outcome.exit_code == 0)]
        outcome = replace(outcome, notice="; ".join(filter(None, notices)))
        with contextlib.suppress(OSError):  # the disk is full: the log stays as it is
            execution.log.compact()
        if execution.claim is not None:
            execution.claim.record({**asdict(outcome), "metric": execution.summary.value})
            execution.claim.release()
        return [*events, outcome]

    def _look_at(self, execution: _Execution) -> list[Report]:
        """Read the metric, then thin out the part of the log that was read."""
        if not execution.reading.acquire(blocking=False):  # its own thread reads the rest
            return []
        try:
            size, begun = execution.log.size, time.monotonic()
            reports = [] if execution.closed else self._read(execution)
            unread = time.monotonic() - begun > PATIENCE
        finally:
            execution.reading.release()
        if unread and size - execution.log.end < _may_wait(execution):
            return reports  # a script that prints faster than its log is read loses the middle
        if not execution.log.trim(size) and not execution.limit_hit and not execution.stopping:
            most = byte_size(execution.run.max_log)
            self._hit_limit(
                execution,
                "crash",
                f"printed more than {most} (--max-log), on a file system that cannot shorten a running log",
            )
        return reports

    def _read(self, execution: _Execution, last: bool = False) -> list[Report]:
        """Return the new reports; a reader that raises is not called again, and its error becomes the reason."""
        run = execution.run
        if execution.reader_error or (execution.opened and execution.reader is None):
            return []
        try:
            if not execution.opened:
                execution.opened = True
                execution.reader = self._host.open_metric(run.metric, run)
                if execution.reader is None:
                    execution.reader_error = "; ".join(map(str, self._host.problems))
            if execution.reader is None:
                return []
            found = execution.reader.close() if last else execution.reader.read()
            reports = [Report(one.step, float(one.value), run.number, run.attempt, one.source) for one in found]
        except Exception as error:
            execution.reader_error = f"reading the metric failed: {type(error).__name__}: {error}"
            return []
        for report in reports:
            execution.summary.add(report.value, report.source)
        return reports

    def _outcome(self, execution: _Execution) -> Outcome:
        code = execution.returncode
        reason, failure = _explain_exit(execution)
        return Outcome(
            number=execution.run.number,
            attempt=execution.run.attempt,
            exit_code=code if code is not None and code >= 0 and not execution.limit_hit else None,
            signal=signal_name(-code) if code is not None and code < 0 else None,
            reason=reason,
            failure=failure,
            started=execution.started,
            finished=execution.finished or time.time(),
            duration=execution.duration if execution.finished else time.monotonic() - execution.clock,
            stopped=(execution.stopping and not execution.limit_hit) or execution.no_room,
            cpu=execution.cpu,
            memory=execution.memory,
        )

    @staticmethod
    def _key(execution: _Execution) -> tuple[int, int]:
        return execution.run.number, execution.run.attempt


def _lock_of(run: Run) -> Path:
    return Path(run.folder).parent.parent / "lock"


def _may_wait(execution: _Execution) -> int:
    """Bytes of its log that may stay until they were read."""
    with contextlib.suppress(OSError):
        return max(UNREAD * execution.run.max_log, shutil.disk_usage(execution.run.folder).free // SPARE)
    return UNREAD * execution.run.max_log


# --- how it ended -----------------------------------------------------------------------------------------------------


def _has_ended(execution: _Execution) -> bool:
    """Return whether the script has ended by itself although the loop was not told: this process was paused, or busy."""
    with execution.lock:
        return execution.returncode is not None or (execution.process is not None and has_ended(execution.process))


def _has_no_room(execution: _Execution, error: Exception) -> bool:
    """Return whether `error` is that the machine has no room to start the script, which therefore has not started."""
    return isinstance(error, OSError) and error.errno in NO_ROOM and execution.process is None


def _explain_exit(execution: _Execution) -> tuple[str, Failure]:
    """Return why the script ended, in words, and its class of failure; both empty if it succeeded."""
    run, code = execution.run, execution.returncode
    if execution.error:
        return execution.error, "lost" if execution.no_room else "crash"
    line = last_words(Path(run.folder) / "output.log", code)
    ending = f": {line}" if line else ""
    if execution.limit_hit:
        return f"{execution.limit_hit}{ending}", execution.failure
    if execution.stopping:
        return "stopped", ""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and oom_kills() > execution.oom_kills:
        return f"out of memory: killed by the kernel{ending}", "memory"
    if code:
        how = f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"
        return (f"out of memory: {how}{ending}", "memory") if says_out_of_memory(line) else (f"{how}{ending}", "crash")
    if execution.reader_error:
        return execution.reader_error, "metric"
    if execution.summary.value is None:
        return execution.missing, ""
    return "", ""
