"""A folder as a bucket: plain files that can be inspected, on a disk or a share that all machines see.

    FOLDER/jobs/0001-1                 the value
    FOLDER/.studio-bucket/lock         held (flock) during a compare-and-swap, for milliseconds
    FOLDER/.studio-bucket/part-…       a file being written; renamed when it is complete and on the disk

The version of a value is its hash and the file's time of modification. Every write sets a time later than the one
before it, under the lock, so a value that recurs (A, B, A) has another version, and clocks may be wrong: only times of the
same key are compared.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from studio.backends.queue.bucket import (
    RESERVED,
    Bucket,
    BucketDenied,
    BucketError,
    BucketFull,
    BucketGone,
    BucketUnreachable,
    Entry,
    check_key,
    check_prefix,
    whole_file,
)

PATIENCE = 10.0  # seconds to wait for the lock: its holder may be paused
COARSE = 2_000_000_000  # ns: no file system's times are coarser than 2 s (FAT)
LEFT_BEHIND = 86400.0  # age in seconds of a part that was left by a killed process

# flock excludes threads of one process, too, except on network file systems that implement it as an fcntl lock.
_threads = threading.Lock()


class FolderBucket(Bucket):
    look = 1.0
    driver_look = 0.25

    def __init__(self, folder: Path, *, create: bool = False):
        self.folder = folder.absolute()
        self.url = str(self.folder)
        self._own = self.folder / RESERVED
        with self._errors():
            if create:
                self._own.mkdir(parents=True, exist_ok=True)
            self._check_here()
            self._sweep()

    def get(self, key: str) -> tuple[bytes, str] | None:
        path = self._path(key)
        with self._errors():
            try:
                with open(path, "rb") as file:  # never changed after it got its name: data and time belong together
                    data = file.read()
                    return data, _version(data, os.fstat(file.fileno()).st_mtime_ns)
            except (FileNotFoundError, NotADirectoryError):
                self._check_here()
                return None

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        with self._lock():
            found = self.get(key)
            if found is not None:
                return found[1] if found[0] == data else None
            return self._write(key, data)

    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        with self._lock():
            found = self.get(key)
            if found is None:
                return None
            if found[1] != version:
                return found[1] if found[0] == data else None
            return self._write(key, data)

    def entries(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        for key in self.list(prefix, after):
            with self._errors(), contextlib.suppress(FileNotFoundError):
                about = os.stat(os.path.join(self.folder, key))
                yield Entry(key, str(about.st_mtime_ns), about.st_size)

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        top, found = str(self.folder), []
        begin = os.path.join(top, check_prefix(prefix).rpartition("/")[0])
        with self._errors():
            self._check_here()
            for where, folders, files in os.walk(begin, onerror=_raise_unless_gone):
                below = where[len(top) :].strip(
                    "/"
                )  # strings instead of paths, for speed: a driver lists thousands several times a second
                if not below:
                    folders[:] = [name for name in folders if name != RESERVED]
                keys = (f"{below}/{name}" if below else name for name in files)
                found += [key for key in keys if key > after and key.startswith(prefix)]
        return iter(sorted(found))

    def upload(self, key: str, path: Path) -> None:
        target = self._path(key)
        with self._part() as part:
            with open(path, "rb") as source, self._errors(), open(part, "xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                _to_disk(file.fileno())
            with self._errors():
                _rename(part, target)

    def download(self, key: str, path: Path) -> bool:
        source = self._path(key)
        try:
            with open(source, "rb") as file, whole_file(path) as part, open(part, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
        except (FileNotFoundError, NotADirectoryError):
            if source.exists():
                raise  # the target folder is missing
            with self._errors():
                self._check_here()
            return False
        return True

    def check_room(self) -> None:
        with self._errors(), self._part() as part, open(part, "xb") as file:
            file.write(bytes(4096))  # a block: the space for a heartbeat
            file.flush()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    def _check_here(self) -> None:
        if not self._own.is_dir():
            raise BucketGone(f"{self.folder} is not a bucket: it has no {RESERVED}/ (is the share mounted?)")

    def _write(self, key: str, data: bytes) -> str:
        """Write under the lock, and sync before the value is visible: acknowledged writes survive a power failure."""
        path = self._path(key)
        with self._errors(), self._part() as part, open(part, "xb") as file:
            file.write(data)
            file.flush()
            before = path.stat().st_mtime_ns if path.exists() else 0
            stamp = max(time.time_ns(), before + 1)
            os.utime(part, ns=(stamp, stamp))
            if os.fstat(file.fileno()).st_mtime_ns <= before:  # this file system rounds times
                os.utime(part, ns=(stamp, before + COARSE))
            version = _version(data, os.fstat(file.fileno()).st_mtime_ns)
            _to_disk(file.fileno())
            _rename(part, path)
            return version

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        part = self._own / f"part-{uuid.uuid4().hex}"
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for part in self._own.glob("part-*"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > LEFT_BEHIND:
                    part.unlink()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock; waits at most `PATIENCE` seconds, so that a paused process costs others only a retry."""
        deadline = time.monotonic() + PATIENCE
        if not _threads.acquire(timeout=PATIENCE):
            raise BucketUnreachable(f"{self.folder}: its lock is held by another thread")
        try:
            with contextlib.ExitStack() as stack:
                with self._errors():
                    self._check_here()
                    handle = stack.enter_context(open(self._own / "lock", "ab"))
                    while not _try_lock(handle.fileno()):
                        if time.monotonic() > deadline:
                            raise BucketUnreachable(f"{self.folder}: its lock has been held for {PATIENCE:g} s")
                        time.sleep(0.002)
                yield
        finally:
            _threads.release()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{self.folder}: {error.strerror or error}"
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise BucketDenied(what) from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BucketFull(f"{self.folder}: no space left") from error
            if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP):
                raise BucketError(f"{what}; one key is the folder of another") from error
            if not self._own.is_dir():
                raise BucketGone(what) from error
            raise BucketUnreachable(what) from error  # stale handle, input/output error: may pass


def _raise_unless_gone(error: OSError) -> None:
    """Raise the error of an unreadable folder; a folder that is missing is treated as empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _version(data: bytes, stamp: int) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:32]}-{stamp}"


def _rename(part: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        _to_disk(descriptor)
    finally:
        os.close(descriptor)


def _to_disk(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some shares have no fsync for folders
            raise
