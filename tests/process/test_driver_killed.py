"""kill -9 of the driver, at any moment: what was shown stays, nothing is done twice or skipped, and nobody else is harmed."""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from studio.format import metric_value
from studio.project.project import Project
from studio.project.records import is_complete
from studio.system.processes import processes_of

LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
ROUNDS = 200 if LONG else 8  # kills
SEARCH = ("--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l", "train.py")
SHORT = """
lr = 0.1
note("begins")
if os.fork() == 0:
    os.setsid()
    sleep()
time.sleep(0.03)
print("fitness:", -((lr - 0.02) ** 2))
"""


# --- at random moments ------------------------------------------------------------------------------------------------


class Lab:
    """A search that is killed and resumed until it is over, and looked at after each kill."""

    def __init__(self, driver, home, notes, journal, until, seed):
        self.driver, self.notes, self.journal, self.until = driver, notes, journal, until
        self.project = "p"
        self.folder = home / "projects" / self.project
        self.random = random.Random(seed)
        self.events = []
        self.shown = {}
        self.runs = {}  # of each experiment that an outcome.json was there for: how often it had begun by then

    def carry_out(self, options, kills):
        """Until the search is over; how many kills that took."""
        done = 0
        while True:
            one = self.start(options)
            if done < kills:
                self.wait_a_little(one)
            else:
                one.wait()
            code = one.kill()
            if code == 0:
                self.look(one)
                return done
            assert code == -signal.SIGKILL, one.err
            done += 1
            if self.random.random() < 0.5:  # else the next driver comes while the watchdog is still at work
                self.until(lambda: not list(processes_of(str(self.folder))), what="the watchdog left something")
            self.look(one)

    def start(self, options):
        if (self.folder / "studio.db").exists():
            if is_complete(self.folder):
                return self.driver("resume", self.project)
            assert self.driver("rm", "-y", self.project).wait() == 0
        return self.driver("run", *options)

    def wait_a_little(self, one):
        """A time since its start, or since one of its next outcomes was shown: the first is often early, the second late."""
        if self.random.random() < 0.4:
            time.sleep(self.random.uniform(0, 0.4))
        else:
            wanted = self.random.randint(1, 3)
            self.until(lambda: len(one.shown) >= wanted or not one.running)
            time.sleep(self.random.uniform(0, 0.08))

    def look(self, one):
        if not (self.folder / "studio.db").exists() or not is_complete(self.folder):
            assert one.shown == {}
            return
        events = self.journal(self.project)
        assert events[: len(self.events)] == self.events, "the journal has changed"
        self.events = events
        self.shown |= one.shown
        record = {experiment.number: experiment for experiment in Project(self.project).experiments}
        for number, line in self.shown.items():
            experiment = record[number]
            assert experiment.status == "completed", (line, experiment)
            assert f"completed  fitness {metric_value(experiment)}  " in line
        for path in self.folder.glob("*/1/outcome.json"):
            if self.is_whole(path):
                number = int(path.parent.parent.name)
                self.runs.setdefault(number, self.begun(number))
        assert self.runs == {number: self.begun(number) for number in self.runs}, "done twice"

    def begun(self, number):
        return self.notes.of(f"{self.project}/{number}").count("begins")

    @staticmethod
    def is_whole(path):
        try:
            return bool(json.loads(path.read_text()))
        except ValueError:
            return False

    def begin_again(self):
        """Of the same search, with nothing left of it but its journal's end."""
        assert self.driver("rm", "-y", self.project).wait() == 0
        self.notes.path.unlink()
        self.events, self.shown, self.runs = [], {}, {}


@pytest.fixture
def lab(driver, tree, home, notes, journal, until):
    tree("train.py", SHORT)
    return lambda seed: Lab(driver, home, notes, journal, until, seed)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_search_whose_driver_is_killed_again_and_again_comes_to_its_end(lab, record, undisturbed, workers):
    size = 5 if workers == 1 else 12
    options = (f"--max-experiments={size}", f"--num-workers={workers}", *SEARCH)
    one = lab(seed=workers)
    kills = 0
    while True:
        kills += one.carry_out(options, ROUNDS // 2 - kills)
        assert Counter((event.kind, event.number) for event in one.events) == {
            (kind, number): 1 for kind in ("ask", "tell") for number in range(1, size + 1)
        }
        experiments = Project("p").experiments
        assert [(e.number, e.status, e.attempt) for e in experiments] == [
            (n, "completed", 1) for n in range(1, size + 1)
        ]
        assert sorted(one.runs) == list(range(1, size + 1))
        if workers == 1:
            assert record("p") == undisturbed(size)
        if kills >= ROUNDS // 2:
            return
        one.begin_again()


# --- at chosen moments ------------------------------------------------------------------------------------------------

# What is under way then: an outcome that only the script's folder has, one that only the record has, one that was told,
# an ask without a start, a start without an outcome. The model of the driver dies at every statement of the record.
MOMENTS = [
    ("before", "studio.project.store:Store.attempt_ended", 2),
    ("after", "studio.project.store:Store.attempt_ended", 2),
    ("after", "studio.project.store:Store.ask", 3),
    ("after", "studio.execution.runner:Runner.start", 2),
    ("after", "studio.execution.run_folder:create_run_folder", 2),
    ("before", "studio.execution.runner:Runner.close", 1),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]}")
def test_a_killed_driver_loses_and_repeats_nothing(driver, lab, record, undisturbed, moment):
    """The next one goes on as if nothing had been."""
    one = lab(seed=0)
    options = ("--max-experiments=3", *SEARCH)
    first = driver("run", *options, dies=moment)
    assert first.wait() == -signal.SIGKILL, first.err
    one.look(first)
    second = driver("resume", "p")
    assert second.wait() == 0, second.err
    one.look(second)
    assert Counter((event.kind, event.number) for event in one.events) == {
        (kind, number): 1 for kind in ("ask", "tell") for number in range(1, 4)
    }
    assert [(e.status, e.attempt) for e in Project("p").experiments] == [("completed", 1)] * 3
    assert record("p") == undisturbed(3)


@pytest.mark.parametrize(
    "moment",
    [
        ("after", "studio.project.source:copy_source", 1),
        pytest.param(("before", "studio.project.source:copy_source", 1), marks=pytest.mark.slow),
        pytest.param(("before", "studio.project.store:Store.set_meta", 1), marks=pytest.mark.slow),
        ("before", "studio.project.store:Store.set_meta", 2),
    ],
    ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]} {moment[2]}",
)
def test_a_project_that_was_cut_off_is_made_again(driver, lab, moment):
    lab(seed=0)
    options = ("--max-experiments=2", *SEARCH)
    assert driver("run", *options, dies=moment).wait() == -signal.SIGKILL
    again = driver("run", *options)
    assert again.wait() == 0, again.err
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2


# --- in the middle of a retry -----------------------------------------------------------------------------------------

# Attempt 1 of experiment 1 fails; each later attempt waits until it is let go.
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_retry_goes_on_after_its_driver_ended(driver, tree, notes, until, number):
    """A killed attempt is the same one again; one that was asked to end is over, and no failure."""
    tree("train.py", WAITS)
    one = driver("run", "--project=p", "--retry-failed=1", "--hp=lr=1:2", "train.py")
    until(lambda: notes.of("p/1", "begins")[-1:] == [2])
    one.signal(number)
    assert one.wait() == (-number if number == signal.SIGKILL else 130)
    notes.path.with_name("notes-go").touch()
    two = driver("resume", "p")
    assert two.wait() == 0, two.err
    made = [a["status"] for a in Project("p").attempts(1)]
    assert made == (["failed", "completed"] if number == signal.SIGKILL else ["failed", "stopped", "completed"])
    assert notes.of("p/1", "begins").count(1) == 1


@pytest.mark.parametrize(
    "moment",
    [
        ("after", "studio.search.loop.attempts:Attempts.queue_retry", 1),
        ("after", "studio.execution.runner:Runner.start", 1),
        ("before", "studio.project.store:Store.tell", 1),
    ],
    ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]}",
)
def test_a_retry_by_hand_survives_the_driver_that_took_it(driver, command, tree, notes, journal, moment):
    tree("train.py", WAITS)
    notes.path.with_name("notes-go").touch()
    assert command("run", "--project=p", "--hp=lr=1,0", "train.py").code == 3
    one = driver("retry", "p", dies=moment)
    assert one.wait() == -signal.SIGKILL, one.err
    two = driver("resume", "p")
    assert two.wait() == 0, two.err
    assert [(e.status, e.attempt, e.fitness) for e in Project("p").experiments] == [
        ("completed", 2, 1),
        ("completed", 1, 0),
    ]
    assert Counter(event.number for event in journal("p") if event.kind == "tell") == {1: 2, 2: 1}
    assert set(notes.of("p/1", "begins")) == {1, 2}
    assert not list((Project("p").folder / "requests").glob("*.json"))


# --- what it leaves behind --------------------------------------------------------------------------------------------

LASTING = """
lr = 1
child()
daemon()
note(f"up {os.getpid()}")
while not os.path.exists(f"{os.environ['NOTES']}-go-{lr}"):
    time.sleep(0.01)
print("fitness:", lr)
"""


@pytest.fixture
def lasting(tree):
    """A script with a tree of three processes that lasts until it is let `go`."""
    return tree("train.py", LASTING)


@pytest.fixture
def go(notes):
    return lambda *numbers: [notes.path.with_name(f"notes-go-{number}").touch() for number in numbers]


def _watchdogs(everything):
    """The processes of a driver that are neither its scripts nor theirs."""
    return [pid for pid in everything() if b"watchdog.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


linux = pytest.mark.skipif(not os.path.exists("/proc/self/cmdline"), reason="looks at command lines in /proc")


@linux
def test_resume_ends_scripts_that_lost_their_watchdog(driver, lasting, notes, until, alive, everything, go):
    one = driver("run", "--project=p", "--num-workers=2", "--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    trees = notes.processes()
    (watchdog,) = _watchdogs(everything)
    os.kill(watchdog, signal.SIGKILL)
    one.kill()
    assert all(map(alive, trees))
    second = driver("resume", "p")
    until(lambda: not any(map(alive, trees)))
    go(1, 2, 3)
    assert second.wait() == 0
    assert [e.fitness for e in Project("p").experiments] == [1, 2, 3]


@linux
def test_the_watchdog_of_a_dead_driver_does_not_touch_the_scripts_of_the_next(
    driver, lasting, notes, until, alive, everything, go
):
    """It may be slow: here it sleeps until the next driver is at work."""
    one = driver("run", "--project=p", "--hp=lr=1:2", "train.py")
    until(lambda: notes.count("up") == 1)
    (watchdog,) = _watchdogs(everything)
    os.kill(watchdog, signal.SIGSTOP)
    one.kill()
    second = driver("resume", "p")
    until(lambda: notes.count("up") == 2)
    os.kill(watchdog, signal.SIGCONT)
    until(lambda: not alive(watchdog))
    go(1, 2)
    assert second.wait() == 0, second.err
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2


# --- nobody else is harmed: what a restart of the machine would show, where ids mean other processes -------------------


def test_a_process_whose_id_stands_in_the_lock_lives(
    driver, lasting, notes, until, alive, stranger, home, go, hostname
):
    other = stranger(cwd=home.parent)
    one = driver("run", "--project=p", "--hp=lr=1:2", "train.py")
    until(lambda: notes.count("up") == 1)
    one.kill()
    lock = home / "projects" / "p" / "lock"
    assert lock.read_text() == f"process {one.pid} on {hostname}\n"
    lock.write_text(f"process {other} on {hostname}\n")
    go(1, 2)
    assert driver("resume", "p").wait() == 0
    lock.write_text(f"process {other} on {hostname}\n")
    assert driver("stop", "p").wait() in (0, 1, 2)
    assert alive(other)


def test_processes_in_the_projects_folder_that_are_not_its_own_live(
    driver, lasting, notes, until, alive, stranger, home, go
):
    one = driver("run", "--project=p", "--hp=lr=1:2", "train.py")
    until(lambda: notes.count("up") == 1)
    workspace = home / "projects" / "p" / "1" / "1" / "workspace"
    others = [stranger(cwd=workspace), stranger(cwd=home / "projects" / "p")]
    one.kill()
    until(lambda: not list(processes_of(str(home))))
    go(1, 2)
    assert driver("resume", "p").wait() == 0
    assert all(map(alive, others))


def test_the_end_of_experiment_1_is_not_that_of_10(driver, lasting, notes, until, alive, go):
    one = driver("run", "--project=p", "--num-workers=10", "--hp=lr=1:10", "train.py")
    until(lambda: notes.count("up") == 10)
    go(1)
    until(lambda: 1 in one.shown)
    until(lambda: not any(map(alive, notes.processes("p/1"))))  # a killed process takes a moment
    assert all(map(alive, notes.processes("p/10")))
    assert len(notes.processes("p/10")) == 3
    go(*range(2, 11))
    assert one.wait() == 0
    assert Counter(notes.of("p/10"))["up"] == 1


@linux
def test_what_ended_while_the_driver_was_paused_was_not_stopped(driver, tree, command, notes, until, go, alive):
    tree("train.py", LASTING.replace("child()\ndaemon()\n", ""))
    one = driver("run", "--project=p", "--hp=lr=1", "train.py")
    until(lambda: notes.count("up"))
    os.kill(one.pid, signal.SIGSTOP)
    go(1)
    until(lambda: not any(map(alive, notes.processes())))
    assert command("stop", "p").code == 0
    os.kill(one.pid, signal.SIGCONT)
    one.wait()
    (only,) = Project("p").experiments
    assert (only.status, only.fitness) == ("completed", 1)


@linux
def test_rm_ends_what_a_driver_and_its_watchdog_left(driver, lasting, command, notes, until, everything, alive):
    one = driver("run", "--project=p", "--hp=lr=1", "train.py")
    until(lambda: notes.count("up"))
    for watchdog in _watchdogs(everything):
        os.kill(watchdog, signal.SIGKILL)
    one.kill()
    assert all(map(alive, notes.processes()))
    assert command("rm", "p", "--yes").code == 0
    until(lambda: not any(map(alive, notes.processes())))
