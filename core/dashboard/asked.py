"""What a request asks for: words of its address, and JSON that it brings."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from studio.dashboard.access import is_loopback, without_port
from studio.dashboard.experiment_table import whole
from studio.errors import BadInput


def is_here(request: Request) -> bool:
    """Whether the browser calls this machine by a name that means itself."""
    return is_loopback(without_port(request.headers["host"]))


def numbers(request: Request) -> list[int]:
    """`?e=1,2`, each once."""
    given = request.query_params.get("e", "").split(",")
    return list(dict.fromkeys(number for number in map(whole, given) if number is not None))


def count(request: Request, name: str, default: int, most: int) -> int:
    given = whole(request.query_params.get(name, ""))
    return default if given is None else min(most, given)


async def posted(request: Request, most: int) -> dict[str, Any]:
    """The JSON object of a POST; BadInput where it is none, 413 where it has more than `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, "the request is too large")
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadInput("the request is no JSON") from None
    if not isinstance(given, dict):
        raise BadInput("the request is no JSON object")
    return given
