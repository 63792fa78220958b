"""The dashboard's server: finds a free port, reports its address, and ends at once on request."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import uvicorn

from studio.dashboard.access import Secrets, is_loopback, stored_token
from studio.dashboard.app import create_app
from studio.dashboard.open_projects import OpenProjects
from studio.errors import BadInput
from studio.project.paths import studio_home
from studio.system.signals import ENDING, handle

TRIED = 50  # ports
GRACE = 1  # seconds for pending answers at the end
LEAVE = 0.3  # seconds for pending answers when the process exits
BACKLOG = 128


class Server:
    """A server in a thread: `with Server(host, port) as server:` answers at `server.link` until the block ends."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, say: Callable[[str], None] = lambda text: None):
        self._socket, self.port = _listen(host, port)
        if port not in (0, self.port):
            say(f"port {port} is in use; using {self.port}")
        if not is_loopback(host):
            say(
                f"listening on {host}: anyone who can reach this machine and has the link can read and control every search"
            )
        secrets = Secrets(stored_token(studio_home()))
        self.token = secrets.token
        self._secrets = secrets
        self._dashboard = OpenProjects(self._is_closing)
        app = create_app(secrets, self._dashboard, host=host, port=self.port)
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            access_log=False,
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = _Quiet(config)
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"

    @property
    def link(self) -> str:
        return f"{self.address}/?token={self.token}"

    def one_time_link(self) -> str:
        """Return a link that opens the dashboard once, within a minute: for a browser, whose arguments others can read."""
        return f"{self.address}/?code={self._secrets.new_code()}"

    def __enter__(self) -> "Server":
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all streams and answers, and the TensorBoards."""
        self._end()
        self._thread.join()
        self._dashboard.tensorboards.close()

    def _end(self) -> None:
        self._server.should_exit = True
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # connections that are cut now are not errors

    def wait(self, ended: threading.Event) -> None:
        while not ended.wait(0.5) and self._thread.is_alive():
            pass

    def exit_process(self) -> NoReturn:
        """Exit without waiting for worker threads. The TensorBoards end with this process."""
        self._end()
        self._thread.join(LEAVE)
        sys.stdout.flush()
        os._exit(0)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def _is_closing(self) -> bool:
        return self._server.should_exit


def stop_on_signal() -> threading.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set."""
    ended = threading.Event()
    handle(ENDING, lambda number, frame: ended.set())
    return ended


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: `stop_on_signal` handles signals."""
        yield


def _listen(host: str, port: int) -> tuple[socket.socket, int]:
    """Return a socket on `host` and the first free port from `port` on; 0 is any. BadInput for an address of another machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + TRIED) if port else [0]:
        if candidate > 65535:
            break
        # Named as TCP: else asyncio leaves Nagle's algorithm on, and each answer's body waits 40 ms for the browser's delayed ACK.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, candidate))
            found.listen(BACKLOG)
        except OSError as error:
            found.close()
            if error.errno == errno.EADDRINUSE:
                continue
            if error.errno == errno.EACCES:
                raise BadInput(f"--port {port}: ports below 1024 are for root; choose a larger one") from error
            raise BadInput(
                f"--host {host!r}: {error.strerror or error}; write 127.0.0.1, or an address of this machine"
            ) from error
        return found, found.getsockname()[1]
    raise BadInput(f"--port {port}: it and the {TRIED - 1} after it are in use; choose another, or 0 for any")
