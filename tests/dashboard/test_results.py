"""What is a result, which one is the best, and what Compare may compare: one rule in every place."""

import csv
import io
import json
import re

import pytest

import studio
from studio.dashboard.pages import compared_results
from studio.experiment import Outcome
from studio.ranking import ranked


def ended(store, number, status, loss, *, fitness=None, pruned=False):
    store.ask(number, {"lr": number / 10, "opt": "adam"}, None)
    store.attempt_started(number, 1)
    reason = {"failed": "exit code 1: ValueError: out of luck", "stopped": "stopped"}.get(status, "")
    outcome = Outcome(number, 1, int(status == "failed"), None, reason, 1e9, 1e9 + 9, 9.0, stopped=status == "stopped")
    store.attempt_ended(outcome, status, loss)
    if status != "stopped":
        store.tell(number, fitness, {"pruned": True} if pruned else None)


@pytest.fixture
def mixed(project):
    """The best is #1: #2 failed and #3 was stopped with a better value, #4 was pruned with a better fitness."""
    store = project(count=0)
    ended(store, 1, "completed", 0.5, fitness=-0.5)
    ended(store, 2, "failed", 0.0125)
    ended(store, 3, "stopped", 0.0126)
    ended(store, 4, "pruned", 0.25, fitness=-0.25, pruned=True)
    ended(store, 5, "completed", 0.75, fitness=-0.75)
    return store


def test_a_run_without_a_result_has_no_value_in_any_table(mixed, browser, command):
    columns = browser.json("/api/projects/digits/experiments?layout=columns")
    assert columns["metric"]["val_loss"] == [0.5, None, None, 0.25, 0.75]
    table = list(csv.DictReader(io.StringIO(browser.get("/api/projects/digits/experiments.csv").text)))
    assert [row["metric"] for row in table] == ["0.5", "", "", "0.25", "0.75"]
    assert studio.Project("digits").to_dataframe()["metric"].isna().tolist() == [False, True, True, False, False]
    sort = browser.json("/api/projects/digits/experiments?sort=metric&fields=number")["experiments"]
    assert [each["number"] for each in sort] == [4, 1, 5, 2, 3]
    assert "0.012" not in command("runs", "list", "digits").out
    assert "0.012" not in command("report", "digits", "--format=md").out


def test_sorted_by_fitness_is_ranked(mixed, browser):
    ended(mixed, 6, "completed", 0.5, fitness=-0.5)
    ended(mixed, 7, "completed", 0.5 - 1e-12, fitness=1e-12 - 0.5)
    found = browser.json("/api/projects/digits/experiments?sort=-fitness&limit=4")["experiments"]
    assert [each["number"] for each in found] == [each.number for each in ranked(studio.Project("digits").experiments)]
    assert [each["number"] for each in found] == [7, 1, 6, 5]


@pytest.mark.parametrize(("sort", "numbers"), [("lr", [1, 2, 3, 4, 5, 6]), ("-lr", [6, 5, 4, 3, 2, 1])])
def test_texts_come_after_numbers(mixed, browser, sort, numbers):
    mixed.ask(6, {"lr": "auto", "opt": "adam"}, None)
    found = browser.json(f"/api/projects/digits/experiments?sort={sort}&fields=number")["experiments"]
    assert [each["number"] for each in found] == numbers


def test_a_page_reads_its_own_experiments_only(mixed, browser, monkeypatch):
    read: list[list[int]] = []
    chosen = studio.Project.chosen
    monkeypatch.setattr(studio.Project, "chosen", lambda self, numbers: chosen(self, read.append(numbers) or numbers))
    monkeypatch.setattr(studio.Project, "experiments", property(lambda self: pytest.fail("all were read")))
    assert browser.json("/api/projects/digits/experiments?sort=metric&limit=2&after=4")["next"] == 5
    assert "\n4,pruned" in browser.get("/api/projects/digits/experiments.csv?status=pruned").text
    assert read == [[1, 5], [4]]


def test_its_last_value_is_marked_as_such_wherever_it_is_shown(mixed, browser, command):
    for number, words in ((2, "0.0125 before it failed"), (3, "0.0126 before it was stopped")):
        card = browser.json(f"/p/digits/card/{number}")["html"]
        pages = [card, browser.get(f"/p/digits/{number}").text, browser.get(f"/p/digits/compare?e=1,{number}").text]
        for page in pages:
            shown = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
            assert words in re.sub(r"<[^>]*>", "", shown)
            assert "No result" in shown
        assert words in command("runs", "show", f"digits/{number}").out


def test_the_best_badge_is_that_of_the_project(mixed, browser):
    """Not of the experiments that are compared, and not of what was pruned."""
    badge = '<em class="tag">best</em>'
    rows = re.findall(r'<tr id="row-(\d+)"(.*?)</tr>', browser.get("/p/digits").text, re.DOTALL)
    assert [number for number, row in rows if badge in row] == ["1"]
    assert browser.json("/api/projects/digits")["best"]["number"] == 1
    for number in (1, 4, 5):
        assert (badge in browser.json(f"/p/digits/card/{number}")["html"]) == (number == 1)
        assert (badge in browser.get(f"/p/digits/{number}").text) == (number == 1)
    ranks = [browser.json(f"/api/projects/digits/experiments/{number}")["rank"] for number in range(1, 6)]
    assert ranks == [1, None, None, None, 2]
    assert browser.get("/p/digits/compare?e=1,5").text.count(badge) == 1
    others = browser.get("/p/digits/compare?e=4,5").text
    assert badge not in others
    assert "Differences are from #5, the best of these 2" in others


def experiment(status, value, rank=None):
    return {"status": status, "rank": rank, "metric": None if value is None else {"value": value}}


FIRST = {"step": [1, 2, 3, 4], "value": [0.9, 0.5, 0.6, 0.4]}
SHORT = {"step": [1, 2, 3], "value": [0.9, 0.8, 0.7]}
NONE = {"step": [], "value": []}


@pytest.mark.parametrize(
    ("status", "value", "curve", "mode", "delta", "step"),
    [
        ("completed", 0.5, SHORT, "min", 0.1, None),  # its result with the other's
        ("pruned", 0.7, SHORT, "min", 0.2, 3),  # not with 0.4, nor with 0.6: the smallest up to step 3
        ("running", 0.7, SHORT, "last", 0.1, 3),
        ("pruned", 0.9, SHORT, "max", 0.0, 3),
        ("pruned", 0.7, {"step": [9], "value": [0.7]}, "min", None, 9),  # the first one ended before
        ("pruned", 0.7, NONE, "min", None, None),
        ("failed", 0.7, SHORT, "min", None, None),
        ("stopped", 0.7, SHORT, "min", None, None),
        ("completed", None, NONE, "min", None, None),
    ],
)
def test_values_are_compared_at_the_same_step(status, value, curve, mode, delta, step):
    found = [experiment("completed", 0.4, rank=1), experiment(status, value)]
    first, cell = compared_results(found, [FIRST, curve], mode)
    assert (first["value"], first["delta"]) == (0.4, None)
    assert cell["delta"] == (None if delta is None else pytest.approx(delta))
    assert cell["step"] == step


def test_without_a_result_nothing_is_compared():
    cells = compared_results([experiment("pruned", 0.4), experiment("pruned", 0.5)], [FIRST, FIRST], "min")
    assert [(cell["delta"], cell["step"]) for cell in cells] == [(None, 4), (None, 4)]


def test_the_page_says_at_which_step_it_compares(browser, project):
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    for number, losses in ((1, [0.9, 0.5, 0.4]), (2, [0.9, 0.7])):
        workspace = store.folder / str(number) / "1" / "workspace"
        workspace.mkdir(parents=True)
        (workspace / "metrics.jsonl").write_text("".join(f"{json.dumps({'loss': loss})}\n" for loss in losses))
    ended(store, 1, "completed", 0.4, fitness=-0.4)
    ended(store, 2, "pruned", 0.7, fitness=-0.7, pruned=True)
    page = re.sub(r"<[^>]*>", " ", browser.get("/p/digits/compare?e=1,2").text)
    assert re.search(r"0\.7\s+at step 2\s+\+0\.2 from #1 there", page)
