"""Curves and importance of experiments that run, and of projects that change under the dashboard's eyes."""

import json
import threading
from types import SimpleNamespace

import pytest

from studio.dashboard.curves import Curves
from studio.experiment import Metric, Report
from studio.host import create_host
from studio.plugins.run_files import RunFilesReader


def running(store, number, losses):
    """Experiment `number` as it runs, with `losses` in the file that its script writes."""
    store.ask(number, {"lr": 0.01, "opt": "adam"}, None)
    store.attempt_started(number, 1)
    workspace = store.folder / str(number) / "1" / "workspace"
    workspace.mkdir(parents=True)
    lines = [json.dumps({"loss": loss}) for loss in losses]
    (workspace / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_what_runs_when_the_dashboard_first_looks_has_its_curve(browser, project):
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [0.5, 0.25])
    assert browser.json("/api/projects/digits/experiments?layout=columns")["step"] == [2]
    assert browser.json("/api/projects/digits/curves?experiments=1")["curves"]["1"] == {
        "step": [1, 2],
        "value": [0.5, 0.25],
    }


def test_a_curve_is_that_of_the_source_which_answers_at_last(project, monkeypatch):
    store = project(count=0, metric="loss:min")
    running(store, 1, [])
    looks = iter(
        [[Report(None, 9.0, source="printed"), Report(None, 8.0, source="printed")], [Report(10, 0.5, source="events")]]
    )
    reader = SimpleNamespace(read=lambda: next(looks))
    host = create_host()
    monkeypatch.setattr(host, "open_metric", lambda metric, run: reader)
    curves, metric = Curves(store.folder, host), Metric("loss", "min")
    assert curves.points(metric, 1, 1, ended=False, most=9) == {"step": [1, 2], "value": [9.0, 8.0]}
    assert curves.points(metric, 1, 1, ended=False, most=9) == {"step": [10], "value": [0.5]}


@pytest.mark.parametrize(
    ("times", "begun", "seconds"),
    [
        ([110.0, 112.5, 130.0], 100.0, [10.0, 12.5, 30.0]),
        ([110.0, 112.5, 130.0], 120.0, [0.0, 2.5, 20.0]),  # the clock of another machine
        ([None, None, None], 100.0, None),
        ([110.0, 0.0, 130.0], 100.0, None),  # not of all
        ([130.0, 110.0, 140.0], 100.0, None),  # a clock that was set
        ([110.0, 112.5, 130.0], None, None),
    ],
)
def test_a_curve_has_seconds_where_its_files_have_times(project, monkeypatch, times, begun, seconds):
    store, host = project(count=1), create_host()
    reports = [Report(at, 0.5, time=time) for at, time in enumerate(times, 1)]
    monkeypatch.setattr(host, "open_metric", lambda metric, run: SimpleNamespace(close=lambda: reports))
    found = Curves(store.folder, host).points(Metric("loss"), 1, 1, ended=True, most=9, begun=begun)
    assert found["step"] == [1, 2, 3]
    assert found.get("seconds") == seconds


def test_of_a_project_made_anew_nothing_old_is_shown(browser, project, home):
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [0.5, 0.25])
    browser.json("/api/projects/digits/curves?experiments=1")
    store.close()
    (home / "projects" / "digits").rename(home / "old")
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [4.0, 3.0, 2.0])
    assert browser.json("/api/projects/digits/curves?experiments=1")["curves"]["1"]["value"] == [4.0, 3.0, 2.0]
    assert browser.json("/api/projects/digits/experiments?layout=columns")["step"] == [3]


def test_a_curve_is_compared_with_the_source_of_its_attempt(project, monkeypatch):
    store = project(count=0, metric="loss:min")
    store.ask(1, {"lr": 0.01, "opt": "adam"}, None)
    store.attempt_started(1, 1, snapshot="source-2")
    (store.folder / "1" / "1").mkdir(parents=True)
    opened = []
    host = create_host()
    monkeypatch.setattr(host, "open_metric", lambda metric, run: opened.append(run.snapshot))
    Curves(store.folder, host).points(Metric("loss", "min"), 1, 1, ended=False, most=9)
    assert opened == [str(store.folder / "source-2")]


def test_columns_are_read_under_their_lock(browser, server, project):
    store = project(count=2, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 3, [0.5])
    browser.json("/api/projects/digits")
    table = server._dashboard.project("digits").table

    class Guarded(dict):
        def __getitem__(self, name):
            assert table.lock._is_owned(), name
            return super().__getitem__(name)

    table.lists, table.values = Guarded(table.lists), Guarded(table.values)
    read = (
        "",
        "/curves?experiments=1,3",
        "/curves/quartiles",
        "/experiments",
        "/experiments?layout=columns",
        "/importance",
    )
    one = ("", "/log", "/files", "/files/output.log")
    for path in (*read, *(f"/experiments/3{path}" for path in one)):
        answer = browser.get(f"/api/projects/digits{path}")
        assert answer.status_code in (200, 404), (path, answer.text)
    for path in ("", "/3", "/compare?e=1,3"):
        assert browser.get(f"/p/digits{path}").status_code == 200, path


def test_while_files_of_one_are_read_slowly_the_table_goes_on(project, monkeypatch):
    store = project(count=1, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 2, [0.5])
    running(store, 3, [0.5, 0.25])
    host, may_end, reads = create_host(), threading.Event(), threading.Event()

    class Slow(RunFilesReader):
        def read(self):
            if self._workspace.endswith("/2/1/workspace"):
                reads.set()
                assert may_end.wait(60)
            return super().read()

    monkeypatch.setattr(host, "open_metric", lambda metric, run: Slow("loss", run, "jsonl", "metrics.jsonl"))
    curves = Curves(store.folder, host)
    metric = Metric("jsonl:metrics.jsonl:loss", "min")
    reading = threading.Thread(target=curves.points, args=(metric, 2, 1), kwargs={"ended": False, "most": 9})
    reading.start()
    assert reads.wait(60)
    (alarm := threading.Timer(20, may_end.set)).start()
    assert (curves.last_step(metric, 2, 1), curves.last_step(metric, 3, 1)) == (None, 2)
    assert not may_end.is_set()
    alarm.cancel()
    may_end.set()
    reading.join(10)
    assert curves.last_step(metric, 2, 1) == 1
