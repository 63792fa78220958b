"""How it is answered: as JSON, zipped, or as a file with its length."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from studio.format import finite

PIECE = 1 << 18  # bytes of a file that are sent at once


class Json(Response):
    """ASCII, with null for what JSON cannot say."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        except ValueError:
            return json.dumps(finite(content), separators=(",", ":"), allow_nan=False).encode()


class Zip(GZipMiddleware):
    """All but downloads, whose length is said beforehand."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.app if "/files/" in scope.get("path", "") else super().__call__
        await handler(scope, receive, send)


def pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    """The first `left` bytes: a log may grow while it is sent."""
    with file:
        while chunk := file.read(min(PIECE, left)):
            left -= len(chunk)
            yield chunk
