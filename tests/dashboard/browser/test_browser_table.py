"""The table of experiments: order, filter, columns, choice, the address."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from studio.format import number

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect

ROWS = "#rows tbody tr[data-number]"


def column(page: Any, key: str) -> list[str]:
    """What stands in the rows that are in the page, from the top."""
    return page.locator(f'{ROWS} td[data-key="{key}"]').all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text]


@pytest.fixture
def page(shared: Any, open_page: Callable[..., Any]) -> Any:
    page = open_page(shared, "/p/hundred")
    page.wait_for_selector(".live-table tbody tr[data-number]")
    return page


def test_the_table_as_it_opens_and_is_printed(page: Any, shared: Any) -> None:
    """The best first, twelve rows above the fold, points and bars below each other; on paper every row."""
    best = min(e["metric"]["value"] for e in shared.experiments("hundred") if e["status"] == "completed")
    first = page.locator(ROWS).first
    assert first.locator("td.m b").inner_text() == number(best)
    expect(first.locator(".tag")).to_have_text("best")
    expect(page.locator("th.m")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    expect(page.locator("#failures .why")).to_be_visible()
    box = page.locator(ROWS).nth(11).bounding_box()
    assert box["y"] + box["height"] <= 900
    ends = page.locator(f"{ROWS}.completed .vb").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().left)"
    )
    assert len(ends) > 20
    assert max(ends) - min(ends) < 1
    places = page.locator(f"{ROWS} td[data-key=dropout]").evaluate_all("""cells => cells.map(cell => {
        const range = document.createRange();
        const at = cell.textContent.indexOf(".");
        range.setStart(cell.firstChild, at);
        range.setEnd(cell.firstChild, at + 1);
        return range.getBoundingClientRect().left;
    })""")
    assert max(places) - min(places) < 1
    seen = page.locator(ROWS).count()
    assert seen < 100
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator(ROWS)).to_have_count(100)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(ROWS)).to_have_count(seen)


def test_rows_are_ordered_as_numbers_by_several_keys_and_what_failed_is_last(page: Any, shared: Any) -> None:
    best = min(e["metric"]["value"] for e in shared.experiments("hundred") if e["status"] == "completed")
    failed = [e for e in shared.experiments("hundred") if e["status"] == "failed" and e["metric"]]
    assert failed[0]["metric"]["value"] < best  # before it failed
    page.click('th button[data-key="lr"]')
    values = numbers(column(page, "lr"))
    assert len(values) > 20
    assert values == sorted(values)
    page.click('th button[data-key="lr"]')
    values = numbers(column(page, "lr"))
    assert values == sorted(values, reverse=True)
    for _ in range(2):
        page.click('th button[data-key="metric.val_loss"]')
        page.locator("#experiments .scroll").evaluate("box => box.scrollTo(0, 0)")
        expect(page.locator(ROWS).first).not_to_have_class(re.compile("failed"))
        page.locator("#experiments .scroll").evaluate(
            "box => { box.scrollTo(0, 1e6); box.scrollIntoView({ block: 'end' }) }"
        )
        expect(page.locator(ROWS).last).to_have_class(re.compile("failed"))
    page.click('th button[data-key="opt"]')
    page.click('th button[data-key="width"]', modifiers=["Shift"])
    page.click('th button[data-key="width"]', modifiers=["Shift"])  # from large to small
    page.locator("#experiments .scroll").evaluate("box => box.scrollTo(0, 0)")
    expect(page.locator(f'{ROWS}[aria-rowindex="2"]')).to_have_count(1)
    shown = list(zip(column(page, "opt"), numbers(column(page, "width")), strict=True))
    assert len(shown) > 20
    assert shown == sorted(shown, key=lambda pair: (pair[0], -pair[1]))
    assert "sort=opt%2C-width" in page.url


QUERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "lr < 1e-3 and opt = adam": lambda e: e["values"]["lr"] < 1e-3 and e["values"]["opt"] == "adam",
    "layers = 3 or layers = 5": lambda e: e["values"]["layers"] in (3, 5),
    "not (opt = adam)": lambda e: e["values"]["opt"] != "adam",
    "status = completed": lambda e: e["status"] == "completed",
    "state = Done": lambda e: e["status"] == "completed",
    "state != completed": lambda e: e["status"] != "completed",
    "state ~ d": lambda e: e["status"] in ("completed", "failed", "pruned"),
    "completed": lambda e: e["status"] == "completed",
    "state = failed": lambda e: e["status"] == "failed",
    "reason ~ NaN": lambda e: "NaN" in e["reason"],
    "memory": lambda e: "memory" in e["reason"],
    "val_loss <= 0.35 width >= 100": lambda e: (
        e["metric"] and e["status"] != "failed" and e["metric"]["value"] <= 0.35 and e["values"]["width"] >= 100
    ),
    "number > 90": lambda e: e["number"] > 90,
    '"opt" != sgd and lr>1e-3': lambda e: e["values"]["opt"] != "sgd" and e["values"]["lr"] > 1e-3,
}
WRONG = {
    "lrr < 1": "No column is called lrr.",
    "lr <": "A value is missing after lr <",
    "lr < fast": "< needs a number, not fast.",
    "state = finished": "finished is not a state; there are completed, pruned, failed, stopped, running, queued, done.",
    "status > 3": "3 is not a status; there are completed, pruned, failed, stopped, running, queued, done.",
    "(lr < 1": "A closing ) is missing.",
    "lr < 1 )": ") has no place here.",
}


def test_queries_say_what_they_mean_and_what_is_wrong(page: Any, shared: Any) -> None:
    experiments = shared.experiments("hundred")
    query = page.locator("#experiments input[type=search]")
    for text, holds in QUERIES.items():
        query.fill(text)
        count = sum(bool(holds(e)) for e in experiments)
        expect(page.locator(".match")).to_have_text(f"{count} match")
        expect(page.locator("#rows")).to_have_attribute("aria-rowcount", str(count + 1))
    assert set(column(page, "opt")) == {"adam", "lion"}  # the last one wants no sgd
    for text, words in WRONG.items():
        query.fill(text)
        expect(page.locator(".hint")).to_have_text(words)
    expect(page.locator("#rows")).to_have_attribute("aria-rowcount", "101")  # and hides nothing
    query.fill("lr < 1e-12")
    expect(page.locator(".hint")).to_contain_text("No experiment matches lr < 1e-12.")
    page.click("text=Clear filter")
    expect(page.locator("#rows")).to_have_attribute("aria-rowcount", "101")


def test_failures_stand_together_by_cause_with_a_log(page: Any, shared: Any) -> None:
    reasons = [e["reason"] for e in shared.experiments("hundred") if e["status"] == "failed"]
    button = page.locator('.chips [data-state="failed"]')
    expect(button).to_have_text(f"Failed {len(reasons)}")
    button.click()
    expect(page.locator(ROWS)).to_have_count(len(reasons))
    assert all("Error: " in reason and "exit code" not in reason for reason in column(page, "metric.val_loss"))
    expect(button).to_have_attribute("aria-pressed", "true")
    page.locator('.chips [data-state="all"]').click()
    expect(page.locator("#rows")).to_have_attribute("aria-rowcount", "101")
    page.click("text=Show them")
    wanted = sorted(reasons, key=lambda reason: (-reasons.count(reason), reasons.index(reason)))
    assert len(set(wanted)) == 2
    expect(page.locator(f"{ROWS} .reason")).to_have_text([reason.removeprefix("exit code 1: ") for reason in wanted])
    expect(page.locator("#failures .causes")).to_contain_text(wanted[0].removeprefix("exit code 1: "))
    expect(page.locator("#inspector .reason")).to_contain_text("exit code 1")
    expect(page.locator("#inspector .log")).to_contain_text("exit code 1")
    expect(page.locator("#inspector .log")).to_contain_text("<b>not bold</b>")  # escapes are gone, text is text


def test_the_address_brings_the_view_back(page: Any, shared: Any) -> None:
    """Columns, filter, order and choice."""
    page.click("text=Columns")
    page.get_by_role("checkbox", name="dropout").uncheck()
    page.get_by_role("checkbox", name="Started").check()
    page.keyboard.press("Escape")
    page.fill("#experiments input[type=search]", "dropout > 0.1")
    page.click('th button[data-key="layers"]')
    page.locator(ROWS).nth(4).click()
    chosen = page.locator("tr.sel").get_attribute("data-number")
    rows, address = column(page, "number"), page.url
    page.goto(f"{shared.address}/p/empty")
    page.goto(address)
    expect(page.locator("tr.sel")).to_have_attribute("data-number", chosen)
    expect(page.locator("#inspector h2")).to_contain_text(f"Experiment {chosen}")
    assert column(page, "number")[:20] == rows[:20]  # more where the page above the table was short when it was drawn
    expect(page.locator('th button[data-key="dropout"]')).to_have_count(0)
    expect(page.locator('th button[data-key="started"]')).to_have_count(1)


def test_an_address_that_nobody_wrote_is_read_as_far_as_it_goes(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred?brush=%25&brush=lr:%25:1&brush=layers::4&hide=%25,width")
    expect(page.locator(".filter")).to_have_count(1)
    expect(page.locator(".filter")).to_contain_text("layers ≤ 4")
    expect(page.locator('th button[data-key="width"]')).to_have_count(0)


def test_keys_alone_sort_filter_and_choose(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("opt = lion")
    expect(page.locator(".match")).to_be_visible()
    page.focus('th button[data-key="lr"]')
    page.keyboard.press("Enter")
    expect(page.locator("th", has_text="lr ▲")).to_have_attribute("aria-sort", "ascending")
    assert page.evaluate("document.activeElement.dataset.key") == "lr"
    page.focus("#rows")
    page.keyboard.press("Home")
    for key in ("ArrowDown", "ArrowDown", "j", "k"):
        page.keyboard.press(key)
    expect(page.locator(ROWS).nth(2)).to_have_class(re.compile(r"\bsel\b"))
    third = page.locator(ROWS).nth(2).get_attribute("data-number")
    assert page.get_attribute("#rows", "aria-activedescendant") == f"row-{third}"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(f"Experiment {third}")


def test_a_row_without_a_curve_says_so(shared: Any, open_page: Callable[..., Any]) -> None:
    done = [e for e in shared.experiments("hundred") if 60 < e["number"] < 70 and e["status"] == "completed"]
    one = min(done, key=lambda e: e["metric"]["value"])["number"]  # so that it is among the first rows
    page = open_page(shared, f"/p/hundred?q=number>50+and+number<70&e={one}")
    words = "No curve: its files hold no values by step."
    expect(page.locator(f"#row-{one} td.c small")).to_have_text("none")
    expect(page.locator(f"#row-{one} td.c small")).to_have_attribute("title", words)
    expect(page.locator("#inspector .plot")).to_have_text(words)


def test_values_come_first_and_are_copied_in_all_their_digits(shared: Any, open_page: Callable[..., Any]) -> None:
    one = next(e for e in shared.experiments("hundred") if e["status"] == "completed")
    card = open_page(shared, f"/p/hundred?e={one['number']}")
    expect(card.locator("#inspector canvas").first).to_be_visible()
    value = card.locator("#inspector .values button").first
    assert value.inner_text() == number(one["values"]["lr"])
    assert value.bounding_box()["y"] < card.locator("#inspector .plot").bounding_box()["y"]
    value.click()
    expect(card.locator("#said")).to_have_text("Copied.")
    assert card.evaluate("navigator.clipboard.readText()") == str(one["values"]["lr"])


def test_two_to_five_are_compared(page: Any) -> None:
    for at in (0, 1, 2):
        page.locator(ROWS).nth(at).click(modifiers=["ControlOrMeta"])
    page.click("text=Compare 3")
    expect(page.locator("#compare thead th")).to_have_count(4)
    expect(page.locator("#compare tr.different").first).to_be_visible()
    expect(page.locator("#curves canvas")).to_be_visible()
