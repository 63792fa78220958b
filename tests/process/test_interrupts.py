"""Ctrl-C, SIGTERM and SIGHUP of a real driver that has trees of processes at work: it drains, ends, kills; resume goes on."""

import signal

import pytest

from studio.project.project import Project

# A tree of three processes that lasts until the file `go` is there. `MANNERS` say what it does with SIGTERM.
LASTING = """
lr = 1
child()
daemon()
def bye(*_):
    note("bye")
    os._exit(0)
signal.signal(signal.SIGINT, lambda *_: note("hears Ctrl-C"))
signal.signal(signal.SIGTERM, {"polite": bye, "deaf": signal.SIG_IGN}[os.environ["MANNERS"]])
note(f"up {os.getpid()}")
while not os.path.exists(os.environ["NOTES"] + "-go"):
    time.sleep(0.01)
print("fitness:", lr)
"""
# Statements of a driver: a minute until what does not end is killed; signals that it ignores, and one it does nothing about.
PATIENT = "from studio.execution import runner; runner.GRACE = 60\n"
IGNORES = "import signal; [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)]"
HEARS = "import signal; signal.signal(signal.SIGUSR1, lambda *_: None)"
NOTHING = "studio: interrupted before the search began: nothing was started\n"
INTERRUPTED = "studio: interrupted; continue with: studio resume p\n"


class Lab:
    """A search of four experiments, two at a time, with trees that last."""

    def __init__(self, driver, notes, until, alive):
        self.driver, self.notes, self.until, self.alive = driver, notes, until, alive

    def start(self, manners="polite", before=""):
        options = ("--project=p", "--num-workers=2", "--hp=lr=1:4", "train.py")
        one = self.driver("run", *options, env={"MANNERS": manners}, before=before)
        self.until(lambda: self.notes.count("up") == 2)
        return one

    def go(self):
        self.notes.path.with_name("notes-go").touch()

    @property
    def statuses(self):
        return [e.status for e in Project("p").experiments]

    def check_interrupted(self, one):
        """It has ended as it should, with nothing left."""
        assert one.wait() == 130, one.err
        assert not any(map(self.alive, self.notes.processes()))
        assert Project("p").state == "interrupted"
        assert INTERRUPTED in one.err
        assert "Traceback" not in one.err
        assert self.notes.count("hears") == 0, "Ctrl-C is for the driver alone"

    def check_resumes(self):
        self.go()
        one = self.driver("resume", "p", env={"MANNERS": "polite"})
        assert one.wait() == 0, one.err
        assert [(e.number, e.status, e.fitness) for e in Project("p").experiments] == [
            (number, "completed", number) for number in range(1, 5)
        ]
        assert not any(map(self.alive, self.notes.processes()))


@pytest.fixture
def lab(driver, tree, notes, until, alive):
    tree("train.py", LASTING)
    return Lab(driver, notes, until, alive)


def test_ctrl_c_once_waits_for_what_runs(lab, until):
    one = lab.start()
    one.signal(signal.SIGINT)
    until(lambda: "waiting for 2 running experiments (Ctrl-C again ends them" in one.err)
    assert lab.statuses[:2] == ["running", "running"]
    lab.go()
    lab.check_interrupted(one)
    assert [e.status for e in Project("p").experiments if e.status != "queued"] == ["completed", "completed"]
    assert lab.notes.count("bye") == 0
    assert sorted(one.shown) == [1, 2]
    lab.check_resumes()
    assert lab.notes.count("up") == 4


def test_ctrl_c_three_times_kills_at_once(lab, until):
    one = lab.start(manners="deaf", before=PATIENT)
    one.signal(signal.SIGINT)
    until(lambda: "waiting for 2" in one.err)
    one.signal(signal.SIGINT)
    until(lambda: "ending 2 running experiments (Ctrl-C once more kills them)" in one.err)
    assert one.running
    one.signal(signal.SIGINT)
    until(lambda: "killing 2 running experiments" in one.err)
    lab.check_interrupted(one)
    assert lab.statuses[:2] == ["stopped", "stopped"]
    lab.check_resumes()


def test_ctrl_c_held_down_kills_at_once(lab):
    one = lab.start(manners="deaf", before=PATIENT)

    def press():
        one.signal(signal.SIGINT)
        return not one.running

    lab.until(press)
    assert one.code in (130, -signal.SIGINT), one.err  # the latter while the interpreter ends: a shell shows 130
    assert not any(map(lab.alive, lab.notes.processes()))
    assert "Traceback" not in one.err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_sigterm_and_sighup_end_what_runs(lab, name):
    one = lab.start(before=PATIENT)
    one.signal(getattr(signal, name))
    lab.check_interrupted(one)
    assert lab.statuses[:2] == ["stopped", "stopped"]
    assert lab.notes.count("bye") == 2


def test_sigterm_twice_kills_deaf_scripts(lab, until):
    one = lab.start(manners="deaf", before=PATIENT)
    one.signal(signal.SIGTERM)
    until(lambda: "ending 2 running experiments" in one.err)
    assert one.running
    one.signal(signal.SIGTERM)
    lab.check_interrupted(one)


def test_ignored_ctrl_c_stays_ignored_and_sigterm_ends(lab):
    one = lab.start(before=PATIENT + IGNORES)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
        one.signal(number)
    one.signal(signal.SIGTERM)
    lab.check_interrupted(one)
    assert "waiting for" not in one.err
    assert lab.statuses[:2] == ["stopped", "stopped"]
    assert lab.notes.count("bye") == 2


def test_a_driver_that_was_stopped_and_goes_on_has_lost_nothing(lab):
    """Ctrl-Z and fg: the scripts ran on meanwhile."""
    one = lab.start()
    one.signal(signal.SIGTSTP)
    lab.go()
    lab.until(lambda: not any(map(lab.alive, lab.notes.of("p/1", "up"))))
    one.signal(signal.SIGCONT)
    assert one.wait() == 0
    assert lab.statuses == ["completed"] * 4
    assert lab.notes.count("up") == 4


# --- at any moment ----------------------------------------------------------------------------------------------------

SHORT = """
lr = 1
note("up")
if os.fork() == 0:
    os.setsid()
    sleep()
time.sleep(0.05)
print("fitness:", lr)
"""
OPTIONS = ("--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=0.1:1:l", "--max-experiments=4", "train.py")


def check_ended(one, driver, home):
    """By the signal or at its end; without a mess; and if there is a project, it can be carried to its end."""
    assert one.wait() in (0, 130, -signal.SIGINT), one.err  # the latter while the interpreter ends: a shell shows 130
    assert "Traceback" not in one.err
    if (home / "projects" / "p" / "studio.db").exists():
        again = driver("resume", "p")
        assert again.wait() == 0, again.err
        assert [(e.status, e.attempt) for e in Project("p").experiments] == [("completed", 1)] * 4
    elif any((home / "projects").glob("*")):  # it was hit between the folder and its lock: that is in nobody's way
        assert driver("run", *OPTIONS).wait() == 0


# What has just been imported; before the first of these the signal hits the interpreter itself, which shows a traceback.
@pytest.mark.parametrize(
    "module",
    [
        "numpy",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("cma", "typer.main", "studio.search.run", "scipy.stats")),
    ],
)
def test_ctrl_c_while_it_starts(driver, tree, home, until, module):
    tree("train.py", SHORT)
    one = driver("run", *OPTIONS, cold=True, env={"PYTHONPROFILEIMPORTTIME": "1"})
    until(lambda: any(line.split()[-1] == module for line in one.err.split("\n")[:-1] if line))
    one.signal(signal.SIGINT)
    check_ended(one, driver, home)
    assert one.code == 130


# KeyboardInterrupt is dropped in finalizers, and by C extensions while they are imported, as numpy is.
SWALLOWS = """
import os, signal
import studio

class Finalizer:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

class Plain(studio.Optimizer):
    name = "plain"

    def __init__(self, space, seed):
        if os.environ["WHEN"] == "optimizer":
            Finalizer()

    def ask(self):
        return {"lr": 1}

    def tell(self, values, fitness):
        pass

if os.environ["WHEN"] == "import":
    Finalizer()
"""


@pytest.mark.parametrize("when", ["import", "optimizer"])
def test_ctrl_c_that_a_library_swallows(driver, tree, script, notes, when):
    tree("train.py", SHORT)
    script("plain.py", SWALLOWS)
    options = ("--project=p", "--optimizer=plain.py", "--hp=lr=1:2", "--max-experiments=4", "train.py")
    one = driver("run", *options, env={"WHEN": when})
    assert one.wait() == 130, one.err
    assert one.err == NOTHING
    assert notes.lines == []


MOMENTS = [
    ("before", "studio.search.run:plan_new_project", 1),
    ("after", "studio.project.source:copy_source", 1),
    ("before", "studio.execution.runner:Runner.start", 1),
    ("before", "studio.execution.runner:Runner.close", 1),
    ("before", "threading:_shutdown", 1),  # the interpreter ends
]
MORE_MOMENTS = [
    ("before", "studio.project.source:copy_source", 1),
    ("before", "studio.project.store:Store.set_meta", 1),
    ("after", "studio.project.store:Store.set_meta", 3),
    ("before", "studio.search.loop.driver:Driver.run", 1),
    ("before", "studio.system.processes:Watchdog.__init__", 1),
    ("after", "studio.execution.runner:Runner.start", 4),
    ("after", "studio.search.loop.driver:Driver.run", 1),
    ("before", "studio.cli.result:print_result", 1),
    ("after", "studio.cli.result:print_result", 1),
]


@pytest.mark.parametrize(
    "moment",
    [*MOMENTS, *(pytest.param(moment, marks=pytest.mark.slow) for moment in MORE_MOMENTS)],
    ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]} {moment[2]}",
)
def test_ctrl_c_at_a_chosen_moment(driver, tree, home, moment):
    tree("train.py", SHORT)
    one = driver("run", *OPTIONS, dies=(*moment, "SIGINT"))
    check_ended(one, driver, home)
    early = (":plan_new_project", ":copy_source", ":Store.set_meta")
    begins = ("before", "studio.search.loop.driver:Driver.run", 1)
    assert (NOTHING in one.err) == (moment == begins or moment[1].endswith(early))


def test_a_signal_to_the_drivers_process_group_fails_no_experiment_that_starts(driver, script, until):
    """A script is born in that group, and leaves it a moment later: until then Ctrl-C hits it, too. Many signals come
    that the driver does nothing about, so that one of them is at the right moment."""
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    one = driver("run", "--project=p", "--num-workers=4", "--hp=lr=1:12", "train.py", before=HEARS)
    until(lambda: "project p" in one.err)

    def poke():
        one.signal(signal.SIGUSR1)
        return not one.running or len(one.shown) == 12

    until(poke)
    assert one.wait() in (0, -signal.SIGUSR1), one.err  # the latter while the interpreter ends
    assert ["completed" in line for line in one.shown.values()] == [True] * 12
