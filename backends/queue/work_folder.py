"""The folder of a worker's files, which the next worker removes if this one is killed."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

PREFIX = "studio-worker-"


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Make a folder below TMPDIR, locked as long as this process lives, and remove it at the end."""
    above = Path(os.environ.get("TMPDIR") or "/tmp").absolute()
    for left in above.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    while True:
        folder = above / f"{PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _lock(descriptor) and folder.exists():
                break
            os.close(descriptor)  # a worker that starts at this moment took it for a leftover
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    """Remove the folder if it belongs to this user and its worker was killed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.getuid() and _lock(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
