"""Plain data that travels: a `Run` to where it runs, `Report`s and an `Outcome` back, an `Experiment` to the reader.

Suggestion --> Run --> [Report ...] Outcome --> Experiment
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Status = Literal["queued", "running", "completed", "failed", "stopped", "pruned"]
UNFINISHED: tuple[Status, ...] = ("queued", "running")
FINISHED: tuple[Status, ...] = ("completed", "failed", "pruned")  # a stopped experiment runs again
NO_RESULT: tuple[Status, ...] = ("failed", "stopped")  # a value that such a run reported is none of the results
Mode = Literal["min", "max", "last"]
Failure = Literal["", "crash", "memory", "timeout", "lost", "metric", "diverged"]

# The classes of failure. For each, the settings say how often it is retried and whether it ends the search.
FAILURES: dict[Failure, str] = {
    "crash": "ended with an exit code or a signal, or could not be started",
    "memory": "ran out of memory",
    "timeout": "took longer than --max-duration",
    "lost": "the machine or the worker that ran it is gone",
    "metric": "ended with exit code 0, without the metric that was asked for",
    "diverged": "reported three values in a row that are nan or infinite; such a run is ended only with --prune",
}
OF_THE_VALUES: tuple[Failure, ...] = ("memory", "timeout", "diverged")  # failures that other values can avoid


@dataclass(frozen=True)
class Metric:
    """A named scalar read from a run, and which of its values counts: the smallest, the largest or the last."""

    name: str
    mode: Mode = "last"


FITNESS = Metric("fitness", "last")  # the default without --metric
ANY = "*"  # stands for no metric: its readers report nothing, and list the names that exist
MAX_LOG = 10**8
LATEST = 2.0**34  # seconds since the epoch; later times are invalid
LARGEST_INT = 2**63  # the database stores integers below this
LONGEST_TEXT = 10_000  # characters of a text in an outcome


@dataclass(frozen=True)
class Resources:
    """Resources of one experiment; None leaves the choice to the backend."""

    cpus: int | None = None
    gpus: int = 0
    ram: str | None = None
    hdd: str | None = None


@dataclass(frozen=True)
class Run:
    """An attempt of an experiment, with everything that is needed to run it.

    project       name of the project
    number        number of the experiment, from 1
    attempt       number of the attempt, from 1
    snapshot      folder with the source as it was when the search began, copied into the workspace
    changes       workspace path -> the complete content of a file with the values written in
    values        name -> value; numpy vectors are passed as artifacts
    argv          the command, run in the workspace
    env           variables that are added to the backend's environment
    folder        folder for its files: workspace/, output.log, tb/, modeldir/, artifacts/
    max_duration  seconds, or None
    resources     CPUs, GPUs, memory and disk
    metric        the metric to read
    max_log       bytes of output.log that are kept: its head and its tail
    captures      artifact tag -> workspace path that is saved as the artifact when the run has ended
    copies        artifact tag -> absolute path, copied for this run only
    shared        artifact tag -> absolute path of an artifact that all experiments read
    links         workspace path -> absolute path; a link in the workspace, not part of the snapshot
    """

    project: str
    number: int
    attempt: int
    snapshot: str
    changes: dict[str, bytes]
    values: dict[str, Any]
    argv: list[str]
    env: dict[str, str]
    folder: str
    max_duration: float | None = None
    resources: Resources = field(default_factory=Resources)
    metric: Metric = FITNESS
    max_log: int = MAX_LOG
    captures: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.project}/{self.number}"


@dataclass(frozen=True)
class Report:
    """A value of the metric, as the script logged it. A reader leaves `number` and `attempt` out; the runner fills them.

    Reports of another `source` than those before make the earlier ones void: a better source was found. `time`: seconds since
    the epoch, where the files of the run have it.
    """

    step: int | None
    value: float
    number: int | None = None
    attempt: int | None = None
    source: str = ""
    time: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt. Times are seconds since the epoch; `duration` comes from a monotonic clock.

    exit_code  None if a signal or a limit ended it, or if it never started
    reason     empty, or why it failed: limit, signal or exit code, and the last line of its output. With exit code 0 it
               lists the metrics that were seen, in case the requested one was not
    stopped    ended on request, or not started because the machine had no room ("lost"); it is repeated on resume
    failure    class of the failure if it failed by itself; empty means a crash. Only the driver sets "metric"
    notice     a message that changes nothing in the result, such as an artifact that could not be saved
    cost       dollars, if its machine was billed
    cpu        CPU time in seconds
    memory     peak memory in bytes of its largest process
    """

    number: int
    attempt: int
    exit_code: int | None
    signal: str | None
    reason: str
    started: float
    finished: float
    duration: float = 0.0
    stopped: bool = False
    failure: Failure = ""
    notice: str = ""
    cost: float | None = None
    cpu: float | None = None
    memory: int | None = None

    @property
    def failed(self) -> bool:
        return self.exit_code != 0

    @classmethod
    def from_json(cls, data: Any) -> "Outcome":
        """Return the Outcome of what `asdict` made, read from a place where a script may have written as well.

        Raises ValueError if `data` is no outcome. Texts are cut to the length that a record can keep.
        """
        try:
            outcome = cls(**data)
        except TypeError as error:
            raise ValueError(f"no outcome: {error}") from error
        times = (outcome.started, outcome.finished, outcome.duration)
        sound = (
            # nan fails this comparison, too
            all(isinstance(time, int | float) and 0 <= time < LATEST for time in times)
            and is_storable(outcome.number)
            and is_storable(outcome.attempt)
            and (outcome.exit_code is None or is_storable(outcome.exit_code))
            and isinstance(outcome.signal, str | None)
            and isinstance(outcome.reason, str)
            and isinstance(outcome.notice, str)
            and isinstance(outcome.stopped, bool)
            and outcome.failure in ("", *FAILURES)
            and all(used is None or (is_number(used) and used >= 0) for used in (outcome.cost, outcome.cpu))
            and (outcome.memory is None or (is_storable(outcome.memory) and outcome.memory >= 0))
        )
        if not sound:
            raise ValueError("no outcome: a field is of another kind")
        signal = None if outcome.signal is None else storable(outcome.signal)
        return replace(outcome, signal=signal, reason=storable(outcome.reason), notice=storable(outcome.notice))


@dataclass(frozen=True, slots=True)  # slots: a search holds one for each of 100,000
class Experiment:
    """An experiment as recorded: read by programs, the CLI and the dashboard.

    `metric` is {"name", "mode", "value"} with the value as the script logged it, or None. `fitness` is what the optimizer
    was told (maximised), None if the experiment failed or has no metric. Times are ISO 8601 UTC. `failure` is the class
    of a failure. All describe the latest attempt; `cost` is the sum of all attempts, in dollars. `snapshot` names the
    copy of the source that was used; `slot` counts from 0; `cpu` is in seconds, `memory` in bytes.
    """

    project: str
    number: int
    status: Status
    values: dict[str, Any]
    fitness: float | None = None
    metric: dict[str, Any] | None = None
    started: str | None = None
    finished: str | None = None
    duration: float | None = None
    exit_code: int | None = None
    reason: str = ""
    failure: Failure = ""
    attempt: int = 1
    folder: str | None = None
    snapshot: str | None = None
    slot: int | None = None
    cost: float | None = None
    cpu: float | None = None
    memory: int | None = None

    @property
    def key(self) -> str:
        return f"{self.project}/{self.number}"

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, arrays as lists, with the keys of `studio runs list --json`."""
        return {
            "experiment": self.key,
            "number": self.number,
            "status": self.status,
            "values": {name: plain(value) for name, value in self.values.items()},
            "fitness": self.fitness,
            "metric": self.metric,
            "started": self.started,
            "finished": self.finished,
            "duration": self.duration,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "failure": self.failure,
            "attempt": self.attempt,
            "folder": self.folder,
            "snapshot": self.snapshot,
            "slot": self.slot,
            "cost": self.cost,
            "cpu": self.cpu,
            "memory": self.memory,
        }


def is_storable(number: Any) -> bool:
    """Return whether `number` is an integer that a record can keep."""
    return isinstance(number, int) and -LARGEST_INT <= number < LARGEST_INT


def storable(text: str) -> str:
    """Return as much of `text` as a record can keep."""
    return text[:LONGEST_TEXT].encode(errors="replace").decode()  # databases reject lone surrogates


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: numpy vectors become lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number that a float can hold."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
