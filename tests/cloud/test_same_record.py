"""The same search with the same seed and one worker has the same record, whichever backend runs it."""

import sys
import threading

import pytest

from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.job_queue import JobQueue
from studio.backends.queue.worker import Worker
from studio.backends.slurm import SlurmLauncher
from studio.host import create_host
from studio.project.project import Project

# A metric that wanders, and experiments that fail.
SCRIPT = """
import sys
x = 0.5
y = 0.5
for step in range(3):
    print("fitness:", -((x - 0.3) ** 2) - (y - 0.6) ** 2 + step / 100)
print("ends", x)
sys.exit(3 if x > 0.6 else 0)
"""


@pytest.fixture
def local():
    return ["--backend=local"]


@pytest.fixture
def folder(scratch, tmp_path):
    """A folder, and one worker for it."""
    bucket = open_bucket(str(tmp_path / "share"), create=True)
    worker = threading.Thread(target=Worker(bucket, create_host(), look=0.05).run)
    worker.start()
    yield [f"--backend=folder:{bucket.folder}"]
    JobQueue(bucket).dismiss()
    worker.join(30)


@pytest.fixture
def dask():
    pytest.importorskip("distributed")
    return ["--backend=dask"]


@pytest.fixture
def ray():
    module = pytest.importorskip("ray", exc_type=ImportError)
    module.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield ["--backend=ray"]
    module.shutdown()


@pytest.fixture
def by_slurm(slurm, scratch, tmp_path, monkeypatch):
    monkeypatch.setattr(SlurmLauncher, "poll_interval", 0.5)
    return [f"--backend=slurm:{tmp_path}/share"]


@pytest.fixture
def by_ssh(ssh, tmp_path):
    hosts = tmp_path / "hosts.txt"
    hosts.write_text(f"127.0.0.1:{ssh.port} python={sys.executable}\n")
    return [f"--backend=ssh:{hosts}", f"--ssh-config={ssh.config}"]


def record(project):
    """Values, fitness, status and order; not what the clock of a backend says."""
    found = [
        (one.number, one.attempt, one.status, one.values, one.fitness, one.metric, one.failure, one.reason)
        for one in project.experiments
    ]
    begun = [one.number for one in sorted(project.experiments, key=lambda one: one.started)]
    return found, begun


@pytest.mark.parametrize(
    "backend", ["folder", "dask", pytest.param("ray", marks=pytest.mark.slow), "by_slurm", "by_ssh"]
)
def test_a_search_has_the_same_record_everywhere(backend, local, request, command, script):
    script("train.py", SCRIPT)
    search = ["--optimizer=cma", "--seed=1", "--max-experiments=5", "--num-workers=1", "--hp=x=0:1", "--hp=y=0:1"]
    codes, records = [], []
    for name, where in (("here", local), ("there", request.getfixturevalue(backend))):
        codes.append(command("run", f"--project={name}", *search, *where, "train.py").code)
        records.append(record(Project(name)))
    assert records[0] == records[1]
    assert codes[0] == codes[1]
    statuses = {status for _, _, status, *_ in records[0][0]}
    assert statuses == {"completed", "failed"}, "the search has both"
