"""Values that were seen before are answered from the record; a space without new ones ends the search."""

import json
from pathlib import Path

import pytest

# Notes that it ran.
COUNT = """
    lr = 0
    with open(RAN, "a") as file:
        file.write(f"{lr}\\n")
    print("fitness:", lr)
"""
FEW = ["--optimizer=random", "--seed=1", "--hp=lr=1:3:i"]  # three values, suggested without end


@pytest.fixture
def ran(script, tmp_path):
    """The values that the script ran with, in order."""
    script("train.py", COUNT.replace("RAN", repr(str(tmp_path / "ran"))))
    (tmp_path / "ran").touch()
    return lambda: [int(line) for line in (tmp_path / "ran").read_text().split()]


def experiments(command):
    return json.loads(command("runs", "list", "p", "--json").out)


def test_what_was_seen_before_is_answered_from_the_record(command, ran):
    assert command("run", "--quiet", "--project=p", "--max-experiments=12", *FEW, "train.py").code == 0
    found = experiments(command)
    assert sorted(ran()) == [1, 2, 3]
    assert [experiment["number"] for experiment in found] == list(range(1, 13))  # each counts
    first = {}
    for experiment in found:
        value = experiment["values"]["lr"]
        assert (experiment["status"], experiment["fitness"]) == ("completed", value)
        if value in first:
            word = f"same values as experiment {first[value]}: answered from the record"
            assert (experiment["reason"], experiment["exit_code"]) == (word, 0)
        else:
            first[value] = experiment["number"]
            assert experiment["reason"] == ""


def test_with_repeat_it_runs_again(command, ran):
    assert command("run", "--quiet", "--repeat", "--project=p", "--max-experiments=6", *FEW, "train.py").code == 0
    assert ran() == [experiment["values"]["lr"] for experiment in experiments(command)]
    assert len(ran()) == 6
    assert {experiment["reason"] for experiment in experiments(command)} == {""}


def test_an_exhausted_space_says_so_and_ends(command, ran):
    result = command("run", "--project=p", "--max-experiments=100000", *FEW, "train.py")
    assert result.code == 0
    assert sorted(ran()) == [1, 2, 3]
    assert len(experiments(command)) < 2000
    (line,) = [line for line in result.err.splitlines() if "the optimizer only repeats" in line]
    assert line == "studio: the optimizer only repeats values that were tried before; continue with: studio resume p"
    (summary,) = json.loads(command("runs", "list", "--json").out)
    assert summary["state"] == "exhausted"


def test_without_any_budget_too(command, ran):
    result = command("run", "--project=p", "--max-time=5m", *FEW, "train.py")
    assert (result.code, sorted(ran())) == (0, [1, 2, 3])
    assert "the optimizer only repeats values that were tried before" in result.err


def test_a_failure_is_answered_as_a_failure(command, ran, script, tmp_path):
    text = COUNT.replace("RAN", repr(str(tmp_path / "ran")))
    script("train.py", text + "    if lr == 2:\n        raise SystemExit('two')\n")
    assert command("run", "--quiet", "--project=p", "--max-experiments=12", *FEW, "train.py").code == 3
    twos = [experiment for experiment in experiments(command) if experiment["values"]["lr"] == 2]
    assert len(twos) > 1
    assert {(experiment["status"], experiment["fitness"]) for experiment in twos} == {("failed", None)}
    assert sorted(ran()) == [1, 2, 3]


def test_answers_of_failures_do_not_count_as_failures_of_their_own(command, ran, script, tmp_path):
    """Three values that all fail are three failures, however often they are suggested."""
    text = COUNT.replace("RAN", repr(str(tmp_path / "ran")))
    script("train.py", text + "    raise SystemExit('never')\n")
    result = command("run", "--project=p", "--max-experiments=30", *FEW, "train.py")
    assert result.code == 1
    assert sorted(ran()) == [1, 2, 3]
    assert "giving up" not in result.err


def test_one_that_still_runs_is_waited_for(command, ran):
    """Two suggestions of one value at the same time are one run."""
    options = ["--num-workers=3", "--max-experiments=12"]
    assert command("run", "--quiet", "--project=p", *options, *FEW, "train.py").code == 0
    assert sorted(ran()) == [1, 2, 3]
    assert {experiment["fitness"] - experiment["values"]["lr"] for experiment in experiments(command)} == {0}


def test_a_resumed_search_knows_what_was_seen(command, ran):
    command("run", "--quiet", "--project=p", "--max-experiments=8", *FEW, "train.py")
    before = experiments(command)
    assert command("resume", "p", "--quiet", "--max-experiments=16").code == 0
    assert experiments(command)[:8] == before
    assert len(experiments(command)) == 16
    assert sorted(ran()) == [1, 2, 3]


def test_a_grid_with_one_value_twice_runs_it_once(command, ran):
    result = command("run", "--quiet", "--project=p", "--hp=lr=1,2,1", "train.py")
    assert result.code == 0
    assert ran() == [1, 2]
    assert [experiment["fitness"] for experiment in experiments(command)] == [1, 2, 1]


def test_the_answer_has_the_files_of_nobody(command, ran):
    """An experiment that was answered never ran: it has no log, and asking for one is no error."""
    command("run", "--quiet", "--project=p", "--max-experiments=8", *FEW, "train.py")
    answered = next(experiment for experiment in experiments(command) if experiment["reason"])
    assert command("runs", "show", answered["experiment"]).code == 0
    logs = command("runs", "logs", answered["experiment"])
    assert (logs.code, logs.out, logs.err) == (0, "", "")
    assert answered["folder"] is None or not Path(answered["folder"], "output.log").exists()
