"""Backend `skypilot`: experiments on workers on clusters that SkyPilot makes, in the cheapest cloud it finds.

studio run --backend=skypilot:aws --skypilot-bucket=s3://bucket/prefix --num-workers=4 …

Each worker is a cluster of its own, which tears itself down when its worker has ended: `autostop` with `down`, armed by
SkyPilot when the cluster is made. SkyPilot has no cost limit; `--cloud=ec2` and `--cloud=gcloud` have one.
"""

import json
import math
import re
import secrets
import shlex
from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.queue.bucket_url import shared_place
from studio.backends.queue.launcher import Copy, Launcher, LauncherError, last_line, run_tool, worker_command
from studio.backends.queue.pool import LaunchedBackend, LaunchOptions
from studio.backends.queue.shipping import search_name
from studio.errors import BadInput
from studio.experiment import Resources
from studio.hookspecs import hookimpl
from studio.options import option, parse_bytes

LONGEST = 40  # characters of what the names of all clusters of a search begin with
IDLE = 5  # minutes without a job of SkyPilot after which a cluster tears itself down
STATES = {"INIT": "waiting", "PENDING": "waiting", "UP": "running", "AUTOSTOPPING": "ending", "STOPPED": "ending"}
SETUP = "command -v studio >/dev/null || pip install 'studio-search[ec2,gce]'"


@dataclass(frozen=True)
class SkyPilotTask:
    """Common data of all clusters of a search.

    folder        for the files that `sky launch` reads
    infra         such as aws/us-east-1
    accelerators  such as A100:1
    """

    tag: str
    folder: Path
    infra: str | None = None
    accelerators: str | None = None
    spot: bool = False
    setup: str = SETUP

    def yaml(self, name: str, command: Sequence[str], resources: Resources) -> str:
        """Return the task file. Texts are JSON, which is valid YAML."""
        wanted: dict[str, Any] = {
            "infra": self.infra,
            "accelerators": self.accelerators,
            "cpus": f"{resources.cpus}+" if resources.cpus else None,
            "memory": f"{math.ceil(parse_bytes(resources.ram, '--ram') / 2**30)}+" if resources.ram else None,
            "use_spot": True if self.spot else None,
        }
        lines = [f"  {key}: {json.dumps(value)}" for key, value in wanted.items() if value is not None]
        run = shlex.join([word.replace("{name}", name) for word in command])
        return "\n".join(
            [
                f"name: {name}",
                "resources:",
                *lines,
                "  autostop:",
                f"    idle_minutes: {IDLE}",
                "    down: true",
                f"setup: {json.dumps(self.setup)}",
                f"run: {json.dumps(run)}",
                "",
            ]
        )


class SkyPilotLauncher(Launcher):
    """Launcher with one-node clusters. Their names begin with that of the search, by which any driver finds them."""

    poll_interval: ClassVar[float] = 30.0

    def __init__(self, task: SkyPilotTask):
        self._task = task
        self._prefix = search_name(task.tag, LONGEST)

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        return self._task.yaml(f"{self._prefix}-1", command, resources)

    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        self._task.folder.mkdir(parents=True, exist_ok=True)
        names = []
        for _ in range(n):
            name = f"{self._prefix}-{secrets.token_hex(3)}"
            file = self._task.folder / f"{name}.yaml"
            file.write_text(self._task.yaml(name, command, resources), encoding="utf-8")
            run_tool(["sky", "launch", "--async", "--yes", "--detach-run", "--cluster", name, f"{file}"])
            names.append(name)
        return names

    def alive(self) -> dict[str, Copy]:
        known = {file.stem for file in self._task.folder.glob("*.yaml")}
        return read_clusters(run_tool(["sky", "status", "--refresh", "--output", "json"]), self._prefix, known)

    def end(self, names: Collection[str] | None = None) -> None:
        """Tear down clusters. One that is still being ordered is found by the next poll, or ends by itself."""
        gone = sorted(self.alive() if names is None else names)
        if gone:
            run_tool(["sky", "down", "--yes", "--async", *gone])

    def last_words(self, name: str) -> str:
        try:
            return last_line(run_tool(["sky", "logs", "--no-follow", "--tail", "6", name]))
        except LauncherError as error:
            return last_line(str(error)) if (self._task.folder / f"{name}.yaml").exists() else ""


def read_clusters(text: str, prefix: str, known: Collection[str] = ()) -> dict[str, Copy]:
    """Return copies from the answer of `sky status --output json`, for clusters whose names begin with `prefix`."""
    try:
        found = {str(one["name"]): str(one["status"]).rpartition(".")[2] for one in json.loads(text[text.index("[") :])}
    except (ValueError, KeyError, TypeError) as error:
        raise LauncherError("sky status did not return a list of clusters") from error
    ours = {name: state for name, state in found.items() if name.startswith(f"{prefix}-") or name in known}
    return {name: Copy(STATES.get(state, "running")) for name, state in ours.items()}  # type: ignore[arg-type]


def _infra(given: str, flag: str) -> str | None:
    """Return the infrastructure; None for `any`, the cheapest that SkyPilot finds."""
    if not re.fullmatch(r"[\w*/.-]+", given):
        raise BadInput(
            f"--backend=skypilot:{given}: write the infrastructure as SkyPilot does: aws, aws/us-east-1, k8s; or any"
        )
    return None if given == "any" else given


class SkyPilotBackend(LaunchedBackend):
    """Experiments on machines that SkyPilot orders, and that tear themselves down."""

    name = "skypilot"

    @dataclass(frozen=True, kw_only=True)
    class Options(LaunchOptions):
        infra: str | None = option(
            None, "TEXT", "Infrastructure, as in SkyPilot: aws, gcp/us-central1, k8s. Default: any.", parse=_infra
        )
        bucket: str = option(
            MISSING, "URL", "Bucket that all machines reach: s3://NAME or gs://NAME.", parse=shared_place
        )
        accelerators: str | None = option(None, "NAME:N", "Accelerators, as in SkyPilot: A100:1.")
        spot: bool = option(False, "", "Use spot machines.")
        setup: str = option(
            SETUP, "COMMAND", "Command that installs Studio and the script's packages. Default: Studio by pip."
        )

        after_colon: ClassVar[str | None] = "infra"

    def bucket_url(self) -> str:
        return str(self.options.bucket)

    def command(self) -> list[str]:
        return worker_command(self._place, idle=self.options.idle, program=["studio"])

    def launcher(self) -> Launcher:
        given = self.options
        accelerators = given.accelerators
        return SkyPilotLauncher(
            SkyPilotTask(self.tag, self._project / "skypilot", given.infra, accelerators, given.spot, given.setup)
        )


@hookimpl
def studio_backends() -> list[Any]:
    return [SkyPilotBackend]
