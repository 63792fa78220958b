"""A real browser on the real server, `studio ui`, with projects that `benchmarks/synthetic_project.py` or a search wrote.

Chromium is Debian's (`apt install chromium-headless-shell`, or `chromium`, which takes a third longer); without it these
tests skip.
"""

import contextlib
import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from studio.project.project import Project
from studio.project.store import Store

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

sync_api.expect.set_options(timeout=45_000)  # milliseconds: other tests share the machine
ROOT = Path(__file__).parents[3]
STUDIO = Path(sys.executable).with_name("studio")
SYNTHETIC = ROOT / "benchmarks/synthetic_project.py"
WIDE = {"width": 1440, "height": 900}
CHROMIUM = next(filter(None, map(shutil.which, ["chromium-headless-shell", "chromium", "chromium-browser"])), None)
# What tests cause on purpose and Chromium writes to its console: a server that is gone, an action that is refused,
# a picture as a page.
EXPECTED = re.compile(
    r"status of 400|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
    r"|ERR_SOCKET_NOT_CONNECTED|/favicon\.ico"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium-headless-shell")
    assert (ROOT / "core/dashboard/vendor/uplot.js").is_file(), "make ui"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@functools.cache
def synthetic() -> Any:
    return SimpleNamespace(**runpy.run_path(str(SYNTHETIC)))


class Dashboard:
    """`studio ui` on one STUDIO_HOME."""

    def __init__(self, home: Path):
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, "STUDIO_HOME": str(home)}
        self.port = 0
        self._others: list[subprocess.Popen[str]] = []
        self._open: list[Store] = []
        self.start()

    def start(self) -> None:
        words = [str(STUDIO), "ui", "--no-open", f"--port={self.port}"]
        self._server = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        self.link = self._server.stdout.readline().strip()
        self.port = int(re.search(r":(\d+)/", self.link)[1])  # type: ignore[index]
        self.address = f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self._server.kill()
        self._server.communicate()

    def close(self) -> None:
        self.end_others()
        self._server.terminate()
        self._server.communicate(timeout=60)

    def end_others(self) -> None:
        """Drivers and searches that a test left at work."""
        for other in self._others:
            other.terminate()
        for other in self._others:
            other.communicate(timeout=60)
        self._others.clear()
        while self._open:
            self._open.pop().close()

    def fill(self, name: str, count: int, *options: str) -> None:
        """A project with `count` ended experiments. With --running its driver stays at work."""
        if "--live" not in options:  # in this process, which holds the lock of what runs
            given = synthetic().parse([name, str(count), *options])
            with mock.patch.dict(os.environ, self.env):
                filler = synthetic().filled(given)
                if not given.running:
                    return filler.end_search()
                filler.begin(given.running)
            return self._open.append(filler.store)
        words = [sys.executable, str(SYNTHETIC), name, str(count), *options]
        process = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, text=True)
        self._others.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"

    def search(self, project: str, *words: str, cwd: Path) -> None:
        """`studio run` with these words; its first experiment runs when this returns."""
        process = subprocess.Popen(
            [str(STUDIO), "run", f"--project={project}", *words],
            env=self.env,
            cwd=cwd,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._others.append(process)
        deadline = time.monotonic() + 60
        while not (self.home / "projects" / project / "1" / "1" / "output.log").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def program(self, text: str) -> None:
        """Run a program of one's own, to its end, in this process."""
        with mock.patch.dict(os.environ, self.env), contextlib.chdir(self.home):
            exec(text, {"__name__": "__main__"})  # noqa: S102 - text of a test

    def experiments(self, project: str) -> list[dict[str, Any]]:
        """What the record says of them: independent of the page and of what its server keeps."""
        with mock.patch.dict(os.environ, STUDIO_HOME=str(self.home)):
            return [experiment.as_dict() for experiment in Project(project).experiments]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """One dashboard for a worker, with projects of every kind, which no test changes. Others may be added to it."""
    made = Dashboard(tmp_path_factory.mktemp("shared") / "home")
    made.fill("hundred", 100)
    made.fill("one", 1, "--failed=0", "--pruned=0")
    made.fill("all-failed", 12, "--failed=2")
    made.fill("empty", 0)
    made.fill("hostile", 30, "--hostile", "--curves=10")
    yield made
    made.close()


@pytest.fixture
def dashboard(shared: Dashboard) -> Iterator[Dashboard]:
    """The same, for a test that adds a project under a name of its own and lets it run."""
    yield shared
    shared.end_others()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard of the test's own, which it may kill."""
    made = Dashboard(tmp_path / "home")
    yield made
    made.close()


OpenPage = Callable[..., Any]
READY = """new Promise(done => {
    const look = () => (performance.getEntriesByName("studio-ready").length ? done() : setTimeout(look, 20));
    look();
})"""  # wait_for_function needs eval, which the page's Content-Security-Policy forbids


@pytest.fixture(scope="session")
def settled() -> Callable[[Any], None]:
    """Waits until a page has drawn all that it draws by itself."""
    return lambda page: page.evaluate(READY)


@pytest.fixture(scope="session")
def warm(chromium: Any) -> Any:
    """A context whose pages the tests use one after the other: a new page costs four times as much as a visit in an old one."""
    return chromium.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def open_page(chromium: Any, warm: Any, shared: Dashboard) -> Iterator[OpenPage]:
    """`open_page(dashboard, "/p/hundred")`. At its end no page had an error, nor broke the Content-Security-Policy.
    With `fresh=True` it is new, in a context of its own, for a clock or a script that stays in it."""
    own: list[Any] = []
    used: list[Any] = []
    complaints: list[str] = []

    def failed(error: Any) -> None:
        complaints.append(f"{error.stack or error}")

    def said(message: Any) -> None:
        if message.type == "error":
            complaints.append(f"{message.location['url']}: {message.text}")

    def asked(dialog: Any) -> None:
        complaints.append(f"alert {dialog.message}")
        dialog.dismiss()

    listeners = {"pageerror": failed, "console": said, "dialog": asked}

    def open_(dashboard: Dashboard, path: str, *, fresh: bool = False) -> Any:
        if fresh:
            own.append(chromium.new_context(viewport=WIDE))
        is_free = warm.pages and warm.pages[0] not in used
        page = own[-1].new_page() if fresh else warm.pages[0] if is_free else warm.new_page()
        page.set_default_timeout(15_000)
        for event, listener in listeners.items():
            page.on(event, listener)
        used.append(page)
        page.context.request.get(dashboard.link)  # its cookie
        page.goto(dashboard.address + path)
        return page

    yield open_
    for page in used:
        page.unroute_all()
        page.evaluate("origin.startsWith('http') && localStorage.clear()")  # and what it complained of arrives
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    for context in own:
        context.close()
    for page in warm.pages[1:]:
        page.close()
    for page in warm.pages:
        page.goto(f"{shared.address}/static/icon.svg")  # quiet, and in the same process, which about:blank would not be
        page.mouse.move(0, 0)
        page.emulate_media(color_scheme="null")
        page.set_viewport_size(WIDE)
    assert [said for said in complaints if not EXPECTED.search(said)] == []
