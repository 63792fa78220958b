"""The CSV of the rows that a page shows."""

import csv
import io
import re


def numbers_on(browser, path):
    return [int(number) for number in re.findall(r'<tr data-number="(\d+)"', browser.get(path).text)]


def exported(browser, numbers):
    answer = post(browser, {"numbers": numbers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="digits.csv"'
    return [int(row["number"]) for row in csv.DictReader(io.StringIO(answer.text))]


def post(browser, given, **headers):
    page = {"Origin": str(browser.base_url).rstrip("/"), "X-Studio-Token": browser.token}
    return browser.post("/api/projects/digits/experiments.csv", json=given, headers={**page, **headers})


def test_csv_of_the_rows_that_a_page_names(browser, project):
    project(count=7)
    assert exported(browser, [7, 5, 1, 3]) == [7, 5, 1, 3]
    assert exported(browser, []) == []
    every = browser.get("/api/projects/digits/experiments.csv").text
    assert post(browser, {"numbers": list(range(1, 8))}).text == every
    assert (
        browser.get("/api/projects/digits/experiments.csv?q=opt+%3D+adam&state=failed").text == every
    )  # a GET has them all


def test_what_is_no_list_of_experiments_is_refused(browser, project):
    project(count=2)
    assert post(browser, {"numbers": [1, 9]}).status_code == 404
    for wrong in ([1.5], ["1"], [True], [-1], "1", {"1": 1}):
        answer = post(browser, {"numbers": wrong})
        assert (answer.status_code, "list of experiment numbers" in answer.json()["error"]["message"]) == (400, True)
    assert post(browser, [1]).status_code == 400
    assert post(browser, {"numbers": [10**15] * 100_000}).status_code == 413


def test_a_csv_by_post_obeys_the_rules_of_actions(browser, project):
    project(count=2)
    assert post(browser, {"numbers": [1]}, Origin="http://elsewhere").status_code == 403
    assert post(browser, {"numbers": [1]}, **{"X-Studio-Token": "x"}).status_code == 403
    browser.cookies.clear()
    page = {"Origin": str(browser.base_url).rstrip("/"), "X-Studio-Token": "x"}
    assert browser.post("/api/projects/digits/experiments.csv", json={"numbers": [1]}, headers=page).status_code == 403
