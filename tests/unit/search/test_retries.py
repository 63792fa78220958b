"""The driver: `--retry-failed` and `--on-failure` for each class of failure, with a backend that only pretends."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import studio
from studio.errors import BadInput
from studio.experiment import Run
from studio.project import inbox
from studio.project.project import Project
from studio.project.records import read_events, reading
from studio.search import run as launch
from studio.search.resume import resume
from studio.testing.fakes import fake_backend, outcome_of

ENDS: dict[str, dict[str, Any]] = {
    "crash": {"exit_code": 1, "reason": "exit code 1: no luck"},
    "memory": {"exit_code": 1, "reason": "out of memory", "failure": "memory"},
    "timeout": {"exit_code": None, "reason": "took longer than 1 s", "failure": "timeout"},
    "lost": {"exit_code": None, "reason": "the machine is gone", "failure": "lost"},
    "metric": {"exit_code": 0},
}


class Hears(studio.Optimizer):
    """Asks for x=2 and x=1, and writes down what it is told."""

    name = "hears"
    heard: list[tuple[int | None, float | None]] = []

    def __init__(self, space: Any, *, seed: int) -> None:
        self.space, self.size = space, 2

    def ask(self) -> Any:
        self.size -= 1
        self.done = self.size < 0
        return None if self.done else self.space.suggestion([self.size * 0.999])

    def tell(self, suggestion: Any, fitness: float | None) -> None:
        self.heard.append((suggestion.number, fitness))


class Plugin:
    @studio.hookimpl
    def studio_optimizers(self) -> list[type[studio.Optimizer]]:
        return [Hears]


class Lab:
    """Searches of project `p`; `fails(run)` names the class of failure of a run, or None where it scores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[tuple[int, int]] = []
        self.notices: list[str] = []

    def options(self, fails: Callable[[Run], str | None]) -> dict[str, Any]:
        def behave(run: Run) -> Any:
            self.begun.append((run.number, run.attempt))
            failure = fails(run)
            if failure is None:
                return float(run.values["x"])
            return [float("nan")] if failure == "metric" else [outcome_of(run, **ENDS[failure])]

        return {"host": studio.create_host(plugins=[fake_backend(behave).plugin(), Plugin()])}

    def run(self, fails: Callable[[Run], str | None], x: Any = "0:3", **options: Any) -> Project:
        self.begun.clear()
        return launch.run(
            "train.py", hyperparams={"x": x}, project="p", backend="fake", **self.options(fails), **options
        )

    def resume(self, fails: Callable[[Run], str | None], **options: Any) -> Project:
        return resume("p", **self.options(fails), **options)

    @property
    def outcomes(self) -> list[tuple[str, int, float | None]]:
        return [(e.status, e.attempt, e.fitness) for e in Project("p").experiments if e.started]

    @property
    def tells(self) -> dict[int | None, int]:
        with reading(self.folder) as connection:
            return Counter(event.number for event in read_events(connection) if event.kind == "tell")


@pytest.fixture
def lab(home: Path, script: Callable[[str, str], Path]) -> Lab:
    script("train.py", "x = 0\nprint('fitness:', x)\n")
    return Lab(home / "projects" / "p")


def in_vain(failure: str) -> Callable[[Run], str | None]:
    """The experiment with x=N makes its first N attempts in vain."""
    return lambda run: failure if run.attempt <= run.values["x"] else None


def each_way(run: Run) -> str | None:
    """x=0 scores; x=1 crashes, 2 has no memory, 3 takes too long, 4 is lost and 5 has no metric, in every attempt."""
    return None if run.values["x"] == 0 else list(ENDS)[int(run.values["x"]) - 1]


@pytest.mark.parametrize("failure", ENDS)
def test_each_class_is_retried_as_often_as_asked(lab: Lab, failure: str) -> None:
    project = lab.run(in_vain(failure), num_workers=3, retry_failed=f"{failure}=2")
    assert lab.outcomes == [("completed", 1, 0), ("completed", 2, 1), ("completed", 3, 2), ("failed", 3, None)]
    assert [(a["status"], a["failure"]) for a in project.attempts(2)] == [("failed", failure), ("completed", "")]
    assert [a["failure"] for a in project.attempts(4)] == [failure] * 3
    assert lab.tells == dict.fromkeys((1, 2, 3, 4), 1)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (None, [1, 1, 1, 4, 1]),
        ("1", [2, 2, 2, 2, 2]),
        ("crash=5", [6, 1, 1, 4, 1]),
        (["1,timeout=0", "memory=2"], [2, 3, 1, 2, 2]),
        ({"lost": 0, "crash": 1}, [2, 1, 1, 1, 1]),
    ],
)
def test_each_class_has_its_own_number_of_retries(lab: Lab, given: Any, made: list[int]) -> None:
    project = lab.run(each_way, "0:5", num_workers=6, metric="fitness", retry_failed=given)
    assert [e.attempt for e in project.experiments] == [1, *made]
    assert [e.failure for e in project.experiments] == ["", *ENDS]


def test_failures_of_several_classes_are_counted_apart(lab: Lab) -> None:
    ways = ["crash", "memory", "crash", None]
    project = lab.run(lambda run: ways[run.attempt - 1], "1", retry_failed="memory=1,crash=2")
    assert [a["failure"] or a["status"] for a in project.attempts(1)] == ["crash", "memory", "crash", "completed"]


def test_retries_are_not_part_of_the_budget(lab: Lab) -> None:
    options = {"optimizer": "random", "seed": 1, "max_experiments": 3, "retry_failed": 5, "repeat": True}
    project = lab.run(in_vain("crash"), "1:4:i", **options)
    assert [e.attempt for e in project.experiments] == [e.values["x"] + 1 for e in project.experiments]
    assert lab.tells == dict.fromkeys((1, 2, 3), 1)


def test_retried_failures_are_no_reason_to_give_up(lab: Lab) -> None:
    lab.run(lambda run: "crash" if run.attempt == 1 else None, "1:8", retry_failed=1, num_workers=2)
    assert lab.outcomes == [("completed", 2, x) for x in range(1, 9)]


def test_the_same_values_wait_for_the_one_that_is_retried(lab: Lab) -> None:
    lab.run(in_vain("crash"), [2, 0, 2], num_workers=2, retry_failed=2)
    assert [(e.status, e.attempt, e.fitness) for e in Project("p").experiments] == [
        ("completed", 3, 2),
        ("completed", 1, 0),
        ("completed", 1, 2),
    ]
    assert 3 not in {number for number, _ in lab.begun}


def test_without_a_policy_the_search_goes_on(lab: Lab) -> None:
    lab.run(in_vain("crash"), [0, 1, 3, 2])
    assert [status for status, _, _ in lab.outcomes] == ["completed", "failed", "failed", "failed"]
    assert Project("p").state == "done"


@pytest.mark.parametrize("failure", ENDS)
def test_each_class_can_end_the_search(lab: Lab, failure: str) -> None:
    lab.run(each_way, "0:5", metric="fitness", on_failure=f"{failure}=stop", retry_failed=0)
    assert [number for number, _ in lab.begun] == list(range(1, list(ENDS).index(failure) + 3))
    assert Project("p").state == "failures"


@pytest.mark.parametrize("given", ["stop", "crash=stop", "memory=continue,crash=stop", {"crash": "stop"}])
def test_retries_come_before_the_end(lab: Lab, given: Any) -> None:
    lab.run(in_vain("crash"), [2, 3, 0], retry_failed=2, on_failure=given)
    assert lab.outcomes == [("completed", 3, 2), ("failed", 3, None)]


def test_experiments_that_run_at_the_end_come_to_theirs(lab: Lab) -> None:
    lab.run(in_vain("crash"), "1:4", num_workers=2, on_failure="crash=stop")
    assert lab.outcomes == [("failed", 1, None), ("failed", 1, None)]


def test_policies_hold_on_resume_until_they_are_changed(lab: Lab) -> None:
    fails = in_vain("crash")
    lab.run(fails, [1, 0, 2, 1.5, 3, 4], on_failure="stop")
    assert len(lab.outcomes) == 1
    lab.resume(fails)
    assert [status for status, _, _ in lab.outcomes] == ["failed", "completed", "failed"]
    lab.resume(fails, retry_failed=2)
    assert lab.outcomes[3:] == [("completed", 2, 1.5), ("failed", 3, None)]
    lab.resume(fails, on_failure="continue")
    assert [attempt for _, attempt, _ in lab.outcomes] == [1, 1, 1, 2, 3, 3]
    assert Project("p").state == "done"


def test_a_policy_that_is_none_is_refused(lab: Lab) -> None:
    with pytest.raises(BadInput, match="--on-failure 'never' is neither continue nor stop"):
        lab.run(each_way, on_failure="never")


@pytest.mark.parametrize("retries", [0, 1])
def test_the_optimizer_hears_the_last_attempt_and_a_retry_by_hand(lab: Lab, retries: int) -> None:
    Hears.heard.clear()
    lab.run(in_vain("crash"), "1:2:i", optimizer="hears", no_baseline=True, retry_failed=retries)
    first = [(1, None), (2, 1.0 if retries else None)]
    assert Hears.heard == first
    inbox.post(lab.folder, inbox.Request("retry", [2]))
    lab.resume(in_vain("crash"))
    assert Hears.heard[2:] == [*first, (2, 1.0)]  # the journal again, then the news
    assert lab.tells == {1: 1, 2: 2}


def test_every_retry_is_said_and_listed(command: Any, script: Callable[[str, str], Path], home: Path) -> None:
    script(
        "train.py",
        """
        import os
        lr = 1
        attempt = int(os.path.basename(os.environ["STUDIO_FOLDER"]))
        print("this is attempt", attempt)
        if attempt <= lr:
            raise SystemExit("no luck")
        print("fitness:", lr)
        """,
    )
    result = command("run", "--project=p", "--retry-failed=2", "--on-failure=stop", "--hp=lr=2,3,0", "train.py")
    assert result.code == 1
    assert [line for line in result.err.splitlines() if "attempt 3 follows" in line] == [
        f"studio: #{number} failed (exit code 1: no luck); attempt 3 follows, retries left: 0" for number in (1, 2)
    ]
    assert "studio: experiment 2 failed, which ends this search (--on-failure)\n" in result.err  # its line says why
    assert "ended because of failures; continue with: studio resume p" in result.err
    shown = command("runs", "show", "p/1").out
    table = [re.split(" {2,}", line.strip()) for line in shown.partition("\n\n")[2].splitlines()]
    assert table[0] == ["attempt", "status", "time", "reason"]
    assert [row[:2] + row[3:] for row in table[1:]] == [
        ["1", "failed", "exit code 1: no luck"],
        ["2", "failed", "exit code 1: no luck"],
        ["3", "completed"],
    ]
    data = json.loads(command("runs", "show", "p/1", "--json").out)
    assert (data["attempt"], data["status"], data["reason"], data["failure"]) == (3, "completed", "", "")
    assert [(a["attempt"], a["exit_code"], a["failure"]) for a in data["attempts"]] == [
        (1, 1, "crash"),
        (2, 1, "crash"),
        (3, 0, ""),
    ]
    logs = [(home / f"projects/p/1/{n}/output.log").read_text().splitlines()[0] for n in (1, 2, 3)]
    assert logs == [f"this is attempt {n}" for n in (1, 2, 3)]  # each has a folder of its own
    assert command("runs", "logs", "p/1").out == "this is attempt 3\nfitness: 2\n"
