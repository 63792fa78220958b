"""The page without scripts, sorted and filtered by state, and the CSV of the rows that a page shows."""

import csv
import io
import re

from studio.experiment import Outcome
from tests.dashboard.conftest import ran


def numbers_on(browser, path):
    return [int(number) for number in re.findall(r'<tr data-number="(\d+)"', browser.get(path).text)]


def exported(browser, numbers):
    answer = post(browser, {"numbers": numbers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="digits.csv"'
    return [int(row["number"]) for row in csv.DictReader(io.StringIO(answer.text))]


def post(browser, given, **headers):
    page = {"Origin": str(browser.base_url).rstrip("/"), "X-Studio-Token": browser.token}
    return browser.post("/api/p/digits/export.csv", json=given, headers={**page, **headers})


def test_csv_of_the_rows_that_a_page_names(browser, project):
    project(count=7)
    assert exported(browser, [7, 5, 1, 3]) == [7, 5, 1, 3]
    assert exported(browser, []) == []
    every = browser.get("/api/p/digits/export.csv").text
    assert post(browser, {"numbers": list(range(1, 8))}).text == every
    assert browser.get("/api/p/digits/export.csv?q=opt+%3D+adam&state=failed").text == every  # a GET has them all


def test_what_is_no_list_of_experiments_is_refused(browser, project):
    project(count=2)
    assert post(browser, {"numbers": [1, 9]}).status_code == 404
    for wrong in ([1.5], ["1"], [True], [-1], "1", {"1": 1}):
        answer = post(browser, {"numbers": wrong})
        assert (answer.status_code, "whole numbers" in answer.json()["error"]) == (400, True)
    assert post(browser, [1]).status_code == 400
    assert post(browser, {"numbers": [10**15] * 100_000}).status_code == 413


def test_a_csv_by_post_obeys_the_rules_of_actions(browser, project):
    project(count=2)
    assert post(browser, {"numbers": [1]}, Origin="http://elsewhere").status_code == 403
    assert post(browser, {"numbers": [1]}, **{"X-Studio-Token": "x"}).status_code == 403
    browser.cookies.clear()
    page = {"Origin": str(browser.base_url).rstrip("/"), "X-Studio-Token": "x"}
    assert browser.post("/api/p/digits/export.csv", json={"numbers": [1]}, headers=page).status_code == 403


def test_keys_that_a_script_escaped(browser, project):
    store = project(count=0, ranges={"a,b:c": "0:1", "100%": "0:1"})
    for number in (1, 2, 3):
        store.ask(number, {"a,b:c": number / 10, "100%": -number}, None)
    assert numbers_on(browser, "/p/digits?sort=-a%252Cb%253Ac") == [3, 2, 1]
    assert numbers_on(browser, "/p/digits?sort=100%25") == [3, 2, 1]
    assert numbers_on(browser, "/p/digits?sort=nix,number") == [1, 2, 3]


def test_the_page_without_scripts_filters_by_state_and_leaves_queries_to_scripts(browser, project):
    store = project(count=0)
    with store.transaction():
        for number in range(1, 6):
            ran(store, number, failed=number == 4)
    assert numbers_on(browser, "/p/digits?state=failed") == [4]
    assert numbers_on(browser, "/p/digits?state=all&sort=-number") == [5, 4, 3, 2, 1]
    assert numbers_on(browser, "/p/digits?q=opt+%3D+sgd&sort=number") == [1, 2, 3, 4, 5]
    assert 'href="/api/p/digits/export.csv"' in browser.get("/p/digits?q=opt+%3D+sgd").text


def test_what_was_reported_before_a_stop_is_no_result(browser, project):
    store = project(count=2)
    store.ask(3, {"lr": 0.1, "opt": "sgd"}, None)
    store.attempt_started(3, 1)
    ended = Outcome(3, 1, None, "SIGTERM", "stopped", 1_700_000_100.0, 1_700_000_109.0, 9.0, stopped=True)
    store.attempt_ended(ended, "stopped", 0.001)
    assert numbers_on(browser, "/p/digits?sort=metric.val_loss") == [2, 1, 3]
    assert numbers_on(browser, "/p/digits?sort=-metric.val_loss") == [1, 2, 3]
