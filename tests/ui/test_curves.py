"""Curves and importance of experiments that run, and of projects that change under the dashboard's eyes."""

import json


def running(store, number, losses):
    """Experiment `number` as it runs, with `losses` in the file that its script writes."""
    store.ask(number, {"lr": 0.01, "opt": "adam"}, None)
    store.attempt_started(number, 1)
    workspace = store.folder / str(number) / "1" / "workspace"
    workspace.mkdir(parents=True)
    lines = [json.dumps({"loss": loss}) for loss in losses]
    (workspace / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_what_runs_when_the_dashboard_first_looks_has_its_curve(browser, project):
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [0.5, 0.25])
    assert browser.json("/api/p/digits/experiments")["step"] == [2]
    assert browser.json("/api/p/digits/curves?e=1")["curves"]["1"] == {"step": [1, 2], "value": [0.5, 0.25]}


def test_of_a_project_made_anew_nothing_old_is_shown(browser, project, home):
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [0.5, 0.25])
    browser.json("/api/p/digits/curves?e=1")
    store.close()
    (home / "projects" / "digits").rename(home / "old")
    store = project(count=0, metric="jsonl:metrics.jsonl:loss:min")
    running(store, 1, [4.0, 3.0, 2.0])
    assert browser.json("/api/p/digits/curves?e=1")["curves"]["1"]["value"] == [4.0, 3.0, 2.0]
    assert browser.json("/api/p/digits/experiments")["step"] == [3]
