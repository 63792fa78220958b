"""Opening of buckets by URL: the only place that knows all kinds."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from studio.backends.queue.bucket import PASSING, Bucket, BucketError, CredentialsMissing, check_key
from studio.backends.queue.folder_bucket import FolderBucket
from studio.backends.queue.gcs_bucket import GCSBucket
from studio.backends.queue.pipe_bucket import own_pipes
from studio.backends.queue.s3_bucket import S3Bucket
from studio.errors import BadInput


def open_bucket(url: str, *, create: bool = False) -> Bucket:
    """Open `s3://bucket/prefix`, `gs://bucket/prefix`, a folder as a path or `file:///path`, or `pipe:`, the driver's.

    `create` turns a folder into a bucket, for drivers. Without it, for workers, a share that is not mounted is an
    error and not an empty bucket. Cloud buckets are made by `studio cloud setup`.
    """
    if url == "pipe:":
        return own_pipes()
    scheme = url.partition("://")[0] if "://" in url else "file"
    if scheme == "file":
        return _folder(url, create)
    if scheme not in ("s3", "gs"):
        raise BadInput(f"{url!r} is not a bucket: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder")
    name, _, prefix = url.partition("://")[2].partition("/")
    check_name(name, f"{url!r}", f"{scheme}://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    try:
        prefix = f"{check_key(prefix)}/" if prefix else ""
    except BucketError as error:
        raise BadInput(f"{url!r}: {error}") from None
    return S3Bucket(name, prefix) if scheme == "s3" else GCSBucket(name, prefix)


def open_to_use(url: str) -> Bucket:
    """Open the bucket of a driver: create a folder, and send one request.

    Raises BadInput without any credentials. If there is no response, the search reports that and retries.
    """
    try:
        bucket = open_bucket(url, create=True)
        bucket.get("stop")  # any response will do
    except CredentialsMissing as error:
        raise BadInput(str(error)) from error
    except PASSING:
        pass
    return bucket


def shared_place(given: str, flag: str) -> str:
    """Parse a place that all workers reach. A folder becomes an absolute path, as workers and `resume` need it."""
    if not given:
        raise BadInput(f"{flag}: name a folder that all workers see, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    return given.rstrip("/") if "://" in given else os.path.abspath(os.path.expanduser(given))


def check_name(name: str, given: str, form: str) -> None:
    """Raise BadInput if no cloud can have a bucket of that name. `given`: the input; `form`: the expected form."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
        why = "at least 3 lower case letters, digits, - or ."
        raise BadInput(f"{given}: {name!r} cannot be the name of a bucket, which has {why}; write {form}")


def _folder(url: str, create: bool) -> Bucket:
    folder = _path(url)
    try:
        return FolderBucket(folder, create=create)
    except BucketError as error:
        if not create:
            raise
        why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise BadInput(f"{folder} cannot be used: {why}; name a folder that all machines can write to") from error


def _path(url: str) -> Path:
    if "://" not in url:
        return Path(url)
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise BadInput(f"{url!r} is not a folder of this machine: write file:///absolute/path")
    return Path(unquote(parts.path))
