"""Runs as tasks of an engine, here one whose tasks and calls are threads of this process."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio import hookimpl
from studio.backends import engine_task
from studio.backends.engine import EngineBackend
from studio.execution.runner import Runner
from studio.experiment import Metric, Outcome, Report, Run
from studio.host import create_host
from studio.interfaces import MetricReader
from studio.settings import Settings
from studio.testing.backends import open_backend


class ThreadEngine(EngineBackend):
    name = "threads"

    def connect(self) -> None:
        self._threads = ThreadPoolExecutor(4)

    def disconnect(self) -> None:
        self._threads.shutdown()

    def is_connected(self) -> bool:
        return True

    def check(self, settings: Settings) -> None:
        pass

    def submit(self, job: dict[str, Any], run: Run, done: Callable[[Any], None]) -> Any:
        task = self._threads.submit(engine_task.carry_out, job)
        task.add_done_callback(lambda ended: done(ended.exception() or ended.result()))
        return task

    def cancel_waiting(self, handle: "Future[Any]") -> None:
        handle.cancel()

    def places(self) -> list[str]:
        return ["here"]

    def call(self, place: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of tasks, empty."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return engine_task.scratch()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task sees the project's folder: files travel."""
    monkeypatch.setattr(engine_task, "_sees", lambda folder, token: False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project"


@contextlib.contextmanager
def opened(project: Path) -> Iterator[ThreadEngine]:
    backend = open_backend(ThreadEngine, project)
    assert isinstance(backend, ThreadEngine)
    try:
        yield backend
    finally:
        backend.close()


def run_of(project: Path, script: str, **changes: Any) -> Run:
    source = project / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "train.py").write_text(script)
    folder = str(project / "1" / "1")
    return replace(Run("p", 1, 1, str(source), {}, {}, [sys.executable, "train.py"], {}, folder), **changes)


def carry_out(project: Path, run: Run) -> tuple[list[Report], Outcome]:
    with opened(project) as backend:
        backend.start(run)
        events: list[Report | Outcome] = []
        deadline = time.monotonic() + 60
        while not any(isinstance(event, Outcome) for event in events):
            assert time.monotonic() < deadline, "no outcome came"
            events += backend.poll(0.1)
    outcome = events.pop()
    assert isinstance(outcome, Outcome)
    return [event for event in events if isinstance(event, Report)], outcome


class TwoSources(MetricReader):
    """First what is printed, then what a file says."""

    names: Sequence[str] = ()

    def __init__(self) -> None:
        self._left = [Report(1, 0.1, source="printed"), Report(1, 0.5, source="file")]

    def read(self) -> list[Report]:
        found, self._left = self._left, []
        return found

    @hookimpl
    def studio_open_metric(self) -> MetricReader:
        return TwoSources()


def test_reports_keep_their_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = create_host(entry_points=False, plugins=[TwoSources()])
    monkeypatch.setattr(engine_task, "_host", host)
    reports, _ = carry_out(project, run_of(project, "", metric=Metric("loss", "min")))
    assert [(one.value, one.source) for one in reports] == [(0.1, "printed"), (0.5, "file")]


@pytest.mark.usefixtures("elsewhere")
def test_a_run_that_was_seen_to_its_end_is_not_repeated(project: Path) -> None:
    run = run_of(project, "print('fitness: 4')")
    local = Runner(create_host())
    local.start(run)
    while not any(isinstance(event, Outcome) for event in local.poll(0.1)):
        pass
    local.close()
    reports, outcome = carry_out(project, replace(run, argv=["/bin/false"]))
    assert ([one.value for one in reports], outcome.exit_code) == ([4.0], 0)


@pytest.mark.usefixtures("elsewhere")
def test_nothing_stays_in_the_scratch_folder(project: Path, scratch: Path) -> None:
    old, new = scratch / "silent", scratch / "other"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))  # its first task was lost before its driver was heard
    _, outcome = carry_out(project, run_of(project, "print('fitness: 4')"))
    assert outcome.exit_code == 0
    assert list(scratch.iterdir()) == [new]
