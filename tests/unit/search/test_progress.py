"""`studio.run` shows its progress in a notebook and on a terminal, and nowhere else."""

import sys
from types import SimpleNamespace

import pytest

import studio
from studio.experiment import Experiment, Metric
from studio.search.display import LivePanel, Notebook, PlainLines, _status_line, watching
from studio.search.observer import Observer, Progress

TRAIN = "x = 1\nif x == 2: raise SystemExit('<no> luck')\nprint('fitness:', x)\n"


class Display:
    """Stand-in for IPython.display, with all that was shown."""

    def __init__(self):
        self.shown = []

    def HTML(self, text):
        return text

    def display(self, text, display_id):
        self.shown.append(text)
        return SimpleNamespace(update=self.shown.append)


@pytest.fixture
def notebook(monkeypatch):
    """Make this process a notebook's kernel."""
    display = Display()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    return display


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_a_notebook_shows_one_output_that_is_written_anew(notebook, home, script):
    script("train.py", TRAIN)
    studio.run("train.py", hyperparams={"x": [1, 2, 3]}, project="p")
    assert "p: 0 of 3 finished" in notebook.shown[0]
    last = notebook.shown[-1]
    assert "p: 3 of 3 finished · 1 failed" in last
    assert "best  #3  fitness 3  x=3" in last
    assert "&lt;no&gt; luck" in last


def test_a_notice_does_not_repeat_the_reason_of_the_line_before_it(capsys):
    lines, reason = PlainLines(), "exit code 1: no data"
    lines.finished(Experiment("p", 1, "failed", {"lr": 1}, reason=reason), Progress(Metric("loss")))
    lines.notice(f"giving up: nothing works: {reason}")
    lines.notice("giving up: nothing works: exit code 2")
    assert capsys.readouterr().err.splitlines()[1:] == [
        "studio: giving up: nothing works",
        "studio: giving up: nothing works: exit code 2",
    ]


def test_without_progress_nothing_is_shown(notebook, home, script):
    script("train.py", TRAIN)
    project = studio.run("train.py", hyperparams={"x": [1]}, project="p", progress=False)
    assert studio.resume("p", progress=False, max_experiments=1).name == project.name
    assert notebook.shown == []


def test_an_observer_hears_instead(notebook, home, script):
    script("train.py", TRAIN)
    studio.run("train.py", hyperparams={"x": [1]}, observer=Observer())
    assert notebook.shown == []


def test_a_terminal_has_the_panel(terminal):
    assert type(watching(True)) is LivePanel
    assert type(watching(False)) is Observer


def test_a_file_gets_nothing(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(watching(True)) is Observer
    assert not isinstance(watching(True), PlainLines | Notebook)


@pytest.mark.parametrize(("total", "finished", "text"), [(8, 9, "9 of 9 finished"), (8, 1, "1 of 8 finished")])
def test_experiments_beside_the_budget_are_counted(total, finished, text):
    progress = Progress(Metric("loss", "min"), total, counts={"completed": finished})
    assert _status_line(progress) == text
