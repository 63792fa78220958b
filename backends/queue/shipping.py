"""Send runs to workers. A job is JSON; files that runs share are sent once, as a blob named by its content.

    driver                                  bucket                        worker
    snapshot, artifacts ─ pack, upload ───► blobs/HASH.tar ──────────► cache/HASH/
    Run ─ job_body ───────────────────────► jobs/ID ─ run_of ───────────► Run with the worker's paths
    project/N/A/ ◄─ unpack ──────────────── out/ID/ATTEMPT/run.tar ◄── pack_outputs

All paths of a `Run` lie below the project's folder, or are made to. In the job, stand-ins replace that folder, the
contents of blobs, and Studio's own Python.
"""

import base64
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.backends.queue.archives import Unreadable, pack, unpack
from studio.backends.queue.bucket import Bucket, BucketError, Downloads, Uploads
from studio.backends.queue.lease_records import job_id
from studio.errors import StudioError
from studio.experiment import LARGEST_INT, Metric, Resources, Run
from studio.system.files import write_json

BLOBS, OUT = "blobs/", "out/"
QUEUE = "queue.json"  # in the project's folder: the prefix of its jobs, see `search_id`
FRESH = 86400.0  # seconds in which an uploaded blob is not sent again: a bucket deletes it after weeks
WORKERS = "workers/"  # prefix under which each worker reports once that it runs
OUTPUTS = ("output.log", "hyperparameters.json", "tb", "modeldir", "artifacts")  # in a run's folder


class DiskFull(StudioError):
    """The disk of this machine has no room for files from or for the bucket."""


# --- the driver's side ------------------------------------------------------------------------------------------------


class Shipper:
    """Turns the runs of one project into jobs, and uploads the files they need."""

    def __init__(self, bucket: Uploads, project: Path):
        """`project`: the project's folder, also used for temporary files."""
        self._bucket, self._project = bucket, project
        self._blobs: dict[str, tuple[str, float]] = {}  # absolute path -> key, and the monotonic time of its upload

    def job_body(self, run: Run) -> dict[str, Any]:
        """Return `run` as JSON; upload its files unless this session has lately."""
        project = str(self._project)
        moved = replace(run, copies={tag: os.path.join(project, "copies", tag) for tag in run.copies})
        below = {run.snapshot: run.snapshot, **dict(zip(moved.copies.values(), run.copies.values(), strict=True))}
        below |= {path: path for path in [*run.shared.values(), *run.links.values()]}
        shim = os.path.join(project, "shim")
        if os.path.isdir(shim):
            below[shim] = shim
        token = secrets.token_hex(8)
        stand_ins = {path: f"<{token}/{self._blob(source)}>" for path, source in below.items()}
        stand_ins |= {run.folder: f"<{token}/folder>", project: f"<{token}/project>"}
        return {
            "token": token,
            "python": run.argv[:1] == [sys.executable],
            "run": _replaced(_as_json(moved), stand_ins),
        }

    def _blob(self, source: str) -> str:
        """Return the key of the file or folder `source`, packed and uploaded. Uploads of earlier sessions are not relied on:
        the bucket may delete them before this job is taken.
        """
        key, sent = self._blobs.get(source, ("", 0.0))
        if not key or time.monotonic() - sent >= FRESH:
            archive = self._project / f".{secrets.token_hex(8)}.packed"
            try:
                pack([("content", Path(source))], archive, all_links=True)
                key = f"{BLOBS}{_hash(archive)}.tar"
                self._bucket.upload(key, archive)
            except OSError as error:
                raise _told_apart(error, self._project) from error
            finally:
                archive.unlink(missing_ok=True)
            self._blobs[source] = key, time.monotonic()
        return key


def search_id(project: Path) -> str:
    """Return the prefix of the jobs of the project in that folder, which is kept there. Later searches sort after earlier ones."""
    file = project / QUEUE
    try:
        return job_id(json.loads(file.read_text())["id"])
    except FileNotFoundError:
        made = f"{int(time.time()):010x}{secrets.token_hex(3)}"
        write_json(file, {"id": made}, synced=True)
        return made
    except (OSError, ValueError, KeyError, TypeError, BucketError) as error:
        raise StudioError(
            f"{file} cannot be read ({type(error).__name__}), so jobs and machines of this search cannot be distinguished from "
            "others; restore the file, or delete it: its unfinished experiments then run again under another name, and "
            "studio cloud gc ends machines left running"
        ) from error


def slug(text: str) -> str:
    """Return `text` as names and tags may have it everywhere: small letters and digits, and - for all else."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())


def tag_of(project: str) -> str:
    """Return the beginning of `search_tag` for the project of that name."""
    return slug(project)[:40].strip("-")


def search_tag(project: Path) -> str:
    """Return the name of the workers and machines of the project in that folder: the project's name, and a part that makes
    it unique in an account or on a cluster.
    """
    return f"{tag_of(project.name)}-{search_id(project)[-6:]}"


def search_name(tag: str, most: int) -> str:
    """Return an engine's name of the search with that tag, of at most `most` characters. The end of the tag, which makes it
    unique, is kept.
    """
    begin, end = f"studio-{tag}".rpartition("-")[::2]
    return f"{begin[: most - len(end) - 1].rstrip('-')}-{end}"


def _as_json(run: Run) -> dict[str, Any]:
    data = asdict(replace(run, values={}, changes={}))
    data["changes"] = {path: base64.b64encode(text).decode() for path, text in run.changes.items()}
    data["values"] = {n: {"array": v.tolist()} if isinstance(v, np.ndarray) else v for n, v in run.values.items()}
    return data


def _replaced(data: Any, by: Mapping[str, str]) -> Any:
    """Replace the paths `by` in every text in `data` where they are whole parts of a path, the longest first: /p1 in
    `--data=/p1/x:/p1`, and neither in /p10 nor in /mnt/p1.
    """
    parts = "|".join(re.escape(old) for old in sorted(by, key=len, reverse=True))
    pattern = re.compile(rf"(?:(?<![\w.~/-])|(?<=://))(?:{parts})(?![^/\s:;,'\"`)\]}}>&|?#])")
    return _mapped(data, lambda text: pattern.sub(lambda found: by[found[0]], text)) if by else data


def _mapped(data: Any, change: Callable[[str], str]) -> Any:
    """Apply `change` to every text in `data` except file contents."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {key: value if key == "changes" else _mapped(value, change) for key, value in data.items()}
    return [_mapped(item, change) for item in data] if isinstance(data, list) else data


# --- the worker's side ------------------------------------------------------------------------------------------------


def title(body: dict[str, Any]) -> str:
    """Return the name of the experiment that `body` describes, for the user."""
    run = body.get("run")
    return f"{run.get('project')}/{run.get('number')}" if isinstance(run, dict) else "an unreadable job"


def wanted_gpus(body: dict[str, Any]) -> int:
    try:
        return max(0, int(body["run"]["resources"]["gpus"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0  # the worker that takes the job reports what is wrong with it


def run_of(body: dict[str, Any], bucket: Downloads, folder: Path, cache: Path) -> Run:
    """Return the run that `body` describes, with its files in `folder`; blobs are fetched into `cache`, once."""
    try:
        token, data = str(body["token"]), body["run"]
        found = {text: fetch(bucket, text, cache) for text in sorted(_blobs_in(data, token))}
        by = {f"<{token}/{key}>": str(path) for key, path in found.items()}
        by |= {f"<{token}/folder>": str(folder), f"<{token}/project>": str(folder.parent)}
        stand_in = re.compile("|".join(re.escape(text) for text in by))
        data = _mapped(data, lambda text: stand_in.sub(lambda found: by[found[0]], text))
        run = Run(**{**data, "metric": Metric(**data["metric"]), "resources": Resources(**data["resources"])})
        _check(run)
        changes = {_inside(path): base64.b64decode(text) for path, text in run.changes.items()}
        values = {n: _array(v["array"]) if isinstance(v, dict) else v for n, v in run.values.items()}
        argv = [sys.executable, *run.argv[1:]] if body["python"] else run.argv
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"this job was not written by this version of Studio: {error!r}") from error
    return replace(run, changes=changes, values=values, argv=argv, folder=str(folder))


def _array(numbers: list[Any]) -> NDArray[Any]:
    """Whole numbers stay whole, as on the driver's machine."""
    array = np.array(numbers)
    if array.dtype.kind not in "if":
        raise ValueError("an array of something else than numbers")
    return array


def _check(run: Run) -> None:
    """Raise ValueError for a field of another type than Studio writes. Anyone who can write to the bucket may have written
    the job.
    """
    texts = [*run.argv, run.project, run.snapshot, run.metric.name]
    for pairs in (run.env, run.changes, run.captures, run.shared, run.copies, run.links):
        texts += [*pairs.keys(), *pairs.values()]
    numbers = [run.number, run.attempt, run.resources.gpus]
    sound = (
        isinstance(run.argv, list)
        and all(isinstance(text, str) for text in [*texts, *run.values])
        and all(type(number) is int and 0 <= number < LARGEST_INT for number in numbers)
        and (run.max_duration is None or (isinstance(run.max_duration, int | float) and run.max_duration > 0))
    )
    if not sound:
        raise ValueError("a field of the wrong type")


def _blobs_in(data: Any, token: str) -> Iterator[str]:
    for part in json.dumps(data).split(f"<{token}/")[1:]:
        if part.startswith(BLOBS):
            yield part.partition(">")[0]


def fetch(bucket: Downloads, key: str, cache: Path) -> Path:
    """Return the file or folder that blob `key` holds, in `cache`. Several threads and processes may ask for it at once."""
    if not re.fullmatch(rf"{BLOBS}[0-9a-f]{{64}}\.tar", key):
        raise Unreadable(f"{key[:100]!r} is not a blob")
    place = cache / key.removeprefix(BLOBS).removesuffix(".tar")
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f".{secrets.token_hex(8)}"
        archive = part.with_suffix(".tar")
        if not bucket.download(key, archive):
            raise Unreadable(f"{bucket.url} no longer has {key}")
        if f"{BLOBS}{_hash(archive)}.tar" != key:
            raise Unreadable(f"{key} in {bucket.url} does not match the hash in its name")
        unpack(archive, part, trusted=True)  # written by the driver, which also says what runs here
        archive.unlink()
        try:
            os.rename(part, place)
        except OSError:  # another thread or process was faster
            if not place.is_dir():
                raise
    (content,) = place.iterdir()
    return content


# --- both -------------------------------------------------------------------------------------------------------------


def pack_outputs(folder: Path, archive: Path) -> None:
    """Pack the files that a run made and the driver keeps, without its workspace."""
    pack([(name, folder / name) for name in OUTPUTS if (folder / name).exists()], archive)


def outputs_key(job: str, attempt: int) -> str:
    return f"{OUT}{job}/{attempt}/run.tar"


def fetch_outputs(bucket: Bucket, job: str, attempt: int, folder: Path) -> None:
    """Fetch the files that this attempt at a job made into the run's folder. An attempt that was given up, or never
    started, made none. Raises DiskFull if there is no room for them.
    """
    archive = folder.with_name(f"{folder.name}.tar")
    try:
        shutil.rmtree(folder, ignore_errors=True)  # left half done by a driver that was killed
        folder.mkdir(parents=True)
        if bucket.download(outputs_key(job, attempt), archive):
            unpack(archive, folder, only=OUTPUTS)
    except OSError as error:
        raise _told_apart(error, folder) from error
    finally:
        archive.unlink(missing_ok=True)


def _told_apart(error: OSError, folder: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {folder}")
    return error


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(path: str) -> str:
    """Return `path` if it stays in the workspace; raise Unreadable otherwise."""
    if os.path.isabs(path) or ".." in path.split("/"):
        raise Unreadable(f"{path!r} leaves the workspace")
    return path
