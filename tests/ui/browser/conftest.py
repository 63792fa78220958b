"""A real browser on the real server, `studio ui`, with projects that `benchmarks/synthetic_project.py` or a search wrote.

Chromium is Debian's (`apt install chromium`), the charts come from `make ui`; without either these tests skip.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

sync_api.expect.set_options(timeout=20_000)  # milliseconds: other tests share the machine
ROOT = Path(__file__).parents[3]
VENDOR = ROOT / "core/ui/vendor/uplot.js"
AXE = ROOT / "core/ui/node_modules/axe-core/axe.min.js"
STUDIO = Path(sys.executable).with_name("studio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"width": 390, "height": 844}
# What tests cause on purpose and Chromium writes to its console: a server that is gone, an action that is refused.
EXPECTED = re.compile(
    r"status of 400|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    if not VENDOR.is_file():
        pytest.skip("needs the charts: make ui")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Dashboard:
    """`studio ui` on one STUDIO_HOME."""

    def __init__(self, home: Path):
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, "STUDIO_HOME": str(home)}
        self.port = 0
        self._others: list[subprocess.Popen[str]] = []
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
        for other in [*self._others, self._server]:
            other.terminate()
        for other in [*self._others, self._server]:
            other.communicate(timeout=20)

    def fill(self, name: str, count: int, *options: str) -> None:
        """A project with `count` ended experiments. With --running its driver stays at work."""
        script = [sys.executable, str(ROOT / "benchmarks/synthetic_project.py"), name, str(count), *options]
        if "--running" not in options:
            subprocess.run(script, env=self.env, check=True)
            return
        process = subprocess.Popen(script, env=self.env, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        self._others.append(process)

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

    def experiments(self, project: str) -> list[dict[str, Any]]:
        """What the command line says of them: independent of the page and its server."""
        words = [str(STUDIO), "runs", "list", project, "--json"]
        found: list[dict[str, Any]] = json.loads(
            subprocess.run(words, env=self.env, stdout=subprocess.PIPE, check=True).stdout
        )
        return found


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    """On a STUDIO_HOME of its own."""
    made = Dashboard(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """For tests that change nothing, with projects of every kind."""
    made = Dashboard(tmp_path_factory.mktemp("shared") / "home")
    made.fill("hundred", 100)
    made.fill("one", 1, "--failed=0", "--pruned=0")
    made.fill("all-failed", 12, "--failed=2")
    made.fill("empty", 0)
    made.fill("hostile", 30, "--hostile")
    yield made
    made.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """`open_page(dashboard, "/p/hundred")`. At its end no page had an error, nor broke the Content-Security-Policy."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_(dashboard: Dashboard, path: str, **context: Any) -> Any:
        made = chromium.new_context(viewport={"width": 1440, "height": 900}, **context)
        made.set_default_timeout(15_000)
        contexts.append(made)
        page = made.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error.stack or error}"))
        page.on("console", lambda said: said.type == "error" and complaints.append(f"{page.url}: {said.text}"))
        page.on("dialog", lambda dialog: (complaints.append(f"{page.url}: alert {dialog.message}"), dialog.dismiss()))
        page.goto(dashboard.link)
        page.goto(dashboard.address + path)
        return page

    yield open_
    for made in contexts:
        made.close()
    assert [said for said in complaints if not EXPECTED.search(said)] == []
