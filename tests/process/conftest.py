"""What all fault tests share: the record, what it is where nothing happens, strangers, and memory."""

import functools
import os
import shlex
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
from studio.testing.fakes import fake_backend

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


# --- processes ------------------------------------------------------------------------------------------------------


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
