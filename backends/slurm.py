"""Backend `slurm`: experiments on workers that are tasks of Slurm arrays, and take them from a shared folder.

studio run --backend=slurm:/shared/dir --num-workers=8 --max-duration=2h …
"""

import contextlib
import getpass
import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.queue.bucket_url import shared_place
from studio.backends.queue.launcher import Copy, Launcher, LauncherError, Refused, last_line, run_tool, shell_line, tail
from studio.backends.queue.pool import LaunchedBackend, LaunchOptions, seconds
from studio.errors import BadInput
from studio.experiment import Resources
from studio.hookspecs import hookimpl
from studio.options import option, parse_bytes

NAME = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'
GRACE = 60  # seconds before its time limit at which Slurm tells a worker to release its experiments
WAITING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "SPECIAL_EXIT",
    "SUSPENDED",
    "RESV_DEL_HOLD",
}
ENDING = {"COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED"}
REFUSED = re.compile(
    r"invalid (account|partition|qos|generic resource|feature|job array)|unrecognized option|"
    r"requested (node configuration|time limit|partition configuration)|more processors requested|access/permission denied",
    re.IGNORECASE,
)


def _time_limit(given: Any, flag: str) -> float:
    limit = seconds(given, flag)
    if limit <= 2 * GRACE:
        raise BadInput(
            f"{flag} {given!r}: a worker releases its experiments {GRACE} s before; give more than {2 * GRACE}s"
        )
    return limit


@dataclass(frozen=True)
class SlurmJob:
    """Common data of all copies of a search.

    time   limit in seconds
    extra  further options of sbatch, such as --constraint=a100
    """

    name: str
    logs: Path
    partition: str | None = None
    account: str | None = None
    time: float | None = None
    gres: str | None = None
    extra: Sequence[str] = ()

    @property
    def partitions(self) -> list[str]:
        return self.partition.split(",") if self.partition else []

    def script(
        self, n: int, command: Sequence[str], resources: Resources, avoided: Collection[str] = frozenset()
    ) -> str:
        """Return the script for the standard input of sbatch. `avoided`: partitions that it leaves out."""
        partitions = ",".join(name for name in self.partitions if name not in avoided)
        gpus = f"gpu:{resources.gpus}" if resources.gpus else None
        options = {
            "job-name": self.name,
            "array": f"1-{n}",
            "output": f'"{self.logs}/%A_%a.log"',
            "open-mode": "append",
            "partition": partitions or self.partition,
            "account": self.account,
            "time": None if self.time is None else str(math.ceil(self.time / 60)),
            "signal": None if self.time is None else f"B:TERM@{GRACE}",
            "cpus-per-task": str(resources.cpus) if resources.cpus else None,
            "mem": f"{-(-parse_bytes(resources.ram, '--ram') // 2**20)}M" if resources.ram else None,
            "gres": self.gres or gpus,
        }
        lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
        lines += ["#SBATCH --requeue", *(f"#SBATCH {option}" for option in self.extra)]
        return "\n".join(["#!/bin/bash", *lines, f"exec {shell_line(command, NAME)}", ""])


class SlurmLauncher(Launcher):
    """Launcher with tasks of Slurm arrays.

    The name of the job is unique to the search, so that a driver finds the tasks submitted by an earlier one.
    """

    poll_interval: ClassVar[float] = 15.0  # Slurm advises against squeue in a tight loop

    def __init__(self, job: SlurmJob):
        self._job = job
        self._partitions: dict[str, str] = {}  # of tasks that run, or have run
        self._avoided: set[str] = set()

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        return self._job.script(n, command, resources)

    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        if self._job.partitions and self._avoided.issuperset(self._job.partitions):
            return []
        self._job.logs.mkdir(parents=True, exist_ok=True)
        script = self._job.script(n, command, resources, self._avoided)
        try:
            said = run_tool(["sbatch", "--parsable"], input=script)
        except LauncherError as error:
            if REFUSED.search(str(error)):
                raise Refused(f"Slurm refuses these workers: {error}") from error
            raise
        job = read_submission(said)
        return [f"{job}_{task}" for task in range(1, n + 1)]

    def alive(self) -> dict[str, Copy]:
        query = ["squeue", "--noheader", "--array", f"--name={self._job.name}", f"--user={getpass.getuser()}"]
        said = run_tool([*query, "--format=%F_%K|%T|%r|%P"])
        self._partitions |= read_partitions(said)
        return read_queue(said)

    def end(self, names: Collection[str] | None = None) -> None:
        whom = [f"--name={self._job.name}", f"--user={getpass.getuser()}"] if names is None else sorted(names)
        if whom:
            run_tool(["scancel", "--quiet", *whom])

    def places(self) -> Collection[str]:
        """Return the partitions that the user has named, if Slurm has a choice."""
        return self._job.partitions if len(self._job.partitions) > 1 else ()

    def place_of(self, name: str) -> str:
        if not self.places():
            return ""
        if name not in self._partitions:
            with contextlib.suppress(LauncherError, BadInput):
                found = re.search(r"\bPartition=(\S+)", run_tool(["scontrol", "--oneliner", "show", "job", name]))
                self._partitions[name] = found[1] if found else ""
        place = self._partitions.get(name, "")
        return place if place in self.places() else ""

    def avoid(self, places: Collection[str]) -> None:
        self._avoided = set(places)

    def last_words(self, name: str) -> str:
        return last_line(self._reason(name), tail(self._job.logs / f"{name}.log"))

    def _reason(self, name: str) -> str:
        """Return why a task ended: from scontrol while it remembers the job, else from the accounting, if there is one."""
        for argv, read in (
            (["scontrol", "--oneliner", "show", "job", name], read_job),
            (
                ["sacct", "--noheader", "--parsable2", "--format=State,ExitCode,Reason", f"--jobs={name}"],
                read_accounting,
            ),
        ):
            try:
                if reason := read(run_tool(argv)):
                    return reason
            except (LauncherError, BadInput):
                pass
        return ""


# --- answers of Slurm ---------------------------------------------------------------------------------------------------


def read_submission(text: str) -> str:
    """Return the number of the job from `sbatch --parsable`: `17`, or `17;cluster`."""
    number = text.strip().splitlines()[-1].partition(";")[0] if text.strip() else ""
    if not number.isdecimal():
        raise LauncherError(f"sbatch answered {text.strip()[:100]!r}, which is not a job number")
    return number


def read_queue(text: str) -> dict[str, Copy]:
    """Return copies from lines `17_1|RUNNING|None|gpu`: task, state, reason and partition."""
    copies = {}
    for name, state, reason, _ in _queue_lines(text):
        shown = "" if reason in ("None", "") else reason
        waits = state in WAITING
        copies[name] = Copy("waiting", shown) if waits else Copy("ending" if state in ENDING else "running")
    return copies


def read_partitions(text: str) -> dict[str, str]:
    """Return the partition of each task from the same lines, of those that wait for none any more."""
    return {name: partition for name, state, _, partition in _queue_lines(text) if state not in WAITING}


def _queue_lines(text: str) -> Iterator[tuple[str, str, str, str]]:
    for line in text.splitlines():
        name, state, reason, partition, *_ = [*line.strip().split("|"), "", "", ""]
        if re.fullmatch(r"\d+_\d+", name):
            yield name, state, reason, partition


def read_job(text: str) -> str:
    """Return state, exit code and reason from `scontrol --oneliner show job`; "" for a completed job."""
    fields = dict(re.findall(r"\b(JobState|Reason|ExitCode)=(\S+)", text.splitlines()[0] if text else ""))
    return _shown(fields.get("JobState", ""), fields.get("ExitCode", ""), fields.get("Reason", ""))


def read_accounting(text: str) -> str:
    """Return the same from the first line of `sacct --parsable2`: `NODE_FAIL|0:0|None`."""
    state, code, reason, *_ = [*(text.splitlines() or [""])[0].split("|"), "", "", ""]
    return _shown(state, code, reason)


def _shown(state: str, code: str, reason: str) -> str:
    if state in ("", "COMPLETED", "RUNNING", "PENDING"):
        return ""
    status, _, number = code.partition(":")
    how = (
        f", exit code {status}" if status not in ("", "0") else f", signal {number}" if number not in ("", "0") else ""
    )
    return f"Slurm: {state}{how}{f' ({reason})' if reason not in ('', 'None') else ''}"


# --- the backend ------------------------------------------------------------------------------------------------------


def _options(given: str | Sequence[str], flag: str) -> list[str]:
    options = given.split() if isinstance(given, str) else list(given)
    if wrong := [option for option in options if not re.fullmatch(r"--[a-z-]+(=\S+)?", option)]:
        raise BadInput(f"{flag} {wrong[0]!r}: write options of sbatch as --name=value, separated by blanks")
    return options


class SlurmBackend(LaunchedBackend):
    """Experiments on a Slurm cluster, by workers that are tasks of its arrays."""

    name = "slurm"

    @dataclass(frozen=True, kw_only=True)
    class Options(LaunchOptions):
        url: str = option(MISSING, "DIR", "Folder that all nodes see, or s3://NAME, gs://NAME.", parse=shared_place)
        partition: str | None = option(None, "NAME", "Partition, or several: gpu,long. Default: the cluster's.")
        account: str | None = option(None, "NAME", "Account for sbatch.")
        time: float | None = option(
            None, "TIME", "Time limit of one worker, which releases its experiments before: 4h.", parse=_time_limit
        )
        gres: str | None = option(None, "TEXT", "Generic resources for sbatch. Default: gpu:N with --gpus=N.")
        extra: list[str] = option(
            [], "TEXT", "Further options of sbatch, separated by blanks.", parse=_options, many=False
        )

        after_colon: ClassVar[str | None] = "url"

    def launcher(self) -> Launcher:
        given = self.options
        how = {name: getattr(given, name) for name in ("partition", "account", "time", "gres", "extra")}
        return SlurmLauncher(SlurmJob(f"studio-{self.tag}", self._project / "slurm", **how))


@hookimpl
def studio_backends() -> list[Any]:
    return [SlurmBackend]
