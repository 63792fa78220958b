"""Fixtures of all tests: a home of its own, an empty working directory, scripts in it, and the command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from studio.cli import main
from studio.experiment import Outcome
from studio.project.project import Project
from studio.project.store import Store
from studio.settings import Settings, parse_metric, sign_of

# Started by `nohup`, or by a script in its background, the session ignores signals that its children are to hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # ignored still; a program that it starts has the default

# Each process that a test starts would compile Studio again, and each worker of pytest-xdist all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples in every run; `make test-long` draws new ones. No example has a deadline: other tests use the CPUs, too.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("new" if os.environ.get("STUDIO_TEST_LONG") else "repeatable")


# Temporary files lie in memory where that is large enough and programs in it may be started: a search waits for the disk
# at each step of its record, which costs half of the suite's time and tests nothing.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK):
    _memory = os.statvfs(MEMORY)
    if _memory.f_bavail * _memory.f_frsize > 4 << 30 and not _memory.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the workers of `-n auto`: two a CPU, as most tests wait for processes that they started."""
    return 2 * (os.cpu_count() or 1)


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

    Each is its values with its metric, or with the reason why it failed.
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
                outcome = Outcome(number, 1, int(bool(reason)), None, reason, begun, begun + 2, 2.0)
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
