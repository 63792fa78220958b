"""What the modules of the page compute, without a page around them: one browser page, and their own functions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")


@pytest.fixture
def page(shared: Any, open_page: Callable[..., Any]) -> Any:
    """A page that draws nothing by itself."""
    return open_page(shared, "/p/empty")


def test_the_browser_writes_numbers_as_the_server_does(page: Any) -> None:
    """`tests/unit/root/test_format.py` holds the other side to the same cases."""
    cases = json.loads((Path(__file__).parents[2] / "data/shown.json").read_text())
    wrong = page.evaluate(
        """async (cases) => {
            const shown = await import("/static/format.js");
            const near = (a, b) => a === b || Math.abs(a - b) <= 1e-9 * Math.abs(b);
            const names = {
                number: "numberText", value: "valueText", duration: "durationText",
                about: "aboutText", money: "moneyText", size: "sizeText" };
            const wrong = Object.entries(names)
                .flatMap(([family, name]) => cases[family].filter(([given, text]) => shown[name](given) !== text));
            wrong.push(...cases.counted.filter(([count, noun, text]) => shown.counted(count, noun) !== text));
            wrong.push(...cases.range.filter(([values, sign, ...ends]) =>
                !shown.visibleRange(values, sign).every((end, at) => near(end, ends[at]))));
            wrong.push(...cases.column.filter(([values, places, wide, classes]) => {
                const form = shown.columnForm(values);
                const found = values.map((value) => `w${form.wide}${shown.placeClass(shown.numberText(value), form)}`);
                return form.places !== places || form.wide !== wide || String(found) !== String(classes);
            }));
            return wrong;
        }""",
        cases,
    )
    assert wrong == []


def test_improvements_reach_to_the_next(page: Any) -> None:
    found = page.evaluate("""async () => {
        const { rises } = await import("/static/charts/best_data.js");
        const points = [[1, 5], [2, 6], [3, 4], [4, 4], [9, 3]].map(([x, value]) => ({ x, value }));
        return rises(points, [5, 5, 4, 4, 3]).map(({ point, until }) => [point.x, until]);
    }""")
    assert found == [[1, 3], [3, 9], [9, 9]]


def test_failures_have_a_lane_and_no_place_among_values(page: Any) -> None:
    """The axis has room on its better side for the numbers at the line, whether anything failed or not."""
    found = page.evaluate("""async () => {
        const { laneOf, scaleOf } = await import("/static/charts/best_data.js");
        const points = (...others) => [["completed", 1], ["completed", 2], ...others].map(([status, value]) => ({ status, value }));
        return [[], [["failed", 0.1]], [["failed", null], ["stopped", 9]], [["stopped", null]]]
            .map((others) => [laneOf(points(...others)), ...[-1, 1].map((sign) => scaleOf(points(...others), sign, "").range)]);
    }""")
    assert [lane for lane, *_ in found] == ["", "failed", "no result", "stopped"]
    assert {json.dumps(ranges) for _, *ranges in found} == {"[[0.8, 2.06], [0.94, 2.2]]"}


def test_a_slot_that_nothing_ran_on_is_idle(page: Any) -> None:
    found = page.evaluate("""async () => {
        const { busyText } = await import("/static/charts/timeline.js");
        const bars = [{ from: 0, to: 8 }, { from: 8, to: 10 }];
        return [busyText(bars, 4, 10), busyText(bars, 1, 10), busyText([], 1, 0)];
    }""")
    assert found == ["25 % of 4 slots busy", "100 % of 1 slot busy", "0 % of 1 slot busy"]


KEPT = """async () => {
    const { Curves } = await import("/static/curve_cache.js");
    const { Experiments } = await import("/static/experiments.js");
    const experiments = new Experiments();
    const take = (status) => experiments.merge({ version: "1", number: [1], status: [status] });
    take("running");
    const curves = new Curves();
    const found = [];
    const look = async () => {
        const curve = await curves.of([1]).then((all) => all.get(1)?.step.at(-1) ?? null, () => "no answer");
        found.push([curve, curves.steps(experiments)]);
    };
    await look();
    curves.outdate([1]);
    await look();
    await look();
    take("completed");
    found.push(curves.steps(experiments));
    curves.outdate([1]);
    await look();
    return found;
}"""


def test_a_curve_stays_old_until_it_is_there(page: Any) -> None:
    steps = iter([[1], None, [1, 2], [1, 2, 3]])

    def answer(route: Any) -> None:
        step = next(steps)
        if step is None:
            route.fulfill(status=400, json={"error": {"code": "bad_request", "message": "not now"}})
        else:
            route.fulfill(json={"curves": {"1": {"step": step, "value": step}}})

    page.route("**/curves?experiments=1&*", answer)
    assert page.evaluate(KEPT) == [[1, None], ["no answer", None], [2, None], 2, [3, 3]]


SPARKS = """async () => {
    const { Sparks } = await import("/static/sparklines.js");
    const known = new Map();
    const table = { stale: new Set(), draw() { this.drawn?.() } };
    const experiments = { number: [7], rows: new Map([[7, 0]]), status: () => "completed" };
    const curves = { known, old: new Set(), of: () => { throw new Error("it is known") } };
    const sparks = new Sparks({ experiments, curves, table });
    const cell = document.createElement("td");
    sparks.fill(cell, 0);
    sparks.want([7]);
    known.set(7, { step: [1, 2], value: [1, 2] });  // the inspector was faster
    await new Promise((done) => { table.drawn = done });
    return [...table.stale];
}"""


def test_a_row_shows_the_curve_that_another_part_of_the_page_fetched(page: Any) -> None:
    assert page.evaluate(SPARKS) == [7]
