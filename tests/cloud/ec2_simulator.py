"""A cloud of Amazon's on this computer: moto in a process of its own, and machines that really run their user data.

    with Ec2Simulator(tmp_path) as cloud:
        studio("run", "--cloud=ec2", ..., env=cloud.env)     # every variable that a driver needs
        cloud.wait(lambda alive: len(alive) == 4)            # until four machines run
        one = cloud.instances()[0]
        cloud.hang(one.id)                                   # its processes stop; nobody is told
        print(cloud.log(one.id))                             # what its script said
        cloud.wait_all_gone()

What is there at the start: the bucket `cloud.bucket`, an s3:// URL, and the instance profile `cloud.profile`.

What happens to machines (`id` as in `instances()`):

    cloud.interrupt_spot(id, notice=2)     the metadata service tells it; after `notice` seconds it is killed.
                                           notice=0: lost without a word, as when its host fails
    cloud.hang(id), cloud.wake(id)         SIGSTOP and SIGCONT to all its processes: a hung one, a zombie that wakes up
    cloud.cut(id), cloud.mend(id)          its requests get no answer, its metadata service still does. "driver" works, too
    cloud.client("ec2").terminate_instances(...)      as anybody could, in the console
    cloud.mute(times=1)                    the next machine never runs its script: an image without cloud-init
    cloud.set_clocks(-3600)                machines that are made from now on have a clock that is wrong by that

What happens to requests. `of` is a pattern: "ec2:RunInstances", "ec2:*", "s3:PUT", "s3:*", "*". Further arguments must
equal parameters of the request, dots as two underscores: InstanceType="m7i.large", Placement__AvailabilityZone=
"us-east-1a", or be its `region`.

    cloud.refuse("InsufficientInstanceCapacity")      RunInstances, until cloud.allow()
    cloud.refuse("VcpuLimitExceeded", times=2)
    cloud.refuse("ExpiredToken", of="*", by="driver") or by=id, of one machine
    cloud.refuse("PermanentRedirect", of="s3:*", region="us-east-1", message="eu-west-1")     the bucket is there
    cloud.lose_answers(of="ec2:RunInstances")         it is done, and the connection breaks: once, or `times`
    cloud.allow()                                     all is well again, but for what was cut
    cloud.hold("ec2:RunInstances"), cloud.release()   such requests wait before anything is done
    cloud.delete_bucket(), cloud.make_bucket()        with all that is in it
    cloud.requests("ec2:*")                           what was asked: Request(call, by, parameters), the oldest first

A machine of the simulator is a bash that runs the script, with HOME, PATH, metadata service and working directory of
its own, and none of our environment. `shutdown -P now` ends it (SIGTERM, SIGKILL after a second) and `shutdown -P +N`
in N minutes of `minute` seconds each; both terminate it in moto. Terminating it by a request kills it at once. A script
that ends without `shutdown` leaves a machine that costs. Its `uv` makes an environment that is ours under another name,
so that a machine is up in a second: `uv pip install` only looks whether the files are there, and does not find packages
named `no-such-package`. Folders of the system that the script writes to lie below the machine's own.

Unlike moto alone, and as Amazon, the simulator honours ClientToken, wants MinCount and MaxCount, refuses more than 16 kB of user
data, resolves `resolve:ssm:`, has prices (ON_DEMAND, a GB of gp3, spot: a third in zone a, a little more in each next
one), knows which credentials it gave to whom, and checks signatures. It has three regions, and machine types of eleven
families. Not simulated: IAM policies, quotas, capacity, the time a machine takes to boot, delayed lists.
"""

import contextlib
import fnmatch
import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("ec2_server.py")
REGION = "us-east-1"


@dataclass(frozen=True)
class Instance:
    """`state` in Amazon's words; how many `processes` it runs now; `script`: process id of the bash that runs its user
    data; `folder` with its home, console.log and bin."""

    id: str
    name: str
    project: str
    machine_type: str
    zone: str
    spot: bool
    state: str
    processes: int
    script: int
    folder: Path

    @property
    def alive(self) -> bool:
        return self.state != "terminated"


@dataclass(frozen=True)
class Request:
    """`by`: driver, test (`client`), or the id of a machine. `parameters` of S3 are the path, as "key"."""

    call: str
    by: str
    parameters: dict[str, str]


class Ec2Simulator:
    """Skips the test where moto or Linux is missing."""

    profile = "studio-worker"
    bucket = "s3://studio-test/search"

    def __init__(self, folder: Path):
        for module in ("boto3", "moto", "flask"):  # not imported: that is for the other process
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed: pip install boto3 'moto[server]'")
        if not sys.platform.startswith("linux"):
            pytest.skip("machines are found by their environment in /proc")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        arguments = [sys.executable, "-W", "ignore", str(SERVER), str(folder)]
        self._log = (folder / "simulator.log").open("w")
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=_plain()
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port, (folder / "simulator.log").read_text()
        self.url = f"http://127.0.0.1:{port}"
        self.env = self._credentials("driver")
        self._clients: dict[str, Any] = {}
        self.make_account()

    def __enter__(self) -> "Ec2Simulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all machines, and the cloud."""
        for client in self._clients.values():
            client.close()
        with contextlib.suppress(OSError):
            self._do("reset")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=10)  # it ends with its standard input
        self._process.kill()
        self._process.wait()
        self._log.close()

    def reset(self, *, minute: float = 60.0) -> None:
        """All machines are gone, the bucket is empty, nothing is refused, nothing was asked: for one cloud in many tests.
        `minute`: seconds that one of `shutdown -P +N` takes."""
        self._do("reset", minute=minute)
        self.make_bucket()  # no error where it is there
        self._do("forget")

    def client(self, service: str) -> Any:
        """Of boto3, with credentials of the test: they are never refused unless `by="test"`."""
        import boto3

        if service not in self._clients:
            session = boto3.session.Session()
            self._clients[service] = session.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="secret of test",
            )
        return self._clients[service]

    # --- machines ---------------------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        """All that were made, the oldest first, also those that are gone."""
        return [Instance(**{**found, "folder": Path(found["folder"])}) for found in self._do("instances")]

    def alive(self) -> list[Instance]:
        return [instance for instance in self.instances() if instance.alive]

    def log(self, id: str) -> str:
        """What the machine wrote to its console."""
        console = self._folder / id / "console.log"
        return console.read_text(errors="replace") if console.exists() else ""

    def interrupt_spot(self, id: str, *, notice: float = 2.0) -> None:
        self._do("interrupt", id=id, notice=notice)

    def hang(self, id: str) -> None:
        self._do("signal", id=id, name="SIGSTOP")

    def wake(self, id: str) -> None:
        self._do("signal", id=id, name="SIGCONT")

    def cut(self, who: str) -> None:
        self._do("cut", who=who)

    def mend(self, who: str) -> None:
        self._do("mend", who=who)

    # --- requests ---------------------------------------------------------------------------------------------------

    def mute(self, *, times: int | None = None) -> None:
        self._do("make_wrong", mute=True, times=times)

    def set_clocks(self, seconds: float, *, times: int | None = None) -> None:
        self._do("make_wrong", clock=seconds, times=times)

    def hold(self, of: str) -> None:
        self._do("hold", of=of)

    def release(self) -> None:
        self._do("release")

    def delete_bucket(self) -> None:
        name, s3 = self.bucket.split("/")[2], self.client("s3")
        while found := s3.list_objects_v2(Bucket=name).get("Contents"):
            s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": each["Key"]} for each in found]})
        s3.delete_bucket(Bucket=name)

    def make_bucket(self) -> None:
        self.client("s3").create_bucket(Bucket=self.bucket.split("/")[2])

    def refuse(
        self,
        code: str,
        of: str = "ec2:RunInstances",
        *,
        times: int | None = None,
        by: str = "*",
        message: str = "as the test wants it",
        **parameters: str,
    ) -> None:
        self._do("refuse", code=code, of=of, times=times, by=by, message=message, parameters=_dotted(parameters))

    def lose_answers(self, of: str, *, times: int = 1, by: str = "*", **parameters: str) -> None:
        self._do("refuse", code="", of=of, times=times, by=by, message="", parameters=_dotted(parameters))

    def allow(self) -> None:
        self._do("allow")

    def requests(self, of: str = "*") -> list[Request]:
        asked = [Request(**found) for found in self._do("requests")]
        return [request for request in asked if fnmatch.fnmatch(request.call, of)]

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[list[Instance]], object], timeout: float = 60.0) -> list[Instance]:
        """Until `condition` holds for the machines that are alive; those. AssertionError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not condition(alive := self.alive()):
            if time.monotonic() > end:
                logs = "\n".join(f"{each.id} {each.state}\n{self.log(each.id)[-2000:]}" for each in self.instances())
                raise AssertionError(f"still not after {timeout:g} s, with {alive}\n{logs}")
            time.sleep(0.1)
        return alive

    def wait_all_gone(self, timeout: float = 60.0) -> None:
        """Until no machine is alive and none has a process left."""
        self.wait(lambda alive: not alive, timeout)
        assert [instance for instance in self.instances() if instance.processes] == []

    # --- inside -----------------------------------------------------------------------------------------------------

    def _credentials(self, name: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": name,
            "AWS_SECRET_ACCESS_KEY": f"secret of {name}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def make_account(self) -> None:
        """Bucket, instance profile and role."""
        self.make_bucket()
        iam = self.client("iam")
        iam.create_instance_profile(InstanceProfileName=self.profile)
        iam.create_role(RoleName=self.profile, AssumeRolePolicyDocument="{}")
        iam.add_role_to_instance_profile(InstanceProfileName=self.profile, RoleName=self.profile)
        self._do("forget")  # these requests

    def _do(self, command: str, **arguments: Any) -> Any:
        body = json.dumps(arguments).encode()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.url}/simulator/do/{command}", body, timeout=30) as answer:
            return json.load(answer)


def _plain() -> dict[str, str]:
    """Our environment without what is meant for a driver."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STUDIO_"))}


def _dotted(parameters: dict[str, str]) -> dict[str, str]:
    return {name.replace("__", "."): value for name, value in parameters.items()}
