"""`studio tensorboard`: what TensorBoard reads in our log folder, and what a browser shows of it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import studio
from studio.experiment import Outcome
from studio.host import create_host
from studio.project.store import Store
from studio.reporting.axes import axes_of
from studio.reporting.tensorboard import LogFolder
from studio.settings import Settings

STUDIO = Path(sys.executable).with_name("studio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SUCCESS, FAILURE, UNKNOWN = 1, 2, 0
RANGES = {"lr": "1e-5:0.1:l", "layers": "1:8:i", "opt": "adam,sgd", "w": "0:1:2:a", "nesterov": [True, False]}
VALUES = {"lr": 0.01, "layers": 2, "opt": "adam", "w": [0.6, 0.8], "nesterov": True}


class Driver:
    """Writes the record as a driver does, and event files as a script does."""

    def __init__(self, home, **settings):
        self.folder = home / "projects" / "p"
        self.folder.mkdir(parents=True)
        given = {"ranges": RANGES, "optimizer": "random", "metric": "val_loss:min", **settings}
        self.store = Store.create(self.folder, Settings(script="train.py", **given).as_dict())

    def start(self, number, attempt=1, **values):
        if attempt == 1:
            self.store.ask(number, {**VALUES, **values}, [0.5])
        self.store.attempt_started(number, attempt)
        (self.folder / str(number) / str(attempt) / "tb").mkdir(parents=True)

    def log(self, number, *losses, attempt=1, place="tb/train"):
        from tensorboardX import SummaryWriter

        folder = self.folder / str(number) / str(attempt) / place
        with SummaryWriter(str(folder), filename_suffix=f".{time.monotonic_ns()}") as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("loss", loss, step)

    def end(self, number, loss=None, attempt=1):
        status = "failed" if loss is None else "completed"
        outcome = Outcome(number, attempt, int(loss is None), None, "" if loss else "exit code 1", 10.0, 20.5, 10.5)
        self.store.tell(number, None if loss is None else -loss)
        self.store.attempt_ended(outcome, status, loss)


@pytest.fixture
def driver(home):
    made = Driver(home)
    yield made
    made.store.close()


@pytest.fixture
def logs(driver, tmp_path):
    folder = tmp_path / "logdir"
    folder.mkdir()
    project = studio.Project("p")
    return LogFolder(project, axes_of(project.settings, [], create_host()), folder)


class Board:
    """TensorBoard's own reader of a log folder, without its server."""

    def __init__(self, folder):
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
        from tensorboard.plugins.base_plugin import TBContext
        from tensorboard.plugins.hparams.backend_context import Context

        self.folder = str(folder)
        # a filter makes it read all files of a folder, as --reload_multifile does
        self.multiplexer = EventMultiplexer(event_file_active_filter=lambda timestamp: True)
        provider = MultiplexerDataProvider(self.multiplexer, self.folder)
        self.hparams = Context(TBContext(data_provider=provider))

    def reload(self):
        self.multiplexer.AddRunsFromDirectory(self.folder)
        self.multiplexer.Reload()
        return self

    def groups(self):
        """key -> (values, metrics by tag, the different ones of its sessions): each a row of the tab"""
        from tensorboard.context import RequestContext
        from tensorboard.plugins.hparams import api_pb2, list_session_groups

        request = api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=1000, allowed_statuses=[0, 1, 2, 3], include_metrics=True
        )
        found = list_session_groups.Handler(RequestContext(), self.hparams, "", request).run()
        return {
            group.name: (
                {name: _plain(value) for name, value in group.hparams.items()},
                {value.name.tag: value.value for value in group.metric_values},
                list(dict.fromkeys((one.status, one.start_time_secs, one.end_time_secs) for one in group.sessions)),
            )
            for group in found.session_groups
        }

    def experiment(self):
        from tensorboard.context import RequestContext
        from tensorboard.plugins.hparams import api_pb2, get_experiment

        request = api_pb2.GetExperimentRequest(include_metrics=True)
        return get_experiment.Handler(RequestContext(), self.hparams, "", request).run()


def _plain(value):
    return getattr(value, value.WhichOneof("kind"))


def test_every_experiment_is_a_session_with_its_end(driver, logs, tmp_path):
    driver.start(1)
    driver.log(1, 0.5, 0.25)
    driver.end(1, 0.25)
    driver.start(2, opt="sgd")
    driver.end(2)
    logs.refresh()
    board = Board(tmp_path / "logdir").reload()
    (values, metrics, sessions), (others, nothing, failed) = board.groups()["p/1"], board.groups()["p/2"]
    assert values == {"lr": 0.01, "layers": 2.0, "opt": "adam", "w": 1.0, "nesterov": True}  # an array by its norm
    assert metrics == {"studio/val_loss min": 0.25, "studio/fitness": -0.25}
    assert sessions == [(SUCCESS, 10.0, 20.5)]
    assert (others["opt"], nothing, failed) == ("sgd", {}, [(FAILURE, 10.0, 20.5)])
    runs = board.multiplexer.Runs()
    assert [name for name in runs if name.startswith("1 ")] == [
        "1 lr=0.01 layers=2 opt=adam w=[0.6, 0.8] nesterov=True",
        "1 lr=0.01 layers=2 opt=adam w=[0.6, 0.8] nesterov=True/train",
    ]


@pytest.mark.parametrize("place", ["tb", "tb/train", "workspace/runs/a"])
def test_a_script_that_tells_hyperparameters_itself_is_listed_once(driver, logs, tmp_path, place):
    """`add_hparams` writes a session of its own, in a folder of its own."""
    from tensorboardX import SummaryWriter

    board = Board(tmp_path / "logdir")
    for number in (1, 2):
        driver.start(number)
        logs.refresh()
        with SummaryWriter(str(driver.folder / str(number) / "1" / place)) as writer:
            writer.add_scalar("loss", 0.5, 0)
            writer.add_hparams({"mine": 3, "lr": 0.5}, {"score": 1.0})
        logs.refresh()
        board.reload()
        driver.end(number, 0.25)
        logs.refresh()
    groups = board.reload().groups()
    assert list(groups) == ["p/1", "p/2"]
    values, metrics, sessions = groups["p/2"]
    assert (values["lr"], values["layers"], metrics["studio/val_loss min"]) == (0.01, 2.0, 0.25)
    assert {status for status, _, _ in sessions} == {SUCCESS}
    assert [info.name for info in board.experiment().hparam_infos] == sorted(RANGES)


def test_columns_have_the_domains_of_the_ranges(logs, tmp_path):
    columns = {info.name: info for info in Board(tmp_path / "logdir").reload().experiment().hparam_infos}
    assert list(columns) == sorted(RANGES)
    interval = columns["lr"].domain_interval
    assert (interval.min_value, interval.max_value) == (1e-5, 0.1)
    assert [_plain(value) for value in columns["opt"].domain_discrete.values] == ["adam", "sgd"]
    assert [_plain(value) for value in columns["nesterov"].domain_discrete.values] == [True, False]
    assert columns["w"].display_name == "‖w‖"


def test_it_follows_what_runs(driver, logs, tmp_path):
    board = Board(tmp_path / "logdir")
    driver.start(1)
    logs.refresh()
    assert board.reload().groups()["p/1"][1:] == ({}, [(UNKNOWN, pytest.approx(time.time(), abs=60), 0.0)])
    driver.log(1, 0.5)
    driver.store.attempt_metric(1, 1, 0.1 + 0.2)
    logs.refresh()
    assert board.reload().groups()["p/1"][1] == {"studio/val_loss min": 0.1 + 0.2}  # to the last digit
    driver.end(1, 0.125)
    logs.refresh()
    _, metrics, ((status, _, ended),) = board.reload().groups()["p/1"]
    assert (metrics["studio/val_loss min"], status, ended) == (0.125, SUCCESS, 20.5)


def test_a_retry_takes_the_place_of_the_failed_attempt(driver, logs, tmp_path):
    board = Board(tmp_path / "logdir")
    driver.start(1)
    driver.log(1, 9.0)
    driver.end(1)
    logs.refresh()
    assert board.reload().groups()["p/1"][2][0][0] == FAILURE
    driver.store.attempt_queued(1, 2)
    logs.refresh()
    assert board.reload().groups()["p/1"][2][0][0] == FAILURE  # until it starts
    driver.start(1, attempt=2)
    logs.refresh()
    assert [session[0] for session in board.reload().groups()["p/1"][2]] == [UNKNOWN]
    driver.log(1, 0.5, attempt=2)
    driver.end(1, 0.5, attempt=2)
    logs.refresh()
    (group,) = board.reload().groups().values()
    assert group[1]["studio/val_loss min"] == 0.5
    assert [session[0] for session in group[2]] == [SUCCESS]
    assert all("attempt 2" in run for run in board.multiplexer.Runs() if run != ".")


def test_an_experiment_that_was_cut_off_goes_on_after_resume(driver, logs, tmp_path):
    board = Board(tmp_path / "logdir")
    driver.start(1)
    driver.store._lock.close()  # the driver is gone
    logs.refresh()
    assert [session[0] for session in board.reload().groups()["p/1"][2]] == [UNKNOWN]
    driver.end(1, 0.5)  # another one went on with the same attempt
    logs.refresh()
    assert [session[0] for session in board.reload().groups()["p/1"][2]] == [SUCCESS]


def test_only_what_is_new_or_runs_is_looked_at(driver, logs, monkeypatch):
    for number in (1, 2, 3):
        driver.start(number)
        driver.log(number, 0.5)
    driver.end(1, 0.5)
    driver.end(2, 0.5)
    logs.refresh()
    walked = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: (walked.append(Path(top).parts[-3]), walk(top))[1])
    logs.refresh()
    assert walked == ["3"]
    driver.end(3, 0.5)
    logs.refresh()
    logs.refresh()
    assert walked == ["3", "3"]


def test_the_folders_of_runs_stay_as_they_are(driver, logs, tmp_path):
    driver.start(1)
    driver.log(1, 0.5, place="workspace/runs/a")
    (driver.folder / "source/runs").mkdir(parents=True)
    for folder in ("source", "1/1/workspace"):  # came with the source: of another run
        (driver.folder / folder / "runs").mkdir(exist_ok=True)
        (driver.folder / folder / "runs/events.out.tfevents.1").touch()
    os.mkfifo(driver.folder / "1/1/workspace/events.out.tfevents.fifo")
    before = sorted(driver.folder.rglob("*"))
    driver.end(1, 0.5)
    logs.refresh()
    assert sorted(path for path in driver.folder.rglob("*")) == before
    (run,) = [path for path in (tmp_path / "logdir").iterdir() if path.is_dir()]
    links = [path for path in run.rglob("*") if path.is_symlink()]
    assert [str(link.parent.relative_to(run)) for link in links] == ["runs/a"]


def test_names_that_no_file_may_have(driver, logs, tmp_path):
    driver.start(1, opt="../../x" + "é" * 300 + "\x1b[2J")
    logs.refresh()
    (run,) = [path for path in (tmp_path / "logdir").iterdir() if path.is_dir()]
    assert run.name.startswith("1 lr=0.01 layers=2 opt=.._.._x")
    assert len(run.name.encode()) <= 200


def test_a_run_that_loses_its_files_hurts_no_other(driver, logs, tmp_path):
    """`--keep best` removes workspaces at any time."""
    board = Board(tmp_path / "logdir")
    for number in (1, 2):
        driver.start(number)
        driver.log(number, 0.5)
        driver.end(number, 0.5)
    logs.refresh()
    board.reload()
    shutil.rmtree(driver.folder / "1")
    driver.start(3)
    driver.end(3, 0.25)
    logs.refresh()
    assert sorted(board.reload().groups()) == ["p/1", "p/2", "p/3"]


def test_fitness_alone_is_the_one_metric(home, tmp_path):
    search = studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="loop")
    search.tell(search.ask(), 0.75)
    search.ask()
    search.close()
    folder = tmp_path / "logdir"
    folder.mkdir()
    project = studio.Project("loop")
    LogFolder(project, axes_of(project.settings, [], create_host()), folder).refresh()
    board = Board(folder).reload()
    assert [info.display_name for info in board.experiment().metric_infos] == ["fitness"]
    assert {key: group[1] for key, group in board.groups().items()} == {"loop/1": {"studio/fitness": 0.75}}


def test_a_project_without_experiments(driver, command):
    result = command("tensorboard", "p")
    assert (result.code, result.err) == (2, "studio: project 'p' has no experiments yet; see studio runs list\n")


# --- the real thing -----------------------------------------------------------------------------------------------------


@pytest.fixture
def address(driver):
    """Address of `studio tensorboard` on two experiments, one of which runs."""
    driver.start(1)
    driver.log(1, 0.5, 0.25)
    driver.end(1, 0.25)
    driver.start(2, opt="sgd")
    process = subprocess.Popen(
        [STUDIO, "tensorboard", "p", "--port=0", "--reload_interval=1"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://[^/ ]+:(\d+)/", line):
                yield f"http://localhost:{found[1]}"
                break
        else:
            raise AssertionError("it did not start")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.close()
        assert process.wait(60) == 128 + signal.SIGTERM


def ask(address, body, until):
    """The HParams tab's own question, until its answer is what is waited for."""
    url = f"{address}/data/plugin/hparams/session_groups"
    data = json.dumps({"allowedStatuses": [0, 1, 2, 3], "sliceSize": 100, **body}).encode()
    deadline = time.monotonic() + 60
    while True:
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            groups = json.load(answer).get("sessionGroups", [])
        if until(groups):
            return groups
        assert time.monotonic() < deadline, groups
        time.sleep(0.3)


@pytest.mark.slow  # what its own reader gives is tested above
def test_a_browser_shows_the_table(driver, address):
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    ask(address, {}, lambda groups: len(groups) == 2)
    driver.end(2, 0.125)
    ask(address, {}, lambda groups: [len(group.get("metricValues", [])) for group in groups] == [2, 2])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.goto(f"{address}/#hparams")
        page.get_by_text("p/2", exact=True).wait_for(timeout=60_000)
        cells = [text.strip() for text in page.locator("vaadin-grid-cell-content").all_inner_texts()]
        browser.close()
    assert [cell for cell in cells if cell] == [
        *("Trial ID", "Show Metrics", "layers", "lr", "nesterov", "opt", "‖w‖", "val_loss min", "fitness"),
        *("p/1", "2.0000", "0.010000", "true", "adam", "1.0000", "0.25000", "-0.25000"),
        *("p/2", "2.0000", "0.010000", "true", "sgd", "1.0000", "0.12500", "-0.12500"),
    ]
