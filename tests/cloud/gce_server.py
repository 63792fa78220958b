"""What `gce_simulator.GceSimulator` is made of: HTTP servers, and machines that are processes.

    the driver's port ──┐        ┌──► compute/v1     the REST interface, as far as Studio uses it
                        ├► Cloud ┼──► v1/services    the billing catalogue
    a port a machine  ──┘        ├──► storage, …     passed on to fake-gcs-server
                                 └──► computeMetadata, simulator/shutdown     of that machine alone

Each has a port of its own, so that the cloud knows who asks.
"""

import contextlib
import fnmatch
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from machine_tools import LONGEST_HELD, Wrong, install, running

ZONES = {"us-central1-a": "us-central1", "us-central1-b": "us-central1", "us-central1-c": "us-central1"}
ZONES |= {"europe-west4-a": "europe-west4"}
TYPES: list[tuple[str, int, int, dict[str, int]]] = [  # cpus, MiB, its own GPUs
    ("e2-medium", 2, 4096, {}),
    ("e2-standard-2", 2, 8192, {}),
    ("e2-standard-4", 4, 16384, {}),
    ("n1-standard-1", 1, 3840, {}),
    ("n1-standard-4", 4, 15360, {}),
    ("n1-standard-16", 16, 61440, {}),
    ("n2-standard-4", 4, 16384, {}),
    ("c4-standard-2", 2, 7168, {}),
    ("t2a-standard-2", 2, 8192, {}),
    ("c3-standard-192-metal", 192, 786432, {}),
    ("g2-standard-4", 4, 16384, {"nvidia-l4": 1}),
    ("a2-highgpu-1g", 12, 87040, {"nvidia-tesla-a100": 1}),
]
GPUS = {
    "us-central1-a": ["nvidia-l4", "nvidia-tesla-t4", "nvidia-tesla-t4-vws", "nvidia-tesla-v100"],
    "us-central1-b": ["nvidia-tesla-t4"],
}
PRICES = {  # description: dollars an hour on demand, spot. A2 is missing: its price is not known
    "E2 Instance Core running in Americas": (0.022, 0.0088),
    "E2 Instance Ram running in Americas": (0.003, 0.0012),
    "N1 Predefined Instance Core running in Americas": (0.032, 0.0064),
    "N1 Predefined Instance Ram running in Americas": (0.0042, 0.0009),
    "N2 Instance Core running in Americas": (0.0316, 0.0076),
    "N2 Instance Ram running in Americas": (0.0042, 0.001),
    "C4 Instance Core running in Americas": (0.035, 0.014),
    "C4 Instance Ram running in Americas": (0.004, 0.0016),
    "G2 Instance Core running in Americas": (0.025, 0.01),
    "G2 Instance Ram running in Americas": (0.003, 0.0012),
    "Nvidia L4 GPU running in Americas": (0.56, 0.22),
    "Nvidia Tesla T4 GPU running in Americas": (0.35, 0.11),
    "Nvidia Tesla V100 GPU running in Americas": (2.48, 0.74),
}
DISKS = {"Balanced PD Capacity": 0.1, "Hyperdisk Balanced Capacity": 0.08}  # dollars a GiB and month
SCOPES = {  # that a call needs, one of them
    "compute": ("https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/cloud-platform"),
    "storage": (
        "https://www.googleapis.com/auth/devstorage.read_write",
        "https://www.googleapis.com/auth/devstorage.full_control",
        "https://www.googleapis.com/auth/cloud-platform",
    ),
}
SHUTDOWN = r"""#!/bin/bash
# what the machine's host hears of `shutdown -P now`
exec 3<>/dev/tcp/127.0.0.1/PORT || exit 1
printf 'POST /simulator/shutdown HTTP/1.0\r\nContent-Length: 0\r\n\r\n' >&3
cat <&3 >/dev/null
"""
GONE = "DELETED"
MARK = "STUDIO_SIMULATED_MACHINE"  # in the environment of all its processes


@dataclass(frozen=True)
class Instance:
    """`state` in Google's words, or DELETED; `ended_by`: driver, itself, test, preempted, lost, maxRunDuration.
    `processes` that it runs now; `folder` with its home, console.log and bin."""

    id: str
    name: str
    project: str
    machine_type: str
    zone: str
    spot: bool
    state: str
    processes: int
    folder: Path
    ended_by: str = ""

    @property
    def alive(self) -> bool:
        return self.state != GONE


@dataclass(frozen=True)
class Request:
    """`by`: driver, or the name of a machine. `parameters`: of path and query, and machineType. `body`: JSON, or {}."""

    call: str
    by: str
    parameters: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


@dataclass
class Refusal:
    code: str  # of an operation; "STATUS reason" of an answer; empty: done, but not answered
    of: str
    by: str
    times: int | None
    message: str
    parameters: dict[str, str]

    def concerns(self, request: Request) -> bool:
        return (
            self.times != 0
            and fnmatch.fnmatch(request.call, self.of)
            and fnmatch.fnmatch(request.by, self.by)
            and self.parameters.items() <= request.parameters.items()
        )


class Refused(Exception):
    def __init__(self, status: int, reason: str, message: str):
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Answer:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def as_json(body: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(body).encode(), status, {"Content-Type": "application/json"})


def refused(error: Refused) -> Answer:
    one = {"message": error.message, "domain": "global", "reason": error.reason}
    return as_json({"error": {"code": error.status, "message": error.message, "errors": [one]}}, error.status)


class Machine:
    """`resource`: as Google's interface shows it. `clock`: seconds that its own is wrong by."""

    def __init__(self, resource: dict[str, Any], folder: Path, environment: dict[str, str], clock: float = 0.0):
        self.resource, self.folder = resource, folder
        self.name, self.zone = resource["name"], resource["zone"].rpartition("/")[2]
        self.metadata = {item["key"]: item["value"] for item in resource["metadata"]["items"]}
        self.preempted, self.deleted, self.ended_by = threading.Event(), False, ""
        self.timers: list[threading.Timer] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._environment = environment
        self.mark = f"{resource['name']}-{uuid.uuid4().hex}"
        self.lock = threading.RLock()
        self._environment |= self._install(clock)

    def boot(self) -> None:
        with self.lock:
            self._kill_processes()
            (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
            self.run("startup-script")
            self.resource["status"] = "RUNNING"

    def run(self, which: str) -> "subprocess.Popen[bytes]":
        script = self.metadata.get(which, "").replace("/proc/sys/kernel/random/boot_id", f"{self.folder}/boot_id")
        (self.folder / which).write_text(script)
        environment = self._environment | {MARK: self.mark}
        with (self.folder / "console.log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", str(self.folder / which)],
                cwd=self.folder / "home",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def later(self, seconds: float, do: Callable[..., None], *arguments: object) -> None:
        timer = threading.Timer(seconds, do, arguments)
        timer.daemon = True
        self.timers.append(timer)
        timer.start()

    def processes(self) -> list[int]:
        return running(MARK).get(self.mark, [])

    def stop_processes(self) -> None:
        self._signal(signal.SIGSTOP)

    def continue_processes(self) -> None:
        self._signal(signal.SIGCONT)

    def power_off(self) -> None:
        """As a guest does it: the shutdown script, SIGTERM, and after a second SIGKILL."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("shutdown-script").wait(timeout=10)
        self._signal(signal.SIGTERM)
        end = time.monotonic() + 1
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        for timer in self.timers:
            timer.cancel()
        with self.lock:
            self._kill_processes()

    def _kill_processes(self) -> None:
        while self.processes():
            self._signal(signal.SIGKILL)
            for process in self._started:
                process.poll()
            time.sleep(0.01)
        for process in self._started:
            process.wait()

    def _signal(self, number: int) -> None:
        done: set[int] = set()
        while new := set(self.processes()) - done:  # one that is stopped or killed makes no more of them
            for process in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            done |= new

    def _install(self, clock: float) -> dict[str, str]:
        port = self._environment["GCE_METADATA_HOST"].rpartition(":")[2]
        shutdown = SHUTDOWN.replace("PORT", port)
        environment = install(self.folder, shutdown, shutdown, clock)
        (self.folder / "console.log").touch()
        (self.folder / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
        return environment


class Cloud:
    """`storage`: URL of a fake-gcs-server. `mark`: that all processes of machines carry in their environment."""

    def __init__(self, folder: Path, project: str, storage: str, second: float, mark: str):
        self.folder, self.project, self.storage, self.second, self.mark = folder, project, storage, second, mark
        self.lock = threading.RLock()
        self.ports: dict[str, Port] = {}
        self.machines: dict[str, Machine] = {}  # by id; those that are gone, too
        self.operations: dict[str, dict[str, Any]] = {}
        self.named: dict[str, tuple[str, str]] = {}  # requestId: what was asked, name of its operation
        self.firewalls: dict[str, dict[str, Any]] = {}
        self.refusals: list[Refusal] = []
        self.cut: set[str] = set()
        self.silent: set[str] = set()  # zones that a list does not reach
        self.asked: list[Request] = []
        self.made_wrong = Wrong()
        self.held: list[tuple[str, threading.Event]] = []  # calls that wait
        self._numbers = iter(range(10**18, 10**19))

    def open(self, by: str) -> None:
        self.ports[by] = Port(self, by)

    def environment(self, by: str) -> dict[str, str]:
        url = self.ports[by].url
        found = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": f"{url}/",
            "STORAGE_EMULATOR_HOST": url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        if by != "driver":
            here = url.removeprefix("http://")
            found |= {"GCE_METADATA_HOST": here, "GCE_METADATA_IP": here, "STUDIO_SIMULATED_CLOUD": self.mark}
        return found

    def close(self) -> None:
        for machine in self.machines.values():
            machine.kill()
        for port in self.ports.values():
            port.stop()

    def release(self) -> None:
        while self.held:
            self.held.pop()[1].set()

    def reset(self) -> None:
        self.release()
        self.made_wrong = Wrong()
        with self.lock:
            for machine in self.machines.values():
                machine.kill()
            for by in set(self.ports) - {"driver"}:
                self.ports.pop(by).stop()
            for known in (
                self.silent,
                self.machines,
                self.operations,
                self.named,
                self.firewalls,
                self.refusals,
                self.cut,
                self.asked,
            ):
                known.clear()
        for bucket in self.ask_storage("GET", "/storage/v1/b").get("items", []):
            self.delete_bucket(bucket["name"])

    def delete_bucket(self, name: str) -> None:
        """With all that is in it, also what is written meanwhile."""
        path = f"/storage/v1/b/{name}"
        while found := self.ask_storage("GET", f"{path}/o").get("items", []):
            for each in found:
                with contextlib.suppress(urllib.error.HTTPError):  # it was replaced, or is gone
                    self.ask_storage("DELETE", f"{path}/o/{quote(each['name'], safe='')}")
        self.ask_storage("DELETE", path)

    def make_bucket(self, name: str) -> None:
        self.ask_storage("POST", f"/storage/v1/b?project={self.project}", {"name": name})

    def has_bucket(self, name: str) -> bool:
        try:
            self.ask_storage("GET", f"/storage/v1/b/{name}")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True

    def ask_storage(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        heads = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.storage + path, data, heads, method=method)) as answer:
            return json.loads(answer.read() or b"{}")

    # --- machines ---------------------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        processes = running(MARK)
        return [
            Instance(
                id=machine.resource["id"],
                name=machine.name,
                project=machine.metadata.get("studio-search-project", ""),
                machine_type=machine.resource["machineType"].rpartition("/")[2],
                zone=machine.zone,
                spot=machine.resource["scheduling"].get("provisioningModel") == "SPOT",
                state=machine.resource["status"],
                processes=len(processes.get(machine.mark, [])),
                folder=machine.folder,
                ended_by=machine.ended_by,
            )
            for machine in list(self.machines.values())
        ]

    def find(self, id: str) -> Machine:
        """By id or name; of several with one name the last."""
        for machine in reversed(list(self.machines.values())):
            if id in (machine.resource["id"], machine.name):
                return machine
        raise KeyError(f"there never was a machine {id}")

    def name_of(self, who: str) -> str:
        return self.machines[who].name if who in self.machines else who

    def preempt(self, id: str, notice: float) -> None:
        machine = self.find(id)
        assert machine.resource["scheduling"].get("provisioningModel") == "SPOT" or not notice, "it is no spot machine"
        if not notice:
            self.end(machine, "lost")
            return
        machine.preempted.set()
        machine.later(notice, self.end, machine, "preempted")

    def expire(self, machine: Machine) -> None:
        if machine.resource["scheduling"].get("maxRunDuration") and machine.resource["status"] == "RUNNING":
            self.end(machine, "maxRunDuration")

    def end(self, machine: Machine, why: str) -> None:
        """Google takes it away."""
        if machine.resource["scheduling"].get("instanceTerminationAction") == "DELETE":
            self.delete(machine, why)
        else:
            self.stop(machine, why)

    def delete(self, machine: Machine, why: str) -> None:
        with self.lock:
            if machine.resource["status"] == GONE:
                return
            if not machine.deleted:
                machine.deleted, machine.ended_by = True, why
            machine.resource["status"] = "STOPPING"
        machine.kill()
        machine.resource["status"] = GONE

    def stop(self, machine: Machine, why: str) -> None:
        machine.kill()
        with self.lock:
            if not machine.deleted:
                machine.resource["status"], machine.ended_by = "TERMINATED", why

    def shutdown(self, machine: Machine) -> None:
        with self.lock:
            if machine.resource["status"] != "RUNNING":
                return
            machine.resource["status"] = "STOPPING"
        machine.power_off()
        self.stop(machine, "itself")

    # --- requests ---------------------------------------------------------------------------------------------------

    def answer(self, by: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer | None:
        """None: the connection breaks."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith(("/computeMetadata/", "/simulator/")):
            return self.inside(self.find(by), parts.path, query, headers)
        service, call, parameters = named_call(method, parts.path)
        parameters |= query
        given = json.loads(body) if body and service == "compute" else {}
        if "machineType" in given:
            parameters["machineType"] = given["machineType"].rpartition("/")[2]
        request = Request(f"{service}:{call}", by, parameters, given)
        with self.lock:
            self.asked.append(request)
            refusal = next((each for each in self.refusals if each.concerns(request)), None)
            if refusal is not None and refusal.times is not None:
                refusal.times -= 1
        if by in self.cut:
            return None
        for waiting in [event for of, event in self.held if fnmatch.fnmatch(request.call, of)]:
            waiting.wait(LONGEST_HELD)
        try:
            self.check_token(service, by, headers)
            code, _, reason = refusal.code.partition(" ") if refusal is not None else ("", "", "")
            if refusal is not None and code.isdigit():
                raise Refused(int(code), reason, refusal.message)
            if service == "storage":
                answer = self.pass_on(by, method, target, headers, body)
            elif service == "billing":
                answer = as_json({"skus": skus(), "nextPageToken": ""})
            else:
                error = {"code": code, "message": refusal.message} if refusal is not None and code else None
                answer = as_json(self.compute(call, request, error))
        except Refused as error:
            answer = refused(error)
        except (OSError, http.client.HTTPException):  # fake-gcs-server has ended
            return None
        return None if refusal is not None and not refusal.code else answer

    def check_token(self, service: str, by: str, headers: dict[str, str]) -> None:
        """Google's storage library sends none to an emulator. What is sent must be right."""
        said = headers.get("authorization")
        if by == "driver":
            if said is not None:
                raise Refused(500, "simulator", "a driver sent credentials to an emulator")
            return
        if said is None and service == "storage":
            return
        if said != f"Bearer token of {by}":
            raise Refused(401, "authError", "Invalid Credentials")
        accounts = self.find(by).resource["serviceAccounts"]
        if not set(SCOPES.get(service, ())) & {scope for account in accounts for scope in account["scopes"]}:
            raise Refused(403, "insufficientPermissions", "Request had insufficient authentication scopes.")

    def pass_on(self, by: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        host = self.storage.removeprefix("http://")
        left_out = {"host", "accept-encoding", "authorization", "connection"}
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            sent = {name: value for name, value in headers.items() if name not in left_out}
            connection.request(method, target, body, sent)
            found = connection.getresponse()
            data = found.read()
        finally:
            connection.close()
        ours = self.ports[by].url
        hop = {"transfer-encoding", "connection", "content-length", "date", "server"}
        heads = {
            name: value.replace(self.storage, ours) for name, value in found.getheaders() if name.lower() not in hop
        }
        place = re.search(r"/b/([^/]+)/o/([^/?]+)", target)
        if found.status == 404 and place is not None and self.has_bucket(place[1]):
            data = f"No such object: {place[1]}/{unquote(place[2])}".encode()  # Google's words
        if "json" in found.headers.get("Content-Type", ""):
            data = data.replace(self.storage.encode(), ours.encode())
        return Answer(data, found.status, heads)

    # --- Compute Engine ---------------------------------------------------------------------------------------------

    def compute(self, call: str, request: Request, error: dict[str, str] | None) -> Any:
        """`error`: of the operation that is asked for."""
        given = request.parameters
        if given.get("project") != self.project and not call.startswith("images."):
            raise Refused(404, "notFound", f"The resource 'projects/{given.get('project')}' was not found")
        if "zone" in given and given["zone"] not in ZONES:
            raise Refused(400, "invalid", f"Invalid value for field 'zone': '{given['zone']}'. Unknown zone.")
        do = getattr(self, f"do_{call.replace('.', '_')}", None)
        if do is None:
            raise Refused(501, "notImplemented", f"the simulator does not know {call}")
        with self.lock:
            if call in ("instances.insert", "instances.delete", "firewalls.insert", "firewalls.delete"):
                return self.operation(call, request, error, do)
            return do(request)

    def operation(self, call: str, request: Request, error: dict[str, str] | None, do: Callable[..., str]) -> Any:
        """One with the same requestId is the same one."""
        name, asked = request.parameters.get("requestId", ""), json.dumps([call, request.parameters, request.body])
        if name:
            if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) or not name.strip("0-"):
                raise Refused(400, "invalid", f"Invalid value for field 'requestId': '{name}'. It must be a UUID.")
            if name in self.named:
                before, known = self.named[name]
                if before != asked:
                    raise Refused(400, "invalid", "The requestId was used with another request.")
                return self.operations[known]
        target = next(self._numbers) if error is not None else do(request)
        found: dict[str, Any] = {
            "kind": "compute#operation",
            "id": str(next(self._numbers)),
            "name": f"operation-{uuid.uuid4().hex}",
            "operationType": call.rpartition(".")[2],
            "targetId": str(target),
            "status": "RUNNING",
            "insertTime": now(),
        }
        self.operations[found["name"]] = found
        if name:
            self.named[name] = asked, found["name"]
        ended = {"status": "DONE", "progress": 100, "endTime": now()}
        if error is not None:
            ended |= {"error": {"errors": [error]}, "httpErrorStatusCode": 503}
        answer = dict(found)
        found.update(ended)  # who asks again hears of it
        return answer

    def do_zoneOperations_get(self, request: Request) -> Any:
        name = request.parameters["name"]
        if name not in self.operations:
            raise Refused(404, "notFound", f"The resource 'operations/{name}' was not found")
        return self.operations[name]

    def do_instances_insert(self, request: Request) -> str:
        body, zone = request.body, request.parameters["zone"]
        check_instance(body, zone, self.project)
        alive = [machine for machine in self.machines.values() if machine.resource["status"] != GONE]
        if any(machine.name == body["name"] and machine.zone == zone for machine in alive):
            raise Refused(409, "alreadyExists", f"The resource 'instances/{body['name']}' already exists")
        id, name = str(next(self._numbers)), body["name"]
        base = f"https://www.googleapis.com/compute/v1/projects/{self.project}/zones/{zone}"
        resource = json.loads(json.dumps(body)) | {
            "id": id,
            "zone": base,
            "machineType": f"{base}/machineTypes/{body['machineType'].rpartition('/')[2]}",
            "selfLink": f"{base}/instances/{name}",
            "status": "STAGING",
            "creationTimestamp": now(),
        }
        if name in self.ports:  # of a machine of that name that is gone
            self.ports[name].stop()
        self.open(name)
        mute, clock = self.made_wrong.next()
        machine = Machine(resource, self.folder / f"{name}-{id[-6:]}", self.environment(name), clock)
        self.machines[id] = machine
        if mute:
            resource["status"] = "RUNNING"
        else:
            machine.boot()
        limit = body.get("scheduling", {}).get("maxRunDuration", {}).get("seconds")
        if limit is not None:
            machine.later(int(limit) * self.second, self.expire, machine)
        return id

    def do_instances_delete(self, request: Request) -> str:
        machine = self.known(request)
        self.delete(machine, "itself" if request.by == machine.name else request.by)
        return str(machine.resource["id"])

    def do_instances_get(self, request: Request) -> Any:
        return self.known(request).resource

    def do_instances_aggregatedList(self, request: Request) -> Any:
        wanted = re.fullmatch(r"labels\.([\w-]+)(:\*|=([\w-]+))", request.parameters.get("filter", ""))
        if wanted is None:
            raise Refused(400, "invalid", "Invalid list filter expression.")
        items: dict[str, Any] = {}
        for zone in ZONES:
            found = [
                machine.resource
                for machine in self.machines.values()
                if machine.zone == zone
                and machine.resource["status"] != GONE
                and wanted[1] in machine.resource.get("labels", {})
                and wanted[3] in (None, machine.resource["labels"][wanted[1]])
            ]
            none = {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for scope 'zones/{zone}'."}
            items[f"zones/{zone}"] = {"instances": found} if found else {"warning": none}
            if zone in self.silent:
                items[f"zones/{zone}"] = {"warning": {"code": "UNREACHABLE", "message": "The zone is unreachable."}}
        return {"kind": "compute#instanceAggregatedList", "items": items}

    def known(self, request: Request) -> Machine:
        name, zone = request.parameters["name"], request.parameters["zone"]
        for machine in self.machines.values():
            if machine.name == name and machine.zone == zone and machine.resource["status"] != GONE:
                return machine
        raise Refused(404, "notFound", f"The resource 'zones/{zone}/instances/{name}' was not found")

    def do_firewalls_insert(self, request: Request) -> str:
        name = request.body["name"]
        if name in self.firewalls:
            raise Refused(409, "alreadyExists", f"The resource 'firewalls/{name}' already exists")
        self.firewalls[name] = request.body
        return str(next(self._numbers))

    def do_firewalls_list(self, request: Request) -> Any:
        return {"items": list(self.firewalls.values())}

    def do_firewalls_delete(self, request: Request) -> str:
        if self.firewalls.pop(request.parameters["name"], None) is None:
            raise Refused(404, "notFound", "There is no such rule.")
        return str(next(self._numbers))

    def do_images_get(self, request: Request) -> Any:
        return {"name": request.parameters["name"]}

    def do_regions_get(self, request: Request) -> Any:
        region = request.parameters["name"]
        zones = [zone for zone, of in ZONES.items() if of == region]
        if not zones:
            raise Refused(404, "notFound", f"The resource 'regions/{region}' was not found")
        base = f"https://www.googleapis.com/compute/v1/projects/{self.project}/zones"
        return {"name": region, "zones": [f"{base}/{zone}" for zone in zones]}

    def do_machineTypes_list(self, request: Request) -> Any:
        return {"items": [machine_type(*kind) for kind in TYPES if is_there(kind[3], request.parameters["zone"])]}

    def do_machineTypes_get(self, request: Request) -> Any:
        name = request.parameters["name"]
        custom = re.fullmatch(r"(?:[a-z0-9]+-)?custom-(\d+)-(\d+)", name)
        kinds = [*TYPES, (name, int(custom[1]), int(custom[2]), {})] if custom else TYPES
        for kind in kinds:
            if kind[0] == name and is_there(kind[3], request.parameters["zone"]):
                return machine_type(*kind)
        raise Refused(404, "notFound", f"The resource 'machineTypes/{name}' was not found")

    def do_acceleratorTypes_list(self, request: Request) -> Any:
        return {"items": [{"name": name} for name in GPUS.get(request.parameters["zone"], [])]}

    # --- what a machine asks of its host ----------------------------------------------------------------------------

    def inside(self, machine: Machine, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path == "/simulator/shutdown":
            threading.Thread(target=self.shutdown, args=[machine], daemon=True).start()
            return Answer(b"")
        if headers.get("metadata-flavor") != "Google":
            return Answer(b"Missing Metadata-Flavor:Google header", 403)
        what, number = path.removeprefix("/computeMetadata/v1/"), "123456789012"
        accounts = machine.resource.get("serviceAccounts", [])
        if what == "instance/preempted":
            return self.preempted(machine, query)
        token = {"access_token": f"token of {machine.name}", "expires_in": 3000, "token_type": "Bearer"}
        known = {
            "instance/name": machine.name,
            "instance/id": machine.resource["id"],
            "instance/zone": f"projects/{number}/zones/{machine.zone}",
            "instance/machine-type": f"projects/{number}/machineTypes/{machine.resource['machineType'].rpartition('/')[2]}",
            "project/project-id": self.project,
            "project/numeric-project-id": number,
            **({"instance/service-accounts/default/token": json.dumps(token)} if accounts else {}),
        }
        found = known.get(what)
        if found is None and what.startswith("instance/attributes/"):
            found = machine.metadata.get(what.removeprefix("instance/attributes/"))
        return Answer(b"", 404) if found is None else Answer(found.encode(), 200, {"Metadata-Flavor": "Google"})

    def preempted(self, machine: Machine, query: dict[str, str]) -> Answer:
        """Waits for a change; whoever knows of another state than this one is told at once."""
        etag = {True: "2222222222222222", False: "1111111111111111"}
        if query.get("wait_for_change") == "true" and query.get("last_etag") in (
            None,
            etag[machine.preempted.is_set()],
        ):
            machine.preempted.wait(float(query.get("timeout_sec", "60")))
        now = machine.preempted.is_set()
        return Answer(b"TRUE" if now else b"FALSE", 200, {"ETag": etag[now], "Metadata-Flavor": "Google"})


class Port(ThreadingHTTPServer):
    """Where one asker asks."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, cloud: Cloud, by: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cloud, self.by = cloud, by
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=[0.05], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, *_: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a killed machine hears no answer
            super().handle_error(*_)


class Handler(BaseHTTPRequestHandler):
    server: Port

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.cloud.answer(self.server.by, self.command, self.path, headers, body)
        if answer is None:
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve

    def log_message(self, *_: object) -> None:
        pass


# --- requests and answers ---------------------------------------------------------------------------------------------


def named_call(method: str, path: str) -> tuple[str, str, dict[str, str]]:
    """`compute`, `instances.insert`, {"project": …, "zone": …}; of storage the method alone."""
    if path.startswith("/v1/services/"):
        return "billing", "skus.list", {"service": path.split("/")[3]}
    found = re.fullmatch(
        r"/compute/v1/projects/(?P<project>[^/]+)(/zones/(?P<zone>[^/]+)|/global|/aggregated|)"
        r"/(?P<kind>instances|operations|machineTypes|acceleratorTypes|regions|firewalls|images)(/family)?(/(?P<name>[^/]+))?",
        path,
    )
    if found is None:
        return "storage", method, {"key": path}
    parameters = {name: value for name, value in found.groupdict().items() if value is not None and name != "kind"}
    kind = "zoneOperations" if found["kind"] == "operations" else found["kind"]
    verbs = {"POST": "insert", "DELETE": "delete", "GET": "get" if found["name"] else "list"}
    verb = "aggregatedList" if "/aggregated/" in path else verbs.get(method, method)
    return "compute", f"{kind}.{verb}", parameters


def check_instance(body: dict[str, Any], zone: str, project: str) -> None:
    """Refused for what Google does not take."""

    def invalid(where: str, value: object, why: str) -> Refused:
        return Refused(400, "invalid", f"Invalid value for field 'resource.{where}': '{value}'. {why}")

    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", body.get("name", "")):
        raise invalid("name", body.get("name"), "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    disks = body["disks"]
    for where, labels in [
        ("labels", body.get("labels", {})),
        ("disks", disks[0]["initializeParams"].get("labels", {})),
    ]:
        for name, value in labels.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                raise invalid(where, {name: value}, "Label keys and values are lower case.")
    kind = re.fullmatch(rf"(?:projects/{project}/)?zones/{zone}/machineTypes/([a-z0-9-]+)", body["machineType"])
    kinds = {name for name, _, _, gpus in TYPES if is_there(gpus, zone)}
    if kind is None or (kind[1] not in kinds and "custom" not in kind[1]):
        raise invalid("machineType", body["machineType"], "The referenced resource does not exist.")
    image = disks[0]["initializeParams"]["sourceImage"]
    if not re.fullmatch(r"projects/[a-z0-9-]+/global/images/(family/)?[a-z0-9-]+", image):
        raise invalid("disks[0].initializeParams.sourceImage", image, "The URL is malformed.")
    plan = body.get("scheduling", {})
    spot, limited = plan.get("provisioningModel") == "SPOT", "maxRunDuration" in plan
    if "instanceTerminationAction" in plan and not (spot or limited):
        raise invalid("scheduling", plan, "instanceTerminationAction needs SPOT or a limited run time.")
    if limited and not 30 <= int(plan["maxRunDuration"]["seconds"]) <= 120 * 86400:
        raise invalid("scheduling.maxRunDuration", plan["maxRunDuration"], "It must be between 30 s and 120 days.")
    if plan.get("automaticRestart", True) and (spot or limited):
        raise invalid("scheduling.automaticRestart", True, "Such a machine cannot restart.")
    has_gpus = body.get("guestAccelerators") or any(gpus for name, _, _, gpus in TYPES if name == kind[1])
    if (spot or has_gpus) and plan.get("onHostMaintenance", "MIGRATE") != "TERMINATE":
        raise Refused(400, "badRequest", "Instances with guest accelerators or SPOT do not support live migration.")
    for gpu in body.get("guestAccelerators", []):
        if gpu["acceleratorType"].rpartition("/")[2] not in GPUS.get(zone, []) or not kind[1].startswith(
            ("n1", "custom")
        ):
            raise invalid("guestAccelerators", gpu, "The referenced resource does not exist.")
    for account in body.get("serviceAccounts", []):
        if account["email"] != "default" and not account["email"].endswith(f"@{project}.iam.gserviceaccount.com"):
            raise invalid("serviceAccounts", account["email"], "The referenced service account does not exist.")
    if any(len(item["value"]) > 256 * 1024 for item in body["metadata"]["items"]):
        raise invalid("metadata", "…", "Values have at most 262144 characters.")


def is_there(gpus: dict[str, int], zone: str) -> bool:
    return all(name in GPUS.get(zone, []) for name in gpus if name == "nvidia-l4")


def machine_type(name: str, cpus: int, mib: int, gpus: dict[str, int]) -> dict[str, Any]:
    own = [{"guestAcceleratorType": gpu, "guestAcceleratorCount": count} for gpu, count in gpus.items()]
    return {
        "name": name,
        "guestCpus": cpus,
        "memoryMb": mib,
        "isSharedCpu": name == "e2-medium",
        "architecture": "ARM64" if name.startswith("t2a") else "X86_64",
        **({"accelerators": own} if own else {}),
    }


def skus() -> list[dict[str, Any]]:
    found = []
    for description, (on_demand, spot) in PRICES.items():
        found.append(sku(description, on_demand, "OnDemand", "h"))
        words = description.replace(" running", " attached to Spot Preemptible VMs running")
        cheap = words if "GPU" in description else f"Spot Preemptible {description}"
        found.append(sku(cheap, spot, "Preemptible", "h"))
        found.append(sku(f"Commitment v1: {description}", on_demand / 2, "Commit1Yr", "h"))
        found.append(sku(description.replace("Americas", "Zurich"), 2 * on_demand, "OnDemand", "h", "europe-west6"))
    found += [sku(description, dollars, "OnDemand", "GiBy.mo") for description, dollars in DISKS.items()]
    found.append(sku("External IP Charge on a Standard VM", 0.005, "OnDemand", "h", "global"))
    found.append(sku("External IP Charge on a Spot Preemptible VM", 0.0025, "Preemptible", "h", "global"))
    return found


def sku(description: str, dollars: float, usage: str, unit: str, region: str = "us-central1") -> dict[str, Any]:
    nanos = round(dollars * 10**9)
    price = {"currencyCode": "USD", "units": str(nanos // 10**9), "nanos": nanos % 10**9}
    expression = {"usageUnit": unit, "tieredRates": [{"startUsageAmount": 0, "unitPrice": price}]}
    return {
        "description": description,
        "category": {"usageType": usage, "serviceDisplayName": "Compute Engine"},
        "serviceRegions": [region],
        "pricingInfo": [{"pricingExpression": expression}],
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
