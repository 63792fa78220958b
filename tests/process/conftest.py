"""What all fault tests share: real drivers that can be killed, scripts that leave traces, and a look for processes that stayed.

A cold driver takes a second to import everything. A warm one is forked from a process that has done that: still a
process of its own, in a session of its own, which runs the same `main` and ends as any other.
"""

import functools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.host import create_host
from studio.project.project import Project
from studio.project.records import read_events, reading
from studio.search.run import run
from studio.system.processes import processes_of
from studio.testing.fakes import fake_backend

WARM = """
import contextlib, importlib, io, json, os, signal, sys, tempfile
from studio.cli import main
import studio.cli.resume

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
for number, path in enumerate([os.devnull, request["out"], request["err"]]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), number)
os.environ.clear()
os.environ.update(request["env"])
os.chdir(request["cwd"])
sys.argv = ["studio", *request["arguments"]]
for number in request["hears"]:
    signal.signal(number, lambda *_: None)
for number in request["ignores"]:
    signal.signal(number, signal.SIG_IGN)
if request["grace"] is not None:
    importlib.import_module("studio.execution.runner").GRACE = request["grace"]

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


def _until(condition, seconds=60.0, what=""):
    """Wait for `condition()` to be true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what or "it never came"
        time.sleep(0.005)
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


class Kitchen:
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
def kitchen():
    one = Kitchen()
    yield one
    one.close()


class Driver:
    """A `studio` command that runs, in a session of its own, as one that was typed at a terminal has."""

    def __init__(self, kitchen, arguments, log, *, cold, env, grace, dies, hears, ignores):
        self._out, self._err = Path(f"{log}.out"), Path(f"{log}.err")
        self._kitchen = kitchen
        self.code = None
        if cold:
            with open(self._out, "ab") as out, open(self._err, "ab") as err:
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
            places = {"cwd": os.getcwd(), "out": str(self._out), "err": str(self._err)}
            changes = {"grace": grace, "dies": dies, "hears": hears, "ignores": ignores}
            self.pid = kitchen.ask({"arguments": arguments, "env": env, **places, **changes})

    @property
    def out(self):
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    @property
    def err(self):
        return self._err.read_text(errors="replace") if self._err.exists() else ""

    @property
    def shown(self):
        """The lines about experiments that ended, by number; a line that was cut off is none."""
        lines = self.err.rpartition("\n")[0].split("\n")
        return {int(line[1:].split("/")[0].split()[0]): line for line in lines if line.startswith("#")}

    @property
    def running(self):
        if self.code is None:
            self.code = self._kitchen.ask({"wait": self.pid}) if self._process is None else self._process.poll()
        return self.code is None

    def signal(self, number):
        """To it and its process group, as a terminal does. As long as nobody waited for it, its id is its own."""
        if self.running:
            os.killpg(self.pid, number)

    def wait(self, seconds=60.0):
        """Its exit code."""
        _until(lambda: not self.running, seconds, f"it does not end: {self.err}")
        return self.code

    def kill(self):
        """kill -9, of the driver alone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()


@pytest.fixture
def driver(kitchen, home, workdir, tmp_path, nothing_stays):
    """`driver("run", "train.py")` starts a real driver. `cold`: by the installed command. The others are for warm ones:

    grace   seconds until what does not end is killed, where that is not 5 s
    dies    ("before", "studio.project.store:Store.tell", 3): kill -9 of itself before the third call; a fourth item is another signal
    hears   signals that it does nothing about
    ignores signals that are ignored when it starts
    """
    started = []

    def start(*arguments, cold=False, env=None, grace=None, dies=None, hears=(), ignores=()):
        log = tmp_path / f"driver-{len(started)}"
        whole = {**os.environ, **(env or {})}
        changes = {"grace": grace, "dies": dies, "hears": list(hears), "ignores": list(ignores)}
        started.append(Driver(kitchen, list(arguments), log, cold=cold, env=whole, **changes))
        return started[-1]

    yield start
    for one in started:
        one.kill()


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


# --- the record -------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(home):
    """`journal("p")`: the events of a project."""

    def read(project):
        with reading(home / "projects" / project) as connection:
            return list(read_events(connection))

    return read


@pytest.fixture
def record(home):
    """`record("p")`: number, values and fitness of each experiment."""
    return lambda project: [(e.number, e.values, e.fitness) for e in Project(project).experiments]


CMA = ("--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l")  # a search whose values depend on all before
SCORE = 'print("fitness:", -((lr - 0.02) ** 2))\n'  # how its script ends


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """`undisturbed(3)`: the record of the search `CMA` over three experiments, where nothing happens to it."""

    @functools.cache
    def carry_out(size):
        folder = tmp_path_factory.mktemp("undisturbed")
        (folder / "train.py").write_text(f"lr = 0.1\n{SCORE}")
        host = create_host(plugins=[fake_backend(lambda run: -((run.values["lr"] - 0.02) ** 2)).plugin()])
        options = {"optimizer": "cma", "seed": 1, "max_experiments": size, "backend": "fake", "host": host}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STUDIO_HOME", str(folder / "home"))
            patch.chdir(folder)
            project = run("train.py", hyperparams={"lr": "1e-4:1:l"}, **options)
            return [(e.number, e.values, e.fitness) for e in project.experiments]

    return carry_out


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
    deadline = time.monotonic() + 30
    while (left := _of_home(home)) and time.monotonic() < deadline:
        time.sleep(0.01)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left if Path(f"/proc/{pid}/cmdline").exists()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == [], commands


@pytest.fixture
def stranger(tmp_path):
    """`stranger()`: the id of a process that has nothing to do with Studio, in a session of its own."""
    started = []

    def start(**options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
        started.append(subprocess.Popen(["sleep", "60"], start_new_session=True, env=environment, **options))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def hostname():
    return socket.gethostname()


@pytest.fixture
def measured(home, nothing_stays):
    """`measured("run", "train.py")`: exit code and largest memory of the command in MB, of itself and not its children."""

    def call(*arguments, seconds=120):
        program, null = [Path(sys.executable).with_name("studio"), *arguments], subprocess.DEVNULL
        largest, deadline = 0.0, time.monotonic() + seconds
        with subprocess.Popen(program, stdin=null, stdout=null, stderr=null) as process:
            while process.poll() is None:
                largest = max(largest, _memory(process.pid))
                assert time.monotonic() < deadline, process.kill()
                time.sleep(0.01)
        return process.returncode, largest

    return call


def _memory(pid):
    """The largest so far, in MB. (`ru_maxrss` begins with the memory of the process that forked it, pytest's.)"""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        if not Path("/proc").exists():
            pytest.skip("memory is read from /proc")
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in text.splitlines() if line.startswith("VmHWM")), 0.0)


@pytest.fixture
def ranked_as_printed(command):
    """`ranked_as_printed("train.py", "val_loss:min", "lr")`: exactly the command that `studio inspect` prints has that metric, and
    ranks two experiments with different values of that hyperparameter, the script's own first."""

    def check(script, metric, name):
        words = shlex.split(command("inspect", script).out.splitlines()[-1])
        assert words[:2] == ["studio", "run"]
        assert f"--metric={metric}" in words
        result = command("run", "--project=p", "--seed=1", "--max-experiments=2", *words[2:])
        assert result.code == 0, result.err
        experiments = Project("p").experiments
        assert [experiment.fitness is not None for experiment in experiments] == [True, True]
        assert Project("p").baseline is not None
        assert experiments[0].values[name] != experiments[1].values[name]

    return check
