"""A bucket: the one thing that a driver and its workers share. S3, Google Cloud Storage, or a folder.

Keys are names with slashes, values are bytes. Small values carry a version and are written only under a condition, so
that of two writers one is told that it came second; files of any size go in and out whole.

BucketError (StudioError)   the request failed; asking again may help
├── BucketGone              there is no such bucket or folder (any more): nothing to wait for
├── BucketDenied            this account may not do that: a person has to mend it
├── BucketFull              no room for what is to be written: a person has to make some
├── CredentialsExpired      no longer good ones: they may be renewed while we wait
│   └── CredentialsMissing  none at all: whoever begins with that ends
└── BucketUnreachable       network, server or lock gave no answer. Whether a write landed is unknown
"""

import contextlib
import importlib
import os
import unicodedata
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from studio.errors import BadInput, StudioError

RESERVED = ".studio-bucket"  # the first part of no key: a folder keeps its lock there
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


PASSING = (BucketUnreachable, CredentialsExpired)  # wait, and ask again; whatever else a bucket says is for a person


class Uploads(Protocol):
    """The half of a bucket that is enough to send runs."""

    def upload(self, key: str, path: Path) -> None: ...


class Downloads(Protocol):
    """The half of a bucket that is enough to fetch what a run needs."""

    url: str

    def download(self, key: str, path: Path) -> bool: ...


class Bucket(ABC):
    """Every method may raise a `BucketError`.

    A conditional write whose answer was lost is sent again, by the SDK or by us, and is then refused because of
    itself. So where the bucket already holds exactly the bytes to be written, the write counts as done. Two writers
    who must not both win therefore write different bytes: name the writer in them.
    """

    url: str
    # Seconds between two looks of a worker for a job, and of a driver for news: some requests each, which clouds bill.
    look: ClassVar[float] = 5.0
    driver_look: ClassVar[float] = 5.0

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str] | None:
        """The value and its version, or None without one. A version says nothing but "still the same value"."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> str | None:
        """The version of what was written; None: the key is taken, by other bytes."""

    @abstractmethod
    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        """The new version; None: the key no longer has `version`."""

    @abstractmethod
    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """Keys that begin with `prefix` (empty, or with a slash at its end) and sort after `after`, in order. Every
        1,000 keys are one request. What was written while it runs may be missing."""

    @abstractmethod
    def upload(self, key: str, path: Path) -> None:
        """The file under `key`, whole or not at all, in place of what was there. Never for keys that are also put."""

    @abstractmethod
    def download(self, key: str, path: Path) -> bool:
        """The value into the file `path`, whole or not at all; its folder exists. False: no such key."""

    def check_room(self) -> None:  # noqa: B027 - clouds have room
        """Raises `BucketFull` where nothing can be written."""

    def region(self) -> str:
        """Where it is, as its cloud writes it, in lower case: us-east-1, or eu of many regions. Empty: not known."""
        return ""

    def close(self) -> None:  # noqa: B027 - a folder has nothing to close
        """Give back connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _landed(self, key: str, data: bytes) -> str | None:
        """After a refusal: the version, if it was our own write that came first."""
        found = self.get(key)
        return found[1] if found is not None and found[0] == data else None


def check_key(key: str) -> str:
    """`key`, if it is safe as a key everywhere and as a path below a folder."""
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
    if prefix and (not prefix.endswith("/") or check_key(prefix[:-1]) != prefix[:-1]):
        raise BucketError(f"{prefix!r} cannot be listed: a prefix ends with a slash")
    return prefix


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end: a download that breaks leaves nothing."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sdk(module: str, *, extra: str) -> Any:
    """A heavy library that only users of that cloud have installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the library is there, and it is one of its own that is missing
        raise BadInput(f"{module} is not installed: pip install 'studio-search[{extra}]'") from None
