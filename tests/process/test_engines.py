"""Searches on a real Dask cluster: the same record as locally, and nothing lost, doubled or left when parts of it die."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from studio.backends import dask, engine
from studio.project.project import Project
from studio.system.processes import processes_of

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="pip install distributed")
# Less patience for a scheduler that is gone.
IMPATIENT = "from studio.backends import dask, engine; dask.CONNECT_TIMEOUT, engine.LOOK = 5.0, 0.2"
# Goes on while a file is there; each start leaves a file in RAN.
SLOW = """\
import os, pathlib, time
x = 0
pathlib.Path(os.environ["RAN"], f"{x}-{os.getpid()}").touch()
print("fitness:", x / 2, flush=True)
while pathlib.Path(os.environ["HOLD"]).exists():
    time.sleep(0.05)
print("fitness:", x)
"""


class Cluster:
    """A scheduler and workers, each a process of its own on loopback."""

    def __init__(self, folder, until):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes = []
        self.start("scheduler", "--port=0")
        self.first = self.add_worker()  # which waits for that file
        until(self.file.exists)

    def add_worker(self):
        return self.start("worker", "--nthreads=1", "--no-nanny")

    def start(self, kind, *options):
        words = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host=127.0.0.1", "--no-dashboard"]
        words += [f"--scheduler-file={self.file}", *options]
        env = {**os.environ, "TMPDIR": str(self.folder), "PYTHONWARNINGS": "ignore"}
        null = subprocess.DEVNULL
        self.processes.append(subprocess.Popen(words, env=env, cwd=self.folder, stderr=null, stdout=null))
        return self.processes[-1]

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path, home, until, monkeypatch, nothing_stays):
    monkeypatch.setattr(engine, "LOOK", 0.2)
    monkeypatch.setattr(dask, "CONNECT_TIMEOUT", 2.0)  # of a resume elsewhere, to the scheduler that is gone
    (tmp_path / "cluster").mkdir()
    one = Cluster(tmp_path / "cluster", until)
    yield one
    one.close()


@pytest.fixture
def slow(script, tmp_path):
    """The folders RAN and HOLD of that script."""
    ran, hold = tmp_path / "ran", tmp_path / "hold"
    ran.mkdir()
    hold.touch()
    script("train.py", SLOW)
    return ran, hold


@pytest.fixture
def search(cluster, slow, driver):
    """`search("--hp=x=1:3")`: `studio run` of the slow script on that cluster."""
    environment = [f"--env=RAN={slow[0]}", f"--env=HOLD={slow[1]}"]
    where = ["--project=p", f"--backend=dask:{cluster.file}", *environment]
    return lambda *options: driver("run", *where, *options, "train.py", before=IMPATIENT)


def outcomes():
    return [(e.number, e.status, e.fitness) for e in Project("p").experiments]


def test_a_lost_worker_costs_an_attempt_and_no_outcome(cluster, search, slow, command, until):
    """Its output comes while it runs."""
    ran, hold = slow
    one = search("--hp=x=2,3")
    until(lambda: any(ran.iterdir()) and "fitness: 1.0" in command("runs", "logs", "p/1").out)

    def row():
        return json.loads(command("runs", "list", "p", "--json").out)[0]

    until(lambda: row()["metric"] is not None)  # the log comes first, then the value in it
    assert (row()["status"], row()["metric"]["value"]) == ("running", 1.0)
    cluster.add_worker()
    cluster.first.kill()
    until(lambda: len(list(ran.iterdir())) > 1)
    hold.unlink()
    assert one.wait() == 0, one.err
    assert outcomes() == [(1, "completed", 2.0), (2, "completed", 3.0)]


def test_a_lost_scheduler_ends_the_search_which_goes_on_elsewhere(cluster, search, slow, home, command, until):
    ran, hold = slow
    one = search("--hp=x=1:3")
    until(lambda: any(ran.iterdir()))
    cluster.close()
    assert one.wait() == 1
    assert "studio resume p" in one.err.splitlines()[-1]
    assert "Traceback" not in one.err
    until(lambda: not list(processes_of(str(home))))
    hold.unlink()
    result = command("resume", "p", "--backend=local")
    assert result.code == 0, result.err
    assert outcomes() == [(n, "completed", float(n)) for n in (1, 2, 3)]


def test_ctrl_c_leaves_nothing_on_the_cluster(cluster, search, slow, home, until):
    ran, _ = slow
    one = search("--hp=x=1:4")
    until(lambda: any(ran.iterdir()))
    for said in ("waiting for 1", "ending 1", "killing 1"):
        os.kill(one.pid, signal.SIGINT)
        until(lambda said=said: said in one.err or not one.running)
    assert one.wait() == 130
    assert list(processes_of(str(home))) == []
    assert not list(cluster.folder.rglob("studio-engine-*/*/*-*-*"))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("dask:missing.json", "no Dask scheduler responds there"),
        pytest.param("dask:tcp://127.0.0.1:9", "no Dask scheduler responds there", marks=pytest.mark.slow),
        pytest.param("ray:127.0.0.1:9", "no Ray cluster responds there", marks=pytest.mark.slow),
    ],
)
def test_an_address_that_does_not_answer_is_one_line(backend, words, command, script):
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    result = command("run", "--project=p", f"--backend={backend}", "--hp=x=1:3", "train.py")
    assert result.code == 2
    assert words in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
