"""A log of a gigabyte on the page of its experiment: its end at once, and nothing that freezes. Slow."""

import time
from collections.abc import Callable
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect = sync_api.expect

pytestmark = pytest.mark.slow  # writes 1 GB

OPEN, TASK = 5.0, 2.0  # seconds; 0.6 and 0.3 on a quiet machine
HEAP, NODES = 60e6, 40_000  # bytes, elements
WATCH = """
window.longest = 0;
new PerformanceObserver(list => { for (const task of list.getEntries()) window.longest = Math.max(longest, task.duration) })
    .observe({ type: "longtask", buffered: true });
"""


def test_a_gigabyte_opens_at_its_end_and_is_searched(alone: Any, open_page: Callable[..., Any]) -> None:
    alone.fill("giant", 1, "--failed=0", "--pruned=0")
    log = alone.home / "projects/giant/1/1/output.log"
    block = "".join(f"step {n:6} \x1b[32mloss\x1b[0m {n / 7:.6f} of the same block\n" for n in range(20_000)).encode()
    with log.open("wb") as file:
        while file.tell() < 10**9:
            file.write(block)
        file.write(b"the needle\nthe very last line\n")
    page = open_page(alone, "/")
    page.add_init_script(WATCH)
    begun = time.monotonic()
    page.goto(f"{alone.address}/p/giant/1")
    expect(page.locator("#log-text")).to_contain_text("the very last line")
    expect(page.locator(".log-bar")).to_contain_text("of 1.0 GB")
    opened = time.monotonic() - begun
    for _ in range(12):  # more than a window's worth
        page.get_by_role("button", name="Earlier").click()
        page.locator("#log-text").evaluate("box => box.scrollTo(0, box.scrollHeight * Math.random())")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    page.get_by_label("Search the log").fill("the needle")
    expect(page.locator(".found .after")).to_contain_text("searching on")
    expect(page.locator(".hit")).to_have_text("the needle", timeout=120_000)
    page.locator(".hit").click()
    expect(page.locator("#log-text mark")).to_have_text("the needle")
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    heap = next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "JSHeapUsedSize")
    longest = page.evaluate("longest / 1000")
    print(f"opened in {opened:.2f} s, longest task {longest:.2f} s, heap {heap / 1e6:.0f} MB, {nodes} elements")
    assert opened < OPEN
    assert longest < TASK
    assert heap < HEAP
    assert nodes < NODES
