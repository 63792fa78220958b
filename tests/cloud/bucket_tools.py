"""The driver's side of a bucket in this process, for tests."""

import time
from pathlib import Path

from studio.backends.queue.backend import BucketBackend
from studio.host import create_host
from studio.interfaces import BackendContext
from studio.settings import Settings
from studio.system.processes import processes_of
from studio.testing import BackendContract


def bucket_backend(bucket, *, slots=1, look=0.05, notice=print):
    """A backend whose runs go to `bucket`."""
    one = BucketBackend(None, BackendContext(Settings("train.py"), slots, Path(), create_host(), notice))
    one.use(bucket, look)
    return one


HELD = """
import os, time
lr = 0
while not os.path.exists({go!r}):
    time.sleep(0.02)
print("at", os.environ.get("SSH_CONNECTION"), os.environ.get("SLURM_JOB_ID"))
print("fitness:", lr)
"""


class WorkersHereContract(BackendContract):
    """The contract for workers of this machine. `tmp`: their TMPDIR; they run nothing else."""

    tmp: Path

    def processes_of(self, run):
        return [pid for folder in self.tmp.glob("studio-worker-*/*") for pid in processes_of(str(folder))]

    def _wait_for_output(self, backend, run, word):
        """The log comes home at the end, and is in the worker's folder until then."""
        deadline = time.monotonic() + self.patience
        while not any(word in log.read_text() for log in self.tmp.glob("*/*/1/1/output.log")):
            assert time.monotonic() < deadline, f"no {word!r} within {self.patience:g} s"
            backend.poll(0.05)
