"""While something happens: rows that arrive, actions on a real search, a server that goes away."""

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.format import number
from studio.project.project import Project

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect

ROWS = "#rows tbody tr[data-number]"
SCRIPT = """\
import os, sys, time
lr = 0.5
epochs = int(sys.argv[1])
for epoch in range(epochs):
    print(f"fitness: {epoch - lr}", flush=True)
    time.sleep(float(sys.argv[2]))
while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
    time.sleep(0.05)
if lr > 0.9:
    sys.exit("lr is too large")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a script that prints its fitness `epochs` times, waits for a file if it is to, and fails where lr is above 0.9."""
    made = tmp_path / "work"
    made.mkdir()
    (made / "train.py").write_text(SCRIPT)
    return made


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_real_search_is_watched_to_its_end(dashboard: Any, open_page: Callable[..., Any], folder: Path) -> None:
    values, words = "--hyperparam=lr=0.25:0.25:1", ["train.py", "4", "0", str(folder / "go")]
    dashboard.search("watched", values, "--num-workers=2", *words, cwd=folder)
    page = open_page(dashboard, "/p/watched")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator(".live-table")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    (folder / "go").touch()
    expect(page.locator("#live")).to_have_text("Done", timeout=60_000)
    expect(page.locator(ROWS)).to_have_count(4)
    experiments = dashboard.experiments("watched")
    best = max((e for e in experiments if e["fitness"] is not None), key=lambda e: e["fitness"])
    expect(page.locator("#strip strong").first).to_have_text(number(best["fitness"]))
    expect(page.locator("#strip .ph")).to_contain_text("4 of 4 finished")
    expect(page.locator(".why")).to_contain_text("1 failed")
    # The best learning rate can be read from the page alone.
    assert page.locator(ROWS).first.locator('td[data-key="lr"]').inner_text() == "0.25"
    expect(page.locator("#inspector .values td").first).to_have_text("0.25")
    assert not any(re.search(r"/experiments|/summary", url) for url in asked)  # news came by itself


@pytest.mark.slow  # measures a second: for a quiet machine
def test_a_metric_is_in_its_row_within_a_second(dashboard: Any, open_page: Callable[..., Any], folder: Path) -> None:
    dashboard.search("quick", "--hyperparam=lr=0.5", "train.py", "600", "0.2", cwd=folder)
    page = open_page(dashboard, "/p/quick")
    log = dashboard.home / "projects/quick/1/1/output.log"
    cell = page.locator('td[data-key="metric.fitness"]')
    expect(cell).to_contain_text("step")
    shown: dict[str, float] = {}
    written: dict[str, float] = {}
    end = time.monotonic() + 30
    late: list[float] = []
    while len(late) < 8 and time.monotonic() < end:
        text = f"{float(log.read_text().split()[-1]):#.4g}"
        written.setdefault(text, time.monotonic())
        shown.setdefault(cell.locator("b").inner_text(), time.monotonic())
        late = [shown[text] - at for text, at in written.items() if text in shown]
    assert len(late) == 8
    assert sorted(late)[4] < 1.0


def test_scroll_choice_and_focus_stay_while_results_arrive(dashboard: Any, open_page: Callable[..., Any]) -> None:
    dashboard.fill("busy", 1000, "--running", "4", "--live", "8", "--size", "9000", "--curves", "0")
    page = open_page(dashboard, "/p/busy")
    page.click('th button[data-key="metric.val_loss"]')
    page.focus("#rows")
    page.locator("#experiments .scroll").evaluate("box => box.scrollTo(0, 28 * 500)")
    page.locator(f'{ROWS}[aria-rowindex="505"]').click()
    row = page.locator("tr.sel")
    number = row.get_attribute("data-number")
    page.mouse.move(5, 5)
    before = page.evaluate("[document.querySelector('#experiments .scroll').scrollTop, document.activeElement.id]")
    place = row.bounding_box()
    total = int(page.locator(".chips b").first.inner_text())
    wait_until(lambda: int(page.locator(".chips b").first.inner_text()) > total + 20)
    now = page.evaluate("[document.querySelector('#experiments .scroll').scrollTop, document.activeElement.id]")
    assert 0 <= now[0] - before[0] <= 4 * 28  # those that run stand above all, and come one after the other
    assert (before[1], now[1]) == ("rows", "rows")
    expect(page.locator("tr.sel")).to_have_attribute("data-number", number)
    assert (
        abs(page.locator("tr.sel").bounding_box()["y"] - place["y"]) < 60
    )  # the toolbar may have wrapped, rows did not move
    expect(page.locator("tr.sel")).to_have_attribute("aria-rowindex", re.compile("50[5-9]"))
    expect(page.locator(".fresh")).to_contain_text("new results")
    page.click(".fresh")
    assert page.evaluate("document.querySelector('#experiments .scroll').scrollTop") == 0
    expect(page.locator(ROWS).first).to_have_class(re.compile("running"))


def test_every_button_of_a_real_search(dashboard: Any, open_page: Callable[..., Any], folder: Path) -> None:
    words = ["--optimizer=random", "--seed=1", "--max-experiments=40", "--start-from=lr=0.95", "--hyperparam=lr=0.1:1"]
    dashboard.search("steered", *words, "train.py", "8", "0.05", cwd=folder)  # the first fails
    page = open_page(dashboard, "/p/steered")
    dialog = page.get_by_role("dialog")

    def press(button: str, answer: str) -> None:
        page.get_by_role("button", name=button, exact=True).click()
        dialog.get_by_role("button", name=answer, exact=True).click()
        expect(dialog).to_be_hidden()

    press("Pause", "Pause")
    expect(page.locator("#live")).to_have_text("Paused")
    expect(page.locator(f"{ROWS}.running")).to_have_count(0)
    page.get_by_role("button", name="Add budget").click()
    expect(page.get_by_label("Time to add")).to_have_count(0)  # the search has no limit of time
    page.get_by_label("Experiments to add").fill("2")
    dialog.get_by_role("button", name="Add").click()
    expect(page.locator("#strip .ph")).to_contain_text("of 42 finished")
    page.get_by_role("button", name="Add values").click()
    page.get_by_role("textbox", name="lr").fill("0.123")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog).to_be_hidden()
    press("Resume", "Resume")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator(f"{ROWS}.running")).to_have_count(1)
    expect(page.locator(f"{ROWS}.failed")).to_have_count(1)
    page.locator("#failures .why").get_by_text("Retry 1").click()
    dialog.get_by_role("button", name="Retry 1").click()
    expect(page.locator("#said")).not_to_be_empty()
    wait_until(lambda: 0.123 in [e["values"]["lr"] for e in dashboard.experiments("steered")])
    page.get_by_role("button", name="Stop…", exact=True).click()
    expect(dialog).to_contain_text("1 running experiment ends now")
    page.get_by_role("button", name="Stop the search").click()
    expect(page.locator("#live")).to_have_text("Stopped", timeout=60_000)
    assert len(dashboard.experiments("steered")) < 43
    page.get_by_role("button", name="Add values").click()
    expect(dialog).to_contain_text("This also resumes the search")
    assert not any(str(folder) in line for line in running_commands())


def running_commands() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if "steered" in os.readlink(process):
                found.append((process.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_an_array_wraps_in_its_page_and_has_no_field(
    shared: Any, open_page: Callable[..., Any], recorded: Callable[..., Project], home: Path
) -> None:
    ranges = {"lr": "0:1", "scale": "0:1:4:a"}
    values = {"lr": 0.5, "scale": [0.1234567, 0.2345678, 0.3456789, 0.4567891]}
    recorded("arrays", [(values, 0.5)], ranges=ranges)
    shutil.move(home / "projects" / "arrays", shared.home / "projects")
    page = open_page(shared, "/p/arrays")
    page.get_by_role("button", name="Add values").click()
    expect(page.get_by_role("dialog")).to_contain_text("scale: as in the best")
    page.goto(f"{shared.address}/p/arrays/1")
    expect(page.locator("#values tr", has_text="scale")).to_be_visible()
    for width in (1300, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_server_that_comes_back_is_followed_without_a_gap(alone: Any, open_page: Callable[..., Any]) -> None:
    """Rows that could not be fetched at the first try come with the next one, each once."""
    alone.fill("gap", 600, "--running", "2", "--live", "8", "--size", "9000", "--curves", "0")
    page, asked = open_page(alone, "/p/gap?sort=-number"), set[Any]()
    page.on("request", lambda request: asked.add(request))
    page.on("requestfinished", lambda request: asked.discard(request))
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    wait_until(lambda: page.evaluate("1") and all("/stream?" in request.url for request in asked))
    alone.kill()  # in the middle of no answer, which Chromium reports in words of its own
    expect(page.locator("#live")).to_contain_text("Reconnecting, last update")
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()
    count = len(alone.experiments("gap"))
    wait_until(lambda: len(alone.experiments("gap")) > count + 2)  # only a fetch brings them: an event holds fewer rows
    page.route(re.compile(r"/experiments\?layout=columns"), lambda route: route.abort("connectionreset"), times=1)
    with page.expect_event("requestfailed", lambda request: "/experiments?layout=columns" in request.url):
        alone.start()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    count = len(alone.experiments("gap"))
    numbers = "[...document.querySelectorAll('#rows tr[data-number]')].map(row => Number(row.dataset.number))"
    whole = f"Number(document.querySelector('.chips b').textContent) === Math.max(...{numbers})"
    wait_until(lambda: page.evaluate(f"Math.max(...{numbers}) >= {count} && {whole}"))
    shown = page.evaluate(numbers)
    assert len(shown) == len(set(shown))


def test_time_goes_on_while_nothing_is_written_and_a_hidden_page_holds_no_connection(
    dashboard: Any, open_page: Callable[..., Any]
) -> None:
    dashboard.fill("quiet", 5, "--running", "2", "--curves", "0")
    page = open_page(dashboard, "/p/empty", fresh=True)
    page.clock.install()
    page.goto(f"{dashboard.address}/p/quiet")
    elapsed = page.locator("#strip .kpi", has_text="Elapsed").locator("strong")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    expect(elapsed).to_have_text("60 min")
    page.clock.fast_forward(120_000)
    expect(elapsed).to_have_text("62 min")

    dashboard.fill("tab", 20, "--running", "2", "--live", "4", "--size", "900", "--curves", "0")
    page.goto(f"{dashboard.address}/p/tab")
    expect(page.locator("#live")).to_have_text("Live")
    show = (
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')) }"
    )
    with page.expect_event(
        "requestfailed", lambda request: "/stream?changed_since=" in request.url
    ):  # closed by the page
        page.evaluate(show, True)
        page.clock.fast_forward(5000)
    count = len(dashboard.experiments("tab"))
    assert int(page.locator(".chips b").first.inner_text()) <= count
    with page.expect_request(re.compile(r"/stream\?changed_since=")):
        page.evaluate(show, False)
    wait_until(lambda: int(page.locator(".chips b").first.inner_text()) >= count)


def test_the_page_of_a_running_experiment_goes_on_with_it(
    dashboard: Any, open_page: Callable[..., Any], folder: Path
) -> None:
    """Its time, its values and its log, which is searched meanwhile, until it is stopped, or ends by itself."""
    (folder / "train.py").write_text(
        "import pathlib, time\nlr = 0.5\nfor n in range(3000):\n    print(f'line {n} \\x1b[31mred\\x1b[0m <i>', flush=True)\n"
        "    if n > 2500:\n        print('fitness:', n * lr, flush=True)\n        time.sleep(0.1)\n"
        f"        if lr < 0.4 and pathlib.Path({str(folder / 'end')!r}).exists():\n            break\n"
    )
    dashboard.search("talks", "--num-workers=2", "--hyperparam=lr=0.5,0.25", "train.py", cwd=folder)
    page = open_page(dashboard, "/p/talks/1")
    time_, logged, log = page.locator("#time"), page.locator("#logged"), page.locator("#log-text")
    expect(log).to_contain_text("line 2510 red <i>", timeout=60_000)
    expect(log.locator(".a-red").first).to_have_text("red")
    before = time_.inner_text(), logged.inner_text()
    expect(log).to_contain_text("line 2520")
    expect(time_).not_to_have_text(before[0])
    expect(logged).not_to_have_text(before[1])
    expect(logged).to_contain_text(re.compile(r"\d+ values, the last at step \d+: -?\d"))
    assert log.locator("i").count() == 0
    page.get_by_label("Search the log").fill("line 77 ")
    page.locator(".hit").click()
    expect(log.locator("mark")).to_have_text("line 77 ")
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator("#state")).to_contain_text("stopped", timeout=60_000)

    page.goto(f"{dashboard.address}/p/talks/2")
    page.get_by_label("Search the log").fill("line 77 ")
    expect(page.locator(".hit")).to_contain_text("line 77 ")
    expect(page.locator("#live")).to_have_text("running")
    page.evaluate("window.kept = true")
    (folder / "end").touch()
    expect(page.locator("#live")).to_have_text("completed", timeout=60_000)
    expect(page.locator("#state")).to_contain_text("completed")
    expect(page.locator("#value")).to_have_text(re.compile(r"^6\d\d"))  # a quarter of the last line
    expect(page.get_by_label("Search the log")).to_have_value("line 77 ")
    expect(page.locator(".hit")).to_contain_text("line 77 ")
    assert page.evaluate("window.kept")


def test_a_log_survives_a_request_that_fails(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/empty")
    page.route(re.compile(r"/log\?tail="), lambda route: route.abort("connectionrefused"), times=1)
    page.goto(f"{shared.address}/p/hundred/1")
    expect(page.locator(".log-bar .note")).to_have_text(re.compile(r"^[\d.]+ k?B$"))
    expect(page.locator("#log-text")).to_contain_text("epoch 20")


def test_while_the_server_is_away_what_is_shown_stays(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    page.route(re.compile("/card/|/curves|/importance"), lambda route: route.abort("connectionrefused"))
    title = page.locator("#inspector h2").inner_text()
    with page.expect_event("requestfailed", lambda request: "/card/" in request.url):
        page.locator(f"{ROWS} >> nth=3").click()
    page.locator("#more").scroll_into_view_if_needed()
    for tab in ("importance", "curves"):
        page.click(f"#tab-{tab}")
    expect(page.locator("#panel-curves .note")).to_have_text("Loading curves…")  # a word, not an empty place
    assert page.locator("#inspector h2").inner_text() == title  # and no error: `open_page` looks
