"""`studio ui`: the command, its port, its end."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from studio.dashboard import app
from studio.dashboard.server import Server
from studio.entry_points import install_command
from tests.dashboard.conftest import Browser, ran, wait_for

STUDIO = Path(sys.executable).with_name("studio")


@pytest.fixture
def run_ui(home):
    """`run_ui("--port=0")`: the command, and the link that it printed."""
    running = []

    def start(*options):
        process = subprocess.Popen(
            [STUDIO, "ui", "--no-open", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_an_answer_does_not_wait_for_the_browsers_acknowledgement(browser):
    """Nagle's algorithm holds a body back until a delayed ACK, 40 ms after its head, for every single answer."""
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        assert browser.get("/static/icon.svg").status_code == 200
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.03


def test_it_prints_a_link_and_ends_at_once(run_ui, project):
    project()
    process, link = run_ui("--port=0")
    answer = httpx.get(link)
    assert answer.status_code == 303
    address = link.partition("/?")[0]
    assert "digits" in httpx.get(address, cookies=answer.cookies).text
    with httpx.stream("GET", f"{address}/api/projects/digits/events", cookies=answer.cookies) as stream:
        next(stream.iter_lines())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0  # the stream that is open has no end of its own
    assert process.stderr.read() == ""


@pytest.mark.parametrize("delay", [0.03, 0.4])
def test_ctrl_c_while_a_page_loads_is_quiet_and_at_once(run_ui, project, delay):
    """All that a page asks for is under way, the slowest of it a forest; and one Ctrl-C is rarely all."""
    store = project(count=0)
    with store.transaction():
        for number in range(1, 400):
            ran(store, number)
    process, link = run_ui("--port=0")
    with httpx.Client(base_url=link.partition("/?")[0], timeout=10) as client:
        client.get(link)
        threads = [threading.Thread(target=read, args=(client, path), daemon=True) for path in PARTS]
        for thread in threads:
            thread.start()
        time.sleep(delay)
        began = time.monotonic()
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 20  # 0.4 s where nothing else is at work; the forest takes longer
        assert process.stderr.read() == ""
        for thread in threads:
            thread.join(10)


PARTS = [
    "/p/digits", "/static/main.js", "/static/studio.css", "/api/projects/digits/experiments?layout=columns",
        "/api/projects/digits/importance",
    "/api/projects/digits/curves?experiments=1,2,3", "/api/projects/digits/events", "/api/events",
]  # fmt: skip


def read(client, path):
    with contextlib.suppress(httpx.HTTPError), client.stream("GET", path) as stream:
        for _ in stream.iter_bytes():
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_well(run_ui, number):
    process, link = run_ui("--port=0")
    assert httpx.get(link).status_code == 303
    process.send_signal(number)
    assert process.wait(60) == 0


def test_a_port_in_use_picks_the_next_and_says_so(run_ui):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, link = run_ui(f"--port={port}")
        found = int(link.split(":")[2].split("/")[0])
        assert port < found < port + 50
        assert httpx.get(link).status_code == 303
        process.send_signal(signal.SIGINT)
        assert f"port {port} is in use; using {found}" in process.communicate()[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port=x"], "'x' is not a whole number"),
        (["--port=70000"], "0 to 65535"),
        (["--host=nowhere.invalid"], "nowhere.invalid"),
        (["--host=192.0.2.7"], "an address of this machine"),
    ],
)
def test_what_cannot_work_is_one_line(command, options, words):
    result = command("ui", "--no-open", *options)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(home, tmp_path):
    (tmp_path / "starlette.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')\n"
    )
    done = subprocess.run(
        [STUDIO, "ui", "--no-open"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"studio: the dashboard needs starlette: {install_command('ui')}\n",
    )


def test_a_dashboard_that_is_killed_leaves_no_tensorboard(run_ui, project):
    pytest.importorskip("tensorboard")
    project()
    process, link = run_ui("--port=0")
    with httpx.Client(base_url=link.partition("/?")[0], timeout=60) as client:
        token = {"Authorization": f"Bearer {link.partition('token=')[2]}"}
        address = client.post("/p/digits/tensorboard", headers=token).json()["address"]
    port = int(address.split(":")[2].strip("/"))
    socket.create_connection(("127.0.0.1", port)).close()
    process.kill()
    wait_for(lambda: is_closed(port))


def is_closed(port):
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) != 0


def test_an_answer_that_is_cut_off_at_the_end_is_no_error(run_ui, project):
    """Whoever reads so slowly that it is not done yet when the dashboard ends."""
    store = project(count=1)
    (folder := store.folder / "1" / "1").mkdir(parents=True)
    with open(folder / "large", "wb") as file:
        file.truncate(1 << 28)
    process, link = run_ui("--port=0")
    address, cookies = link.partition("/?")[0], httpx.get(link).cookies
    with httpx.stream("GET", f"{address}/api/projects/digits/experiments/1/files/large", cookies=cookies) as stream:
        assert stream.status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_an_error_in_the_server_is_one_page_not_a_traceback(browser, project, monkeypatch):
    from studio.dashboard import open_projects

    project()
    monkeypatch.setattr(open_projects, "live_summary", lambda *given: 1 / 0)
    answer = browser.get("/api/projects/digits")
    assert answer.status_code == 500
    assert "Traceback" not in answer.text


def test_without_the_charts_library_its_address_is_not_found(home, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "FILES", [tmp_path / "vendor"])
    with Server(port=0) as server, Browser(server) as browser:
        assert browser.get("/vendor/uplot.js").status_code == 404


def test_files_of_the_page_are_checked_anew(browser):
    first = browser.get("/static/studio.css")
    assert first.headers["cache-control"] == "no-cache"
    again = browser.get("/static/studio.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_files_are_asked_for_once_as_long_as_none_changes(home, tmp_path, monkeypatch):
    """Below the address in the page they are kept for good: another file there has another address."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static/main.js").write_text("one")
    monkeypatch.setattr(app, "FILES", [tmp_path / "static"])
    with Server(port=0) as server, Browser(server) as browser:

        def script():
            return re.search(r'src="(/v/\w+/static/main.js)"', browser.get("/").text)[1]

        first = script()
        answer = browser.get(first)
        assert (answer.text, answer.headers["cache-control"]) == ("one", "private, max-age=31536000, immutable")
        assert script() == first
        (tmp_path / "static/main.js").write_text("another")
        assert script() != first
        assert browser.get(script()).text == "another"
        assert browser.get(first.replace("main", "nix")).headers["cache-control"] == "no-store"
        assert httpx.get(server.address + first).status_code == 403
