"""`studio plot`: pictures in a terminal, in a pipe, in a narrow window, and where there is nothing to draw."""

import re
import sys

import pytest

import studio
from studio.entry_points import install_command
from studio.format import metric_value

pytest.importorskip("plotext", reason="pip install 'studio-search[plot]'")


@pytest.fixture
def search(home):
    """`search(count, **ranges)`: a project p with that many results; the best has x near 1."""

    def make(count, **ranges):
        made = studio.Search(
            ranges or {"lr": "1e-5:0.1:l", "opt": ["adam", "sgd"]}, optimizer="random", seed=1, project="p"
        )
        for _ in range(count):
            suggestion = made.ask()
            first = next(iter(suggestion.values.values()))
            made.tell(suggestion, float(first) if isinstance(first, float | int) else 0.5)
        made.close()

    return make


def pictures(text):
    """Title -> lines of each picture."""
    parts = [part.strip("\n").split("\n") for part in re.split(r"\n\n+", text.strip("\n"))]
    return {lines[0].strip(): lines[1:] for lines in parts}


def test_best_so_far_and_a_slice_for_each_hyperparameter(search, command):
    search(20)
    result = command("plot", "p")
    assert (result.code, result.err) == (0, "")
    best = studio.Project("p").best
    drawn = pictures(result.out)
    assert list(drawn) == [
        f"best fitness so far: {metric_value(best)} (#{best.number})",
        "fitness by lr (log)",
        "fitness by opt",
    ]
    assert drawn["fitness by lr (log)"][-1].split() == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]
    assert drawn["fitness by opt"][-1].split() == ["adam", "sgd"]
    assert sum(line.count("•") for line in drawn["fitness by opt"]) >= 5


def test_piped_there_are_no_colours(search, command):
    search(5)
    assert "\x1b" not in command("plot", "p").out


@pytest.mark.parametrize("columns", [20, 40, 80, 300])
def test_it_is_as_wide_as_the_terminal(search, command, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    search(200)
    widest = max(map(len, command("plot", "p").out.splitlines()))
    assert widest == min(columns, 120)


def test_no_results(search, command, home):
    search(0)
    result = command("plot", "p")
    assert (result.code, result.out) == (0, "")
    assert result.err == "studio: no experiment of p has a result yet: there are none\n"


def test_only_one_result_and_one_value(search, command):
    search(1)
    result = command("plot", "p", "--hp=lr")
    assert result.code == 0
    assert "best fitness so far" in result.out


def test_one_hyperparameter_alone(search, command):
    search(5)
    assert list(pictures(command("plot", "p", "--hp=opt").out))[1:] == ["fitness by opt"]


def test_arrays_are_drawn_by_their_norm(search, command):
    search(5, w="0:1:3:a")
    assert "fitness by ‖w‖" in pictures(command("plot", "p").out)


def test_results_far_away_do_not_flatten_the_others(home, command):
    made = studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="p")
    for at in range(20):
        made.tell(made.ask(), -1e30 if at == 7 else at / 10)
    made.close()
    assert "e+30" not in command("plot", "p").out


def test_many_categories_and_hostile_names(search, command):
    names = [f"name{at}" for at in range(40)]
    search(60, opt=["\x1b[2Jclear", "\u202eback", *names])
    result = command("plot", "p")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "\u202e" not in result.out


def test_another_metric_comes_from_the_files_of_the_runs(script, command):
    script(
        "train.py",
        """
        import json
        lr = 0.1
        with open("log", "w") as log:
            for loss in (3, lr, 2):
                print(json.dumps({"loss": loss}), file=log)
        print("fitness:", lr)
        """,
    )
    command("run", "--quiet", "--project=p", "--hp=lr=0.25,0.5", "train.py")
    result = command("plot", "p", "--metric=jsonl:log:loss:min")
    assert "best jsonl:log:loss so far: 0.25 (#1)" in result.out
    result = command("plot", "p", "--metric=jsonl:log:los")
    assert result.code == 2
    assert "is in the files of none of the 2 experiments" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no project 'nothing'"),
        (["p", "--hp=lrr"], "--hyperparam 'lrr' is not a hyperparameter of p; did you mean 'lr'?"),
        (["p", "--metric=:min"], "--metric ':min' has no metric name"),
    ],
)
def test_errors_are_one_line(search, command, arguments, words):
    search(2)
    result = command("plot", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


def test_without_the_library_one_line_names_it(search, command, monkeypatch):
    search(1)
    monkeypatch.setitem(sys.modules, "plotext", None)
    result = command("plot", "p")
    assert (result.code, result.err) == (2, f"studio: studio plot needs plotext: {install_command('plot')}\n")
