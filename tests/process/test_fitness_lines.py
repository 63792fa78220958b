"""What a script says about its fitness, well or badly, and what the record says then. Never a fitness of 0."""

import json
import math

import pytest

# Prints what it finds in the file `words` beside it, as it is.
SAY = """
    import sys

    lr = 0
    print(lr, flush=True)
    sys.stdout.buffer.write(open("words", "rb").read())
    sys.stdout.flush()
"""
# Writes down what it is told.
LISTENER = """
    import studio


    class Listener(studio.Optimizer):
        name = "listener"
        size = 1

        def __init__(self, space, *, seed):
            self.space = space

        def ask(self):
            if self.done:
                return None
            self.done = True
            return self.space.suggestion([0.5] * self.space.dimensions)

        def tell(self, suggestion, fitness):
            with open({path!r}, "a") as file:
                file.write(repr(fitness) + "\\n")
"""
NO_LINE = "printed no line `fitness: NUMBER`"


def strict(text):
    """JSON as everybody reads it: without NaN and Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def outcome(command, script, workdir):
    """The only experiment of a search, as `runs list --json` has it; its script prints `words` and goes on with `then`."""

    def call(words, *options, then="", code=None):
        script("train.py", SAY + then)
        (workdir / "words").write_bytes(words)
        result = command("run", "--quiet", "--project=p", *(options or ["--hp=lr=1"]), "train.py")
        (experiment,) = strict(command("runs", "list", "p", "--json").out)
        assert result.code == {"completed": 0, "failed": 1}[experiment["status"]]
        if experiment["metric"]:
            assert math.isfinite(experiment["metric"]["value"])
        return experiment

    return call


@pytest.mark.parametrize(
    ("words", "fitness"),
    [
        (b"fitness: 0.5\n", 0.5),
        (b"fitness: 0.5", 0.5),
        (b"fitness: 1\nfitness: 3\nfitness: 2\n", 2),
        (b"fitness: nan\nfitness: -inf\nfitness: 2\n", 2),
        (b"fitness: 2\nfitness: oops\nfitness:\nfitness: 1,5\nfitness: 7 or so\n", 2),
        (b"fitness: 2\nmy fitness: 3\n\xff\xfe\x00fitness: 4\n", 2),
        (b"fitness: 2\r 50%\rfitness: 3\r\n100%", 3),
        (b"fitness: -0.25\n" + b"x" * 300_000 + b"\n", -0.25),
        (b"fitness: 0\n", 0),  # the one way to a fitness of 0: to say so
    ],
)
def test_the_last_good_line_counts(outcome, words, fitness):
    experiment = outcome(words)
    assert (experiment["status"], experiment["reason"], experiment["exit_code"]) == ("completed", "", 0)
    assert experiment["fitness"] == experiment["metric"]["value"] == fitness


@pytest.mark.parametrize("optimizer", ["grid", "cma"])
@pytest.mark.parametrize(
    ("words", "value"),
    [
        (b"fitness: nan\n", "nan"),
        (b"fitness: inf\n", "inf"),
        (b"fitness: -Infinity\n", "-inf"),
        (b"fitness: 1e999\n", "inf"),
        (b"fitness: 3\nfitness: NaN\n", "nan"),
        (b"fitness: 3\nfitness: nan\nfitness: four\n", "nan"),
    ],
)
def test_a_last_line_that_is_not_finite_is_a_failure(outcome, optimizer, words, value):
    space = ["--hp=lr=1"] if optimizer == "grid" else ["--optimizer=cma", "--max-experiments=1", "--hp=lr=0:1"]
    experiment = outcome(words, *space)
    assert (experiment["status"], experiment["fitness"], experiment["metric"]) == ("failed", None, None)
    assert experiment["reason"] == f"the last value of fitness was {value}"
    assert experiment["exit_code"] == 0


WITHOUT = [
    b"",
    b"all is well\n",
    b"fitness:\n",
    b"fitness: very good\n",
    b"fitness: 0x10\n",
    b"fitness: 1_000\n",
    b"fitness: 93%\n",
    b"fitness = 3\n",
    b"the fitness: 3\n",
    b"fitness: 3 4\n",
    b"fitness: \xd9\xa3\n",  # an Arabic three
    b"f\x00itness: 3\n",
]


@pytest.mark.parametrize("words", WITHOUT)
def test_without_a_line_a_grid_has_no_fitness(outcome, words):
    experiment = outcome(words)
    assert (experiment["status"], experiment["reason"]) == ("completed", "")
    assert (experiment["fitness"], experiment["metric"]) == (None, None)


@pytest.mark.parametrize("words", WITHOUT)
def test_without_a_line_a_search_that_needs_one_has_a_failure(outcome, words):
    experiment = outcome(words, "--optimizer=cma", "--max-experiments=1", "--hp=lr=0:1")
    assert (experiment["status"], experiment["fitness"], experiment["metric"]) == ("failed", None, None)
    assert (experiment["reason"].split(",")[0].split(";")[0], experiment["exit_code"]) == (NO_LINE, 0)


@pytest.mark.parametrize(
    ("then", "reason", "exit_code"),
    [
        ("    raise SystemExit(7)\n", "exit code 7: fitness: 5", 7),
        ("    1 / 0\n", "exit code 1: ZeroDivisionError: division by zero", 1),
        ("    import os\n    os.abort()\n", "killed by SIGABRT: fitness: 5", None),
        ("    import os\n    os.kill(os.getpid(), 9)\n", "killed by SIGKILL: fitness: 5", None),
    ],
)
def test_a_fitness_and_then_a_crash_is_a_failure(outcome, then, reason, exit_code):
    experiment = outcome(b"fitness: 5\n", then=then)
    assert (experiment["status"], experiment["fitness"]) == ("failed", None)
    assert (experiment["reason"], experiment["exit_code"]) == (reason, exit_code)


def test_a_fitness_and_then_no_end_is_a_failure(outcome):
    then = "    import time\n    time.sleep(600)\n"
    experiment = outcome(b"fitness: 5\n", "--hp=lr=1", "--max-duration=0.5s", then=then)
    assert (experiment["status"], experiment["fitness"]) == ("failed", None)
    assert experiment["reason"] == "took longer than 0.5 s: fitness: 5"


def test_a_metric_that_never_came_is_a_failure_although_there_is_a_fitness(outcome):
    experiment = outcome(b"fitness: 5\n", "--hp=lr=1", "--metric=loss:min")
    assert (experiment["status"], experiment["fitness"], experiment["metric"]) == ("failed", None, None)
    assert experiment["reason"] == "metric 'loss' never came; seen: fitness"


def test_smaller_is_better_changes_the_sign_of_the_fitness_alone(outcome):
    experiment = outcome(b"fitness: 5\n", "--hp=lr=1", "--direction=min")
    assert (experiment["fitness"], experiment["metric"]["value"]) == (-5, 5)


@pytest.mark.parametrize(
    ("words", "then", "told"),
    [
        (b"fitness: 5\n", "", 5.0),
        (b"fitness: nan\n", "", None),
        (b"fitness: inf\n", "", None),
        (b"fitness: good\n", "", None),
        (b"", "", None),
        (b"fitness: 5\n", "    raise SystemExit(1)\n", None),
    ],
)
def test_an_optimizer_is_told_none_where_there_is_no_fitness(outcome, script, tmp_path, words, then, told):
    script("listener.py", LISTENER.format(path=str(tmp_path / "told")))
    outcome(words, "--optimizer=listener.py", "--no-baseline", "--hp=lr=0:1", then=then)
    assert (tmp_path / "told").read_text() == f"{told!r}\n"


@pytest.mark.parametrize("words", [b"fitness: nan\n", b"fitness:\n", b""])
def test_what_has_no_fitness_is_never_the_best(command, script, workdir, words):
    """Nor where every other one is worse than 0."""
    script("train.py", SAY.replace("words", "words{lr}").replace('"words{lr}"', 'f"words{lr}"'))
    (workdir / "words1").write_bytes(b"fitness: -3\n")
    (workdir / "words2").write_bytes(words)
    (workdir / "words3").write_bytes(b"fitness: -2\n")
    result = command("run", "--project=p", "--hp=lr=1,2,3", "train.py")
    assert "best: p/3  fitness -2  lr=3" in result.err
    first, second, third = strict(command("runs", "list", "p", "--json").out)
    assert [first["fitness"], second["fitness"], third["fitness"]] == [-3, None, -2]
