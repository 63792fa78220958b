"""Pictures: brushing between them and the table, downloads, and when there is nothing to draw."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.format import number

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect


@pytest.fixture
def page(shared: Any, open_page: Callable[..., Any]) -> Any:
    page = open_page(shared, "/p/hundred")
    expect(page.locator("#charts figure:nth-child(2) canvas").first).to_be_visible()
    expect(page.locator("#slots canvas")).to_be_visible()
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    return page


def drag_axis(page: Any, axis: int, axes: int, begin: float, end: float) -> None:
    """Along axis number `axis` of the parallel coordinates, from `begin` to `end`: 0 is its low end, 1 its high one."""
    box = page.locator("#charts figure:nth-child(2) .plot").bounding_box()
    x = box["x"] + 34 + axis * (box["width"] - 68) / (axes - 1)
    y = [box["y"] + 44 + (1 - place) * (box["height"] - 66) for place in (begin, end)]
    page.mouse.move(x, y[0])
    page.mouse.down()
    page.mouse.move(x, (y[0] + y[1]) / 2)
    page.mouse.move(x, y[1])
    page.mouse.up()


def test_pictures_filter_the_table_and_choose_in_it(page: Any, shared: Any) -> None:
    drag_axis(page, 2, 6, 0, 0.45)  # layers, from 1 to 8: up to 4
    chip = page.locator(".filter")
    expect(chip).to_contain_text("layers ≤")
    most = float(chip.inner_text().split("≤")[1].split()[0])
    expected = sum(e["values"]["layers"] <= most for e in shared.experiments("hundred"))
    assert 0 < expected < 100
    expect(chip.locator(".match")).to_have_text(f"{expected} match")
    expect(page.locator("#rows")).to_have_attribute("aria-rowcount", str(expected + 1))
    drag_axis(page, 4, 6, 0, 0.1)  # opt: adam is the lowest
    expect(page.locator(".filter")).to_have_count(2)
    both = sum(e["values"]["layers"] <= most and e["values"]["opt"] == "adam" for e in shared.experiments("hundred"))
    expect(page.locator(".match")).to_have_text(f"{both} match")
    page.reload()
    expect(page.locator(".match")).to_have_text(f"{both} match")
    page.locator(".filter", has_text="layers").click()
    expect(page.locator(".filter")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".filter")).to_have_count(0)
    expect(page.locator("#rows")).to_have_attribute("aria-rowcount", "101")
    assert "brush" not in page.url

    box = page.locator("#charts figure:first-child .u-over").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] * 0.8)
    page.mouse.move(box["x"] + 6, box["y"] + box["height"] - 1)
    page.mouse.up()
    expect(chip).to_contain_text("val_loss ≤")
    most = float(chip.inner_text().split("≤")[1].split()[0])
    values = [e["metric"]["value"] for e in shared.experiments("hundred") if e["metric"] and e["status"] != "failed"]
    count = int(chip.locator(".match").inner_text().split()[0])
    assert 0 < count < len(values)
    assert count in range(sum(v <= most * 0.99 for v in values), sum(v <= most * 1.01 for v in values) + 1)  # rounded

    page.keyboard.press("Escape")
    page.get_by_role("button", name="Slots", exact=True).click()
    box = page.locator("#slots .plot").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 7)
    expect(page.locator("tr.sel")).to_have_count(1)
    assert "e=" in page.url


def test_pictures_are_saved_as_png_and_csv(page: Any, shared: Any) -> None:
    completed = sum(e["status"] == "completed" for e in shared.experiments("hundred"))
    page.get_by_role("button", name="Slots", exact=True).click()
    for picture, count in {"Best so far": 100, "Hyperparameters": completed, "Slots": 100}.items():
        button = page.get_by_role("button", name=f"Save {picture} as PNG")
        with page.expect_download() as saved:
            button.focus()
            button.press("Enter")
        data = Path(saved.value.path()).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000
        assert saved.value.suggested_filename == f"hundred-{picture.lower().replace(' ', '-')}.png"
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Save {picture} as CSV").press("Enter")
        rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text())))
        assert len(rows) == 1 + count


def test_the_lower_pictures_are_tabs(page: Any) -> None:
    expect(page.locator("#panel-slices canvas")).to_have_count(5)  # drawn before they come into sight
    page.focus("#tab-slices")
    page.keyboard.press("ArrowRight")
    importance = page.locator("#panel-importance")
    expect(importance.locator(".bars > button").first).to_have_text("lr")  # by construction
    expect(importance).to_contain_text("experiments")
    expect(importance).not_to_contain_text("matters")
    importance.locator(".bars > button").first.click()
    expect(page.locator("#tab-slices")).to_have_attribute("aria-selected", "true")
    expect(page.locator('[data-slice="lr"] canvas')).to_be_visible()
    page.click("#tab-importance")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-contour canvas")).to_be_visible()
    page.locator("#panel-contour select").first.select_option("width")
    assert "pair=width" in page.url
    page.click("#tab-curves")
    panel = page.locator("#panel-curves")
    expect(panel.locator(".note")).to_contain_text("10 curves of val_loss")
    expect(panel.locator("canvas").first).to_be_visible()
    panel.get_by_role("button", name="time").click()  # event files have it
    expect(panel.get_by_role("button", name="time")).to_have_attribute("aria-pressed", "true")
    expect(panel.locator("canvas").first).to_be_visible()
    panel.get_by_label("Smoothing").select_option("0.9")
    panel.get_by_role("button", name="log").click()
    expect(panel.get_by_role("button", name="log")).to_have_attribute("aria-pressed", "true")
    panel.get_by_label("Curves", exact=True).select_option("100")
    expect(panel.locator(".note")).not_to_contain_text("10 curves")
    expect(panel.locator("canvas").first).to_be_visible()


def test_one_experiment_has_no_rank_and_no_axes(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/one")
    expect(page.locator("#inspector .iv")).not_to_contain_text("rank")
    expect(page.locator("#charts")).to_contain_text("Hyperparameters appear after 5 experiments have completed.")


def test_no_experiment_has_the_command_and_no_picture(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/empty")
    expect(page.locator("#empty")).to_contain_text("No experiment has started yet.")
    expect(page.locator("#empty pre")).to_have_text("studio resume empty")
    expect(page.locator("#strip, #charts")).to_have_count(0)


def test_all_failed_opens_the_last_failure(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/all-failed")
    expect(page.locator("#strip strong").first).to_have_text("No result: all 12 failed")
    expect(page.locator(".why")).to_contain_text("12 of 12 failed")
    expect(page.locator("#inspector h2")).to_contain_text("Experiment 12")
    expect(page.locator("#inspector .log")).to_contain_text("exit code 1")
    expect(page.locator("#charts")).to_be_hidden()


def test_hostile_names_are_text(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hostile")
    expect(page.locator("#rows th", has_text="<img src=x o")).to_be_visible()
    assert page.locator("#rows th img").count() == 0
    page.fill("#experiments input[type=search]", '"<img src=x onerror=alert(1)>" > 5')
    expect(page.locator(".match")).to_contain_text("match")
    for tab in ("slices", "importance", "contour", "curves"):
        page.click(f"#tab-{tab}")
    page.goto(page.url.split("?")[0] + "/3")
    expect(page.locator("#values")).to_contain_text("<img src=x onerror=alert(1)>")
    page.goto(page.url.replace("/3", "/compare?e=1,2"))
    expect(page.locator("#compare")).to_contain_text("<img src=x onerror=alert(1)>")


def test_a_hyperparameter_may_be_called_proto(shared: Any, open_page: Callable[..., Any]) -> None:
    shared.program(
        "import studio\nsearch = studio.Search({'__proto__': '0.1:0.1:0.8'}, project='proto')\n"
        "for suggestion in search:\n    search.tell(suggestion, 1 - suggestion.values['__proto__'])\n"
        "search.close()\n"
    )
    page = open_page(shared, "/p/proto")
    expect(page.locator("#live")).to_have_text("Done")
    expect(page.locator("#rows tbody td[data-key=__proto__]").first).to_have_text("0.1")
    expect(page.locator("#charts figure:nth-child(2) canvas").first).to_be_visible()
    expect(page.locator("#more [role=tab]").first).to_be_visible()


RECORD = """window.texts = []; window.heights = []; window.pale = [];
const { fillText, bezierCurveTo } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { texts.push(text); return fillText.call(this, text, ...rest) };
CanvasRenderingContext2D.prototype.bezierCurveTo = function (...given) {
    heights.push(given[1], given[3], given[5]);
    if (this.globalAlpha < 1) pale.push(this.strokeStyle);
    return bezierCurveTo.apply(this, given);
};"""


def test_pictures_tell_the_truth_and_which_way_is_better(shared: Any, open_page: Callable[..., Any]) -> None:
    """By the texts and the curves that the canvases draw."""
    page = open_page(shared, "/p/empty", fresh=True)
    page.add_init_script(RECORD)
    page.goto(f"{shared.address}/p/hundred")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    best, rises = None, []
    for each in shared.experiments("hundred"):
        if each["status"] == "completed" and (best is None or each["fitness"] > best):
            best, rises = each["fitness"], [*rises, each["number"]]
    texts = page.evaluate("texts")
    assert {"val_loss, lower is better", "val_loss", f"best {number(-best)}"} <= set(texts)  # of both pictures
    assert {"failed", "1024", "16", "8", "1", "0.6", "1e-5"} <= set(texts)
    assert any(text.startswith(f"#{rises[-1]} · ") for text in texts)  # improvements are numbered along the line
    height = page.locator("#charts figure:nth-child(2) .plot").bounding_box()["height"]
    lowest, highest = page.evaluate("[Math.min(...heights), Math.max(...heights)]")
    assert 44 <= lowest < highest <= height - 22  # no line leaves its axes
    assert page.evaluate("pale") == []  # opaque, so that they have the contrast of tests/dashboard/test_colours.py


def test_a_library_that_fails_once_is_asked_for_again(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/empty", fresh=True)
    page.route("**/vendor/uplot.js", lambda route: route.abort("connectionrefused"))
    number = next(e["number"] for e in shared.experiments("hundred") if e["status"] == "completed")
    page.goto(f"{shared.address}/p/hundred?e={number}")
    expect(page.locator("#charts figure:first-child canvas").first).to_be_visible()
    expect(page.locator("#inspector canvas").first).to_be_visible()
