"""Requests and answers: parameters of a URL, JSON in and out, compression, and files with their length."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from studio.dashboard.access import is_loopback, without_port
from studio.dashboard.experiment_table import parse_index
from studio.errors import BadInput
from studio.format import json_text

PIECE = 1 << 18  # bytes of a file that are sent at once


class Json(Response):
    """A JSON response in ASCII, with null for numbers that JSON cannot hold."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json_text(content, separators=(",", ":")).encode()


def json_error(code: str, message: str, status: int) -> Json:
    return Json({"error": {"code": code, "message": message}}, status)


class Zip(GZipMiddleware):
    """Compression of all responses except downloads, whose length is sent first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.app if "/files/" in scope.get("path", "") else super().__call__
        await handler(scope, receive, send)


class KeptFiles(StaticFiles):
    """Files below an address with their `files_version`: a browser asks for each once, and paints without waiting for it."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        answer = super().file_response(*args, **options)
        answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return answer


def files_version(*folders: Path) -> str:
    """Return a name for the present state of all files in `folders`."""
    known = [(str(path), found.st_mtime_ns, found.st_size)
             for folder in folders for path in sorted(folder.rglob("*.*")) for found in [path.stat()]]  # fmt: skip
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


def pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    """Yield the first `left` bytes of a file in chunks: a log may grow while it is sent."""
    with file:
        while chunk := file.read(min(PIECE, left)):
            left -= len(chunk)
            yield chunk


def is_here(request: Request) -> bool:
    """Return whether the browser runs on this machine, by the host name that it uses."""
    return is_loopback(without_port(request.headers["host"]))


def numbers(request: Request, name: str) -> list[int]:
    """Return the numbers of `?name=1,2`, each once."""
    given = request.query_params.get(name, "").split(",")
    return list(dict.fromkeys(number for number in map(parse_index, given) if number is not None))


def count(request: Request, name: str, default: int, most: int) -> int:
    """Return the whole number of a parameter, at most `most`. Raises BadInput."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    given = parse_index(text)
    if given is None:
        raise BadInput(f"{name}={text!r} is not a whole number")
    return min(most, given)


async def posted(request: Request, most: int) -> dict[str, Any]:
    """Return the JSON object of a POST. BadInput for anything else, 413 for more than `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, "the request is too large")
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadInput("the request is not JSON") from None
    if not isinstance(given, dict):
        raise BadInput("the request is not a JSON object")
    return given
