"""A dashboard that answers over HTTP, and projects to look at: written by the store, or run for real."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from studio.dashboard.server import Server
from studio.experiment import Outcome
from studio.project.store import Store
from studio.settings import Settings

TRAIN = """\
import time
lr = 0.01
for step in range(1, 200):
    print("fitness:", step - lr, flush=True)
    time.sleep(0.05)
"""


class Browser(httpx.Client):
    """Has opened the printed link, and sends what a page of the dashboard would."""

    def __init__(self, server: Server):
        self.server = server
        answer = httpx.get(server.link)
        super().__init__(base_url=server.address, timeout=60, cookies=answer.cookies)

    @property
    def token(self) -> str:
        return self.get("/").text.split('"token":"')[1].split('"')[0]

    def act(self, project: str, action: str, given: object = None, **headers: str) -> httpx.Response:
        page = {"Origin": str(self.base_url).rstrip("/"), "X-Studio-Token": self.token}
        return self.post(f"/api/projects/{project}/actions/{action}", json=given or {}, headers={**page, **headers})

    def json(self, path: str) -> dict:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with Server(port=0) as server:
        yield server


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    with Browser(server) as browser:
        yield browser


@pytest.fixture
def project(home: Path) -> Callable[..., Store]:
    """`project("digits", 3)`: a record of three experiments with lr and opt, open for more. The third of three failed."""
    made: list[Store] = []

    def make(name: str = "digits", count: int = 3, script: str = "train.py", **settings: object) -> Store:
        folder = home / "projects" / name
        folder.mkdir(parents=True)
        ranges = {"lr": "1e-5:0.1:l", "opt": "adam,sgd"}
        given = Settings(script=script, ranges=ranges, optimizer="cma", metric="val_loss:min", max_experiments=10)
        store = Store.create(folder, {**given.as_dict(), **settings})
        store.set_meta("seed", 7)
        made.append(store)
        with store.transaction():
            for number in range(1, count + 1):
                ran(store, number, failed=number % 3 == 0)
        return store

    yield make
    for store in made:
        store.close()


def ran(store: Store, number: int, *, failed: bool = False, loss: float | None = None) -> None:
    """Experiment `number` from its ask to its tell. Losses fall with the number; it is the lr, too."""
    loss = 1 / number if loss is None else loss
    store.ask(number, {"lr": loss / 10, "opt": "adam" if number % 2 else "sgd"}, [0.5, 0.5])
    store.attempt_started(number, 1)
    begun = 1_700_000_000.0 + 10 * number
    how = (1, None, "exit code 1: RuntimeError: out of luck") if failed else (0, None, "")
    store.attempt_ended(
        Outcome(number, 1, *how, begun, begun + 9, 9.0, failure="crash" if failed else ""),
        "failed" if failed else "completed",
        None if failed else loss,
    )
    store.tell(number, None if failed else -loss)


@pytest.fixture
def live(home: Path, script: Callable[[str, str], Path]) -> Iterator[Callable[..., subprocess.Popen]]:
    """`live("digits", "--max-experiments=5")`: a search that runs, in a process of its own, with a script that reports often."""
    running: list[subprocess.Popen] = []

    def start(name: str, *options: str, text: str = TRAIN) -> subprocess.Popen:
        script("train.py", text)
        command = [Path(sys.executable).with_name("studio"), "run", "--project", name, "--optimizer=random", "--seed=1"]
        process = subprocess.Popen(
            [*command, "--hyperparam=lr=1e-5:0.1:l", *options, "train.py"],
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        wait_for(lambda: (home / "projects" / name / "1" / "1" / "output.log").exists())
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            process.send_signal(signal.SIGINT)  # a second one ends it at once
        process.wait(60)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> object:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")
