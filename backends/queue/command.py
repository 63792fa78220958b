"""Run experiments of a search on another machine."""

import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.usage import PlainUsage, new_app, parse_count
from studio.errors import BadInput
from studio.text import clean

if TYPE_CHECKING:
    from studio.backends.queue.bucket import Bucket

app = new_app()

# Cloud machines start it with --lifetime; a new one may be up before its credentials are.
FRESH, AGAIN = 120.0, 5.0  # seconds


@app.command(cls=PlainUsage)
def worker(
    url: Annotated[str, typer.Argument(metavar="URL", help="A folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.")],
    slots: Annotated[
        int, typer.Option(metavar="N", parser=parse_count, help="How many experiments at a time; they share the CPUs.")
    ] = 1,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the worker. Default: this machine's name.")
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop after this time without work: 300s, 1h. Default: wait for ever."),
    ] = None,
    lifetime: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after this time; other workers restart what is unfinished.")
    ] = None,
    ttl: Annotated[
        str,
        typer.Option(metavar="TIME", help="Time without a heartbeat after which other workers take its experiments."),
    ] = "1m",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> int:
    """Run experiments of searches that were started with --backend=folder:URL.

    Start it on any machine with access to URL, as often as wanted. An experiment with --gpus waits for a worker with
    that many free GPUs. Ctrl-C once finishes running experiments, twice releases them for other workers.
    """
    from studio.backends.queue.background import Once
    from studio.backends.queue.lease_records import LONGEST_TTL
    from studio.backends.queue.lease_taker import TTL
    from studio.backends.queue.worker import Worker
    from studio.host import create_host
    from studio.settings import parse_duration

    if slots < 1:
        raise BadInput(f"--slots {slots}: at least 1 is needed")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name):
        raise BadInput(f"--name {name[:60]!r}: letters, digits and . _ - only, at most 60, at least 1")

    def say(text: str) -> None:
        if not quiet:
            with contextlib.suppress(OSError):  # the reader of the log may end first
                print(f"studio: {clean(text)}", file=sys.stderr, flush=True)

    url = url.removeprefix("folder:")  # the form used for the search
    silence = parse_duration(ttl, "--ttl") or TTL
    if silence > LONGEST_TTL:
        raise BadInput(
            f"--ttl {ttl!r}: at most a day, else experiments of a dead worker would never restart; write 24h"
        )
    ends = {name: parse_duration(text, f"--{name}") for name, text in (("idle", idle), ("lifetime", lifetime))}
    bucket = _open_when_there(url, lifetime=ends["lifetime"], idle=ends["idle"], say=Once(say))
    with bucket:
        say(f"waiting for experiments in {url}")
        Worker(
            bucket, create_host(), name=name or "", slots=slots, look=bucket.look, ttl=silence, say=say, **ends
        ).run()
    return 0


def _open_when_there(url: str, *, lifetime: float | None, idle: float | None, say: Callable[[str], None]) -> "Bucket":
    """Return the bucket at `url`: a worker may start before its search, and a new machine before its credentials are there."""
    from studio.backends.queue.bucket import PASSING, BucketDenied, BucketGone, CredentialsMissing
    from studio.backends.queue.bucket_url import open_bucket
    from studio.backends.queue.lease_records import STOP

    begun = time.monotonic()
    patience = min((seconds for seconds in (lifetime, idle) if seconds is not None), default=math.inf)
    while True:
        waited = time.monotonic() - begun
        try:
            bucket = open_bucket(url)
            try:
                bucket.get(STOP)
            except CredentialsMissing:
                raise
            except (*PASSING, BucketDenied):
                pass  # the worker reports it
            return bucket
        except CredentialsMissing as error:
            if lifetime is None or waited >= FRESH:
                raise BadInput(str(error)) from error
            say(f"waiting for credentials: {error}")
            time.sleep(AGAIN)
        except BucketGone as error:
            if url == "pipe:":
                raise
            place = url if "://" in url else os.path.abspath(url)
            start = f"studio run --backend=folder:{place} …"
            if "://" in place or waited >= patience:
                raise BadInput(f"{error}; start the search first: {start}") from error
            say(f"{error}; waiting for its search: {start}")
            time.sleep(min(AGAIN, patience))
