"""`--metric=mine.py:NAME`: a metric that a file of the user's reads."""

import os
from pathlib import Path

import pytest

from studio.errors import BadInput, StudioError
from studio.experiment import Metric, Run
from studio.host import create_host
from studio.project.project import Project
from studio.search.run import run
from studio.settings import make_settings

CLASS = """
import studio

class Doubled(studio.MetricReader):
    def __init__(self, name, run):
        self.lines = studio.Lines(run.folder + "/output.log")
        self.name = name

    def read(self):
        return self.reports(last=False)

    def close(self):
        return self.reports(last=True)

    def reports(self, last):
        rows = [line.split() for block in self.lines.read(last=last) for line in block.decode().splitlines()]
        return [studio.Report(None, 2 * float(value)) for name, value in rows if name == self.name]
"""
HOOK = (
    CLASS.replace("(studio.MetricReader)", "(Base)").replace(
        "class Doubled", "class Base(studio.MetricReader):\n    pass\n\nclass Doubled"
    )
    + """
@studio.hookimpl
def studio_open_metric(metric, run):
    return Doubled(metric.name, run) if metric.name != "none" else None
"""
)
TRAIN = "lr = 0.5\nprint('score', lr)\nprint('other', 7)\n"


@pytest.fixture(params=[CLASS, HOOK], ids=["class", "hook"])
def mine(request, script):
    return script("metrics/mine.py", request.param)


def test_a_search_is_ranked_by_it(home, script, mine):
    script("train.py", TRAIN)
    run("train.py", hyperparams={"lr": "1,3"}, metric="metrics/mine.py:score:min", project="p")
    best = Project("p").best
    assert (best.values, best.metric["value"], best.fitness) == ({"lr": 1}, 2.0, -2.0)
    assert best.metric["name"] == "metrics/mine.py:score"


def test_the_copy_of_the_project_is_the_one_that_reads(home, script, mine):
    script("train.py", TRAIN)
    script("metrics/beside.py", "")
    settings = make_settings("train.py", metric=str(mine) + ":score")
    assert settings.metric == "metrics/mine.py:score"  # below the working directory, whose copy goes where the run is


def test_a_file_elsewhere_is_named_whole(home, script, tmp_path, monkeypatch):
    script("train.py", TRAIN)
    (tmp_path / "elsewhere.py").write_text(CLASS)
    run("train.py", hyperparams={"lr": "1,3"}, metric="../elsewhere.py:score:max", project="p")
    assert Project("p").settings["metric"] == f"{tmp_path}/elsewhere.py:score:max"
    assert Project("p").best.metric["value"] == 6


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        ("mine.py:max", "'mine.py:max' names no metric of the file; write mine.py:NAME, such as mine.py:val_loss:min"),
        ("mine.py", "names no metric of the file"),
        ("none.py:loss:min", "there is no file 'none.py'"),
    ],
)
def test_what_is_typed_wrong(script, metric, complaint):
    script("mine.py", CLASS)
    with pytest.raises(BadInput, match=complaint):
        make_settings("train.py", metric=metric)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import studio", "must hold one subclass of studio.MetricReader with read; found: none"),
        (CLASS + "class More(Doubled): pass", "found: Doubled, More"),
        ("1 / 0", "line 1: ZeroDivisionError"),
        (HOOK.replace('!= "none"', '== "none"'), "reads no metric 'score'"),
        (CLASS.replace("def __init__(self, name, run)", "def __init__(self)"), "Doubled failed in its constructor"),
    ],
)
def test_a_file_that_cannot_be(script, workdir, text, complaint):
    script("mine.py", text)
    with pytest.raises(StudioError, match=complaint):
        create_host().open_metric(Metric("mine.py:score"), Run("p", 1, 1, str(workdir), {}, {}, [], {}, os.devnull))


def test_the_command_says_it_in_a_line(command, script):
    script("train.py", TRAIN)
    Path("mine.py").write_text("import studio")
    result = command("run", "--metric=mine.py:score:min", "--hp=lr=1,2", "train.py")
    assert result.code == 2
    assert result.err.startswith("studio: metric file mine.py must hold one subclass of studio.MetricReader")
