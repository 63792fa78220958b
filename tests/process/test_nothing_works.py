"""Every experiment fails: the search ends early, and says once what most of them said."""

import json

import pytest

# Fails as the value says, with a last line that is the same for all of them but those with an odd value.
FAIL = """
    lr = 0
    print("loading", lr)
    if lr in GOOD:
        print("fitness:", lr)
    elif lr in ODD:
        raise SystemExit("something else")
    else:
        raise RuntimeError("no such file: data.csv")
"""
SAID = "RuntimeError: no such file: data.csv"


def begun(command):
    """Status of each experiment that was started. One that was only asked ahead stays queued, for a resume."""
    experiments = json.loads(command("runs", "list", "p", "--json").out)
    assert [e["status"] for e in experiments if not e["started"]] in ([], ["queued"], ["queued"] * 2, ["queued"] * 3)
    return [experiment["status"] for experiment in experiments if experiment["started"]]


@pytest.fixture
def search(command, script):
    """What a grid search over 1 to `last` left, and the status of each experiment that was started."""

    def call(*options, last, good=(), odd=()):
        script("train.py", FAIL.replace("GOOD", repr(tuple(good))).replace("ODD", repr(tuple(odd))))
        result = command("run", "--project=p", *options, f"--hp=lr=1:1:{last}", "train.py")
        return result, begun(command)

    return call


def state(command):
    (summary,) = json.loads(command("runs", "list", "--json").out)
    return summary["state"]


def given_up(result):
    """The line that says so; it comes once."""
    (line,) = [line for line in result.err.splitlines() if "giving up" in line]
    return line


def test_five_failures_are_enough_when_nothing_ever_worked(search, command):
    result, statuses = search(last=100)
    assert (result.code, statuses) == (1, ["failed"] * 5)
    expected = f"studio: giving up: 5 experiments failed in a row, 5 of them with: exit code 1: {SAID}"
    assert given_up(result) == expected
    assert "continue with: studio resume p" in result.err
    assert state(command) == "failures"


def test_the_most_common_last_line_is_the_one_that_is_said(search):
    result, statuses = search(last=100, odd=[2, 5])
    assert (result.code, statuses) == (1, ["failed"] * 5)
    assert given_up(result).endswith(f"3 of them with: exit code 1: {SAID}")


def test_once_one_worked_it_takes_twenty_in_a_row(search):
    result, statuses = search(last=100, good=[3])
    assert statuses == ["failed"] * 2 + ["completed"] + ["failed"] * 20
    assert result.code == 1
    assert "20 experiments failed in a row, 20 of them with" in given_up(result)
    assert given_up(result).endswith(SAID)


def test_one_that_works_in_between_begins_the_count_anew(search):
    result, statuses = search(last=42, good=[1, 21, 41])
    assert (result.code, len(statuses)) == (3, 42)
    assert "giving up" not in result.err


def test_fewer_failures_than_that_are_carried_to_their_end(search, command):
    result, statuses = search(last=4)
    assert (result.code, statuses) == (1, ["failed"] * 4)
    assert "giving up" not in result.err
    assert "4 of 4 failed: studio runs logs p/1\n" in result.err
    assert state(command) == "done"
    assert "  all failed  " in command("runs", "list").out
    assert "studio runs logs p/1" in command("runs", "show", "p/1").out
    refused = command("runs", "list", "p", "--status=bad")
    assert (refused.code, "there are: completed, failed, pruned" in refused.err) == (2, True)


def test_several_at_a_time_end_as_early(search):
    result, statuses = search("--num-workers=3", last=100)
    assert result.code == 1
    assert set(statuses) == {"failed"}
    assert 5 <= len(statuses) <= 7  # those that ran when the fifth failed come to their end
    assert given_up(result).endswith(SAID)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr = 0\nprint(lr\n", None),  # does not parse: found before anything runs
        ("lr = 0\nprint(lr)\nimport no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import os\nlr = 0\nprint(lr)\nprint('so long', flush=True)\nos.kill(os.getpid(), 9)\n", "SIGKILL: so long"),
        ("import os\nlr = 0\nos._exit(lr + 2)\n", "exit code"),
    ],
)
def test_whatever_does_not_work_is_said(command, script, text, reason):
    script("train.py", text)
    result = command("run", "--project=p", "--hp=lr=1:1:50", "train.py")
    if reason is None:
        assert (result.code, result.err.count("\n")) == (2, 1)
        return
    assert result.code == 1
    assert reason in given_up(result)


@pytest.mark.parametrize("optimizer", ["random", "cma"])
def test_an_optimizer_that_hears_of_failures_alone_ends_as_early(command, script, optimizer):
    script("train.py", "lr = 0\nprint('fitness: nan', lr)\nprint('fitness: nan')\n")
    options = ["--seed=1", "--max-experiments=50", f"--optimizer={optimizer}", "--hp=lr=0:1"]
    result = command("run", "--project=p", *options, "train.py")
    assert result.code == 1
    assert given_up(result).endswith("5 of them with: the last value of fitness was nan")
    assert begun(command) == ["failed"] * 5


def test_after_that_a_resume_goes_on(search, command):
    search(last=12)
    result = command("resume", "p")
    assert result.code == 1
    assert begun(command) == ["failed"] * 10  # five more tries, of values that were not tried before
    experiments = json.loads(command("runs", "list", "p", "--json").out)
    assert {experiment["attempt"] for experiment in experiments} == {1}
    assert given_up(result).endswith(SAID)


def test_a_python_that_cannot_start_is_said(command, script, tmp_path):
    script("train.py", "lr = 0\nprint(lr)\n")
    (tmp_path / "python").write_text("no program\n")
    (tmp_path / "python").chmod(0o755)
    result = command("run", "--project=p", f"--python={tmp_path}/python", "--hp=lr=1:1:50", "train.py")
    assert result.code == 1
    assert "could not start: " in given_up(result)
