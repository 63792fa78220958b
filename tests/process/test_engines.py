"""Searches on a real Dask cluster: the same record as locally, and nothing lost, doubled or left when parts of it die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.project.project import Project
from studio.system.processes import marked

pytest.importorskip("distributed")
STUDIO = Path(sys.executable).with_name("studio")
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

    def __init__(self, folder: Path):
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port=0")
        until(self.file.exists)
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_worker(self) -> subprocess.Popen[bytes]:
        self.workers.append(self._start("worker", "--nthreads=1", "--no-nanny"))
        return self.workers[-1]

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host=127.0.0.1", "--no-dashboard"]
        words += [f"--scheduler-file={self.file}", *options]
        env = {**os.environ, "TMPDIR": str(self.folder), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(
            words, env=env, cwd=self.folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path):
    made = []

    def start(workers: int = 2) -> Cluster:
        folder = tmp_path / f"cluster-{len(made)}"
        folder.mkdir()
        made.append(Cluster(folder))
        for _ in range(workers):
            made[-1].add_worker()
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def slow(script, tmp_path, monkeypatch):
    """A script that goes on while a file is there; each start leaves a file in `ran`."""
    ran, hold = tmp_path / "ran", tmp_path / "hold"
    ran.mkdir()
    hold.touch()
    monkeypatch.setenv("RAN", str(ran))
    monkeypatch.setenv("HOLD", str(hold))
    script("train.py", SLOW)
    return ran, hold


def begin(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([STUDIO, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def environment(slow) -> list[str]:
    ran, hold = slow
    return [f"--env=RAN={ran}", f"--env=HOLD={hold}"]


def test_a_cluster_gives_the_record_of_this_machine(cluster, studio, script):
    script("train.py", "lr = 0.1\nprint('fitness:', -(lr - 0.3) ** 2)\n")
    words = ["--optimizer=cma", "--hp=lr=0:1", "--seed=3", "--max-experiments=8"]
    address = cluster(1).file
    for name, backend in (("here", "local"), ("there", f"dask:{address}"), ("own", "dask")):
        result = studio("run", f"--project={name}", f"--backend={backend}", *words, "train.py")
        assert result.code == 0, result.err
    here, there, own = (
        [(e.number, e.values, e.fitness) for e in Project(n).experiments] for n in ("here", "there", "own")
    )
    assert here == there == own


def test_a_lost_worker_costs_an_attempt_and_no_outcome(cluster, slow, home):
    there = cluster(1)
    ran, hold = slow
    search = begin("run", "--project=p", f"--backend=dask:{there.file}", "--hp=x=1:3", *environment(slow), "train.py")
    until(lambda: any(ran.iterdir()) and any(e.metric for e in Project("p").experiments))
    there.add_worker()
    there.workers[0].kill()
    until(lambda: len(list(ran.iterdir())) > 1)
    hold.unlink()
    _, err = search.communicate(timeout=120)
    assert search.returncode == 0, err
    assert [(e.number, e.status, e.fitness) for e in Project("p").experiments] == [
        (1, "completed", 1.0),
        (2, "completed", 2.0),
        (3, "completed", 3.0),
    ]


def test_a_lost_scheduler_ends_the_search_which_goes_on_elsewhere(cluster, slow, home, studio):
    there = cluster(1)
    ran, hold = slow
    search = begin("run", "--project=p", f"--backend=dask:{there.file}", "--hp=x=1:3", *environment(slow), "train.py")
    until(lambda: any(ran.iterdir()))
    there.close()
    _, err = search.communicate(timeout=120)
    assert search.returncode == 1
    assert "studio resume p" in err.splitlines()[-1]
    assert "Traceback" not in err
    until(lambda: not list(marked(str(home))))
    hold.unlink()
    result = studio("resume", "p", f"--backend=dask:{cluster(1).file}", timeout=120)
    assert result.code == 0, result.err
    assert [(e.number, e.status, e.fitness) for e in Project("p").experiments] == [
        (n, "completed", float(n)) for n in (1, 2, 3)
    ]


def test_ctrl_c_leaves_nothing_on_the_cluster(cluster, slow, home):
    there = cluster(2)
    ran, _ = slow
    words = [f"--backend=dask:{there.file}", "--num-workers=2", "--hp=x=1:4", *environment(slow)]
    search = begin("run", "--project=p", *words, "train.py")
    until(lambda: len(list(ran.iterdir())) == 2)
    for _ in range(3):
        search.send_signal(signal.SIGINT)
        time.sleep(0.3)  # each is a word of its own
    search.communicate(timeout=60)
    assert search.returncode == 130
    assert list(marked(str(home))) == []
    assert not list(there.folder.rglob("studio-engine-*/*/*-*-*"))


def test_live_output_comes_while_it_runs(cluster, slow, home, studio):
    there = cluster(1)
    _, hold = slow
    search = begin("run", "--project=p", f"--backend=dask:{there.file}", "--hp=x=2", *environment(slow), "train.py")
    until(lambda: "fitness: 1.0" in studio("runs", "logs", "p/1").out)

    def row():
        (only,) = json.loads(studio("runs", "list", "p", "--json").out)
        return only

    until(lambda: row()["metric"] is not None)  # the log comes first, then the value in it
    assert (row()["status"], row()["metric"]["value"]) == ("running", 1.0)
    hold.unlink()
    search.communicate(timeout=60)
    assert search.returncode == 0


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("dask:tcp://127.0.0.1:9", "no Dask scheduler responds there"),
        ("dask:missing.json", "no Dask scheduler responds there"),
        ("ray:127.0.0.1:9", "no Ray cluster responds there"),
    ],
)
def test_an_address_that_does_not_answer_is_one_line(backend, words, command, script):
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    result = command("run", "--project=p", f"--backend={backend}", "--hp=x=1:3", "train.py")
    assert result.code == 2
    assert words in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
