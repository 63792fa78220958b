"""The clock jumps back and forward: durations and limits hold, the order is that of the numbers, and nothing is lost.

The clock of the machine is everybody's. So the modules of Studio get a `time` of their own here, whose wall clock jumps
at every look; scripts, processes and waiting are real, and so is the monotonic clock. Where a limit is looked at, the
driver's monotonic clock is one that the test moves by hand.
"""

import itertools
import json
import sqlite3
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from studio.host import create_host
from studio.project.paths import database
from studio.project.project import Project
from studio.search.ask_tell.search import Search
from studio.search.create_project import create
from studio.search.loop.driver import Driver
from studio.search.observer import Observer
from studio.search.plan.plan import make_plan
from studio.search.run import make_backend, source_snapshot
from studio.settings import make_settings
from studio.testing.fakes import FOREVER, fake_backend, outcome_of

HOUR = 3600.0
SEARCH = ("run", "--project=p", "--optimizer=cma", "--seed=1", "--hp=lr=1e-4:1:l", "train.py")
SCORES = """
lr = 0.1
note("begins")
time.sleep(0.05)
print("fitness:", -((lr - 0.02) ** 2))
"""
JUMPS = {
    "back and forward": [0.0, HOUR, -HOUR, 30 * HOUR, -400 * 24 * HOUR],
    "before 1970": [0.0, -time.time() - 1000.0],
}


@pytest.fixture
def jumping(monkeypatch):
    """`jumping([0, -3600])`: each look at the wall clock is that many seconds off, in turn."""

    def begin(offsets):
        turns = itertools.cycle(offsets)
        own = SimpleNamespace(**vars(time))
        own.time = lambda: time.time() + next(turns)
        for name, module in list(sys.modules.items()):
            if name.startswith("studio.") and vars(module).get("time") is time:
                monkeypatch.setattr(module, "time", own)

    return begin


def attempts(home):
    connection = sqlite3.connect(database(home / "projects" / "p"))
    rows = (
        connection.execute("SELECT duration FROM attempts").fetchall()
        + connection.execute("SELECT duration FROM events WHERE kind = 'tell'").fetchall()
    )
    connection.close()
    return [duration for (duration,) in rows]


@pytest.mark.parametrize(("jumps", "workers"), [("back and forward", 1), ("before 1970", 3)])
def test_a_search_while_the_clock_jumps(jumps, workers, jumping, command, record, home, tree, undisturbed):
    tree("train.py", SCORES)
    jumping(JUMPS[jumps])
    begun = time.monotonic()
    assert command(*SEARCH[:-1], f"--num-workers={workers}", "--max-experiments=3", "train.py").code == 0
    assert command("resume", "p", "--max-experiments=5").code == 0
    took = time.monotonic() - begun
    experiments = json.loads(command("runs", "list", "p", "--json").out)
    assert [e["number"] for e in experiments] == [1, 2, 3, 4, 5]
    assert [e["status"] for e in experiments] == ["completed"] * 5
    assert all(0.05 <= e["duration"] < took for e in experiments)
    assert all(0.05 <= duration < took for duration in attempts(home))
    for e in experiments:  # times are the clock's, whatever it said
        assert datetime.fromisoformat(e["started"]).tzinfo == datetime.fromisoformat(e["finished"]).tzinfo == UTC
    if workers == 1:
        assert record("p") == undisturbed(5)
    shown = command("runs", "list", "p").out
    assert "-0:" not in shown
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["1", "2", "3", "4", "5"]
    for arguments in (("runs", "show", "p/3"), ("runs", "list"), ("doctor", "p")):
        assert command(*arguments).code == 0


def test_limits_of_time_do_not_ask_the_wall_clock(jumping, tree, command):
    """An hour more or less at each look: the first limit that is reached is the one of a second."""
    tree("train.py", "x = 1\nnote(f'begins {x}')\nsleep()\n")
    jumping([0.0, HOUR, -HOUR])
    begun = time.monotonic()
    result = command("run", "--project=p", "--hp=x=1,2,3", "--max-duration=0.3s", "--max-time=0.8s", "train.py")
    took = time.monotonic() - begun
    assert took < 20.0
    assert result.code == 1
    first, *others = Project("p").experiments
    assert (first.status, first.failure) == ("failed", "timeout")
    assert "took longer than 0.3 s" in first.reason
    assert 0.3 <= first.duration < took
    assert Project("p").state == "time"
    assert {e.status for e in others} <= {"failed", "stopped", "queued"}  # a busy machine has no time for all three


# --- a clock that is set by hand --------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def hand_set(home, script, tmp_path):
    """`hand_set(max_time)`: a driver that has started two experiments, and its clock."""
    stores = []

    def make(max_time):
        script("train.py", "x = 1\nprint(x)\n")
        host = create_host(plugins=[fake_backend(lambda run: FOREVER).plugin()])
        given = make_settings(
            "train.py", hyperparams={"x": "1:9"}, num_workers=2, max_time=max_time, backend="fake", seed=1
        )
        plan = make_plan(given, host, tmp_path / "work")
        stores.append(create(plan, source_snapshot(plan), "p"))
        search = Search(plan.space, optimizer=plan.optimizer, seed=1, host=host, journal=stores[-1])
        clock = Clock()
        driver = Driver(plan, search, stores[-1], make_backend(plan, host, Observer()), Silent(), clock=clock)
        assert driver.turn([]) is False
        assert sorted(driver.progress.running) == [1, 2]
        return driver, clock

    yield make
    for store in stores:
        store.close()


class Silent:
    """Nobody watches."""

    def __getattr__(self, name):
        return lambda *_: None


@pytest.mark.parametrize("max_time", ["1s", "2d"])
def test_max_time_holds_to_the_second_by_the_drivers_clock(max_time, hand_set, jumping):
    driver, clock = hand_set(max_time)
    limit = driver.plan.settings.max_time
    jumping([0.0, 10 * limit, -10 * limit])
    clock.now = 1000.0 + limit - 0.001
    driver.turn([])
    assert driver.ending == "failed"  # not over yet
    clock.now = 1000.0 + limit
    driver.turn([])
    assert driver.ending == "time"


def test_the_times_of_outcomes_may_run_backwards(hand_set):
    """What a backend says of another machine's clock: it is shown as it is; order and fitness are the journal's."""
    driver, clock = hand_set("1h")
    runs = [slot.run for slot in driver._slots.values()]
    clock.now += 5
    late = [replace(outcome_of(run, exit_code=0), started=2e9, finished=1e9, duration=0.5) for run in reversed(runs)]
    driver.turn(late)
    found = Project("p").experiments
    assert [(e.number, e.status, e.duration) for e in found[:2]] == [(1, "completed", 0.5), (2, "completed", 0.5)]
    assert found[0].started > found[0].finished
    assert [e.number for e in found] == list(range(1, len(found) + 1))
