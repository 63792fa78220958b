"""Notebooks: `project.to_dataframe()` with pandas, and what Jupyter shows of a project."""

import sys

import pytest

import studio
from studio.errors import BadInput


@pytest.fixture
def project(recorded):
    failed = "exit code 1: no <script>alert(1)</script> here"
    results = [
        ({"lr": lr, "opt": opt}, -lr if opt == "sgd" else failed) for lr in (0.5, 0.25) for opt in ("sgd", "<b>bold")
    ]
    return recorded("digits", results, direction="min")


def test_a_row_for_each_experiment(project):
    pytest.importorskip("pandas")
    frame = project.to_dataframe()
    assert list(frame.columns[:6]) == ["number", "status", "lr", "opt", "metric", "fitness"]
    assert frame["number"].tolist() == [1, 2, 3, 4]
    assert frame["lr"].tolist() == [0.5, 0.5, 0.25, 0.25]
    assert sorted(frame["status"]) == ["completed", "completed", "failed", "failed"]
    done = frame[frame["status"] == "completed"]
    assert done["metric"].tolist() == [-0.5, -0.25]  # as the script gave it
    assert done["fitness"].tolist() == [0.5, 0.25]  # as the optimizer heard it
    assert frame[frame["status"] == "failed"]["reason"].str.contains("script").all()
    assert str(frame["started"].dtype.tz) == "UTC"
    assert ((frame["finished"] - frame["started"]).dt.total_seconds() > 0).all()
    assert frame.attrs["metric"] == "fitness"


def test_arrays_are_lists_and_taken_names_are_told_apart(home):
    pytest.importorskip("pandas")
    search = studio.Search({"w": "0:1:3:a", "status": [1, 2]}, optimizer="random", seed=1, project="p")
    suggestion = search.ask()
    search.tell(suggestion, 1.0)
    search.close()
    frame = studio.Project("p").to_dataframe()
    assert frame["w"][0] == suggestion.values["w"].tolist()
    assert frame["status"][0] == "completed"
    assert frame["values.status"][0] == suggestion.values["status"]


def test_no_experiments_is_an_empty_table(home):
    pytest.importorskip("pandas")
    studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="p").close()
    assert len(studio.Project("p").to_dataframe()) == 0


def test_without_pandas_one_line_names_it(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match=r"^to_dataframe needs pandas: pip install pandas$"):
        project.to_dataframe()


def test_a_notebook_shows_the_best_escaped(project):
    page = project._repr_html_()
    assert "<b>digits</b> · done · 2 completed, 2 failed" in page
    assert page.index("<td>-0.5</td>") < page.index("<td>-0.25</td>")
    assert "<b>bold" not in page
    assert "<td>sgd</td>" in page


def test_a_notebook_stays_small(home):
    ranges = {f"hyperparameter_{at}": [f"<{'x' * 500}>", "b"] for at in range(200)}
    search = studio.Search(ranges, optimizer="random", seed=1, project="p", max_experiments=30)
    for at, suggestion in enumerate(search):
        search.tell(suggestion, float(at))
    search.close()
    page = studio.Project("p")._repr_html_()
    assert len(page) < 20_000
    assert page.count("<tr>") == 11
    assert "188 more hyperparameters" in page
