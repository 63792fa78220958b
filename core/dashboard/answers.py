"""How it is answered: as JSON, zipped, or as a file with its length."""

import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 1 << 18  # bytes of a file that are sent at once


class Json(Response):
    """ASCII, with null for what JSON cannot say."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        except ValueError:
            return json.dumps(finite(content), separators=(",", ":"), allow_nan=False).encode()


def finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    return [finite(item) for item in data] if isinstance(data, list | tuple) else data


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
