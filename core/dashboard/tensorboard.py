"""TensorBoard for the dashboard: one process for each requested project, which always ends with the dashboard."""

import re
import subprocess
import sys
import threading
import time
from typing import IO

from studio.errors import BadInput

START = 60.0  # seconds that it may take to start
# Runs `studio tensorboard` until its stdin is closed, which happens even if the dashboard is killed.
_PROGRAM = """\
import os, signal, threading
def end():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end, daemon=True).start()
from studio.cli import main
main()
"""
_ADDRESS = re.compile(r"http://[\w.\-\[\]:]+:(\d+)/")


class _One:
    """The TensorBoard of a project. `lock` is held while it starts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.port = 0


class TensorBoards:
    def __init__(self) -> None:
        self._lock = threading.Lock()  # held briefly
        self._known: dict[str, _One] = {}
        self._closed = False

    def port(self, project: str) -> int:
        """Return the port of the TensorBoard on `project`, started on first use. BadInput with its message if it fails."""
        with self._lock:
            one = self._known.setdefault(project, _One())
        with one.lock:
            if one.process is None or one.process.poll() is not None:
                with self._lock:
                    if self._closed:
                        raise BadInput("the dashboard is shutting down")
                    one.process = _start(project)
                one.port = _port(one.process)
            return one.port

    def close(self) -> None:
        """End all TensorBoards, including one that is starting."""
        with self._lock:
            self._closed = True
            processes = [one.process for one in self._known.values() if one.process is not None]
        for process in processes:
            process.terminate()
        for process in processes:
            _wait(process)


def _start(project: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "tensorboard", project, "--port=0", "--host=127.0.0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that only this process ends it
    )


def _port(process: subprocess.Popen[str]) -> int:
    """Return the port once TensorBoard prints it. BadInput with its last line if it does not start."""
    assert process.stderr is not None
    lines: list[str] = []
    listening = threading.Thread(target=_listen, args=(process.stderr, lines), daemon=True)
    listening.start()
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        for line in list(lines):
            if found := _ADDRESS.search(line):
                return int(found[1])
        time.sleep(0.1)
    process.terminate()
    _wait(process)
    listening.join(1)
    raise BadInput(f"TensorBoard did not start: {lines[-1].strip() if lines else 'it printed nothing'}")


def _wait(process: subprocess.Popen[str]) -> None:
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _listen(stream: IO[str], lines: list[str]) -> None:
    """Drain stderr so that a full pipe cannot block TensorBoard; keep the first 100 lines."""
    with stream:
        for line in stream:
            if len(lines) < 100:
                lines.append(line)
