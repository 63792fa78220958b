"""A bucket behind a pipe: a worker sends requests on its standard output, the driver answers on its standard input.

    worker                                             driver
    PipeBucket ── {"do": "get", "key": ...} ─────────► serve ── FolderBucket
               ◄── {"version": ...} + bytes ─────────

Each message is a line of JSON with the number of following bytes, `size`. Files are sent in parts, so that a beat never
waits for a large one. When the pipe ends, the worker kills its experiments, and ends.
"""

import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from studio.backends.queue.bucket import (
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

PART = 1 << 20  # bytes of a file in one message
LONGEST_LINE, LARGEST_VALUE = 1 << 26, 1 << 28  # bytes: of JSON, of a value
ERRORS = {kind.__name__: kind for kind in (BucketError, BucketDenied, BucketFull, BucketGone, BucketUnreachable)}


class Pipe(Protocol):
    """The used methods of a file."""

    def readline(self, size: int, /) -> bytes: ...
    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> None: ...


class PipeBucket(Bucket):
    """The worker's end. `questions` and `answers` are pipes that nothing else reads or writes."""

    look, driver_look = 1.0, 1.0

    def __init__(self, questions: Pipe, answers: Pipe):
        self.url = "pipe:"
        self._questions, self._answers = questions, answers
        self._one = threading.Lock()

    def get(self, key: str) -> tuple[bytes, str] | None:
        answer, data = self._ask("get", key=check_key(key))
        return None if answer["version"] is None else (data, answer["version"])

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        return self._version("put_if_absent", data, key=check_key(key))

    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        return self._version("put_if_match", data, key=check_key(key), version=version)

    def entries(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        answer, _ = self._ask("entries", prefix=check_prefix(prefix), after=after)
        return (Entry(*entry) for entry in answer["entries"])

    def upload(self, key: str, path: Path) -> None:
        part = secrets.token_hex(8)
        with open(path, "rb") as file:
            while data := file.read(PART):
                self._ask("append", data, part=part)
        self._ask("upload", part=part, key=check_key(key))

    def download(self, key: str, path: Path) -> bool:
        part = secrets.token_hex(8)
        if not self._ask("download", part=part, key=check_key(key))[0]["there"]:
            return False
        with whole_file(path) as whole, open(whole, "xb") as file:
            while data := self._ask("read", part=part, at=file.tell())[1]:
                file.write(data)
        self._ask("drop", part=part)
        return True

    def _version(self, what: str, data: bytes, **about: str) -> str | None:
        version: str | None = self._ask(what, data, **about)[0]["version"]
        return version

    def _ask(self, what: str, data: bytes = b"", **about: Any) -> tuple[dict[str, Any], bytes]:
        try:
            with self._one:
                _write(self._questions, {"do": what, **about}, data)
                answer, data = _read(self._answers)
        except (OSError, ValueError, EOFError) as error:
            raise BucketGone(f"the search has ended: {error or 'its pipe closed'}") from error
        if "error" in answer:
            raise ERRORS.get(answer["error"], BucketError)(answer["text"])
        return answer, data


def own_pipes() -> PipeBucket:
    """Return the bucket at the standard streams of this process. Later prints go to standard error."""
    questions, answers = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout = sys.stderr
    return PipeBucket(os.fdopen(questions, "wb"), os.fdopen(answers, "rb"))


def serve(bucket: Bucket, questions: Pipe, answers: Pipe, folder: Path) -> None:
    """Answer requests until the pipe ends: the driver's end. `folder`: for parts of files.

    The other side is not trusted: `bucket` checks keys, and sizes have limits.
    """
    parts: dict[str, Path] = {}

    def part(name: str) -> Path:
        return parts.setdefault(str(name), folder / f"part-{secrets.token_hex(8)}")

    def append(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        with open(part(asked["part"]), "ab") as file:
            file.write(data)
        return {}, b""

    def upload(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        append(asked, b"")
        bucket.upload(asked["key"], part(asked["part"]))
        return drop(asked, b"")

    def download(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        return {"there": bucket.download(asked["key"], part(asked["part"]))}, b""

    def read(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        with open(part(asked["part"]), "rb") as file:
            file.seek(asked["at"])
            return {}, file.read(PART)

    def drop(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        parts.pop(asked["part"]).unlink(missing_ok=True)
        return {}, b""

    def get(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        found = bucket.get(asked["key"])
        return ({"version": None}, b"") if found is None else ({"version": found[1]}, found[0])

    does: dict[str, Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]] = {
        "append": append,
        "upload": upload,
        "download": download,
        "read": read,
        "drop": drop,
        "get": get,
        "put_if_absent": lambda asked, data: ({"version": bucket.put_if_absent(asked["key"], data)}, b""),
        "put_if_match": lambda asked, data: (
            {"version": bucket.put_if_match(asked["key"], data, asked["version"])},
            b"",
        ),
        # What a worker of an earlier version asks.
        "list": lambda asked, data: ({"keys": list(bucket.list(asked["prefix"], asked["after"]))}, b""),
        "entries": lambda asked, data: (
            {"entries": list(bucket.entries(asked["prefix"], asked["after"]))},
            b"",
        ),
    }
    try:
        while True:
            asked, data = _read(questions)
            try:
                answer, data = does[asked["do"]](asked, data)
            except BucketError as error:
                answer, data = {"error": type(error).__name__, "text": str(error)}, b""
            except (LookupError, TypeError, AttributeError, OSError) as error:
                answer, data = {"error": "BucketError", "text": f"invalid request: {error!r}"}, b""
            _write(answers, answer, data)
    except (OSError, ValueError, EOFError):
        pass  # the pipe ended, or a message was invalid: give up the worker
    finally:
        for path in parts.values():
            path.unlink(missing_ok=True)


def _write(pipe: Pipe, message: dict[str, Any], data: bytes) -> None:
    pipe.write(json.dumps({**message, "size": len(data)}).encode() + b"\n" + data)
    pipe.flush()


def _read(pipe: Pipe) -> tuple[dict[str, Any], bytes]:
    line = pipe.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    message = json.loads(line)
    size = message["size"] if isinstance(message, dict) else -1
    if type(size) is not int or not 0 <= size <= LARGEST_VALUE:
        raise ValueError("invalid message")
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return message, data
