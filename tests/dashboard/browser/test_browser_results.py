"""What counts as a result, and what a filter, a scale and a file of the view say of it."""

import csv
import io
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect

ROWS = "#rows tbody tr[data-number]"


def test_what_failed_is_shown_as_no_result(shared: Any, open_page: Callable[..., Any]) -> None:
    failed = next(e for e in shared.experiments("hundred") if e["status"] == "failed" and e["metric"])
    number = failed["number"]
    page = open_page(shared, f"/p/hundred?e={number}")
    expect(page.locator("#inspector h2")).to_contain_text(f"Experiment {number}")
    expect(page.locator("#inspector .ih p")).to_contain_text("failed")
    expect(page.locator("#inspector .iv.best")).to_have_count(0)
    expect(page.locator("#inspector .iv.void")).to_contain_text("before it failed")
    page.fill("#experiments input[type=search]", "val_loss < 0.2")
    expect(page.locator(".hint")).to_contain_text("No experiment matches")


def fill_mixed(dashboard: Any, name: str) -> None:
    """Experiments that have run for long, are stopped, failed, pruned and done: so few that all rows are in the page."""
    dashboard.fill(name, 20, "--running", "3", "--curves", "0", "--failed", "0.2")
    with sqlite3.connect(dashboard.home / "projects" / name / "studio.db") as record:
        record.execute("UPDATE attempts SET status = 'stopped' WHERE number IN (4, 5) AND status != 'failed'")
        record.execute("UPDATE attempts SET started = ? WHERE status = 'running'", (time.time() - 5000,))


def saved_rows(page: Any, count: str) -> list[dict[str, str]]:
    page.get_by_role("button", name="CSV", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=f"{count} as shown, as CSV").click()
    assert saved.value.suggested_filename == "mixed.csv"
    return list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())))


def test_the_rows_are_saved_as_they_stand(dashboard: Any, open_page: Callable[..., Any]) -> None:
    fill_mixed(dashboard, "mixed")
    status = {e["number"]: e["status"] for e in dashboard.experiments("mixed")}
    assert {"running", "stopped", "completed", "failed", "pruned"} == set(status.values())
    page = open_page(dashboard, "/p/mixed")
    for view in ("", "?sort=-opt,reason", "?q=time+>+60+and+not+opt+%3D+lion&sort=metric.val_loss", "?brush=layers:3:"):
        page.goto(f"{dashboard.address}/p/mixed{view}")
        count = int(page.locator(".live-table").get_attribute("aria-rowcount")) - 1
        rows = saved_rows(page, f"{count} rows")
        shown = page.locator(ROWS).evaluate_all("rows => rows.map(row => Number(row.dataset.number))")
        assert [int(row["number"]) for row in rows] == shown
        states = [status[number] for number in shown]
        assert states[0] == "running"
        assert "stopped" in states
    page.get_by_role("button", name="CSV", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="All experiments as CSV").click()
    assert len(Path(saved.value.path()).read_text().splitlines()) == len(status) + 1


def test_a_filter_of_running_ones_knows_their_time_and_their_values(
    dashboard: Any, open_page: Callable[..., Any]
) -> None:
    fill_mixed(dashboard, "long")
    running = [e for e in dashboard.experiments("long") if e["status"] == "running"]
    assert len(running) == 3
    page = open_page(dashboard, "/p/long")
    query, rows = page.locator("#experiments input[type=search]"), page.locator(f"{ROWS}.running")
    for text, count in (("time > 4000", 3), ("Time > 4000", 3), ("duration < 4000", 0)):  # until now
        query.fill(text)
        expect(rows).to_have_count(count)
    query.fill("val_loss < 0.0001")
    expect(page.locator(".still-running")).to_have_text("3 running shown although they have no value yet")
    expect(page.locator(ROWS)).to_have_count(3)
    layers = running[0]["values"]["layers"]
    query.fill(f"layers != {layers}")
    expect(page.locator(".match")).to_be_visible()
    left = [e["number"] for e in running if e["values"]["layers"] != layers]
    expect(rows).to_have_count(len(left))  # their hyperparameters are known
    expect(page.locator(".still-running")).to_be_empty()


PROGRAM = """
import studio
values = {
    "decades": lambda at: 10.0 ** (at / 4 - 3),
    "outliers": lambda at: 1e-6 if at % 9 == 5 else 0.3 + at / 1000,
}
for project, value in values.items():
    search = studio.Search({"reason": "0:1"}, optimizer="random", seed=1, max_experiments=40, project=project)
    for at, suggestion in enumerate(search):
        search.tell(suggestion, value(at))
    search.close()
"""


def test_many_decades_have_a_log_scale_and_a_few_outliers_have_none(
    dashboard: Any, open_page: Callable[..., Any]
) -> None:
    dashboard.program(PROGRAM)
    page = open_page(dashboard, "/p/decades")
    column = page.locator("th button[data-key='values.reason']")
    expect(column).to_be_visible()  # a hyperparameter of that name is none of the states
    button = page.locator("#charts").get_by_role("button", name="log", exact=True)
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert "scale=linear" in page.url
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "false")
    page.goto(f"{dashboard.address}/p/outliers")
    expect(button).to_have_attribute("aria-pressed", "false")
    box = page.locator("#charts figure:first-child .u-over").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 103, box["y"] + box["height"] * 0.8)
    page.mouse.move(box["x"] + 105, box["y"] + box["height"] - 1)
    page.mouse.up()
    lowest = float(page.locator(".filter").inner_text().split("≤")[0])
    assert 0.2 < lowest < 0.3  # the scale begins not far below the others


def test_what_experiments_cost_is_in_their_rows_and_in_all(dashboard: Any, open_page: Callable[..., Any]) -> None:
    dashboard.fill("bought", 12, "--cost", "0.25", "--failed", "0")
    page = open_page(dashboard, "/p/bought")
    expect(page.locator("#rows tbody td[data-key=cost]").first).to_have_text("$0.25")
    expect(page.locator("#strip .kpi", has_text="Slots")).to_contain_text("$3.00")
    page.fill("#experiments input[type=search]", "cost > 0.3")
    expect(page.locator(".hint")).to_contain_text("No experiment matches")
