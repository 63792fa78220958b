"""TensorBoard beside the dashboard: one for each project that was asked for, ended with the dashboard, however that ends."""

import re
import subprocess
import sys
import threading
import time
from typing import IO

from studio.errors import BadInput

START = 60.0  # seconds that it may take to begin
# `studio tensorboard`, until nobody holds the other end of its stdin: a dashboard that is killed ends nothing itself.
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


class TensorBoards:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[subprocess.Popen[str], int]] = {}

    def port(self, project: str) -> int:
        """Of the TensorBoard on `project`, on this machine; started when it is first asked for. BadInput with its words where it fails."""
        with self._lock:
            known = self._running.get(project)
            if known is None or known[0].poll() is not None:
                known = self._running[project] = _start(project)
            return known[1]

    def close(self) -> None:
        with self._lock:
            for process, _ in self._running.values():
                process.terminate()
            for process, _ in self._running.values():
                _wait(process)
            self._running.clear()


def _start(project: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "tensorboard", project, "--port=0", "--host=127.0.0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # it is ended by this process alone
    )
    assert process.stderr is not None
    lines: list[str] = []
    listening = threading.Thread(target=_listen, args=(process.stderr, lines), daemon=True)
    listening.start()
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        for line in list(lines):
            if found := _ADDRESS.search(line):
                return process, int(found[1])
        time.sleep(0.1)
    process.terminate()
    _wait(process)
    listening.join(1)
    raise BadInput(f"TensorBoard did not start: {lines[-1].strip() if lines else 'it said nothing'}")


def _wait(process: subprocess.Popen[str]) -> None:
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _listen(stream: IO[str], lines: list[str]) -> None:
    """What it says goes nowhere but into its beginning: a full pipe would stop it."""
    with stream:
        for line in stream:
            if len(lines) < 100:
                lines.append(line)
