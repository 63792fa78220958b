"""Set up a Google Cloud project: a bucket, and a service account that may use one prefix of it and delete its machine.

Everything goes through Google's REST API, as bodies that a person can read before they are sent.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from studio.backends.cloud.cloud import CloudDenied, CloudUnreachable
from studio.backends.cloud.gce.cloud import SCOPE, GCECloud
from studio.backends.cloud.gce.errors import google_errors
from studio.backends.cloud.setup import KEPT, PREFIX, Setup, Step
from studio.backends.queue.bucket import sdk

ACCOUNT = "studio-worker"
IAM, PROJECTS, STORAGE = (
    "https://iam.googleapis.com/v1",
    "https://cloudresourcemanager.googleapis.com/v1",
    "https://storage.googleapis.com/storage/v1",
)
ROLES = {  # id: title, permissions. To Google, overwriting a key deletes its old value
    "studioWorkerBucket": (
        "Studio: use objects of a bucket",
        ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"],
    ),
    "studioWorkerMachine": ("Studio: delete machines", ["compute.instances.delete"]),
}
DRIVER = [  # permissions of the searching account
    "compute.acceleratorTypes.list",
    "compute.disks.create",
    "compute.disks.setLabels",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.machineTypes.get",
    "compute.machineTypes.list",
    "compute.regions.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
    "iam.serviceAccounts.actAs",
    "serviceusage.services.use",  # of the project billed for requests, for prices
    "storage.buckets.get",  # its region: the quote says if machines are elsewhere
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
]

PORTS = [
    "compute.firewalls.create",
    "compute.firewalls.delete",
    "compute.firewalls.list",
    "compute.instances.setTags",
    "compute.networks.updatePolicy",
]
IMAGES = ["compute.images.get", "compute.images.getFromFamily", "compute.images.useReadOnly"]

RULE = {"action": {"type": "Delete"}, "condition": {"age": KEPT, "matchesPrefix": [f"{PREFIX}/"]}}  # of the bucket

Send = Callable[[str, str, Any], Any]  # method, address, body -> the response; None: not found


class GCESetup(Setup):
    cloud = "gce"

    def __init__(self, bucket: str | None = None, *, project: str | None = None, send: Send | None = None):
        known = GCECloud(project=project)
        self._project, self._region = known.project, known.region
        self._send = send or _sender()
        self._name = bucket or f"studio-search-{self._project}"
        self.bucket = f"gs://{self._name}/{PREFIX}"
        self.account = f"{ACCOUNT}@{self._project}.iam.gserviceaccount.com"
        self.policies = [
            ("permissions of the account that searches", "\n".join(DRIVER)),
            ("also for --port or --ssh-keypair", "\n".join(PORTS)),
            ("also for an --image of your own project, in that project", "\n".join(IMAGES)),
            *((f"permissions of machines, as {ACCOUNT}: {title}", "\n".join(may)) for title, may in ROLES.values()),
        ]
        below = f'resource.name.startsWith("projects/_/buckets/{self._name}/objects/{PREFIX}/")'
        listed = f'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{PREFIX}/")'
        own = 'resource.name.extract("/instances/{name}").startsWith("studio-")'
        self._on_bucket = self._binding("studioWorkerBucket", "below-prefix", f"{below} || {listed}")
        self._on_project = self._binding("studioWorkerMachine", "machines-of-studio", own)
        self.template = self._script()
        self.steps = [
            self._make_bucket(),
            self._make_account(),
            *(self._make_role(name) for name in ROLES),
            self._bind_bucket(),
            self._bind_project(),
        ]

    def _script(self) -> str:
        """Return a script of `gcloud` commands that make what the steps make."""
        project, bucket = shlex.quote(f"--project={self._project}"), shlex.quote(f"gs://{self._name}")
        lines = [
            "#!/bin/sh",
            "# Machines of Studio: a bucket, and an account that may use one prefix of it.",
            "set -eu",
        ]
        lines += [
            f"gcloud storage buckets create {bucket} {project} --location={self._region} \\",
            "  --uniform-bucket-level-access --public-access-prevention",
            f"gcloud storage buckets update {bucket} --lifecycle-file=/dev/stdin <<'END'",
            *(json.dumps({"rule": [RULE]}, indent=2), "END"),
            f"gcloud iam service-accounts create {ACCOUNT} {project} --display-name='Machines of Studio'",
        ]
        for name, (title, permissions) in ROLES.items():
            lines.append(f"gcloud iam roles create {name} {project} --title={shlex.quote(title)} --stage=GA \\")
            lines.append(f"  --permissions={','.join(permissions)}")
        for what, binding in (
            (f"storage buckets add-iam-policy-binding {bucket}", self._on_bucket),
            (f"projects add-iam-policy-binding {shlex.quote(self._project)}", self._on_project),
        ):
            who = f"--member={binding['members'][0]} --role={binding['role']}"
            lines.append(f"gcloud {what} {who} --condition-from-file=/dev/stdin <<'END'")
            lines += [json.dumps(binding["condition"], indent=2), "END"]
        return "\n".join(lines)

    def checks(self) -> Iterator[str]:
        yield f"credentials: project {self._project}, region {self._region}"
        asked = {"permissions": DRIVER}
        answer = self._send("POST", f"{PROJECTS}/projects/{self._project}:testIamPermissions", asked)
        may = set((answer or {}).get("permissions", []))
        for permission in DRIVER:
            yield f"{permission}: {'yes' if permission in may else 'NO'}"

    # --- the steps --------------------------------------------------------------------------------------------------

    def _make_bucket(self) -> Step:
        private = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
        body = {
            "name": self._name,
            "location": self._region,
            "iamConfiguration": private,
            "lifecycle": {"rule": [RULE]},
        }

        def right(found: dict[str, Any]) -> dict[str, Any]:
            now = found.get("iamConfiguration", {})
            is_private = (
                now.get("uniformBucketLevelAccess", {}).get("enabled") is True
                and now.get("publicAccessPrevention") == "enforced"
            )
            rules = found.get("lifecycle", {}).get("rule", [])
            expires = {} if RULE in rules else {"lifecycle": {"rule": [*rules, RULE]}}
            return expires | ({} if is_private else {"iamConfiguration": private})

        at = f"{STORAGE}/b?project={self._project}"
        return self._create("make the bucket", at, body, f"{STORAGE}/b/{self._name}", right)

    def _make_account(self) -> Step:
        at = f"{IAM}/projects/{self._project}/serviceAccounts"
        body = {"accountId": ACCOUNT, "serviceAccount": {"displayName": "Machines of Studio"}}
        return self._create("make the service account of machines", at, body, f"{at}/{self.account}")

    def _make_role(self, name: str) -> Step:
        title, permissions = ROLES[name]
        at = f"{IAM}/projects/{self._project}/roles"
        body = {"roleId": name, "role": {"title": title, "includedPermissions": permissions, "stage": "GA"}}

        def right(found: dict[str, Any]) -> dict[str, Any]:
            same = set(found.get("includedPermissions", [])) == set(permissions)
            return {} if same else {"includedPermissions": permissions}

        return self._create(f"make the role {name}", at, body, f"{at}/{name}", right)

    def _bind_bucket(self) -> Step:
        at = f"{STORAGE}/b/{self._name}/iam"
        get = ("GET", f"{at}?optionsRequestedPolicyVersion=3", None)
        return self._bind("let machines use the bucket", self._on_bucket, get, lambda policy: ("PUT", at, policy))

    def _bind_project(self) -> Step:
        at = f"{PROJECTS}/projects/{self._project}"
        get = ("POST", f"{at}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}})
        put = f"{at}:setIamPolicy"
        return self._bind(
            "let machines delete themselves", self._on_project, get, lambda policy: ("POST", put, {"policy": policy})
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _binding(self, role: str, title: str, condition: str) -> dict[str, Any]:
        return {
            "role": f"projects/{self._project}/roles/{role}",
            "members": [f"serviceAccount:{self.account}"],
            "condition": {"title": f"studio-{title}", "expression": condition},
        }

    def _create(
        self,
        title: str,
        at: str,
        body: dict[str, Any],
        seen: str,
        right: Callable[[dict[str, Any]], dict[str, Any]] = lambda found: {},
    ) -> Step:
        """Make what is at `seen`. `right`: the fields that put what exists right; {} if it is as it should be."""

        def is_done() -> bool:
            found = self._send("GET", seen, None)
            return found is not None and not right(found)

        def do() -> None:
            found = self._send("GET", seen, None)
            if found is None:
                self._send("POST", at, body)
            elif change := right(found):
                self._send("PATCH", seen, change)

        return Step(title, f"POST {at}, or PATCH {seen}\n{json.dumps(body, indent=2)}", is_done, do)

    def _bind(
        self,
        title: str,
        binding: dict[str, Any],
        get: tuple[str, str, Any],
        put: Callable[[dict[str, Any]], tuple[str, str, Any]],
    ) -> Step:
        """Add `binding` to a policy, and keep all others. The etag makes sure that no concurrent change is lost."""

        def policy() -> dict[str, Any]:
            return self._send(*get) or {}

        def do() -> None:
            there = policy()
            self._send(*put({**there, "version": 3, "bindings": [*there.get("bindings", []), binding]}))

        _, at, _ = put({})
        text = f"{at}: with this binding added\n{json.dumps(binding, indent=2)}"
        return Step(title, text, lambda: binding in policy().get("bindings", []), do)


def _sender() -> Send:
    with google_errors("looking for Google credentials"):
        credentials, _ = sdk("google.auth", extra="gce").default(scopes=[SCOPE])
    session = sdk("google.auth.transport.requests", extra="gce").AuthorizedSession(credentials)
    failed = sdk("requests.exceptions", extra="gce").RequestException

    def send(method: str, at: str, body: Any) -> Any:
        service = re.sub(r"^https://|\..*", "", at)
        with google_errors(f"asking {service}"):
            try:
                answer = session.request(method, at, json=body, timeout=30)
            except failed as error:
                raise CloudUnreachable(f"{service}: {error}") from error
        if answer.status_code == 404:
            return None
        if answer.status_code == 409 and method == "POST":
            return {}  # exists already
        if answer.status_code >= 400:
            raise CloudDenied(f"{service}: {answer.status_code}: {_message(answer)}")
        return answer.json()

    return send


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text)[:200]
