"""What a script says about its fitness, well or badly, and what the record says then. Never a fitness of 0.

The lines themselves are those of tests/unit/plugins/test_fitness.py; what an optimizer is told, of tests/unit/search/test_driver.py.
"""

import json

import pytest

# Prints the file `words1` for lr=1, as it is, and ends as `end1` says.
SAY = """
    import os, sys, time

    lr = 0
    sys.stdout.buffer.write(open(f"words{lr}", "rb").read())
    sys.stdout.flush()
    exec(open(f"end{lr}").read())
"""
GOOD = [
    (b"fitness: 0.5", 0.5),
    (b"fitness: 1\nfitness: 3\nfitness: 2\n", 2),
    (b"fitness: nan\nfitness: -inf\nfitness: 2\n", 2),
    (b"fitness: 2\nfitness: oops\nfitness:\nfitness: 7 or so\nmy fitness: 3\n\xff\xfe\x00fitness: 4\n", 2),
    (b"fitness: 2\r 50%\rfitness: 3\r\n100%", 3),
    (b"fitness: -0.25\n" + b"x" * 300_000 + b"\n", -0.25),
    (b"fitness: 0\n", 0),  # the one way to a fitness of 0: to say so
]
WITHOUT = [b"", b"fitness:\n", b"fitness: very good\n", b"fitness: 93%\n", b"the fitness: 3\n", b"fitness: \xd9\xa3\n"]
BAD = [
    (b"fitness: nan\n", "", "the last value of fitness was nan", 0),
    (b"fitness: -Infinity\n", "", "the last value of fitness was -inf", 0),
    (b"fitness: 3\nfitness: 1e999\nfitness: four\n", "", "the last value of fitness was inf", 0),
    (b"fitness: 5\n", "raise SystemExit(7)", "exit code 7: fitness: 5", 7),
    (b"fitness: 5\n", "1 / 0", "exit code 1: ZeroDivisionError: division by zero", 1),
    (b"fitness: 5\n", "os.abort()", "killed by SIGABRT: fitness: 5", None),
    (b"fitness: 5\n", "time.sleep(600)", "took longer than 3 s: fitness: 5", None),
]


def strict(text):
    """JSON as everybody reads it: without NaN and Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def search(command, script, workdir):
    """`search(words, ends)`: the experiments of a search, as `runs list --json` has them, and what the command said."""
    script("train.py", SAY)

    def carry_out(words, ends, *options):
        for number, (text, end) in enumerate(zip(words, ends, strict=True), 1):
            (workdir / f"words{number}").write_bytes(text)
            (workdir / f"end{number}").write_text(end)
        options = ["--project=p", *(options or [f"--hp=lr=1:{len(words)}"])]
        result = command("run", *options, "train.py")
        return strict(command("runs", "list", "p", "--json").out), result

    return carry_out


def test_what_a_script_said_is_its_fitness_or_none(search):
    words = [*(text for text, _ in GOOD), *WITHOUT, *(text for text, *_ in BAD)]
    ends = [""] * (len(GOOD) + len(WITHOUT)) + [end for _, end, _, _ in BAD]
    options = ["--num-workers=4", "--max-duration=3s", f"--hp=lr=1:{len(words)}"]
    found, result = search(words, ends, *options)
    assert result.code == 3
    assert "best: p/5  fitness 3  " in result.err
    said = [(e["status"], e["fitness"], e["reason"], e["exit_code"]) for e in found]
    assert said[: len(GOOD)] == [("completed", fitness, "", 0) for _, fitness in GOOD]
    assert said[len(GOOD) : -len(BAD)] == [("completed", None, "", 0)] * len(WITHOUT)
    assert said[-len(BAD) :] == [("failed", None, reason, code) for _, _, reason, code in BAD]
    assert [e["metric"] for e in found[len(GOOD) : -len(BAD)]] == [None] * len(WITHOUT)


@pytest.mark.parametrize(
    ("words", "options", "reason"),
    [
        (
            "all is well {lr}",
            ["--optimizer=cma", "--max-experiments=1", "--hp=lr=1:2"],
            "printed no line `fitness: NUMBER`",
        ),
        ("fitness: {lr}", ["--metric=loss:min", "--hp=lr=1"], "metric 'loss' never came; seen: fitness"),
    ],
)
def test_a_metric_that_is_needed_and_never_came_is_a_failure(command, script, words, options, reason):
    script("train.py", f"lr = 0\nprint({words!r}.format(lr=lr))\n")
    assert command("run", "--project=p", *options, "train.py").code == 1
    (only,) = strict(command("runs", "list", "p", "--json").out)
    assert (only["status"], only["fitness"], only["metric"], only["exit_code"]) == ("failed", None, None, 0)
    assert only["reason"].startswith(reason)


def test_smaller_is_better_changes_the_sign_of_the_fitness_alone(search):
    (only,), _ = search([b"fitness: 5\n"], [""], "--hp=lr=1", "--direction=min")
    assert (only["fitness"], only["metric"]["value"]) == (-5, 5)


def test_a_grid_without_a_fitness_says_so(search):
    _, result = search([b""], [""])
    assert result.code == 0
    assert "no ranking: no experiment printed `fitness: NUMBER`; name a metric with --metric" in result.err


PLUGIN = """
import os
import studio

class Breaks(studio.MetricReader):
    def __init__(self, run):
        self.place = run.folder + "/read"

    def read(self):
        if os.path.exists(self.place):
            raise ValueError("nothing more")
        open(self.place, "w").close()
        return [studio.Report(None, 1.0)]

@studio.hookimpl
def studio_optimizers():
    class One(studio.Optimizer):
        name = "one"
        needs_fitness = False

        def __init__(self, space, *, seed):
            self.space = space

        def ask(self):
            return self.space.suggestion([0.5])

        def tell(self, suggestion, fitness):
            pass

    return [One]

@studio.hookimpl
def studio_open_metric(metric, run):
    if metric.name == "mine:late" and os.path.isdir(run.folder):
        raise ValueError("cannot open")
    return Breaks(run) if metric.name.startswith("mine") else None
"""


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("mine", "reading the metric failed: ValueError: nothing more"),
        ("mine:late", "plugin {file} of {file} is left out: ValueError: cannot open"),
    ],
)
def test_a_plugin_that_breaks_while_it_reads_a_metric(script, command, metric, reason):
    """Its first value may be an old one."""
    file = script("mine.py", PLUGIN)
    script(
        "train.py",
        """
        import os, sys, time
        lr = 0
        print(lr)
        while sys.argv[1] == "mine" and not os.path.exists(os.environ["STUDIO_FOLDER"] + "/read"):
            time.sleep(0.01)
        """,
    )
    options = [f"--optimizer={file}", "--max-experiments=1", f"--metric={metric}:max", "--hp=lr=1:2"]
    result = command("run", "--project=p", *options, "train.py", metric)
    assert result.code == 1, result.err
    (only,) = strict(command("runs", "list", "p", "--json").out)
    assert (only["status"], only["failure"], only["reason"]) == ("failed", "metric", reason.format(file=file))
