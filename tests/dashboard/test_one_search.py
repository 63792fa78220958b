"""One search, looked at in the terminal, in the report, in the page, in TensorBoard and through the API: the same numbers."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import studio
from studio.format import duration, number
from studio.host import create_host
from studio.project.store import Store
from studio.reporting.axes import axes_of
from studio.reporting.tensorboard import LogFolder
from tests.dashboard.conftest import Browser, ran

LOSSES = {1: 2 / 3, 2: 1234.56, 3: None, 4: 0.00007464, 5: 1 / 7, 6: 1024.0}
TAG = "studio/val_loss min"
Shown = dict[int, tuple[str, str]]  # number -> the metric and lr, as they are shown


@pytest.fixture
def search(project) -> Store:
    """Five results from tiny to large, and a failure."""
    store = project(count=0)
    for at, loss in LOSSES.items():
        ran(store, at, failed=loss is None, loss=0.5 if loss is None else loss)
    return store


def in_the_terminal(command) -> Shown:
    lines = [line.split() for line in command("runs", "list", "digits").out.splitlines()]
    at = {name: lines[0].index(name) for name in ("val_loss", "lr")}
    return {int(line[0]): (line[at["val_loss"]], line[at["lr"]]) for line in lines[1:] if line[1] == "completed"}


def in_the_report(command) -> Shown:
    text = command("report", "digits", "--format=md").out
    head, _, *rows = (
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    )
    assert "val_loss" in head[1]
    return {int(row[0]): (row[1], row[head.index("lr")]) for row in rows}


def on_the_page(browser: Browser) -> Shown:
    found = {}
    for at, row in re.findall(
        r'<tr id="row-(\d+)"[^>]*class="completed"(.*?)</tr>', browser.get("/p/digits").text, re.DOTALL
    ):
        found[int(at)] = (re.search(r"<b [^>]*>(.*?)</b>", row)[1], re.search(r'data-key="lr"[^>]*>(.*?)<', row)[1])
    return found


def in_tensorboard(folder: Path) -> Shown:
    folder.mkdir()
    project = studio.Project("digits")
    LogFolder(project, axes_of(project.settings, project.experiments, create_host()), folder).refresh()
    found = {}
    for run in filter(Path.is_dir, folder.iterdir()):
        events = EventAccumulator(str(run)).Reload()
        if TAG not in events.Tags()["tensors"]:
            continue
        start = plugin_data_pb2.HParamsPluginData.FromString(
            events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        )
        lr = start.session_start_info.hparams["lr"].number_value
        (event,) = events.Tensors(TAG)
        found[int(run.name.split()[0])] = (number(event.tensor_proto.double_val[0]), number(lr))
    return found


def through_the_api(browser: Browser) -> Shown:
    rows = browser.json("/api/projects/digits/experiments?status=completed")["experiments"]
    return {row["number"]: (number(row["metric"]["value"]), number(row["values"]["lr"])) for row in rows}


def test_all_places_show_the_same_numbers(search, browser, command, tmp_path):
    wanted = {at: (number(loss), number(loss / 10)) for at, loss in LOSSES.items() if loss is not None}
    assert wanted[4] == ("7.464e-5", "7.464e-6")
    assert in_the_terminal(command) == wanted
    assert in_the_report(command) == wanted
    assert on_the_page(browser) == wanted
    assert in_tensorboard(tmp_path / "logs") == wanted
    assert through_the_api(browser) == wanted


def test_all_places_have_the_same_best_and_the_same_counts(search, browser, command):
    best, counts, took = "7.464e-5", "5 completed, 1 failed", duration(9.0)
    summary = browser.json("/api/projects/digits")
    assert (summary["best"]["number"], number(summary["best"]["metric"]["value"])) == (4, best)
    assert summary["counts"] == {"completed": 5, "failed": 1}
    page = browser.get("/p/digits").text
    assert re.search(rf'<strong title="[^"]*">{best}</strong>', page)
    assert page.count(f">{took}</td>") == 6
    report = command("report", "digits", "--format=md").out
    assert f"**Best: `{best}`" in report
    assert counts in report
    line = next(line for line in command("runs", "list").out.splitlines() if line.startswith("digits"))
    assert best in line
    terminal = command("runs", "list", "digits").out
    assert terminal.count(took) == 6
