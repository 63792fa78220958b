"""Backend `kubernetes`: experiments on workers that are pods of indexed Jobs, and take them from a bucket.

studio run --backend=kubernetes:registry/image:tag --kubernetes-bucket=s3://bucket/prefix --num-workers=8 …
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar

from studio.backends.queue.bucket_url import shared_place
from studio.backends.queue.launcher import Copy, Launcher, LauncherError, Refused, last_line, run_tool, worker_command
from studio.backends.queue.pool import LaunchedBackend, LaunchOptions
from studio.backends.queue.shipping import search_name
from studio.errors import BadInput
from studio.experiment import Resources
from studio.hookspecs import hookimpl
from studio.options import option, parse_bytes

LABEL = "studio-search"
HOSTNAME = "kubernetes.io/hostname"  # label of a node, as a rule its name
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
RETRIES = 3  # lost pods per worker
LONGEST = 45  # characters of a name, to which Kubernetes and Studio add numbers: its pods may have 63
KEPT = 3600  # seconds that an ended Job is kept, for its logs
REFUSED = re.compile(
    r"is invalid|forbidden|not found|unauthorized|no configuration has been provided|exceeded quota", re.IGNORECASE
)


@dataclass(frozen=True)
class KubernetesJob:
    """Common data of all Jobs of a search. `secret`: its keys become variables of workers, such as for the bucket."""

    tag: str
    image: str
    namespace: str | None = None
    service_account: str | None = None
    secret: str | None = None

    def manifest(
        self,
        name: str,
        n: int,
        command: Sequence[str],
        resources: Resources,
        avoided: Collection[str] = frozenset(),
    ) -> dict[str, Any]:
        """Return the manifest for `kubectl create`. `avoided`: nodes that get a pod only if no other has room."""
        wanted = {
            "cpu": str(resources.cpus) if resources.cpus else None,
            "memory": str(parse_bytes(resources.ram, "--ram")) if resources.ram else None,
            "nvidia.com/gpu": str(resources.gpus) if resources.gpus else None,
        }
        limits = {key: value for key, value in wanted.items() if value is not None}
        container = {
            "name": "worker",
            "image": self.image,
            "command": [word.replace("$", "$$").replace("{name}", f"{name}-$(INDEX)") for word in command],
            "env": [{"name": "INDEX", "valueFrom": {"fieldRef": {"fieldPath": INDEX}}}],
            **({"envFrom": [{"secretRef": {"name": self.secret}}]} if self.secret else {}),
            **({"resources": {"requests": limits, "limits": limits}} if limits else {}),
        }
        pod: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 60, "containers": [container]}
        if self.service_account:
            pod["serviceAccountName"] = self.service_account
        if avoided:
            other = {"key": HOSTNAME, "operator": "NotIn", "values": sorted(avoided)}
            preference = {"weight": 100, "preference": {"matchExpressions": [other]}}
            pod["affinity"] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
        labels = {LABEL: self.tag}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "completionMode": "Indexed",
                "completions": n,
                "parallelism": n,
                "backoffLimit": RETRIES * n,
                "ttlSecondsAfterFinished": KEPT,
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }


class KubernetesLauncher(Launcher):
    """Launcher with `kubectl` and its configuration.

    A copy is one index of a Job: Kubernetes makes another pod for it if a node is lost.
    """

    poll_interval: ClassVar[float] = 10.0

    def __init__(self, job: KubernetesJob):
        self._job = job
        self._nodes: dict[str, str] = {}  # of copies that have or had one
        self._avoided: set[str] = set()

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        return json.dumps(self._job.manifest(self._name(1), n, command, resources), indent=2) + "\n"

    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        jobs = [item["metadata"]["name"] for item in self._items("jobs")]
        number = 1 + max((int(found[1]) for job in jobs if (found := re.search(r"-(\d+)$", job))), default=0)
        name = self._name(number)  # refused if another driver has just made it, and then tried again
        manifest = self._job.manifest(name, n, command, resources, self._avoided)
        try:
            self._kubectl("create", "-f", "-", input=json.dumps(manifest))
        except LauncherError as error:
            if REFUSED.search(str(error)):
                raise Refused(f"Kubernetes refuses these workers: {error}") from error
            raise
        return [f"{name}-{index}" for index in range(n)]

    def alive(self) -> dict[str, Copy]:
        jobs, pods = self._items("jobs"), self._items("pods")
        self._nodes |= {copy_name(pod): node for pod in pods if (node := pod.get("spec", {}).get("nodeName"))}
        return read_state(jobs, pods)

    def end(self, names: Collection[str] | None = None) -> None:
        what = ["--ignore-not-found", "--wait=false"]
        if names is None:
            self._kubectl("delete", "jobs", "-l", f"{LABEL}={self._job.tag}", *what)
        elif pods := [pod["metadata"]["name"] for pod in self._items("pods") if copy_name(pod) in names]:
            self._kubectl("delete", "pods", *pods, *what)

    def place_of(self, name: str) -> str:
        return self._nodes.get(name, "")

    def avoid(self, places: Collection[str]) -> None:
        self._avoided = {place for place in places if place}

    def last_words(self, name: str) -> str:
        try:
            pods = [pod for pod in self._items("pods") if copy_name(pod) == name]
        except LauncherError:
            return ""
        if not pods:
            return ""
        try:
            log = self._kubectl("logs", pods[-1]["metadata"]["name"], "--tail=6")
        except LauncherError:  # it never started, or its node is gone
            log = ""
        return last_line(_why(pods[-1]), log)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _name(self, number: int) -> str:
        return f"{search_name(self._job.tag, LONGEST)}-{number}"

    def _items(self, kind: str) -> list[dict[str, Any]]:
        try:
            items: list[dict[str, Any]] = json.loads(
                self._kubectl("get", kind, "-l", f"{LABEL}={self._job.tag}", "-o", "json")
            )["items"]
        except (ValueError, KeyError, TypeError) as error:
            raise LauncherError("kubectl get did not return a list") from error
        return items

    def _kubectl(self, *words: str, input: str | None = None) -> str:
        where = [f"--namespace={self._job.namespace}"] if self._job.namespace else []
        return run_tool(["kubectl", *where, *words], input=input)


# --- answers of Kubernetes ---------------------------------------------------------------------------------------------


def read_state(jobs: Sequence[dict[str, Any]], pods: Sequence[dict[str, Any]]) -> dict[str, Copy]:
    """Return copies from the answers of `kubectl get jobs` and `kubectl get pods`."""
    newest = {
        copy_name(pod): pod for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    }
    copies = {}
    for job in jobs:
        status, name = job.get("status", {}), job["metadata"]["name"]
        over = any(
            one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in status.get("conditions", [])
        )
        done = _indexes(status.get("completedIndexes", "")) | _indexes(status.get("failedIndexes", ""))
        for index in range(0 if over else job["spec"]["completions"]):
            if index not in done:
                copies[f"{name}-{index}"] = _copy(
                    newest.get(f"{name}-{index}"), ending="deletionTimestamp" in job["metadata"]
                )
    return copies


def copy_name(pod: dict[str, Any]) -> str:
    """Return the name of the copy of a pod: its Job's name, and its index."""
    meta = pod["metadata"]
    job = meta.get("labels", {}).get("batch.kubernetes.io/job-name") or meta.get("labels", {}).get("job-name", "")
    return f"{job}-{meta.get('annotations', {}).get('batch.kubernetes.io/job-completion-index', '')}"


def _copy(pod: dict[str, Any] | None, *, ending: bool) -> Copy:
    if ending or (pod is not None and "deletionTimestamp" in pod["metadata"]):
        return Copy("ending")
    if pod is None:
        return Copy("waiting")
    return Copy("running") if pod["status"].get("phase") == "Running" else Copy("waiting", _why(pod))


def _why(pod: dict[str, Any]) -> str:
    """Return why a pod waits or ended: the reason of its container, or of the pod, in the words of Kubernetes."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", []):
        for state in (container.get("state", {}).get("waiting"), container.get("state", {}).get("terminated")):
            if state and state.get("reason") not in ("ContainerCreating", "Completed", None):
                code = f", exit code {state['exitCode']}" if state.get("exitCode") else ""
                return last_line(f"Kubernetes: {state['reason']}{code}", state.get("message", ""))
    for one in status.get("conditions", []):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return last_line(f"Kubernetes: {one.get('reason', '')}", one.get("message", ""))
    return f"Kubernetes: {status['reason']}" if status.get("reason") else ""


def _indexes(text: str) -> set[int]:
    """Return `0,2-4` as {0, 2, 3, 4}."""
    ends = [part.split("-") for part in text.split(",") if part]
    return {index for end in ends for index in range(int(end[0]), int(end[-1]) + 1)}


# --- the backend ------------------------------------------------------------------------------------------------------


def _image(given: str, flag: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w./:@-]*", given):
        raise BadInput(f"--backend=kubernetes:{given}: write an image with Studio, as registry/name:tag")
    return given


class KubernetesBackend(LaunchedBackend):
    """Experiments on a Kubernetes cluster, in pods of an image with Studio and the script's packages."""

    name = "kubernetes"

    @dataclass(frozen=True, kw_only=True)
    class Options(LaunchOptions):
        image: str = option(MISSING, "IMAGE", "Image of workers, with Studio and the script's packages.", parse=_image)
        bucket: str = option(
            MISSING, "URL", "Bucket that all pods reach: s3://NAME, gs://NAME, or a folder.", parse=shared_place
        )
        namespace: str | None = option(None, "NAME", "Namespace. Default: that of kubectl's context.")
        service_account: str | None = option(None, "NAME", "Service account of pods, such as for the bucket.")
        secret: str | None = option(None, "NAME", "Secret whose keys become variables of workers.")

        after_colon: ClassVar[str | None] = "image"

    def bucket_url(self) -> str:
        return str(self.options.bucket)

    def command(self) -> list[str]:
        return worker_command(self._place, idle=self.options.idle, program=["studio"])

    def launcher(self) -> Launcher:
        given = self.options
        job = KubernetesJob(self.tag, given.image, given.namespace, given.service_account, given.secret)
        return KubernetesLauncher(job)


@hookimpl
def studio_backends() -> list[Any]:
    return [KubernetesBackend]
