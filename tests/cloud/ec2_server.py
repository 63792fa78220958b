"""The process behind `ec2_simulator.Ec2Simulator`: python ec2_server.py FOLDER. Ends with its standard input.

a request ──► Cloud ──────► moto          what moto lacks is done here, before and after
               │ RunInstances, TerminateInstances
               ▼
            Machine: a bash that runs the user data ──► /simulator/machines/ID: its metadata service, its shutdown
"""

import base64
import contextlib
import fnmatch
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from machine_tools import LONGEST_HELD, Wrong, install, running
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import InstanceTypeBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from moto.ssm.models import ssm_backends
from werkzeug.serving import make_server

Environ = dict[str, Any]
Answer = tuple[str, list[tuple[str, str]], bytes]  # status, headers, body
JSON, XML = "application/json", "text/xml"

MARK = "STUDIO_SIMULATED_MACHINE"  # in the environment of all its processes
LARGEST = 16 * 1024
MOST_SKEW = 900  # seconds that the time of a signature may be off
ON_DEMAND = {
    "t3.medium": 0.0416,
    "c7i.large": 0.08925,
    "c6i.large": 0.085,
    "m7i.large": 0.1008,
    "m6i.xlarge": 0.192,
    "r6i.large": 0.126,
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g6.xlarge": 0.8048,
}
GP3 = 0.08
FAMILIES = (
    "t3",
    "c6i",
    "c7i",
    "c7g",
    "m6i",
    "m7i",
    "m7g",
    "r6i",
    "g4dn",
    "g5",
    "g6",
)  # all 1,400 types take seconds to list
REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
IMAGES = {  # public parameters of SSM
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-03cf127a",
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id": "ami-03cf127a",
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": "ami-03cf127a",
}

SHUTDOWN = r"""#!/bin/bash
# shutdown -P now, shutdown -P +MINUTES, shutdown -c: what the machine's host hears of it
when=${!#}
exec 3<>/dev/tcp/127.0.0.1/PORT || exit 1
printf 'POST /simulator/machines/ID/shutdown HTTP/1.0\r\nContent-Length: %s\r\n\r\n%s' "${#when}" "$when" >&3
cat <&3 >/dev/null
"""


class Refused(Exception):
    """`code` and message as Amazon has them."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Call:
    service: str
    name: str  # RunInstances; of S3 the method
    region: str
    key: str  # id of the credentials
    parameters: dict[str, str]

    def __str__(self) -> str:
        return f"{self.service}:{self.name}"


@dataclass
class Refusal:
    code: str  # empty: done, but not answered
    of: str
    by: str
    times: int | None
    message: str
    parameters: dict[str, str]

    def concerns(self, call: Call, by: str) -> bool:
        return (
            self.times != 0
            and fnmatch.fnmatch(str(call), self.of)
            and fnmatch.fnmatch(by, self.by)
            and self.parameters.items() <= (call.parameters | {"region": call.region}).items()
        )


@dataclass
class Machine:
    id: str
    region: str
    folder: Path
    role: str
    notice: str = ""  # JSON, when it is to be interrupted
    timers: list[threading.Timer] = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def key(self) -> str:
        return f"ASIA{self.id[2:].upper()}"

    def start(self, script: str, url: str, clock: float) -> None:
        """`clock`: seconds that it is wrong by."""
        shutdown = SHUTDOWN.replace("PORT", url.rpartition(":")[2]).replace("ID", self.id)
        environment = install(self.folder, shutdown, shutdown.replace("${!#}", "now"), clock)
        (self.folder / "root/cloud/data").mkdir(parents=True)
        (self.folder / "root/cloud/data/instance-id").write_text(f"{self.id}\n")
        (self.folder / "uptime").write_text("0.07 0.01\n")
        script = script.replace("/var/lib/cloud", f"{self.folder}/root/cloud")
        (self.folder / "user-data").write_text(script.replace("/proc/uptime", f"{self.folder}/uptime"))
        environment |= {
            "NO_PROXY": "127.0.0.1",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{url}/simulator/machines/{self.id}",
            "AWS_METADATA_SERVICE_TIMEOUT": "20",  # a second is little where many tests share two cores
            MARK: self.id,
        }
        with (self.folder / "console.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(self.folder / "user-data")],
                cwd=self.folder / "home",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self.process.wait, daemon=True).start()  # a zombie would count as alive

    def processes(self) -> list[int]:
        return running(MARK).get(self.id, [])

    def signal(self, number: int) -> None:
        done: set[int] = set()
        while new := set(self.processes()) - done:  # one that is stopped or killed makes no more of them
            for process in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            done |= new

    def kill(self) -> None:
        for timer in self.timers:
            timer.cancel()
        while self.processes():
            self.signal(signal.SIGKILL)
            time.sleep(0.01)


class Cloud:
    """The WSGI application."""

    def __init__(self, folder: Path):
        self.folder, self.minute, self.url = folder, 60.0, ""
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.RLock()
        self.machines: dict[str, Machine] = {}
        self.orders: dict[str, tuple[dict[str, str], Answer]] = {}  # by ClientToken
        self.refusals: list[Refusal] = []
        self.cut: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.made_wrong = Wrong()
        self.held: list[tuple[str, threading.Event]] = []  # calls that wait

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(("/simulator/do/", "/simulator/machines/")):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(length)
            what = path.split("/", 3)[3]
            answer = self.do(what, body) if path.startswith("/simulator/do/") else self.inside(environ, what, body)
            start(answer[0], answer[1])
            return [answer[2]]
        call = call_of(environ)
        if call is None:  # not signed
            return self.moto(environ, start)
        by = self.who(call.key)
        with self.lock:
            self.asked.append({"call": str(call), "by": by, "parameters": call.parameters})
            refusal = next((each for each in self.refusals if each.concerns(call, by)), None)
            if refusal is not None and refusal.times is not None:
                refusal.times -= 1
        if by in self.cut:
            return hang_up(environ)
        for waiting in [event for of, event in self.held if fnmatch.fnmatch(str(call), of)]:
            waiting.wait(LONGEST_HELD)
        try:
            if refusal is not None and refusal.code:
                raise Refused(refusal.code, refusal.message)
            check_signature(environ, call, by)
            answered = self.answer(call, environ)
        except Refused as error:
            answered = refusal_of(call, error)
        if refusal is not None and not refusal.code:
            return hang_up(environ)
        start(answered[0], answered[1])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answered[2]]

    def answer(self, call: Call, environ: Environ) -> Answer:
        if call.service == "pricing":
            return "200 OK", [("Content-Type", JSON)], products(call.parameters).encode()
        if call.name == "DescribeSpotPriceHistory":
            return "200 OK", [("Content-Type", XML)], spot_prices(call).encode()
        if call.name == "DescribeRegions":
            return "200 OK", [("Content-Type", XML)], regions().encode()
        if call.name == "RunInstances":
            with self.lock:
                return self.run_instances(call, environ)
        answer = self.ask_moto(environ)
        if call.name == "TerminateInstances" and answer[0].startswith("200"):
            for name, id in call.parameters.items():
                if name.startswith("InstanceId.") and id in self.machines:
                    self.machines[id].kill()
        return answer

    def ask_moto(self, environ: Environ) -> Answer:
        status: list[Any] = []
        body = b"".join(self.moto(environ, lambda *given: status.extend(given[:2])))
        return status[0], list(status[1]), body

    def run_instances(self, call: Call, environ: Environ) -> Answer:
        asked = call.parameters
        token = asked.get("ClientToken", "")
        if token in self.orders:
            before, answer = self.orders[token]
            if before != asked:
                raise Refused("IdempotentParameterMismatch", "the ClientToken was used with other parameters")
            if any(self.instance(self.machines[id]).state == "terminated" for id in instances(answer)):
                raise Refused(
                    "IdempotentInstanceTerminated", "The request is a repeat, and its instance has terminated"
                )
            return answer
        for name in ("MinCount", "MaxCount"):
            if name not in asked:
                raise Refused("MissingParameter", f"The request must contain the parameter {name}")
        script = base64.b64decode(asked.get("UserData", "")).decode()
        if len(script.encode()) > LARGEST:
            raise Refused("InvalidParameterValue", f"User data is limited to {LARGEST} bytes")
        image = asked.get("ImageId", "")
        resolved = dict(asked, ImageId=self.image(image.removeprefix("resolve:ssm:"), call.region))
        form = "&".join(f"{name}={quoted(value)}" for name, value in resolved.items()).encode()
        environ.update({"wsgi.input": io.BytesIO(form), "CONTENT_LENGTH": str(len(form))})
        answer = self.ask_moto(environ)
        if answer[0].startswith("200"):
            if token:
                self.orders[token] = asked, answer
            for id in instances(answer):
                profile = asked.get("IamInstanceProfile.Name", asked.get("IamInstanceProfile.Arn", ""))
                role = profile.rpartition("/")[2]  # of one name, in all tests
                machine = Machine(id, call.region, self.folder / id, role)
                self.machines[machine.id] = machine
                mute, clock = self.made_wrong.next()
                if script and not mute:
                    machine.start(script, self.url, clock)
        return answer

    def image(self, name: str, region: str) -> str:
        if not name.startswith("/"):
            return name
        if name in IMAGES:
            return IMAGES[name]
        found = ssm_backends[DEFAULT_ACCOUNT_ID][region].get_parameter(name)
        if found is None:
            raise Refused("InvalidParameterValue", f"there is no parameter {name} in Systems Manager")
        return str(found.value)

    def who(self, key: str) -> str:
        return next((id for id, machine in self.machines.items() if machine.key == key), key)

    # --- what a machine asks of its host ----------------------------------------------------------------------------

    def inside(self, environ: Environ, what: str, body: bytes) -> Answer:
        id, _, path = what.partition("/")
        machine = self.machines.get(id)
        if machine is None:
            return plain("404 Not Found")
        if path == "shutdown":
            return self.shutdown(machine, body.decode())
        token = f"token of {id}"
        if path == "latest/api/token" and environ["REQUEST_METHOD"] == "PUT":
            asked = "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS" in environ
            return plain("200 OK", token) if asked else plain("400 Bad Request")
        if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != token:
            return plain("401 Unauthorized")
        instance = self.instance(machine)
        known = {
            "meta-data/instance-id": id,
            "meta-data/instance-type": instance.instance_type,
            "meta-data/placement/region": machine.region,
            "meta-data/placement/availability-zone": instance.placement.zone,
            "meta-data/spot/instance-action": machine.notice,
            "meta-data/iam/security-credentials/": machine.role,
            f"meta-data/iam/security-credentials/{machine.role}": credentials(machine) if machine.role else "",
        }
        found = known.get(path.removeprefix("latest/"))
        return plain("200 OK", found) if found else plain("404 Not Found")

    def shutdown(self, machine: Machine, when: str) -> Answer:
        if when == "-c":
            for timer in machine.timers:
                timer.cancel()
        else:
            seconds = float(when) * self.minute if when.startswith("+") else 0.0
            timer = threading.Timer(seconds, self.power_off, [machine])
            timer.daemon = True
            machine.timers.append(timer)
            timer.start()
        return plain("200 OK")

    def power_off(self, machine: Machine) -> None:
        machine.signal(signal.SIGTERM)
        end = time.monotonic() + 1
        while machine.processes() and time.monotonic() < end:
            time.sleep(0.02)
        self.lose(machine)

    def lose(self, machine: Machine) -> None:
        machine.kill()
        with self.lock:
            ec2_backends[DEFAULT_ACCOUNT_ID][machine.region].terminate_instances([machine.id])

    def instance(self, machine: Machine) -> Any:
        return ec2_backends[DEFAULT_ACCOUNT_ID][machine.region].get_instance(machine.id)

    # --- what the test asks -----------------------------------------------------------------------------------------

    def do(self, command: str, body: bytes) -> Answer:
        said = getattr(self, f"do_{command}")(**json.loads(body))
        return "200 OK", [("Content-Type", JSON)], json.dumps(said).encode()

    def do_instances(self) -> list[dict[str, Any]]:
        found, processes = [], running(MARK)
        for machine in list(self.machines.values()):
            instance = self.instance(machine)
            tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
            found.append(
                {
                    "id": machine.id,
                    "name": tags.get("Name", ""),
                    "project": tags.get("studio-search", ""),
                    "machine_type": instance.instance_type,
                    "zone": instance.placement.zone,
                    "spot": instance.lifecycle == "spot",
                    "state": instance.state,
                    "processes": len(processes.get(machine.id, [])),
                    "script": machine.process.pid if machine.process is not None else 0,
                    "folder": str(machine.folder),
                }
            )
        return found

    def do_requests(self) -> list[dict[str, Any]]:
        return self.asked

    def do_forget(self) -> None:
        self.asked.clear()

    def do_refuse(self, **given: Any) -> None:
        with self.lock:
            self.refusals.append(Refusal(**given))

    def do_allow(self) -> None:
        with self.lock:
            self.refusals.clear()

    def do_make_wrong(self, **given: Any) -> None:
        self.made_wrong = Wrong(**given)

    def do_hold(self, of: str) -> None:
        self.held.append((of, threading.Event()))

    def do_release(self) -> None:
        while self.held:
            self.held.pop()[1].set()

    def do_cut(self, who: str) -> None:
        self.cut.add(who)

    def do_mend(self, who: str) -> None:
        self.cut.discard(who)

    def do_signal(self, id: str, name: str) -> None:
        self.machines[id].signal(signal.Signals[name])

    def do_interrupt(self, id: str, notice: float) -> None:
        machine = self.machines[id]
        if not notice:
            self.lose(machine)
            return
        at = datetime.now(UTC) + timedelta(seconds=notice)
        machine.notice = json.dumps({"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})
        timer = threading.Timer(notice, self.lose, [machine])
        timer.daemon = True
        timer.start()

    def do_reset(self, minute: float = 60.0) -> None:
        self.minute = minute
        self.do_release()
        self.made_wrong = Wrong()
        with self.lock:
            for machine in self.machines.values():
                self.lose(machine)
            known: tuple[Any, ...] = self.machines, self.orders, self.refusals, self.cut, self.asked
            for each in known:
                each.clear()
        for bucket in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.values():
            bucket.keys.clear()


# --- requests and answers ---------------------------------------------------------------------------------------------


def call_of(environ: Environ) -> Call | None:
    """None without a signature. What was read of the body is there again."""
    found = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    if found is None:
        return None
    key, region, service = found.groups()
    name, parameters = environ["REQUEST_METHOD"], {"key": environ["PATH_INFO"].lstrip("/")}
    if service != "s3":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if target := environ.get("HTTP_X_AMZ_TARGET"):
            name, parameters = target.rpartition(".")[2], {"body": body.decode()}
        else:
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
            name = parameters["Action"]
    return Call(service, name, region, key, parameters)


def check_signature(environ: Environ, call: Call, by: str) -> None:
    """Refused for what Amazon would not believe: the header of the request with the secret of that key."""
    if by == call.key and by not in ("driver", "test"):
        raise Refused("InvalidAccessKeyId" if call.service == "s3" else "AuthFailure", f"{call.key} is not known here")
    stated = environ["HTTP_AUTHORIZATION"]
    names = re.search(r"SignedHeaders=([^,]+)", stated)
    signature = re.search(r"Signature=(\w+)", stated)
    assert names is not None
    assert signature is not None
    plain_names = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    headers = {
        name: environ.get(plain_names.get(name, "HTTP_" + name.upper().replace("-", "_")), "")
        for name in names[1].split(";")
    }
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs((datetime.now(UTC) - at).total_seconds()) > MOST_SKEW:
        code = {"s3": "RequestTimeTooSkewed", "ec2": "RequestExpired"}.get(call.service, "SignatureDoesNotMatch")
        raise Refused(code, "The difference between the request time and the current time is too large.")
    body = b"" if call.service == "s3" else environ["wsgi.input"].getvalue()
    if call.service == "s3" and re.fullmatch("[0-9a-f]{64}", digest := headers["x-amz-content-sha256"]):
        data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(data)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Refused("XAmzContentSHA256Mismatch", "the body is not what its header says")
    request = AWSRequest(
        environ["REQUEST_METHOD"], f"http://{headers['host']}{environ['REQUEST_URI']}", headers=headers, data=body
    )
    request.context["timestamp"] = headers["x-amz-date"]
    kind = S3SigV4Auth if call.service == "s3" else SigV4Auth
    signer = kind(Credentials(call.key, f"secret of {by}"), call.service, call.region)
    ours = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if ours != signature[1]:
        raise Refused("SignatureDoesNotMatch", "the request was not signed with the secret of its key")


def refusal_of(call: Call, error: Refused) -> Answer:
    statuses = {"InternalError": "500", "RequestLimitExceeded": "503", "SlowDown": "503", "PermanentRedirect": "301"}
    statuses |= {"RequestTimeTooSkewed": "403", "NoSuchBucket": "404"}
    status, headers = statuses.get(error.code, "400"), [("Content-Type", XML)]
    code, message = escape(error.code), escape(error.message)
    inner = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if call.service in ("pricing", "ssm"):
        text = json.dumps({"__type": error.code, "message": error.message})
        return f"{status} Refused", [("Content-Type", "application/x-amz-json-1.1")], text.encode()
    if call.service == "ec2":
        inner = f"<Response><Errors>{inner}</Errors><RequestID>0</RequestID></Response>"
    elif call.service != "s3":
        inner = f"<ErrorResponse>{inner}<RequestId>0</RequestId></ErrorResponse>"
    if error.code == "PermanentRedirect":  # the message is the region of the bucket
        headers.append(("x-amz-bucket-region", error.message))
    return f"{status} Refused", headers, f'<?xml version="1.0"?>{inner}'.encode()


def instances(answer: Answer) -> list[str]:
    """Ids of those that RunInstances made."""
    return [id.decode() for id in re.findall(rb"<instanceId>(i-\w+)</instanceId>", answer[2])]


def hang_up(environ: Environ) -> list[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("the connection is cut, as the test wants it")


def plain(status: str, text: str = "") -> Answer:
    return status, [("Content-Type", "text/plain")], text.encode()


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def credentials(machine: Machine) -> str:
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": machine.key,
            "SecretAccessKey": f"secret of {machine.id}",
            "Token": f"session of {machine.id}",
            "LastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Expiration": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )


# --- prices -----------------------------------------------------------------------------------------------------------


def products(parameters: dict[str, str]) -> str:
    """Four a page, as there are many."""
    asked = json.loads(parameters["body"])
    wanted = {filter["Field"]: filter["Value"] for filter in asked["Filters"]}
    if wanted.get("volumeApiName") == "gp3":
        found = [product({"volumeApiName": "gp3"}, GP3, "GB-Mo")]
    else:
        types = {name: price for name, price in ON_DEMAND.items() if wanted.get("instanceType", name) == name}
        found = [product({"instanceType": name}, price, "Hrs") for name, price in types.items()]
        found += [product({"instanceType": name}, 0.0, "Hrs") for name in types]  # what reservations pay
    first = int(asked.get("NextToken", 0))
    page: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": found[first : first + 4]}
    if first + 4 < len(found):
        page["NextToken"] = str(first + 4)
    return json.dumps(page)


def product(attributes: dict[str, str], price: float, unit: str) -> str:
    dimension = {"unit": unit, "pricePerUnit": {"USD": f"{price:.10f}"}}
    return json.dumps(
        {
            "product": {"attributes": attributes},
            "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}},
        }
    )


def spot_prices(call: Call) -> str:
    """An old price beside the one that holds, as Amazon has it. Not in every zone."""
    types = [value for name, value in call.parameters.items() if name.startswith("InstanceType.")]
    items = "".join(
        f"<item><instanceType>{name}</instanceType><productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{price:.6f}</spotPrice><timestamp>{at}</timestamp>"
        f"<availabilityZone>{call.region}{zone}</availabilityZone></item>"
        for name in types
        if name in ON_DEMAND
        for number, zone in enumerate("abcd")
        for at, price in (
            ("2026-01-02T00:00:00.000Z", ON_DEMAND[name] * (0.3 + number / 100)),
            ("2026-01-01T00:00:00.000Z", ON_DEMAND[name] / 100),
        )
    )
    inner = f"<requestId>0</requestId><spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken></nextToken>"
    return f"<DescribeSpotPriceHistoryResponse>{inner}</DescribeSpotPriceHistoryResponse>"


def regions() -> str:
    items = "".join(f"<item><regionName>{name}</regionName></item>" for name in REGIONS)
    return f"<DescribeRegionsResponse><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"


@contextlib.contextmanager
def served(cloud: Cloud) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, cloud, threaded=True, request_handler=MotoRequestHandler)
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.port


def main(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver: we end with our input
    types = InstanceTypeBackend.instance_types
    InstanceTypeBackend.instance_types = [kind for kind in types if kind["InstanceType"].split(".")[0] in FAMILIES]
    cloud = Cloud(Path(folder))
    with served(cloud) as port:
        print(port, flush=True)
        sys.stdin.read()
        cloud.do_reset()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
