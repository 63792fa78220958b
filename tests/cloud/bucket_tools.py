"""The driver's side of a bucket in this process, for tests."""

from pathlib import Path

from studio.backends.queue.backend import BucketBackend
from studio.host import create_host
from studio.interfaces import BackendContext
from studio.settings import Settings


def bucket_backend(bucket, *, slots=1, look=0.05, notice=print):
    """A backend whose runs go to `bucket`."""
    one = BucketBackend(None, BackendContext(Settings("train.py"), slots, Path(), create_host(), notice))
    one.use(bucket, look)
    return one
