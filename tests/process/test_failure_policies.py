"""What a failure leads to: `--retry-failed` and `--on-failure`, for each class of failure, with kills in between."""

import json
import re
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import studio
from studio.backends.local import LocalBackend
from studio.errors import BadInput
from studio.experiment import FAILURES, Outcome
from studio.project.project import Project
from studio.search import run as launch

# Experiment N makes its first N attempts in vain, each in the same way.
IN_VAIN = """
lr = 1
attempt = int(os.path.basename(os.environ["STUDIO_FOLDER"]))
note(f"begins {attempt}")
print("this is attempt", attempt)
if attempt <= lr:
    WAY
print("fitness:", lr)
"""
WAYS = {
    "crash": "raise SystemExit('no luck')",
    "memory": "raise MemoryError",
    "timeout": "sleep()",
    "metric": "print('fitness: nan'); raise SystemExit",
}
LIMIT = "--max-duration=1.5s"  # enough for a script that does nothing, on a busy machine


@pytest.fixture(autouse=True)
def _nothing_stays(nothing_stays):
    pass


@pytest.fixture
def fails(tree):
    """`fails("crash")` writes that script."""
    return lambda failure, text=IN_VAIN: tree("train.py", text.replace("WAY", WAYS[failure]))


def outcomes(project="p"):
    """Status, number of the latest attempt and fitness of each experiment."""
    return [(e.status, e.attempt, e.fitness) for e in Project(project).experiments]


def attempts(number, project="p"):
    """Status and class of failure of each attempt of an experiment."""
    return [(a["status"], a["failure"]) for a in Project(project).attempts(number)]


@pytest.fixture
def told(journal):
    """`told()`: how often each experiment was asked, and how often it was told."""

    def count(project="p"):
        events = Counter((event.kind, event.number) for event in journal(project))
        numbers = sorted({number for _, number in events})
        return [(events["ask", number], events["tell", number]) for number in numbers]

    return count


# --- retries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", WAYS)
def test_a_failed_experiment_is_tried_again_as_often_as_was_asked_for(command, fails, told, failure):
    fails(failure)
    options = ["--num-workers=3", f"--retry-failed={failure}=2", "--hp=lr=0:3"]
    result = command("run", "--project=p", LIMIT, *options, "train.py")
    assert result.code == 3, result.err
    assert outcomes() == [("completed", 1, 0), ("completed", 2, 1), ("completed", 3, 2), ("failed", 3, None)]
    assert attempts(2) == [("failed", failure), ("completed", "")]
    assert attempts(4) == [("failed", failure)] * 3
    assert told() == [(1, 1)] * 4


# Each experiment fails in every attempt, in its own way; the first is well, so that the search is not given up.
EACH_WAY = """
lr = 1
if lr == 0:
    print("fitness:", lr)
elif lr == 1:
    raise SystemExit("no luck")
elif lr == 2:
    raise MemoryError
elif lr == 3:
    sleep()
"""


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ([], [1, 1, 1, 1]),
        (["--retry-failed=1"], [2, 2, 2, 2]),
        (["--retry-failed=memory=1"], [1, 2, 1, 1]),
        (["--retry-failed=timeout=1"], [1, 1, 2, 1]),
        (["--retry-failed=1,timeout=0", "--retry-failed=memory=2"], [2, 3, 1, 2]),
    ],
)
def test_each_class_has_its_own_number_of_retries(command, tree, given, made):
    tree("train.py", EACH_WAY)
    options = [LIMIT, "--metric=fitness", "--num-workers=5", "--quiet", *given]
    assert command("run", "--project=p", *options, "--hp=lr=0:4", "train.py").code == 3
    assert [e.attempt for e in Project("p").experiments] == [1, *made]
    assert [e.failure for e in Project("p").experiments] == ["", "crash", "memory", "timeout", "metric"]


def test_failures_of_several_classes_are_counted_apart(command, tree):
    """Once out of memory, twice a crash: within `memory=1,crash=2` it comes to its end."""
    tree(
        "train.py",
        """
        lr = 1
        attempt = int(os.path.basename(os.environ["STUDIO_FOLDER"]))
        if attempt == 2:
            raise MemoryError
        if attempt < 4:
            raise SystemExit("no luck")
        print("fitness:", lr)
        """,
    )
    result = command("run", "--project=p", "--retry-failed=memory=1,crash=2", "--hp=lr=1", "train.py")
    assert result.code == 0, result.err
    assert attempts(1) == [("failed", "crash"), ("failed", "memory"), ("failed", "crash"), ("completed", "")]


def test_every_retry_is_said_and_listed(command, fails, home):
    fails("crash")
    result = command("run", "--project=p", "--retry-failed=2", "--hp=lr=2", "train.py")
    assert [line for line in result.err.splitlines() if "attempt" in line] == [
        "studio: #1 failed (exit code 1: no luck); attempt 2 follows, retries left: 1",
        "studio: #1 failed (exit code 1: no luck); attempt 3 follows, retries left: 0",
    ]
    shown = command("runs", "show", "p/1").out
    table = [re.split(" {2,}", line.strip()) for line in shown.partition("\n\n")[2].splitlines()]
    assert table[0] == ["attempt", "status", "time", "reason"]
    assert [row[:2] for row in table[1:]] == [["1", "failed"], ["2", "failed"], ["3", "completed"]]
    assert [row[3:] for row in table[1:]] == [["exit code 1: no luck"]] * 2 + [[]]
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


def test_retries_are_not_part_of_the_budget(command, fails, told):
    fails("crash")
    options = ["--optimizer=random", "--seed=1", "--max-experiments=3", "--retry-failed=5", "--hp=lr=1:4:i"]
    assert command("run", "--project=p", "--repeat", "--quiet", *options, "train.py").code == 0
    assert told() == [(1, 1)] * 3
    assert [(e.status, e.attempt) for e in Project("p").experiments] == [
        ("completed", e.values["lr"] + 1) for e in Project("p").experiments
    ]


def test_retried_failures_do_not_count_as_failed_experiments(command, fails):
    """Five experiments that fail at first are no reason to give up."""
    fails("crash", IN_VAIN.replace("attempt <= lr", "attempt == 1"))
    result = command("run", "--project=p", "--retry-failed=1", "--num-workers=2", "--hp=lr=1:8", "train.py")
    assert (result.code, "giving up" in result.err) == (0, False)
    assert outcomes() == [("completed", 2, lr) for lr in range(1, 9)]


def test_a_suggestion_with_the_values_of_one_that_is_retried_waits_for_it(command, fails, notes):
    fails("crash")
    result = command("run", "--project=p", "--num-workers=2", "--retry-failed=2", "--hp=lr=2,0,2", "train.py")
    assert result.code == 0, result.err
    assert outcomes() == [("completed", 3, 2), ("completed", 1, 0), ("completed", 1, 2)]
    assert notes.of("p/3") == []


HEARS = """
import os
import studio

class Hears(studio.Optimizer):
    def __init__(self, space, *, seed):
        self.space, self.size = space, 2

    def ask(self):
        self.size -= 1
        self.done = self.size < 0
        return None if self.done else self.space.suggestion([self.size * 0.999])

    def tell(self, suggestion, fitness):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(f"optimizer heard {suggestion.number} {fitness}\\n")
"""


@pytest.fixture
def hears(script, notes):
    """An optimizer that asks for lr=2 and lr=1, and all that it heard: (number, fitness)."""
    script("hears.py", HEARS)
    return lambda: [(int(line[2]), line[3]) for line in notes.lines if line[:2] == ["optimizer", "heard"]]


def test_the_optimizer_hears_the_last_attempt_only(command, fails, hears):
    fails("crash")
    options = ["--optimizer=./hears.py", "--no-baseline", "--retry-failed=1", "--hp=lr=1:2:i"]
    assert command("run", "--project=p", *options, "train.py").code == 3
    assert hears() == [(1, "None"), (2, "1.0")]


def test_after_a_retry_by_hand_it_hears_once_more(command, fails, hears, told):
    fails("crash")
    assert (
        command("run", "--project=p", "--optimizer=./hears.py", "--no-baseline", "--hp=lr=1:2:i", "train.py").code == 1
    )
    assert hears() == [(1, "None"), (2, "None")]
    assert command("retry", "p", "2").code == 3
    assert hears()[2:] == [(1, "None"), (2, "None"), (2, "1.0")]  # the journal again, then the news
    assert told() == [(1, 1), (1, 2)]
    assert outcomes() == [("failed", 1, None), ("completed", 2, 1)]
    assert command("resume", "p").code == 3
    assert hears()[5:] == [(1, "None"), (2, "None"), (2, "1.0")]


# --- a lost worker ------------------------------------------------------------------------------------------------------


class Spot(LocalBackend):
    """Scripts of this machine; one that is killed was on a machine that is gone."""

    name = "spot"

    def poll(self, timeout):
        events = super().poll(timeout)
        return [
            replace(event, failure="lost", reason="the machine is gone")
            if isinstance(event, Outcome) and event.signal == "SIGKILL"
            else event
            for event in events
        ]


class Machines:
    @studio.hookimpl
    def studio_backends(self):
        return [Spot]


@pytest.fixture
def spot(tree, home):
    """A search whose experiment N is lost N times, on machines that come and go."""
    tree("train.py", IN_VAIN.replace("WAY", "os.kill(os.getpid(), signal.SIGKILL)"))

    def carry_out(last, **options):
        host = studio.create_host(plugins=[Machines()])
        return launch.run(
            "train.py",
            hyperparams={"lr": f"0:{last}"},
            project="p",
            backend="spot",
            host=host,
            num_workers=2,
            **options,
        )

    return carry_out


def test_a_lost_experiment_is_tried_again_three_times_by_itself(spot, told):
    spot(4)
    assert outcomes() == [
        *[("completed", lr + 1, lr) for lr in range(4)],
        ("failed", 4, None),
    ]
    assert attempts(5) == [("failed", "lost")] * 4
    assert told() == [(1, 1)] * 5


@pytest.mark.parametrize(("given", "made"), [("lost=0", 1), ("crash=5", 4), ("1", 2), ({"lost": 1, "crash": 0}, 2)])
def test_how_often_a_lost_one_is_tried_can_be_said(spot, given, made):
    spot(0, retry_failed=given)
    assert outcomes() == [("completed", 1, 0)]
    (Path("train.py")).write_text(Path("train.py").read_text().replace("<= lr", "< 9"))
    host = studio.create_host(plugins=[Machines()])
    launch.run("train.py", hyperparams={"lr": [1]}, project="q", backend="spot", host=host, retry_failed=given)
    assert attempts(1, "q") == [("failed", "lost")] * made


# --- ends ---------------------------------------------------------------------------------------------------------------


def state(project="p"):
    return Project(project).state


def begun():
    return [e.number for e in Project("p").experiments if e.started]


def test_without_a_policy_the_search_goes_on(command, fails):
    fails("crash")
    assert command("run", "--project=p", "--hp=lr=0,1,3,2", "train.py").code == 3
    assert [e.status for e in Project("p").experiments] == ["completed", "failed", "failed", "failed"]
    assert state() == "done"


@pytest.mark.parametrize("given", ["stop", "crash=stop", "memory=continue,crash=stop"])
def test_the_first_failure_ends_the_search_where_that_is_asked_for(command, fails, given):
    fails("crash")
    result = command("run", "--project=p", f"--on-failure={given}", "--hp=lr=0,1,2,3", "train.py")
    assert result.code == 1
    assert begun() == [1, 2]
    assert "studio: experiment 2 failed, which ends this search (--on-failure): exit code 1: no luck" in result.err
    assert "ended because of failures; continue with: studio resume p" in result.err
    assert state() == "failures"


@pytest.mark.parametrize("failure", [failure for failure in FAILURES if failure != "lost"])
def test_each_class_can_end_it(command, tree, failure):
    """The classes fail in the order crash, memory, timeout, metric."""
    tree("train.py", EACH_WAY)
    options = [LIMIT, "--metric=fitness", f"--on-failure={failure}=stop", "--quiet"]
    assert command("run", "--project=p", *options, "--hp=lr=0:4", "train.py").code == 1
    order = ["crash", "memory", "timeout", "metric"]
    assert begun() == list(range(1, order.index(failure) + 3))
    assert Project("p").experiments[begun()[-1] - 1].failure == failure


def test_a_lost_one_ends_it_once_its_retries_are_used_up(spot):
    spot(4, on_failure="lost=stop", retry_failed="lost=2")
    assert outcomes()[:4] == [("completed", 1, 0), ("completed", 2, 1), ("completed", 3, 2), ("failed", 3, None)]
    assert state() == "failures"


def test_retries_come_before_the_end(command, fails):
    fails("crash")
    options = ["--retry-failed=2", "--on-failure=stop", "--hp=lr=2,3,0"]
    assert command("run", "--project=p", *options, "train.py").code == 1
    assert outcomes()[:2] == [("completed", 3, 2), ("failed", 3, None)]
    assert begun() == [1, 2]


def test_those_that_run_at_the_end_come_to_theirs(command, tree, notes):
    tree(
        "train.py",
        """
        lr = 1
        note("up")
        while len(open(os.environ["NOTES"]).readlines()) < 2:
            time.sleep(0.01)
        if lr == 1:
            raise SystemExit("no luck")
        time.sleep(0.5)
        print("fitness:", lr)
        """,
    )
    result = command("run", "--project=p", "--num-workers=2", "--on-failure=stop", "--hp=lr=1:4", "train.py")
    assert result.code == 1
    assert outcomes()[:2] == [("failed", 1, None), ("completed", 1, 2)]
    assert begun() == [1, 2]


def test_after_that_a_resume_goes_on_with_the_same_policy(command, fails):
    fails("crash")
    command("run", "--project=p", "--on-failure=stop", "--hp=lr=1,0,2,3", "train.py")
    assert begun() == [1]
    assert command("resume", "p").code == 1
    assert begun() == [1, 2, 3]
    assert outcomes()[1] == ("completed", 1, 0)


def test_policies_from_a_program(tree, home):
    tree("train.py", EACH_WAY)
    with pytest.raises(BadInput, match="--on-failure 'never' is neither continue nor stop"):
        studio.run("train.py", hyperparams={"lr": "0:2"}, on_failure="never")
    found = studio.run(
        "train.py", hyperparams={"lr": "0:2"}, project="p", retry_failed={"crash": 1}, on_failure={"memory": "stop"}
    )
    assert [(e.status, e.attempt) for e in found.experiments] == [("completed", 1), ("failed", 2), ("failed", 1)]
    assert state() == "failures"


# --- in the middle of a retry -------------------------------------------------------------------------------------------

# Attempt 2 waits until it is let go; of experiment 1, the first one fails.
WAITS = """
lr = 1
attempt = int(os.path.basename(os.environ["STUDIO_FOLDER"]))
note(f"begins {attempt}")
if attempt == 1 and lr == 1:
    raise SystemExit("no luck")
while attempt > 1 and not os.path.exists(os.environ["NOTES"] + "-go"):
    time.sleep(0.01)
print("fitness:", lr)
"""


@pytest.fixture
def go(notes):
    return notes.path.with_name("notes-go").touch


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_search_whose_driver_ends_in_a_retry_goes_on_with_it(driver, tree, notes, until, told, go, number):
    tree("train.py", WAITS)
    one = driver("run", "--project=p", "--retry-failed=1", "--hp=lr=1:2", "train.py")
    until(lambda: notes.of("p/1", "begins")[-1:] == [2])
    one.signal(number)
    assert one.wait() == (-number if number == signal.SIGKILL else 130)
    assert [status for status, _ in attempts(1)][-1] == ("running" if number == signal.SIGKILL else "stopped")
    go()
    two = driver("resume", "p")
    assert two.wait() == 0, two.err
    # What was killed is the same attempt once more; what was asked to end is over, and no failure.
    made = [("failed", "crash"), ("completed", "")]
    assert attempts(1) == made if number == signal.SIGKILL else [made[0], ("stopped", ""), made[1]]
    assert notes.of("p/1", "begins").count(1) == 1
    assert told() == [(1, 1)] * 2


def test_a_retry_by_hand_that_was_killed_is_made_on_resume(driver, tree, notes, until, told, go, command):
    tree("train.py", WAITS)
    assert command("run", "--project=p", "--hp=lr=1:2", "train.py").code == 3
    one = driver("retry", "p")
    until(lambda: notes.of("p/1", "begins")[-1:] == [2])
    one.kill()
    go()
    assert driver("resume", "p").wait() == 0
    assert outcomes() == [("completed", 2, 1), ("completed", 1, 2)]
    assert told() == [(1, 2), (1, 1)]
    assert not list((Project("p").folder / "requests").glob("*.json"))


MOMENTS = [
    ("before", "studio.project.store:Store.attempt_ended", 1),
    ("after", "studio.project.store:Store.attempt_ended", 1),
    ("before", "studio.search.attempts:Attempts.again", 1),
    ("after", "studio.search.attempts:Attempts.again", 1),
    ("before", "studio.project.backup:Backups.write_if_due", 2),
    ("after", "studio.search.attempts:Attempts.begin", 2),
    ("after", "studio.execution.runner:Runner.start", 2),
    ("after", "studio.execution.run_folder:prepare", 2),
    ("before", "studio.project.store:Store.attempt_ended", 2),
    ("after", "studio.project.store:Store.attempt_ended", 2),
    ("before", "studio.project.store:Store.tell", 1),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]} {moment[2]}")
def test_whenever_the_driver_is_killed_each_attempt_is_made_once(driver, fails, notes, told, moment):
    """Experiment 1 fails twice, and has one retry; experiment 2 fails once."""
    fails("crash")
    options = ("--retry-failed=1", "--hp=lr=2,1")
    one = driver("run", "--project=p", *options, "train.py", dies=moment)
    assert one.wait() == -signal.SIGKILL, one.err
    two = driver("resume", "p")
    assert two.wait() == 3, two.err
    assert outcomes() == [("failed", 2, None), ("completed", 2, 1)]
    assert [attempts(1), attempts(2)] == [[("failed", "crash")] * 2, [("failed", "crash"), ("completed", "")]]
    assert told() == [(1, 1)] * 2
    cut_off = moment[1].endswith(("Runner.start", "prepare"))  # that one may have begun
    for key in ("p/1", "p/2"):
        begins = Counter(notes.of(key, "begins"))
        assert sorted(begins) == [1, 2]
        assert max(begins.values()) <= 1 + cut_off


@pytest.mark.parametrize(
    "moment",
    [
        ("before", "studio.search.attempts:Attempts.again", 1),
        ("after", "studio.search.attempts:Attempts.again", 1),
        ("after", "studio.search.driver:Driver._take_request", 1),
        ("before", "studio.execution.runner:Runner.start", 1),
        ("before", "studio.project.store:Store.tell", 1),
        ("after", "studio.project.store:Store.tell", 1),
    ],
    ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]}",
)
def test_a_request_to_retry_is_neither_lost_nor_taken_up_twice(driver, command, fails, notes, told, moment):
    fails("crash")
    assert command("run", "--project=p", "--hp=lr=1,0", "train.py").code == 3
    one = driver("retry", "p", dies=moment)
    assert one.wait() == -signal.SIGKILL, one.err
    two = driver("resume", "p")
    assert two.wait() == 0, two.err
    assert outcomes() == [("completed", 2, 1), ("completed", 1, 0)]
    assert attempts(1) == [("failed", "crash"), ("completed", "")]
    assert told() == [(1, 2), (1, 1)]
    assert notes.of("p/1", "begins") == [1, 2]


def test_the_limit_of_retries_holds_over_sessions(driver, fails, until, notes):
    """Killed in every attempt, an experiment has no more of them than without."""
    go = "while not os.path.exists(f\"{os.environ['NOTES']}-go-{attempt}\"): time.sleep(0.01)\n"
    fails("crash", IN_VAIN.replace("if attempt <= lr:", f"{go}if True:"))
    one = driver("run", "--project=p", "--retry-failed=2", "--hp=lr=1", "train.py")
    for attempt in (1, 2, 3):
        until(lambda attempt=attempt: notes.of("p/1", "begins")[-1:] == [attempt])
        one.kill()
        notes.path.with_name(f"notes-go-{attempt}").touch()
        one = driver("resume", "p")
    assert one.wait() == 1, one.err
    assert attempts(1) == [("failed", "crash")] * 3
    assert notes.of("p/1", "begins") == [1, 1, 2, 2, 3, 3]
