"""Every page: accessible, on a phone too, dark and light, and quick with 10,000 experiments."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect

axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
AXE = Path(axe.__file__).with_name("axe.min.js")
PHONE = {"width": 390, "height": 844}
LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
LOOKS = [("light", 1440), ("dark", 390), *([("dark", 1440), ("light", 390)] if LONG else [])]
PAGES = {  # and what is there when all is drawn
    "/": "#rows",
    "/p/hundred": "#rows .spark",
    "/p/hundred/3": "#curve canvas",
    "/p/hundred/compare?e=1,2,3": "#curves canvas",
}
SPECIAL = ["/p/one", "/p/empty", "/p/all-failed", "/p/hostile"]


SHIFT = """new Promise(done => new PerformanceObserver(list => done(list.getEntries()
    .reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0)))
    .observe({ type: "layout-shift", buffered: true }) ?? setTimeout(() => done(0), 300))"""


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_every_page_is_still_while_it_loads_and_accessible_and_fits(
    shared: Any, open_page: Callable[..., Any], settled: Callable[[Any], None], scheme: str, width: int
) -> None:
    """Layout shift, as https://web.dev/cls has it, is at most 0.02; axe finds nothing; a phone has large targets."""
    page = open_page(shared, "/static/icon.svg")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for path in [*PAGES, *SPECIAL]:
        page.goto(shared.address + path)
        settled(page)
        if path in PAGES:
            expect(page.locator(PAGES[path]).first).to_be_visible()
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # and painted
        assert page.evaluate(SHIFT) <= 0.02, path
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        small = page.evaluate(
            "[...document.querySelectorAll('button, input, select, a.button')]"
            ".filter(it => it.offsetParent && it.getBoundingClientRect().height < 36).map(it => it.outerHTML)"
        )
        assert width > 390 or small == [], path
        if LONG or width > 390 or path in PAGES:
            found |= {f"{path} {name}": nodes for name, nodes in violations(page).items()}
    assert found == {}


def violations(page: Any, part: str = "html") -> dict[str, list[str]]:
    """What axe finds in a part of a page as it is: rule -> the elements. Of rows that are alike it looks at the first."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate(
        "part => axe.run({ include: [part], exclude: [['#rows tbody tr:nth-child(n+9)']] }, { resultTypes: ['violations'] })"
        ".then(found => found.violations)",
        part,
    )
    return {each["id"]: [node["html"] for node in each["nodes"]] for each in found}


BROKEN_WORDS = """box => {
    const text = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    const tops = word => [...Array(word.length).keys()].map(at => {
        const range = document.createRange();
        range.setStart(word, at);
        range.setEnd(word, at + 1);
        return range.getBoundingClientRect().top;
    });
    const words = [];
    while (text.nextNode()) if (text.currentNode.data.trim()) words.push(text.currentNode);
    const lines = new Set(words.flatMap(tops));
    const broken = words.filter(word => new Set(tops(word)).size > 1).map(word => word.data);
    return [lines.size > 1, broken];
}"""


def test_a_phone_shows_an_experiment_and_leads_back(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred/1")
    page.set_viewport_size(PHONE)
    h1 = page.locator("h1")
    assert h1.evaluate("it => it.scrollWidth <= it.clientWidth")  # all of it
    tops = [page.locator(part).bounding_box()["y"] for part in ("#curve", "#values", "#log")]
    assert tops == sorted(tops)
    expect(page.locator("#diff ins").first).to_contain_text("model = dict(layers=")
    assert "--" in page.locator("#again").text_content()
    assert page.locator("#again").evaluate(BROKEN_WORDS) == [True, []]  # a command breaks between its words
    failed = next(e["number"] for e in shared.experiments("hundred") if e["status"] == "failed")
    page.goto(f"{shared.address}/p/hundred/{failed}")
    tops = [page.locator(part).bounding_box()["y"] for part in (".why", "#log", "#values")]
    assert tops == sorted(tops)
    page.locator(".back").click()
    expect(page.locator("h1")).to_have_text("hundred")
    page.locator(".brand").click()
    expect(page.locator("h1")).to_have_text("Projects")


def test_a_phone_compares_without_cutting_numbers(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred/compare?e=1,2,3,4,5")
    page.set_viewport_size(PHONE)
    cells = page.locator("#compare tr:not(:has(th:text-is('reason'))) td")
    assert cells.count() > 20
    assert cells.evaluate_all("all => all.every(cell => cell.scrollWidth <= cell.clientWidth)")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.locator("#compare .scroll").evaluate("box => box.scrollWidth <= box.clientWidth")  # all of them at once


def test_a_phone_has_the_best_first_and_every_action_and_order(
    shared: Any, open_page: Callable[..., Any], settled: Callable[[Any], None]
) -> None:
    page = open_page(shared, "/p/hundred")
    page.set_viewport_size(PHONE)
    settled(page)
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    for part in (
        "#strip strong >> nth=0",
        "#strip .pbar",
        "#charts figure:first-child canvas >> nth=0",
        "#rows tr[data-number] >> nth=0",
    ):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] < PHONE["height"], part
    tops = [
        page.locator(part).bounding_box()["y"] for part in ("#strip", "#charts", "#experiments", "#inspector", "#more")
    ]
    assert tops == sorted(tops)  # the best experiment before the lower pictures
    for name, items in {
        "More": [
            "Open in TensorBoard",
            "Add budget",
            "Add values",
            "100 rows as shown, as CSV",
            "All experiments as CSV",
        ],
        "Columns": ["val_loss", "lr", "opt"],
    }.items():
        page.get_by_role("button", name=name, exact=True).click()
        menu = page.locator(".menu:visible")
        for item in items:
            assert menu.get_by_text(item, exact=True).bounding_box()["height"] >= 36, item
        assert violations(page, ".menu") == {}
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
    page.get_by_role("button", name="More", exact=True).click()
    page.locator(".menu:visible").get_by_text("Add budget").click()
    expect(page.get_by_role("dialog")).to_contain_text("Add to the budget")
    page.keyboard.press("Escape")
    page.get_by_label("Sort by").select_option("lr ▼")
    most = max(shared.experiments("hundred"), key=lambda e: e["values"]["lr"])
    expect(page.locator("#rows tr[data-number]").first).to_have_attribute("data-number", str(most["number"]))
    page.locator("#rows tr[data-number]").first.click()
    expect(page.locator("h1")).to_have_text(f"Experiment {most['number']}")


def test_a_menu_is_inside_the_window(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    page.set_viewport_size({"width": 800, "height": 900})  # the tools are on a second line, at its left
    expect(page.locator("#experiments input[type=search]")).to_be_visible()
    page.get_by_role("button", name="CSV", exact=True).first.click()
    box = page.locator(".menu:visible").bounding_box()
    assert 0 <= box["x"] <= 800 - box["width"]
    page.keyboard.press("Escape")
    page.locator("#experiments input[type=search]").fill("lr < 1")
    page.keyboard.press("Escape")
    expect(page.locator("#experiments input[type=search]")).to_have_value("")
    expect(page.locator("#experiments input[type=search]")).not_to_be_focused()


def test_a_phone_shows_some_cards_and_more_when_asked(dashboard: Any, open_page: Callable[..., Any]) -> None:
    dashboard.fill("many", 300, "--curves", "0")
    page = open_page(dashboard, "/p/many")
    page.set_viewport_size(PHONE)
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollHeight") < 4 * PHONE["height"]
    page.get_by_role("button", name="Show 25 more of 300").click()
    page.get_by_role("button", name="Show 25 more of 300").scroll_into_view_if_needed()
    expect(page.locator('#rows tr[aria-rowindex="36"]')).to_be_visible()
    expect(page.locator('#rows tr[aria-rowindex="37"]')).to_have_count(0)


def test_axe_finds_nothing_in_what_opens(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred?q=layers+%3E+2&brush=opt:in:adam&compare=1,2")
    page.locator("#more").scroll_into_view_if_needed()
    found = {}
    for tab in ("importance", "contour", "curves"):
        page.click(f"#tab-{tab}")
        expect(page.locator(f"#panel-{tab} :is(canvas, .bar)").first).to_be_visible()
        found |= violations(page, "#more")
    for button, place in {
        "Columns": ".menu:visible",
        "CSV": ".menu:visible",
        "Add values": "#ask",
        "Add budget": "#ask",
    }.items():
        page.get_by_role("button", name=button, exact=True).first.click()
        expect(page.locator(place)).to_be_visible()
        found |= violations(page, place.removesuffix(":visible"))
        page.keyboard.press("Escape")
        expect(page.locator(place)).to_have_count(0) if place != "#ask" else expect(page.locator(place)).to_be_hidden()
    assert found == {}


def test_keys_skip_the_header_and_show_where_they_are(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        words, outline = page.evaluate(
            "(() => { const at = document.activeElement, style = getComputedStyle(at);"
            " return [at.dataset.action ?? at.getAttribute('aria-label') ?? at.textContent.trim(), style.outlineStyle] })()"
        )
        if page.evaluate("document.activeElement === document.body"):  # beyond the last one
            break
        seen.add(words)
        assert outline != "none", words
    assert {"experiment", "All 100", "Filter experiments", "Columns", "CSV", "Show them", "Experiments"} <= seen
    assert {"Copy winning command", "Open", "Full log", "Slices"} <= seen


def test_long_names_go_without_their_middle(shared: Any, open_page: Callable[..., Any]) -> None:
    name = "a very long name of a hyperparameter that somebody generated from a path/in/a/config.yaml"
    page = open_page(shared, "/p/hostile")
    head = page.locator("#rows th button").filter(has_text="a very long")
    expect(head).to_have_text("a very long n…/config.yaml")
    expect(head).to_have_attribute("title", re.compile(re.escape(name)))
    picture = page.locator("#charts figure:nth-child(2) .plot")
    expect(page.locator("#more [role=tab]").first).to_be_visible()
    expect(picture.locator("canvas").first).to_be_visible()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + 34 + 6 * (box["width"] - 68) / 8, box["y"] + 60)  # the seventh of nine axes
    expect(picture).to_have_attribute("title", name)
    page.locator("#more").scroll_into_view_if_needed()
    expect(page.locator(f'.slices h3[title="{name}"]')).to_contain_text("…")


def test_the_theme_is_the_systems_until_the_button(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/p/hundred")
    page.emulate_media(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(13, 16, 20)"
    page.get_by_role("button", name="Switch theme").click()
    assert page.evaluate(background) == "rgb(245, 246, 248)"
    page.reload()
    assert page.evaluate(background) == "rgb(245, 246, 248)"


def test_ten_thousand_experiments(
    dashboard: Any, open_page: Callable[..., Any], settled: Callable[[Any], None]
) -> None:
    dashboard.fill("large", 10_000, "--curves", "0")
    page = open_page(dashboard, "/p/large", fresh=True)
    page.wait_for_selector(".live-table tbody tr[data-number]")
    expect(page.locator("#slots canvas")).to_be_visible()
    settled(page)
    assert page.evaluate("document.querySelectorAll('*').length") < 5000
    assert page.evaluate(SHIFT) <= 0.02
    wire = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".reduce((sum, entry) => sum + entry.transferSize, 0)"
    )
    assert wire < 1_000_000
    best = page.locator("#rows tbody tr[data-number] >> nth=0").get_attribute("data-number")
    sort = (
        "async () => { const begun = performance.now(); document.querySelector('th button[data-key=lr]').click();"
        " await new Promise(done => requestAnimationFrame(() => setTimeout(done))); return performance.now() - begun }"
    )
    assert min(page.evaluate(sort) for _ in range(3)) < 1500  # 150 on a quiet machine: benchmarks/ui.py measures it
    assert page.locator("#rows tbody tr[data-number] >> nth=0").get_attribute("data-number") != best
    page.locator("#experiments .scroll").evaluate("box => box.scrollTo(0, 28 * 5000)")
    expect(page.locator('#rows tr[aria-rowindex="5005"]')).to_be_visible()


def test_the_first_rows_of_the_server_stay(
    shared: Any, open_page: Callable[..., Any], settled: Callable[[Any], None]
) -> None:
    """What the server wrote is what the script would draw: it only adds curves."""
    cells = "rows => rows.map(row => [...row.cells].filter(cell => !cell.matches('.c')).map(cell => cell.innerHTML))"
    page = open_page(shared, "/p/hundred")
    settled(page)
    drawn = page.locator("#rows tbody tr[data-number]").evaluate_all(cells)
    source = page.evaluate(f"""async () => {{
        const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
        return ({cells})([...page.querySelectorAll("#rows tbody tr[data-number]")]);
    }}""")
    assert source[: len(drawn)] == drawn[: len(source)]


def test_projects_are_searched_while_one_types(shared: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(shared, "/")
    page.fill("#query", "host")
    expect(page.locator("#rows tbody tr:visible")).to_have_count(1)
    shared.fill("zebra", 3)
    page.fill("#query", "zeb")
    expect(page.locator("#rows tbody tr:visible")).to_have_count(1)
    for words in ("cma zeb", "train.py zebra", "done zebra"):  # script, optimizer, the words of the state
        page.fill("#query", words)
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        expect(page).to_have_url(re.compile("q="))
    count = len(list((shared.home / "projects").iterdir()))
    expect(page.locator("#live")).to_have_text(f"{count} projects")  # of all, the new one with them
    page.click("text=zebra")
    expect(page.locator("h1")).to_have_text("zebra")
