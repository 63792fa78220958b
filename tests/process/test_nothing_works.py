"""Every experiment fails, or repeats an earlier one: the search ends early and says why. When, tests/unit/search says."""

import errno
import json
from pathlib import Path

import pytest

from studio.execution import runner

SAID = "RuntimeError: no such file: data.csv"


def begun(command):
    """Status of each experiment that was started. One that was only asked ahead stays queued, for a resume."""
    experiments = json.loads(command("runs", "list", "p", "--json").out)
    assert {e["status"] for e in experiments if not e["started"]} <= {"queued"}
    return [experiment["status"] for experiment in experiments if experiment["started"]]


def state(command):
    (summary,) = json.loads(command("runs", "list", "--json").out)
    return summary["state"]


def given_up(result):
    """The line that says so; it comes once."""
    (line,) = [line for line in result.err.splitlines() if "giving up" in line]
    return line


def test_five_failures_end_it_and_a_resume_goes_on(command, script):
    script("train.py", "lr = 0\nprint('loading', lr)\nraise RuntimeError('no such file: data.csv')\n")
    result = command("run", "--project=p", "--hp=lr=1:12", "train.py")
    assert (result.code, begun(command)) == (1, ["failed"] * 5)
    assert given_up(result) == "studio: giving up: 5 experiments failed in a row, 5 of them for the same reason"
    assert f"(exit code 1: {SAID})\nstudio: giving up" in result.err
    assert "continue with: studio resume p" in result.err
    assert state(command) == "failures"
    result = command("resume", "p")
    assert (result.code, begun(command)) == (
        1,
        ["failed"] * 10,
    )  # five more tries, of values that were not tried before
    assert given_up(result).endswith("for the same reason")


def test_a_computer_without_a_free_process_ends_the_search_and_a_resume_loses_nothing(command, script, monkeypatch):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    real, starts = runner.spawn, []

    def refuse_the_third(*arguments):
        starts.append(arguments)
        if len(starts) >= 3:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(*arguments)

    monkeypatch.setattr(runner, "START_PAUSES", (0.01,))
    monkeypatch.setattr(runner, "spawn", refuse_the_third)
    result = command("run", "--project=p", "--num-workers=1", "--hp=lr=1:4", "train.py")
    assert (result.code, state(command)) == (1, "no-room")
    assert "#3 was not started: could not start: [Errno 11] Resource temporarily unavailable" in result.err
    assert "raise `ulimit -u` and `ulimit -n`, or use fewer --num-workers; continue with: studio resume p" in result.err
    assert begun(command) == ["completed", "completed", "stopped"]
    monkeypatch.setattr(runner, "spawn", real)
    assert (command("resume", "p").code, begun(command)) == (0, ["completed"] * 4)


def test_fewer_failures_than_that_are_carried_to_their_end(command, script):
    script("train.py", "lr = 0\nraise SystemExit(lr)\n")
    result = command("run", "--project=p", "--hp=lr=1:4", "train.py")
    assert (result.code, begun(command), "giving up" in result.err) == (1, ["failed"] * 4, False)
    assert "4 of 4 failed: studio runs logs p/1\n" in result.err
    assert state(command) == "done"
    assert "  all failed  " in command("runs", "list").out
    assert "studio runs logs p/1" in command("runs", "show", "p/1").out
    refused = command("runs", "list", "p", "--status=bad")
    assert (refused.code, "there are: completed, failed, pruned" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("lr = 0\nprint(lr)\nimport no_such_module\n", [], "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "import os\nlr = 0\nprint(lr)\nprint('so long', flush=True)\nos.kill(os.getpid(), 9)\n",
            [],
            "SIGKILL: so long",
        ),
        ("lr = 0\nprint(lr)\n", ["--python=./python"], "could not start: "),
        (
            "lr = 0\nprint('fitness: nan', lr)\nprint('fitness: nan')\n",
            ["--optimizer=cma", "--max-experiments=9"],
            "the last value of fitness was nan",
        ),
    ],
)
def test_whatever_does_not_work_is_said(command, script, text, options, reason):
    script("train.py", text)
    script("python", "no program\n").chmod(0o755)
    result = command("run", "--project=p", "--seed=1", *options, "--hp=lr=1:50", "train.py")
    assert result.code == 1
    assert "giving up: " in given_up(result)
    assert reason in result.err.partition("studio: giving up: ")[0].splitlines()[-1]
    assert begun(command) == ["failed"] * (2 if "no_such_module" in text else 5)


# --- repeats ----------------------------------------------------------------------------------------------------------

FEW = ["--optimizer=random", "--seed=1", "--hp=lr=1:3:i"]  # three values, suggested without end


def test_an_exhausted_space_says_so_and_ends(command, script):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    result = command("run", "--project=p", "--max-time=5m", *FEW, "train.py")
    assert result.code == 0
    (line,) = [line for line in result.err.splitlines() if "the optimizer only repeats" in line]
    assert line == "studio: the optimizer only repeats values that were tried before; continue with: studio resume p"
    assert state(command) == "exhausted"
    found = json.loads(command("runs", "list", "p", "--json").out)
    assert len(found) < 2000
    answered = next(e for e in found if e["reason"])
    first = next(e["number"] for e in found if e["values"] == answered["values"])
    assert answered["reason"] == f"same values as experiment {first}: answered from the record"
    assert command("runs", "show", answered["experiment"]).code == 0
    logs = command("runs", "logs", answered["experiment"])  # it never ran: to ask for its log is no error
    assert (logs.code, logs.out, logs.err) == (0, "", "")
    assert answered["folder"] is None or not Path(answered["folder"], "output.log").exists()
