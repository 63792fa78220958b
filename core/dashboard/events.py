"""Server-sent events: changes of a project, or of the list of projects, shortly after they were written.

A stream checks the state of the database's files, which takes microseconds, and reads only after a change. Each event has
a version, so that a client that reconnects with it misses nothing and gets nothing twice.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

LOOK_EVERY = 0.15  # seconds
REST = 4  # times as long as a look took: what changes all the time, and is large, leaves its driver the CPU
LONGEST_REST = 2.0  # seconds
HEARTBEAT = 15.0  # seconds
MOST_ROWS = 500  # rows in an event; more are fetched
RETRY = 1000  # milliseconds until a browser reconnects
MOST = 4  # streams of one browser: HTTP/1.1 has six connections, and a seventh window would wait for ever
_OPEN: dict[tuple[str, str], list[object]] = {}  # browser -> its streams, the oldest first


class Gone(Exception):
    """The watched project no longer exists."""


class Source(Protocol):
    """An object with a version to watch: an `OpenProject` or the `ProjectList`."""

    @property
    def version(self) -> str: ...


def stream(
    source: Callable[[], Source | None],
    news: Callable[[Any, str], dict[str, Any]],
    request: Request,
    closing: Callable[[], bool],
    every: float = LOOK_EVERY,
) -> StreamingResponse:
    """Return a stream of events.

    source  called at each check: None if it cannot be read now; raises Gone if it no longer exists
    news    (source, version) -> the data of an event
    """
    browser = (request.client.host if request.client else "", request.headers.get("user-agent", ""))
    after = request.headers.get("last-event-id") or request.query_params.get("changed_since", "")
    return StreamingResponse(
        _events(source, news, after, closing, every, browser),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _events(
    source: Callable[[], Source | None],
    news: Callable[[Any, str], dict[str, Any]],
    after: str,
    closing: Callable[[], bool],
    every: float,
    browser: tuple[str, str],
) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY}\n\n".encode()
    heard = time.monotonic()
    own = object()
    streams = _OPEN.setdefault(browser, [])
    streams.append(own)
    try:
        async for data in _changes(source, news, after, lambda: closing() or own not in streams[-MOST:], every, heard):
            yield data
        if own not in streams[-MOST:]:
            yield b"event: turn\ndata: {}\n\n"
    finally:
        streams.remove(own)
        if not streams:
            _OPEN.pop(browser, None)


async def _changes(
    source: Callable[[], Source | None],
    news: Callable[[Any, str], dict[str, Any]],
    after: str,
    ended: Callable[[], bool],
    every: float,
    heard: float,
) -> AsyncIterator[bytes]:
    while not ended():
        begun = time.monotonic()
        try:
            found = await run_in_threadpool(source)
        except Gone:
            yield b"event: gone\ndata: {}\n\n"
            return
        if found is not None and found.version != after:
            data = await run_in_threadpool(news, found, after)
            after, heard = data["version"], time.monotonic()
            yield f"event: change\nid: {after}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
        elif time.monotonic() - heard >= HEARTBEAT:
            heard = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(max(every, min(LONGEST_REST, REST * (time.monotonic() - begun))))
