"""Buttons: which there are, what they ask, how they look while they work, and how a refusal does."""

import re
from collections.abc import Callable
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect


def test_a_programs_own_loop_has_no_button_that_cannot_work(dashboard: Any, open_page: Callable[..., Any]) -> None:
    dashboard.program(
        "import studio\nsearch = studio.Search({'x': '0:1'}, optimizer='random', seed=1, max_experiments=6, project='own')\n"
        "for suggestion in search:\n    search.tell(suggestion, None if suggestion.number == 2 else suggestion.values['x'])\n"
        "search.close()\n"
    )
    page = open_page(dashboard, "/p/own")
    expect(page.locator("#inspector h2")).to_contain_text("Experiment")
    expect(page.locator("#failures .why")).to_contain_text("1 failed")
    expect(page.locator("[data-action]:visible")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("Retry|Stop|Resume"))).to_have_count(0)
    expect(page.locator("#strip")).to_contain_text("a Python program")
    page.goto(page.url.split("?")[0] + "/2")
    expect(page.locator("#log input")).to_be_visible()
    expect(page.locator("[data-action]:visible")).to_have_count(0)


def test_stop_says_what_happens_to_what(dashboard: Any, open_page: Callable[..., Any]) -> None:
    dashboard.fill("to-stop", 20, "--running", "3", "--size", "90", "--curves", "0")
    page = open_page(dashboard, "/p/to-stop")
    expect(page).to_have_title(re.compile(r"^22 % · 0\.\d+ · to-stop · studio$"))  # the tab shows the progress
    assert page.locator('link[rel="icon"]').get_attribute("href").startswith("data:image/png")
    page.get_by_role("button", name="Stop…", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop the whole search?")
    for words in ("3 running experiments end now", "Results are kept", "studio resume to-stop"):
        expect(dialog).to_contain_text(words)
    expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.locator("#rows tr.running").first.click()
    page.locator("#inspector").get_by_role("button", name="Stop…").click()
    expect(dialog).to_contain_text(re.compile(r"Stop experiment \d+\?"))
    expect(dialog).to_contain_text("The search continues")


def test_an_action_is_busy_at_once_and_a_lost_network_is_an_error(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    held: list[Any] = []
    page.route(re.compile("/actions/"), lambda route: held.append(route))
    page.get_by_role("button", name="Add budget").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Time to add").fill("1h30m")
    dialog.get_by_role("button", name="Add").click()
    busy = dialog.locator("button[aria-busy=true]")
    expect(busy).to_have_text("Adding…")
    expect(busy).to_be_disabled()
    assert held[0].request.post_data_json == {"time": "1h30m"}
    held[0].abort("connectionrefused")
    expect(dialog.get_by_role("alert")).to_contain_text("The dashboard does not answer")
    expect(dialog.get_by_role("button", name="Add")).to_be_enabled()
    expect(dialog.get_by_role("button", name="Add")).to_be_focused()
    dialog.get_by_role("button", name="Add").click()
    expect(busy).to_be_visible()
    page.keyboard.press("Escape")  # what goes wrong after that is said at the bottom
    held[1].abort("connectionrefused")
    expect(page.locator("#said.wrong")).to_contain_text("The dashboard does not answer")
    expect(page.locator("#said")).to_have_attribute("role", "alert")


def test_no_click_is_lost_before_the_script_is_there(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/empty")
    held: list[Any] = []
    page.route("**/project.js", lambda route: held.append(route))
    page.goto(f"{shared.address}/p/hundred")
    buttons = page.locator("[data-action], #tensorboard")
    assert buttons.evaluate_all("all => all.every(button => button.disabled)")
    held[0].continue_()
    page.get_by_role("button", name="Add budget").click()  # waits until it is enabled
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_refusal_is_an_error_with_its_reason(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    page.get_by_role("button", name="Add budget").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1h30m")  # what it takes
    dialog.get_by_label("Time to add").fill("soon")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_contain_text("'soon' is not a duration")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_tensorboard_opens_beside_the_page(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    page.route("**/tensorboard", lambda route: route.fulfill(json={"address": f"{shared.address}/static/icon.svg"}))
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open in TensorBoard").click()
    expect(opened.value).to_have_url(f"{shared.address}/static/icon.svg")
