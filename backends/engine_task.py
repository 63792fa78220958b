"""The task of one attempt on a machine of an engine, and the calls of the driver meanwhile.

An engine (Dask, Ray) starts `carry_out` on a machine of its choice. Everything else reaches the machine by short calls
beside it, and by files in a scratch folder that all of this user's processes on the machine share:

    SCRATCH/SEARCH/ID/        a run: job.json, news.jsonl (its reports), command ("stop" or "kill"), run/ (unless in place)
    SCRATCH/SEARCH/heard      touched by each poll: without a driver the runs end
    SCRATCH/SEARCH/wants/KEY  a request to the driver to send this blob
    SCRATCH/SEARCH/cache/     blobs, by their content

If a machine sees the project's folder (a cluster on this machine, a shared file system), the run's folder is used in
place and nothing is sent.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import studio
from studio.backends.queue.archives import Unreadable
from studio.backends.queue.shipping import BLOBS, pack_outputs, run_of
from studio.errors import StudioError
from studio.execution.runner import Runner
from studio.experiment import Outcome, Report, Run
from studio.host import Host, create_host
from studio.system.files import write_whole
from studio.system.machine import with_thread_share

SILENCE = 60.0  # seconds without a poll of its driver after which a run ends
BLOB_TIMEOUT = 600.0  # seconds for files to arrive
OLD = 86400.0  # seconds after which the folder of a search without a driver is removed
SMALL = 1 << 20  # largest files, in bytes, that are returned with the result
PIECE = 4 << 20  # bytes of one answer, or of one piece of a blob

_host: Host | None = None
_idle: dict[str, list[Runner]] = {}  # project's folder -> runners, reused because each has a watchdog process
_lock = threading.Lock()


def scratch() -> Path:
    """Return this user's scratch folder on this machine. Raises StudioError if another user made it."""
    folder = Path(tempfile.gettempdir()) / f"studio-engine-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise StudioError(f"{folder} belongs to another user; set TMPDIR for the workers")
    return folder


# --- the task ---------------------------------------------------------------------------------------------------------


def carry_out(job: dict[str, Any]) -> dict[str, Any]:
    """Run one attempt to its end.

    Return {"id", "outcome", "reports"} and, for a run whose files were sent, "files": the archive, or None if it must be
    fetched with `read_piece`. {"unseen": True} asks for the job with files, as the project's folder is not visible here.
    """
    search = scratch() / job["search"]
    name = f"{job['number']}-{job['attempt']}-{secrets.token_hex(6)}"
    folder = search / name
    folder.mkdir(parents=True)
    (search / "heard").touch()
    seen = _sees(job["folder"], job["token"])
    if not seen and "body" not in job:
        shutil.rmtree(folder)
        return {"unseen": True}
    try:
        run = _run_in_place(job) if seen else _run_shipped(job, search, folder)
    except (Unreadable, OSError, StudioError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        return {"error": f"{error}"}
    env = dict(os.environ)
    threads = run.resources.cpus or job["threads"]
    outcome, reports = _watch(run, with_thread_share(env, threads) if threads else env, search, folder)
    result: dict[str, Any] = {"id": name, "outcome": asdict(outcome), "reports": reports}
    if seen:
        shutil.rmtree(folder, ignore_errors=True)
        return result
    archive = folder / "files.tar"
    pack_outputs(Path(run.folder), archive)
    shutil.rmtree(run.folder, ignore_errors=True)
    small = archive.stat().st_size <= SMALL
    result["files"] = archive.read_bytes() if small else None
    if small:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _watch(run: Run, env: dict[str, str], search: Path, folder: Path) -> tuple[Outcome, list[list[Any]]]:
    runner, root = _take_runner(run)
    reports: list[list[Any]] = []
    try:
        runner.start(run, env)
        with open(folder / "news.jsonl", "a", encoding="utf-8") as news:
            while True:
                for event in runner.poll(0.25):
                    if isinstance(event, Outcome):
                        return event, reports
                    if isinstance(event, Report):
                        reports.append([event.step, event.value, event.source])
                        news.write(json.dumps(reports[-1]) + "\n")
                news.flush()
                command = _text(folder / "command")
                if command or time.time() - (search / "heard").stat().st_mtime > SILENCE:
                    runner.stop(run.number, kill=command != "stop")
    finally:
        with _lock:
            _idle.setdefault(root, []).append(runner)


def _take_runner(run: Run) -> tuple[Runner, str]:
    global _host
    root = str(Path(run.folder).parent.parent)
    with _lock:
        _host = _host or create_host()
        idle = _idle.get(root)
        return (idle.pop() if idle else Runner(_host)), root


def _sees(folder: str, token: str) -> bool:
    return bool(token) and _text(Path(folder) / ".engine") == token


def _run_in_place(job: Mapping[str, Any]) -> Run:
    run: Run = job["run"]
    return replace(run, argv=[sys.executable, *run.argv[1:]]) if job["python"] else run


def _run_shipped(job: Mapping[str, Any], search: Path, folder: Path) -> Run:
    """Fetch the files of the run, once per machine, and point all its paths into `folder`."""
    return run_of(job["body"], _SentBlobs(search), folder / "run", search / "cache")


class _SentBlobs:
    """Blobs that the driver sends on request: the half of a bucket that fetching takes."""

    url = "the driver"

    def __init__(self, search: Path):
        self._search = search

    def download(self, key: str, path: Path) -> bool:
        """Ask for blob `key` and wait for it; False if it does not come."""
        name = key.removeprefix(BLOBS)
        sent, wish = self._search / "sent" / name, self._search / "wants" / name
        deadline = time.monotonic() + BLOB_TIMEOUT
        wish.parent.mkdir(exist_ok=True)
        wish.touch()
        while time.monotonic() < deadline:
            if sent.is_file():
                shutil.copyfile(sent, path)
                return True
            time.sleep(0.05)  # written by another process: only polling is possible
        return False


# --- calls of the driver -----------------------------------------------------------------------------------------------


async def aside(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in a thread, for engines whose calls run in the event loop of a worker."""
    return await asyncio.to_thread(function, *arguments)


def describe(folder: str, token: str) -> dict[str, Any]:
    """Return the versions of Python, Studio and plugins, which must agree; and whether `folder` is visible here."""
    global _host
    _host = _host or create_host()
    plugins = {item.distribution: item.version for item in _host.items()}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"versions": {"Python": python, **plugins, "studio": studio.__version__}, "sees": _sees(folder, token)}


def look_at(
    search: str, seen: Mapping[str, Mapping[str, int]], commands: Mapping[str, str], finished: list[str]
) -> dict[str, Any]:
    """Return new data of the runs of `search` on this machine, and carry out the driver's commands.

    seen      run id -> file -> bytes that the driver has
    commands  "NUMBER-ATTEMPT" -> "stop" or "kill"
    finished  run ids whose files the driver has
    Returns {"runs": {id: {file: (offset, bytes)}}, "wants": [blob]}; at most `PIECE` bytes in all.
    """
    root = scratch()
    base = root / search
    if not base.is_dir():
        return {"runs": {}, "wants": []}
    (base / "heard").touch()
    room, runs = PIECE, {}
    for folder in sorted(base.iterdir()):
        parts = folder.name.split("-")
        if len(parts) != 3:
            continue
        if folder.name in finished:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        command = commands.get(f"{parts[0]}-{parts[1]}")
        if command and _text(folder / "command") != command:
            _send(folder, command)
        pieces = {}
        for path in [folder / "news.jsonl", *_live_files(folder / "run")]:
            file = path.relative_to(folder).as_posix()
            offset = seen.get(folder.name, {}).get(file, 0)
            data = _read(path, offset, room)
            if data:
                pieces[file] = (offset, data)
                room -= len(data)
        runs[folder.name] = pieces
    wants = [path.name for path in (base / "wants").glob("*") if not (base / "sent" / path.name).exists()]
    return {"runs": runs, "wants": sorted(wants)}


def receive(search: str, name: str, offset: int, data: bytes, last: bool) -> None:
    """Write a piece of blob `name`; the blob is complete after the last piece."""
    folder = scratch() / search / "sent"
    folder.mkdir(exist_ok=True)
    if "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is no blob")
    part = folder / f".{name}.part"
    with open(part, "r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(data)
    if last:
        os.replace(part, folder / name)


def read_piece(search: str, run: str, offset: int) -> bytes | None:
    """Return a piece of the files of a run that has ended; None if they are not on this machine."""
    archive = scratch() / search / run / "files.tar"
    return _read(archive, offset, PIECE) if archive.is_file() else None


def leave(search: str) -> None:
    """End the runs of `search` on this machine, and remove its files and those of abandoned searches."""
    root = scratch()
    for folder in [path for path in (root / search).glob("*-*-*") if path.is_dir()]:
        _send(folder, "kill")
    deadline = time.monotonic() + 10.0
    while any((root / search).glob("*-*-*/news.jsonl")) and time.monotonic() < deadline:
        for folder in (root / search).glob("*-*-*"):
            if (folder / "files.tar").exists():
                shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
    with _lock:
        idle = [runner for runners in _idle.values() for runner in runners]
        _idle.clear()
    for runner in idle:
        runner.close()
    for base in [*root.iterdir()]:
        if base.name == search or time.time() - _last_heard(base) > OLD:
            shutil.rmtree(base, ignore_errors=True)


def _last_heard(base: Path) -> float:
    """Return when the driver of a search looked last, or when its folder was made; now where that is gone."""
    for path in (base / "heard", base):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return time.time()


def _live_files(run: Path) -> list[Path]:
    """Return the files that are followed while a run continues: its log and its event files."""
    log = run / "output.log"
    events = [path for path in (run / "tb").rglob("*") if path.is_file() and not path.is_symlink()]
    return [log, *events] if log.is_file() else events


def _read(path: Path, offset: int, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(max(0, most))
    except OSError:
        return b""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _send(folder: Path, command: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # the run ended meanwhile
        write_whole(folder / "command", [command.encode()])
