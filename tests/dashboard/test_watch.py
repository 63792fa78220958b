"""Streams of what changed."""

import asyncio
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest

from studio.dashboard import events as watch
from studio.dashboard.open_projects import OpenProjects
from studio.dashboard.server import Server
from tests.dashboard.conftest import Browser, ran, wait_for


class Stream:
    """The events of an address, as they come, each with the time when it came."""

    def __init__(self, browser, path, headers=None):
        self.events = []
        self.ended = False
        self._browser, self._path, self._headers = browser, path, headers or {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        cookies = dict(self._browser.cookies)
        with (
            httpx.Client(base_url=self._browser.base_url, cookies=cookies, timeout=60) as client,
            client.stream("GET", self._path, headers=self._headers) as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in answer.headers
            kind, number = "", ""
            try:
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "id":
                        number = value
                    elif name == "data":
                        self.events.append((kind, number, json.loads(value), time.time()))
            except httpx.TransportError:
                pass
        self.ended = True


@pytest.fixture
def looks(monkeypatch):
    """Grows with each look that a stream takes at its project."""
    found = []
    monkeypatch.setattr(
        OpenProjects, "project", lambda *given, real=OpenProjects.project: found.append(1) or real(*given)
    )
    return found


def test_a_change_comes_with_its_rows(browser, project, looks):
    store = project(count=2)
    version = browser.json("/api/projects/digits/experiments?layout=columns")["version"]
    stream = Stream(browser, f"/api/projects/digits/events?changed_since={version}")
    before = len(looks)
    wait_for(lambda: len(looks) > before + 2)
    assert stream.events == []  # nothing changed since
    with store.transaction():
        ran(store, 3)
    kind, number, data, _ = wait_for(
        lambda: next((e for e in stream.events if 3 in e[2]["experiments"]["number"]), None)
    )
    assert (kind, number) == ("change", data["version"])
    assert data["experiments"]["metric"] == {"val_loss": [0.33333333]}
    assert data["project"]["best"]["number"] == 3


def test_whoever_comes_back_misses_nothing_and_gets_nothing_twice(browser, project):
    store = project(count=2)
    version = browser.json("/api/projects/digits/experiments?layout=columns")["version"]
    ran(store, 3)
    for stream in (
        Stream(browser, f"/api/projects/digits/events?changed_since={version}"),
        Stream(browser, "/api/projects/digits/events", {"Last-Event-ID": version}),
    ):
        (event,) = wait_for(lambda stream=stream: stream.events)
        assert event[2]["experiments"]["number"] == [3]


def test_after_another_server_everything_comes(home, project):
    project(count=2)
    with Server(port=0) as server, Browser(server) as browser:
        version = browser.json("/api/projects/digits/experiments?layout=columns")["version"]
        cookies = dict(browser.cookies)
    with Server(port=server.port) as again, Browser(again) as browser:
        assert dict(browser.cookies) == cookies  # open pages go on
        stream = Stream(browser, f"/api/projects/digits/events?changed_since={version}")
        (event,) = wait_for(lambda: stream.events)
        assert (event[2]["experiments"]["complete"], event[2]["experiments"]["number"]) == (True, [1, 2])


def test_a_quiet_stream_shows_that_it_lives(browser, project, monkeypatch):
    monkeypatch.setattr(watch, "HEARTBEAT", 0.3)
    project(count=1)
    with browser.stream("GET", "/api/projects/digits/events") as answer:
        lines = (line for line in answer.iter_lines() if line.startswith(":"))
        assert next(lines) == ": still here"
        assert next(lines) == ": still here"


def test_a_large_change_is_to_be_fetched(browser, project):
    store = project(count=0)
    version = browser.json("/api/projects/digits/experiments?layout=columns")["version"]
    with store.transaction():
        for number in range(1, 700):
            ran(store, number)
    stream = Stream(browser, f"/api/projects/digits/events?changed_since={version}")
    (event,) = wait_for(lambda: stream.events)
    assert (event[2]["experiments"], event[2]["project"]["finished"]) == (None, 699)


def test_a_metric_is_seen_within_a_second_of_being_printed(browser, live):
    """The script prints the time (its last digits: a table has eight), of which the page then has the newest."""
    live(
        "clock",
        text="import time\nlr = 1\nprint(lr)\nwhile True:\n    print('fitness:', time.time() % 10000, flush=True)\n    time.sleep(0.1)\n",
    )
    stream = Stream(browser, "/api/projects/clock/events")
    wait_for(lambda: len(stream.events) > 8)
    late = [
        came % 10000 - data["experiments"]["metric"]["fitness"][0]
        for _, _, data, came in stream.events[3:]
        if data["experiments"]["number"] and data["experiments"]["metric"]["fitness"][0]
    ]
    assert len(late) > 3
    assert min(late) < 1  # of the newest value in an event; others wait for a busy machine
    assert stream.events[-1][2]["experiments"]["step"][0] > 3


def test_the_list_of_projects(browser, project, home):
    stream = Stream(browser, "/api/events")
    wait_for(lambda: stream.events)
    store = project("digits", 1)
    wait_for(lambda: any(line["project"] == "digits" for event in stream.events for line in event[2]["projects"]))
    ran(store, 2)
    wait_for(lambda: any(line["experiments"] == 2 for event in stream.events for line in event[2]["projects"]))
    store.close()
    shutil.rmtree(home / "projects" / "digits")
    wait_for(lambda: stream.events[-1][2]["gone"] == ["digits"])


def test_a_project_that_is_removed(browser, project, home):
    project(count=1).close()
    stream = Stream(browser, "/api/projects/digits/events")
    wait_for(lambda: stream.events)
    shutil.rmtree(home / "projects" / "digits")
    wait_for(lambda: stream.ended)
    assert stream.events[-1][0] == "gone"
    stream = Stream(browser, "/api/projects/nix/events")
    wait_for(lambda: stream.ended)
    assert [event[0] for event in stream.events] == ["gone"]


def test_the_server_ends_with_streams_open(home, project):
    project(count=1)
    with Server(port=0) as server, Browser(server) as browser:
        streams = [Stream(browser, "/api/projects/digits/events") for _ in range(3)]
        wait_for(lambda: all(stream.events for stream in streams))
    wait_for(lambda: all(stream.ended for stream in streams))  # they have no end of their own


def test_idle_streams_cost_next_to_nothing(browser, project):
    project(count=30)
    streams = [Stream(browser, "/api/projects/digits/events"), Stream(browser, "/api/events")]
    wait_for(lambda: all(stream.events for stream in streams))
    before, began = time.process_time(), time.monotonic()
    time.sleep(2)
    assert (time.process_time() - before) / (time.monotonic() - began) < 0.05


def test_a_record_that_cannot_be_read_yet_is_not_gone(browser, home, project, looks):
    store = project(count=1)
    store.close()
    record = store.folder / "studio.db"
    good = record.read_bytes()
    record.write_bytes(b"damaged")
    stream = Stream(browser, "/api/projects/digits/events")
    wait_for(lambda: len(looks) > 2)
    assert (stream.events, stream.ended) == ([], False)
    record.write_bytes(good)
    wait_for(lambda: stream.events)
    assert stream.events[0][0] == "change"


def test_windows_take_turns_where_a_browser_has_too_few_connections(browser, project):
    """Over HTTP/1.1 it has six: a page of the seventh window would never load."""
    project()
    streams = []
    for _ in range(watch.MOST + 1):
        streams.append(Stream(browser, "/api/projects/digits/events"))
        wait_for(lambda: streams[-1].events)
    wait_for(lambda: streams[0].ended)
    assert streams[0].events[-1][0] == "turn"
    other = Stream(browser, "/api/projects/digits/events", {"User-Agent": "another browser"})
    wait_for(lambda: other.events)
    assert not any(stream.ended for stream in streams[1:])


def test_a_look_that_takes_long_is_followed_by_a_longer_rest(monkeypatch):
    rests, now, took = [], [0.0], iter([0.001, 0.25, 9.0])

    async def sleep(seconds):
        rests.append(seconds)

    def source():
        now[0] += next(took)

    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def looks():
        return [data async for data in watch._changes(source, {}.get, "", lambda: len(rests) == 3, 0.15, 1e9)]

    with ThreadPoolExecutor(1) as thread:  # Playwright's loop may run in this one
        assert thread.submit(asyncio.run, looks()).result() == []
    assert rests == [0.15, 1.0, 2.0]
