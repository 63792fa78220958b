"""Backend `ssh`: experiments on plain machines, by workers that `ssh` starts there. No shared folder and no open port:
worker and search communicate through the connection, and the worker ends with it.

studio run --backend=ssh:hosts.txt --num-workers=8 …
"""

import contextlib
import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from studio.backends.queue.bucket_url import open_to_use
from studio.backends.queue.launcher import Copy, Launcher, Refused, last_line, shell_line, tail
from studio.backends.queue.pipe_bucket import serve
from studio.backends.queue.pool import LaunchedBackend, LaunchOptions
from studio.errors import BadInput
from studio.experiment import Resources
from studio.hookspecs import hookimpl
from studio.options import option

# A lost connection is noticed within a minute at both ends, and ssh never asks the user.
OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"),
)
STUDIO = "import sys; from studio.cli import main; sys.argv[0] = 'studio'; main()"
TTL = 20.0  # seconds without a heartbeat after which others take over; requests cost nothing here
LEAVING = 10.0  # seconds for a worker whose connection ends to kill its experiments and clean up
HINTS = {
    "Host key verification failed": "log in once by hand, and compare its key: ssh {host}",
    "Permission denied": "let this computer log in without a password: ssh-copy-id {host}",
    "No module named 'studio'": "install Studio for that Python, there: {python} -m pip install studio-search",
    "No module named studio": "install Studio for that Python, there: {python} -m pip install studio-search",
    "not found": "name a Python with Studio in the hosts file: {host} python=/path/to/python",
    "No such file": "name a Python with Studio in the hosts file: {host} python=/path/to/python",
}


@dataclass(frozen=True)
class Machine:
    """A line of the hosts file. `slots`: workers at a time; `python`: an interpreter with Studio."""

    host: str
    slots: int = 1
    python: str = "python3"
    port: int | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def label(self) -> str:
        return re.sub(r"[^A-Za-z0-9._]", "_", self.host.rpartition("@")[2])[:40] + (
            f"_{self.port}" if self.port else ""
        )

    def argv(self, command: Sequence[str], name: str, config: str | None) -> list[str]:
        port = [*(["-F", config] if config else []), *(["-p", f"{self.port}"] if self.port else [])]
        remote = shell_line([self.python, "-c", STUDIO, *command], name)
        return ["ssh", *OPTIONS, *port, "--", self.host, f"exec {remote}"]


def read_hosts(file: str) -> list[Machine]:
    """Return the machines of lines `[USER@]HOST[:PORT] [slots=N] [python=PATH]`; # starts a comment. Raises BadInput."""
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--backend=ssh:{file}: {getattr(error, 'strerror', None) or error}") from error
    machines = [
        _read_host(words, f"{file}:{number}: {line.strip()!r}")
        for number, line in enumerate(lines, 1)
        if (words := line.partition("#")[0].split())
    ]
    if not machines:
        raise BadInput(
            f"--backend=ssh:{file} has no machine; write lines such as: me@host.lab slots=2 python=/opt/py/bin/python"
        )
    for number, machine in enumerate(machines):
        if (machine.host, machine.port) in [(other.host, other.port) for other in machines[:number]]:
            raise BadInput(f"--backend=ssh:{file} has {machine.host} twice; write slots=2 after it")
    return machines


def _hosts(given: str, flag: str) -> str:
    """Return the absolute path of a readable hosts file: a search may be resumed from elsewhere."""
    file = os.path.abspath(os.path.expanduser(given))
    read_hosts(file)
    return file


def _read_host(words: Sequence[str], where: str) -> Machine:
    found = re.fullmatch(r"((?:[\w.-]+@)?[A-Za-z0-9_][\w.-]*)(?::(\d{1,5}))?", words[0])
    options = dict(word.partition("=")[::2] for word in words[1:])
    slots, python = options.pop("slots", "1"), options.pop("python", "python3")
    if found is None or options or not re.fullmatch(r"[1-9]\d{0,2}", slots) or not re.fullmatch(r"[\w./~+-]+", python):
        raise BadInput(f"{where}: write [USER@]HOST[:PORT] [slots=N] [python=PATH]")
    return Machine(found[1], int(slots), python, int(found[2]) if found[2] else None)


class SSHLauncher(Launcher):
    """Launcher with one worker per connection. The worker ends when the connection does, whoever closes it."""

    poll_interval: ClassVar[float] = 1.0

    def __init__(self, machines: Sequence[Machine], bucket: str, folder: Path, config: str | None = None):
        """Set up. `bucket`: a folder of this machine; `folder`: for logs and files in transit; `config`: for ssh -F."""
        self._machines, self._bucket, self._folder, self._config = machines, bucket, folder, config
        self._session = secrets.token_hex(2)  # distinguishes our copies from those of an earlier driver
        self._copies: dict[str, tuple[Machine, subprocess.Popen[bytes]]] = {}
        self._gone: dict[str, Machine] = {}
        self._avoided: set[str] = set()  # addresses of machines
        self._counts: dict[str, int] = {}  # of copies, by the label in their names
        self._lock = threading.RLock()

    def preview(self, n: int, command: Sequence[str], resources: Resources) -> str:
        lines = [self._line(machine, command) for machine in self._machines for _ in range(machine.slots)]
        return "\n".join([*lines[:n], ""])

    def _line(self, machine: Machine, command: Sequence[str]) -> str:
        return shell_line(machine.argv(command, f"{machine.label}-1", self._config), "")

    def start(self, n: int, command: Sequence[str], resources: Resources) -> list[str]:
        with self._lock:
            names = []
            for _ in range(n):
                machine = self._free_machine()
                if machine is None:
                    break
                count = self._counts[machine.label] = self._counts.get(machine.label, 0) + 1
                names.append(self._start_one(machine, f"{machine.label}-{self._session}.{count}", command))
            return names

    def alive(self) -> dict[str, Copy]:
        with self._lock:
            for name, (machine, process) in list(self._copies.items()):
                if process.poll() is not None:
                    del self._copies[name]
                    self._gone[name] = machine
            return dict.fromkeys(self._copies, Copy("running"))

    def end(self, names: Collection[str] | None = None) -> None:
        """Close the input of copies, which ends a worker; kill the connection of one that does not react."""
        with self._lock:
            ending = [process for name, (_, process) in self._copies.items() if names is None or name in names]
        for process in ending:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        deadline = time.monotonic() + LEAVING
        for process in ending:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def places(self) -> Collection[str]:
        return [machine.address for machine in self._machines]

    def place_of(self, name: str) -> str:
        with self._lock:
            machine = self._copies[name][0] if name in self._copies else self._gone.get(name)
        return "" if machine is None else machine.address

    def avoid(self, places: Collection[str]) -> None:
        self._avoided = set(places)

    def last_words(self, name: str) -> str:
        machine = self._gone.get(name)
        if machine is None:
            return ""
        words = last_line(tail(self._log(name)))
        hint = next((hint for text, hint in HINTS.items() if text in words), "")
        return last_line(words, hint.format(host=machine.host, python=machine.python))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _free_machine(self) -> Machine | None:
        """Return the machine with the most free slots; None if none has any, or each that has is to be avoided."""
        used = [machine for machine, _ in self._copies.values()]
        free = [
            machine
            for machine in self._machines
            if used.count(machine) < machine.slots and machine.address not in self._avoided
        ]
        return max(free, key=lambda machine: machine.slots - used.count(machine), default=None)

    def _start_one(self, machine: Machine, name: str, command: Sequence[str]) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._log(name), "ab") as log:
            try:
                process = subprocess.Popen(
                    machine.argv(command, name, self._config),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is only for the driver
                )
            except FileNotFoundError:
                raise Refused("ssh is not installed on this machine, or is not in PATH") from None
        self._copies[name] = machine, process
        threading.Thread(target=self._answer, args=(process, name), name=name, daemon=True).start()
        return name

    def _answer(self, process: subprocess.Popen[bytes], name: str) -> None:
        questions, answers = process.stdout, process.stdin
        assert questions is not None
        assert answers is not None
        with open_to_use(self._bucket) as bucket:
            serve(bucket, _AfterGreeting(questions, self._log(name)), answers, self._folder)
        with contextlib.suppress(OSError):
            answers.close()
        questions.close()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


class _AfterGreeting:
    """A pipe that sends output before the worker's first message, such as a greeting of the shell, to the log."""

    def __init__(self, pipe: IO[bytes], log: Path):
        self._pipe, self._log, self._begun = pipe, log, False

    def readline(self, size: int) -> bytes:
        while True:
            line = self._pipe.readline(size)
            self._begun = self._begun or line.startswith(b'{"do"')
            if self._begun or not line:
                return line
            with open(self._log, "ab") as log:
                log.write(line)

    def read(self, size: int) -> bytes:
        return self._pipe.read(size)

    def write(self, data: bytes) -> int:
        return self._pipe.write(data)

    def flush(self) -> None:
        self._pipe.flush()


class SSHBackend(LaunchedBackend):
    """Experiments on machines with Studio that accept `ssh` without a password."""

    name = "ssh"

    @dataclass(frozen=True, kw_only=True)
    class Options(LaunchOptions):
        hosts: str = option(
            MISSING, "FILE", "Machines, one per line: `[USER@]HOST[:PORT] [slots=N] [python=PATH]`.", parse=_hosts
        )
        config: str | None = option(None, "FILE", "Configuration of ssh instead of ~/.ssh/config.")

        after_colon: ClassVar[str | None] = "hosts"

    def bucket_url(self) -> str:
        return f"{self._project / 'queue'}"  # local to the driver: workers use it through their connections

    def place(self) -> str:
        return f"ssh:{self.options.hosts}"

    def command(self) -> list[str]:
        idle = f"--idle={self.options.idle:.10g}s"
        return ["worker", "pipe:", "--name={name}", idle, f"--ttl={TTL:g}s"]

    def launcher(self) -> Launcher:
        machines = read_hosts(self.options.hosts)
        if self._slots > (most := sum(machine.slots for machine in machines)):
            self.context.notify(f"{self.options.hosts} has {most} slots, so {most} experiments run at a time")
        return SSHLauncher(machines, self._place, self._project / "ssh", self.options.config)


@hookimpl
def studio_backends() -> list[Any]:
    return [SSHBackend]
