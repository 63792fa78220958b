"""The lock of a project: one driver at a time. The kernel releases it when its holder dies, by whatever signal."""

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from studio.errors import BadInput, ProjectError, StoreError

LOCK_WAIT = 1.0  # seconds: a reader that checks the lock holds it for a moment


def take_lock(folder: Path) -> IO[str]:
    """Take the lock of the project in `folder`; it is held as long as the returned file is open."""
    try:
        lock = open(folder / "lock", "a+")  # noqa: SIM115 - it stays open
    except OSError as error:
        raise StoreError(
            f"cannot lock project {folder.name!r}: {folder / 'lock'}: {error.strerror}; its disk must be writable"
        ) from error
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                lock.close()
                raise ProjectError(
                    f"project {folder.name!r} is being run by {holder}; `studio stop {folder.name}` ends it"
                ) from None
            time.sleep(0.02)
        except OSError as error:  # ENOLCK, EOPNOTSUPP: some network file systems
            lock.close()
            raise BadInput(
                f"the file system of {folder} cannot lock files ({error.strerror}); set STUDIO_HOME to a local disk"
            ) from error
    with contextlib.suppress(OSError):  # ignored if the disk is full; a buffer would fail again on close
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return lock


def is_locked(folder: Path) -> bool:
    """Return whether a driver runs the project."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock yet, no locks here, or no access: then nothing holds it
        return False
    return False
