"""Fixtures of all tests: a home of its own, an empty working directory, scripts in it, and the command."""

import contextlib
import fcntl
import gc
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import scipy.linalg  # noqa: F401
import threadpoolctl
from hypothesis import HealthCheck, settings

from studio.cli import main
from studio.experiment import FAILURES, Outcome
from studio.project.project import Project
from studio.project.store import Store
from studio.settings import Settings, parse_metric, sign_of
from studio.system.processes import processes_of

# Started by `nohup`, or by a script in its background, the session ignores signals that its children are to hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # ignored still; a program that it starts has the default

# Each process that a test starts would compile Studio again, and each worker of pytest-xdist all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples in every run; `make test-long` draws new ones, and many. No example has a deadline: other tests use the
# CPUs, too.
settings.register_profile(
    "repeatable", derandomize=True, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("new", settings.get_profile("repeatable"), derandomize=False, max_examples=400)
settings.load_profile("new" if os.environ.get("STUDIO_TEST_LONG") else "repeatable")


# Temporary files lie in memory where that is large enough and programs in it may be started: a search waits for the disk
# at each step of its record, which costs half of the suite's time and tests nothing.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK):
    _memory = os.statvfs(MEMORY)
    if _memory.f_bavail * _memory.f_frsize > 4 << 30 and not _memory.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """Keep thousands of tests out of each collection of garbage, of which there are fewer, and BLAS, of numpy and scipy, off other CPUs."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    threadpoolctl.threadpool_limits(1)


@pytest.hookimpl(optionalhook=True)  # also without pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the workers of `-n auto`: three a CPU, as most tests wait for processes that they started."""
    return 3 * (os.cpu_count() or 1)


@dataclass(frozen=True)
class Result:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """STUDIO_HOME, of this test alone. It does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("STUDIO_HOME", str(folder))
    monkeypatch.delenv("STUDIO_DISABLE_PLUGINS", raising=False)
    return folder


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def script(workdir: Path) -> Callable[[str, str], Path]:
    """`script("train.py", text)` writes a dedented file into the working directory."""

    def write(name: str, text: str) -> Path:
        path = workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return write


@pytest.fixture
def recorded(home: Path) -> Callable[..., Project]:
    """`recorded("p", [({"x": 1}, 0.5), ({"x": 2}, "exit code 1")], metric="loss:min")`: a project whose experiments nobody ran.

    Each is its values with its metric, or with the reason why it failed, which may be a class of failure.
    """

    def make(name: str, results: Sequence[tuple[dict[str, Any], float | str]], **given: Any) -> Project:
        settings = Settings(**{"script": "train.py", "optimizer": "random"} | given)
        folder = home / "projects" / name
        folder.mkdir(parents=True)
        store = Store.create(folder, settings.as_dict())
        sign = sign_of(settings.direction, parse_metric(settings.metric))
        store.set_meta("source", {"folder": os.getcwd(), "snapshot": "source"})
        store.set_meta("seed", 1)
        store.begin_session()
        with store.transaction():
            for number, (values, result) in enumerate(results, 1):
                store.ask(number, values, None)
                store.attempt_started(number, 1)
                reason = result if isinstance(result, str) else ""
                value = None if isinstance(result, str) else result
                begun = time.time()
                failure = reason if reason in FAILURES else ""
                outcome = Outcome(number, 1, int(bool(reason)), None, reason, begun, begun + 2, 2.0, failure=failure)
                store.attempt_ended(outcome, "failed" if reason else "completed", value)
                store.tell(number, None if value is None else sign * value)
                (folder / str(number) / "1").mkdir(parents=True)
                (folder / str(number) / "1" / "output.log").write_text(f"{result}\n")
        store.end_session("done")
        store.close()
        return Project(name)

    return make


@pytest.fixture
def studio(home: Path) -> Callable[..., Result]:
    """`studio("run", "train.py")` runs the command in a process of its own; `env` is set on top of the environment."""

    def call(
        *arguments: str, cwd: Path | str | None = None, env: Mapping[str, str] | None = None, timeout: float = 100
    ) -> Result:
        done = subprocess.run(
            [Path(sys.executable).with_name("studio"), *arguments],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in this process: the entry point of `studio` without half a second of imports. Experiments are processes."""
    monkeypatch.setattr(sys, "path", sys.path[:])  # a plugin's file adds its folder

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["studio", *arguments])
        capsys.readouterr()
        hears_interrupts = signal.getsignal(signal.SIGINT)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            signal.signal(signal.SIGINT, hears_interrupts)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def experiments(command: Callable[..., Result]) -> Callable[..., list[dict[str, Any]]]:
    """Run a search, by default one that succeeds, and return its experiments as `--json` prints them."""

    def call(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
        result = command("run", "--json", *arguments)
        assert result.code == code, result
        found: list[dict[str, Any]] = json.loads(result.out)
        return found

    return call


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that all experiments of a test share."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.setenv("OUTSIDE", str(folder))
    return folder


# --- conditions -------------------------------------------------------------------------------------------------------


def _until(condition, seconds=60.0, what=""):
    """Wait for `condition()` to be true; its value."""
    begun = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begun
        assert waited < seconds, what or "it never came"
        time.sleep(min(0.005 + waited / 20, 0.05))
    return value


@pytest.fixture(name="until", scope="session")
def fixture_until():
    return _until


def _alive(pid):
    """Zombies are dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and "Z" not in state


@pytest.fixture(name="alive", scope="session")
def fixture_alive():
    return _alive


# --- drivers ----------------------------------------------------------------------------------------------------------

# A process that has imported what a search imports. For each line of JSON that it reads it forks one that runs the command, or
# says whether such a one has ended.
WARM = """
import contextlib, fcntl, importlib, io, json, os, signal, sys, tempfile, termios
import rich.live
from studio.cli import main
import studio.backends.queue.command, studio.backends.queue.worker, studio.cli.resume, studio.cli.runs, studio.search.send_requests

with tempfile.TemporaryDirectory() as folder:  # what a search imports
    os.chdir(folder)
    with open("train.py", "w") as script:
        script.write("lr = 1\\nprint(lr)\\n")
    sys.argv = ["studio", "run", "--dry-run", "--optimizer=cma", "--hp=lr=1:2:l", "train.py"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the end of the command ignores

for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        pid, status = os.waitpid(request["wait"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        break
    print(pid, flush=True)
else:
    sys.exit()

os.setsid()
for number, path in enumerate(request["streams"]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), number)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C arrives as a signal
    sys.stdin, sys.stdout = open(0), open(1, "w", closefd=False)
os.environ.clear()
os.environ.update(request["env"])
os.chdir(request["cwd"])
sys.argv = ["studio", *request["arguments"]]
exec(request["before"], {})

def dying(function, after, count, by="SIGKILL"):
    def call(*arguments, **named):
        nonlocal count
        count -= 1
        if count == 0 and not after:
            os.kill(os.getpid(), getattr(signal, by))
        result = function(*arguments, **named)
        if count == 0 and after:
            os.kill(os.getpid(), getattr(signal, by))
        return result
    return call

if request["dies"]:
    when, place, *how = request["dies"]
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner = importlib.import_module(module)
    for part in outer:
        owner = getattr(owner, part)
    function = getattr(owner, name)
    places = [owner, *(m for n, m in list(sys.modules.items()) if n.startswith("studio.") and vars(m).get(name) is function)]
    replacement = dying(function, when == "after", *how)
    for one in places:
        setattr(one, name, replacement)

main()
"""


class ForkServer:
    """The process from which warm drivers are forked."""

    def __init__(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


@pytest.fixture(scope="session")
def fork_server():
    one = ForkServer()
    yield one
    one.close()


class Driver:
    """A `studio` command that runs, in a session of its own, as one that was typed at a terminal has."""

    def __init__(self, fork_server, arguments, streams, *, cold, env, before, dies):
        _, self.out_file, self.err_file = map(Path, streams)
        self._fork_server = fork_server
        self.code = None
        if cold:
            with open(self.out_file, "ab") as out, open(self.err_file, "ab") as err:
                self._process = subprocess.Popen(
                    [Path(sys.executable).with_name("studio"), *arguments],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            self.pid = self._process.pid
        else:
            self._process = None
            about = {"arguments": arguments, "env": env, "cwd": os.getcwd()}
            self.pid = fork_server.ask(about | {"streams": [*map(str, streams)], "before": before, "dies": dies})
        # Readable when it has ended, so that nobody has to ask again and again.
        self._end = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None

    @property
    def out(self):
        return self.out_file.read_text(errors="replace") if self.out_file.is_file() else ""

    @property
    def err(self):
        return self.err_file.read_text(errors="replace") if self.err_file.is_file() else ""

    @property
    def shown(self):
        """The lines about experiments that ended, by number; a line that was cut off is none."""
        lines = self.err.rpartition("\n")[0].split("\n")
        return {int(line[1:].split("/")[0].split()[0]): line for line in lines if line.startswith("#")}

    @property
    def running(self):
        if self.code is None and self._has_ended(0.0):
            self.code = self._fork_server.ask({"wait": self.pid}) if self._process is None else self._process.poll()
            if self.code is not None and self._end is not None:
                os.close(self._end)
                self._end = None
        return self.code is None

    def _has_ended(self, seconds):
        return self._end is None or bool(select.select([self._end], [], [], seconds)[0])

    def signal(self, number):
        """To it and its process group, as a terminal does. As long as nobody waited for it, its id is its own."""
        if self.running:
            os.killpg(self.pid, number)

    def wait(self, seconds=60.0):
        """Its exit code."""
        if self.code is None:
            self._has_ended(seconds)
        _until(lambda: not self.running, seconds, f"it does not end: {self.err}")
        return self.code

    def kill(self):
        """kill -9, of the driver alone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()


# Root may do everything. Without these two capabilities it must obey permissions, and so must what it starts.
HUMBLE = """
import ctypes, os
if os.geteuid() == 0:
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)
    libc.capget(header, sets)
    sets[0] &= ~0b110
    sets[1] &= ~0b110
    if libc.capset(header, sets):
        raise SystemExit("cannot give up capabilities")
"""


@pytest.fixture
def humble(driver, home):
    """`humble("resume", "p")`: a driver for one who must obey permissions, which root need not."""
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    yield lambda *arguments: driver(*arguments, before=HUMBLE)
    subprocess.run(["chmod", "-R", "u+rwX", home], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", home], check=True)  # pytest cannot: it may be too deep


@pytest.fixture
def driver(fork_server, home, workdir, tmp_path, nothing_stays):
    """`driver("run", "train.py")` starts a real driver. `cold`: by the installed command, which takes a second to import
    everything. The others are forked from a process that has done that: still processes of their own. These are for them:

    streams   paths of its standard input, output and error, where these are not files that `out` and `err` read
    before    statements that are executed first
    dies      ("before", "studio.project.store:Store.tell", 3): kill -9 of itself before the third call; a fourth item is another signal
    """
    started = []

    def start(*arguments, cold=False, env=None, streams=None, before="", dies=None):
        log = tmp_path / f"driver-{len(started)}"
        whole = {**os.environ, **(env or {})}
        streams = streams or (os.devnull, f"{log}.out", f"{log}.err")
        started.append(Driver(fork_server, list(arguments), streams, cold=cold, env=whole, before=before, dies=dies))
        return started[-1]

    yield start
    for one in started:
        one.kill()


class Terminal:
    """A `studio` command on a pseudo-terminal of its own."""

    def __init__(self, driver, *arguments, columns, rows, env):
        self._shown = b""
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._driver = driver(*arguments, streams=[os.ttyname(self._slave)] * 3, env=env)

    def until(self, *words):
        """Read until all `words` were shown, each somewhere; without any, until the command has ended."""
        deadline = time.monotonic() + 60
        while not words or not all(word in self.text for word in words):
            assert time.monotonic() < deadline, f"{words} never came: {self.text[-2000:]}"
            over = not self._driver.running
            if select.select([self.master], [], [], 0 if over else 0.1)[0]:
                self._shown += os.read(self.master, 1 << 16)
            elif over:
                assert not words, f"{words} never came: {self.text[-2000:]}"
                break
        return self

    def end(self):
        """Its exit code."""
        self.until()
        return self._driver.wait()

    @property
    def output(self):
        return self._shown.decode(errors="surrogateescape")

    @property
    def text(self):
        """Text that was shown, without control sequences."""
        return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", self.output)

    def close(self):
        self._driver.kill()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal(driver, monkeypatch):
    """`terminal("runs", "list", columns=40)`: the command on a terminal; `env` by name."""
    opened = []
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def start(*arguments, columns=80, rows=24, **env):
        opened.append(Terminal(driver, *arguments, columns=columns, rows=rows, env=env))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


# --- scripts ----------------------------------------------------------------------------------------------------------

TREE = """
import os, signal, sys, time

def note(text):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{os.environ['STUDIO_EXPERIMENT']} {text}\\n")

def sleep():  # and never come back
    while True:
        time.sleep(60)

def child():
    pid = os.fork()
    if pid == 0:
        sleep()
    note(f"child {pid}")

def daemon():
    "Double fork, a session of its own, and none of our files."
    parent = os.fork()
    if parent == 0:
        os.setsid()
        pid = os.fork()
        if pid:
            note(f"daemon {pid}")
            os._exit(0)
        for number in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        sleep()
    os.waitpid(parent, 0)
"""


class Notes:
    """What scripts wrote down with `note`: lines of an experiment's key, a word, and perhaps a number."""

    def __init__(self, path):
        self.path = path

    @property
    def lines(self):
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def of(self, key, word=None):
        """The words, or the numbers behind `word`, that an experiment wrote."""
        return [
            line[1] if word is None else int(line[2])
            for line in self.lines
            if line[0] == key and word in (None, line[1])
        ]

    def count(self, word):
        return sum(line[1] == word for line in self.lines)

    def processes(self, key=None):
        """All process ids in the notes."""
        return [int(line[2]) for line in self.lines if len(line) > 2 and key in (None, line[0])]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """What scripts made with `tree` wrote down."""
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    return Notes(tmp_path / "notes")


@pytest.fixture
def tree(script, notes):
    """`tree("train.py", text)`: a script that can `note(text)`, have a `child()` and a `daemon()`, and `sleep()`."""

    def write(name, text):
        path = script(name, text)
        path.write_text(TREE + path.read_text())
        return path

    return write


# --- processes --------------------------------------------------------------------------------------------------------


def _of_home(home):
    """All processes that were started with this STUDIO_HOME: drivers, watchdogs, scripts, and what these started."""
    if not Path("/proc/self").exists():
        return list(processes_of(str(home)))
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"STUDIO_HOME={home}".encode() in environment:
            found.append(int(name))
    return found


@pytest.fixture
def everything(home):
    """`everything()`: the ids of all processes of this test: drivers that began cold, watchdogs, scripts, their children."""
    return lambda: _of_home(home)


@pytest.fixture
def nothing_stays(home):
    """No process outlives a test."""
    yield
    with contextlib.suppress(AssertionError):
        _until(lambda: not _of_home(home), seconds=30)
    left = _of_home(home)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left if Path(f"/proc/{pid}/cmdline").exists()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == [], commands
