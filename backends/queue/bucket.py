"""The interface of a bucket, which a driver and its workers share: S3, Google Cloud Storage, or a folder.

Keys are names with slashes, values are bytes. Small values have a version and are written conditionally, so that of two
writers one is told that it came second; files of any size are uploaded and downloaded as a whole.

BucketError (StudioError)   the request failed; a retry may help
├── BucketGone              the bucket or folder does not exist (any more): waiting does not help
├── BucketDenied            this account lacks a permission: the user has to fix it
├── BucketFull              no space for the data: the user has to free some
├── CredentialsExpired      credentials have expired: they may be renewed while we wait
│   └── CredentialsMissing  no credentials: an error at the start
└── BucketUnreachable       no response from network, server or lock. Whether a write succeeded is unknown
"""

import contextlib
import importlib
import os
import unicodedata
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from studio.entry_points import install_command
from studio.errors import BadInput, StudioError

RESERVED = ".studio-bucket"  # keys may not begin with this: a folder keeps its lock there
LONGEST_KEY, LONGEST_PART = 900, 200  # bytes: S3 and GCS allow 1024 with the prefix, file systems 255 a part
UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, separators of lines and paragraphs


class BucketError(StudioError):
    pass


class BucketGone(BucketError):
    pass


class BucketDenied(BucketError):
    pass


class BucketFull(BucketError):
    pass


class CredentialsExpired(BucketError):
    pass


class CredentialsMissing(CredentialsExpired):
    pass


class BucketUnreachable(BucketError):
    pass


PASSING = (BucketUnreachable, CredentialsExpired)  # transient: wait and retry; other errors need the user


class Uploads(Protocol):
    """The half of a bucket that is enough to send runs."""

    def upload(self, key: str, path: Path) -> None: ...


class Downloads(Protocol):
    """The half of a bucket that is enough to fetch what a run needs."""

    url: str

    def download(self, key: str, path: Path) -> bool: ...


class Entry(NamedTuple):
    """A key in a listing. `stamp`: the end of its version, so it changes with every write. `size`: bytes of its value."""

    key: str
    stamp: str
    size: int


class Bucket(ABC):
    """A key-value store for small values and files. Every method may raise a `BucketError`.

    A conditional write whose response was lost is sent again, by the SDK or by us, and is then refused because of
    itself. So if the bucket already has exactly the bytes to be written, the write counts as done. Two writers
    that must not both win must therefore write different bytes, such as their names.
    """

    url: str
    # Seconds between two polls of a worker for jobs, and of a driver for results: some requests each, which clouds bill.
    look: ClassVar[float] = 5.0
    driver_look: ClassVar[float] = 5.0

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return the value and its version, or None if there is no such key. Equal versions mean the same value."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> str | None:
        """Write, and return the version; None if the key exists with other bytes."""

    @abstractmethod
    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        """Write, and return the new version; None if the key no longer has `version`."""

    @abstractmethod
    def entries(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Yield keys that begin with `prefix` and sort after `after`, in order.

        Every 1,000 keys are one request. Keys written meanwhile may be missing.
        """

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """Yield the keys of `entries`."""
        return (entry.key for entry in self.entries(prefix, after))

    @abstractmethod
    def upload(self, key: str, path: Path) -> None:
        """Store the file under `key`, whole or not at all, replacing an earlier one. Never for keys that are also put."""

    @abstractmethod
    def download(self, key: str, path: Path) -> bool:
        """Write the value to the file `path`, whole or not at all; its folder must exist. False if there is no such key."""

    def check_room(self) -> None:  # noqa: B027 - clouds have room
        """Raise `BucketFull` if nothing can be written."""

    def region(self) -> str:
        """Return the region in lower case as its cloud writes it: us-east-1, or eu for several. Empty if unknown."""
        return ""

    def close(self) -> None:  # noqa: B027 - a folder has nothing to close
        """Close connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _landed(self, key: str, data: bytes) -> str | None:
        """Return the version after a refusal, if our own write had come first; else None."""
        found = self.get(key)
        return found[1] if found is not None and found[0] == data else None


def check_key(key: str) -> str:
    """Return `key` if it is safe as a key everywhere and as a path below a folder. Raises BucketError."""
    parts = key.split("/")
    wrong = (
        any(part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST_PART for part in parts)
        or parts[0] == RESERVED
        or len(key.encode(errors="replace")) > LONGEST_KEY
        or any(unicodedata.category(letter) in UNSAFE for letter in key)
        or "\\" in key
    )
    if wrong:
        raise BucketError(f"{key[:100]!r} cannot be a key: write names/with/slashes, without .. or special characters")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if keys may begin with it. Raises BucketError."""
    check_key(prefix.removesuffix("/") or "any")
    return prefix


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it at the end: an interrupted download leaves nothing."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sdk(module: str, *, extra: str) -> Any:
    """Import and return a library that only users of that cloud have installed. Raises BadInput."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the library is installed, but one of its dependencies is missing
        raise BadInput(f"{module} is not installed: {install_command(extra)}") from None
