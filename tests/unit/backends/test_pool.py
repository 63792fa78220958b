"""As many workers as are needed, whatever the engine says; none left; the engine's word in the record."""

import threading
import time
from dataclasses import dataclass, replace

import pytest

from studio.backends.queue import pool as pools
from studio.backends.queue.failed_starts import GIVE_UP_SECONDS, MAX_TAKEN_AWAY
from studio.backends.queue.launcher import (
    Copy,
    Launcher,
    LauncherError,
    Refused,
    last_line,
    shell_line,
    worker_command,
)
from studio.backends.queue.lease_records import JobOutcome
from studio.backends.queue.pool import LaunchedBackend, LaunchFailed, LaunchOptions, WorkerPool
from studio.errors import BadInput, EndSearch
from studio.experiment import Outcome, Resources
from studio.host import create_host
from studio.interfaces import BackendContext
from studio.settings import Settings, parse_duration
from studio.testing import BackendContract

WAITS = "waiting for all workers to end, 60 s at most"


class FakeLauncher(Launcher):
    """Copies in a dictionary. `errors` are raised, one a call."""

    poll_interval = 0.01

    def __init__(self):
        self.copies, self.errors, self.made, self.ended, self.deaf = {}, [], 0, [], False

    def fail(self):
        if self.errors:
            raise self.errors.pop(0)

    def start(self, n, command, resources):
        self.fail()
        names = [f"7_{self.made + each}" for each in range(1, n + 1)]
        self.made += n
        self.copies |= dict.fromkeys(names, Copy("running"))
        return names

    def alive(self):
        self.fail()
        return dict(self.copies)

    def end(self, names=None):
        self.ended.append(names)
        for name in [] if self.deaf else list(self.copies if names is None else names):
            self.copies.pop(name, None)

    def last_words(self, name):
        return f"{name}: node failed"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def launcher():
    return FakeLauncher()


@pytest.fixture
def said():
    return []


@pytest.fixture
def pool(launcher, said):
    clock = Clock()
    one = WorkerPool(launcher, ["w"], Resources(), most=3, say=said.append, clock=clock, sleep=clock.sleep)
    one.clock = clock
    return one


def test_there_are_as_many_as_are_needed_and_no_more(pool, launcher):
    for needed, made in ((2, 2), (2, 2), (9, 3), (1, 3)):
        pool.maintain(needed, waiting=True)
        assert launcher.made == made
    launcher.copies.pop("7_1")
    pool.reported(["7_1"])
    pool.maintain(3, waiting=True)
    assert launcher.made == 4, "one that ended is replaced"


def test_copies_on_their_way_out_do_not_count(pool, launcher):
    pool.maintain(1, waiting=True)
    launcher.copies["7_1"] = Copy("ending")
    pool.maintain(1, waiting=True)
    assert launcher.made == 2


def test_copies_that_wait_count_and_say_why_once(pool, launcher, said):
    launcher.copies["6_1"] = Copy("waiting", "Resources")
    for _ in range(3):
        pool.maintain(1, waiting=True)
    assert (launcher.made, said) == (0, ["workers wait for the engine: Resources"])


def test_failed_starts_in_a_row_end_the_search(pool, launcher, said):
    for _ in range(launcher.max_failed_starts):
        pool.maintain(1, waiting=True)
        launcher.copies.clear()
    with pytest.raises(LaunchFailed, match=r"3 workers in a row failed .* no more are started: 7_3: node failed"):
        pool.maintain(1, waiting=True)
    assert said[0] == "7_1 ended before it ran an experiment: 7_1: node failed"


def test_a_start_that_works_forgives_those_before(pool, launcher):
    for number in range(1, 12):
        pool.maintain(1, waiting=True)
        if number % 3 == 0:
            pool.took_job(f"7_{number}")
            pool.maintain(1, waiting=True)
        launcher.copies.clear()


class TwoMachines(FakeLauncher):
    """Copies go to machine `a` or `b`, one each; those on a machine in `off` end at once."""

    def __init__(self):
        super().__init__()
        self.where, self.off, self.avoided = {}, set(), set()

    def start(self, n, command, resources):
        names = []
        for place in "ab":
            if place not in self.avoided and place not in self.busy and len(names) < n:
                self.made += 1
                names.append(name := f"{place}{self.made}")
                self.where[name] = place
                if place not in self.off:
                    self.copies[name] = Copy("running")
        return names

    @property
    def busy(self):
        return {self.where[name] for name in self.copies}

    def places(self):
        return ["a", "b"]

    def place_of(self, name):
        return self.where.get(name, "")

    def avoid(self, places):
        self.avoided = set(places)


@pytest.fixture
def two(said):
    """A pool with two machines. `two.look()`: ten seconds pass, and each worker that is there has an experiment."""
    launcher, clock = TwoMachines(), Clock()
    one = WorkerPool(launcher, ["w"], Resources(), most=2, say=said.append, clock=clock, sleep=clock.sleep)
    one.launcher, one.clock = launcher, clock

    def look():
        clock.now += 10
        one.maintain(2, waiting=True)
        for name in launcher.copies:
            one.took_job(name)

    one.look = look
    return one


def test_a_machine_that_is_off_rests_longer_each_time_and_is_named_once(two, said):
    two.launcher.off = {"b"}
    for _ in range(360):
        two.look()
    assert 12 <= two.launcher.made <= 20, "an hour has twelve times five minutes"
    assert said == ["b2 ended before it ran an experiment: b2: node failed; b is tried again later"]
    two.launcher.off = set()
    for _ in range(32):
        two.look()
    assert two.launcher.busy == {"a", "b"}
    assert said[1:] == ["b works again"]


def test_the_search_ends_if_no_machine_has_worked_for_ten_minutes(two, said):
    two.look()
    two.launcher.off = {"a", "b"}
    two.launcher.copies.clear()
    begun = two.clock.now

    def for_ever():
        while two.clock.now < begun + 3600:
            two.look()

    with pytest.raises(LaunchFailed, match=r"workers in a row failed .* \(no worker has worked for 10 minutes\)"):
        for_ever()
    assert two.clock.now - begun == pytest.approx(GIVE_UP_SECONDS, abs=40)
    assert two.launcher.made < 20
    assert any("no worker works now; the search ends if none does within 10 minutes" in text for text in said)


def test_a_search_whose_machines_never_worked_ends_once_each_has_failed_three_times(two):
    two.launcher.off = {"a", "b"}
    two.look()
    two.look()
    with pytest.raises(LaunchFailed, match="6 workers in a row failed"):
        two.maintain(2, waiting=True) or two.look()


def test_starts_that_the_engine_may_have_taken_away_count_apart(pool, launcher):
    launcher.taken_away = lambda name: True
    for number in range(1, MAX_TAKEN_AWAY + 1):
        pool.maintain(1, waiting=True)
        assert launcher.made == number
        launcher.copies.clear()
    with pytest.raises(LaunchFailed, match=f"{MAX_TAKEN_AWAY} workers in a row failed"):
        pool.maintain(1, waiting=True)


def test_a_worker_that_reports_and_takes_no_job_is_a_failed_start_at_the_next_look(pool, launcher, said):
    """By then it is known whether it had one after all."""
    for name in ("7_1", "7_2"):
        pool.maintain(1, waiting=True)
        pool.reported([name])
        launcher.copies.clear()
        pool.maintain(1, waiting=True)
        assert said == []
        if name == "7_1":
            pool.took_job(name)
    pool.maintain(1, waiting=True)
    assert said == ["7_2 ended before it ran an experiment: 7_2: node failed"]


def test_a_copy_that_does_not_report_is_ended(pool, launcher, said):
    launcher.start_timeout = 600.0
    launcher.copies["6_1"] = Copy("waiting")  # the engine's queue may be long
    pool.maintain(2, waiting=True)
    pool.maintain(2, waiting=True)
    pool.clock.now += 601
    pool.maintain(2, waiting=True)
    assert (launcher.ended, launcher.made) == ([["7_1"]], 2)
    pool.maintain(2, waiting=True)
    assert said == [
        "7_1 has not reported for 10 minutes; ending it",
        "7_1 ended before it ran an experiment: 7_1: node failed",
    ]


def test_copies_beyond_the_number_wanted_are_ended(pool, launcher):
    """As after a resume with fewer workers: those that wait first, those at work last."""
    launcher.copies |= {"6_1": Copy("running"), "6_2": Copy("running"), "6_3": Copy("waiting")}
    pool.took_job("6_1")
    pool._most = 1
    pool.maintain(4, waiting=True)
    assert (launcher.ended, list(launcher.copies), launcher.made) == ([["6_2", "6_3"]], ["6_1"], 0)


def test_copies_that_the_pool_ended_or_did_not_start_are_no_failed_starts(pool, launcher, said):
    launcher.copies |= dict.fromkeys(["6_1", "6_2", "6_3"], Copy("running"))
    pool.maintain(3, waiting=True)
    launcher.copies.clear()
    pool.maintain(3, waiting=True)
    pool._most = 0
    for _ in range(3):
        pool.maintain(3, waiting=True)
    assert (launcher.copies, sorted(said)) == ({}, [f"7_{n} is no longer needed; ending it" for n in (1, 2, 3)])


def test_a_silent_copy_is_replaced(pool, launcher, said):
    pool.maintain(1, waiting=True)
    pool.took_job("7_1")
    pool.silent("7_1")
    pool.maintain(1, waiting=True)
    assert (launcher.ended, launcher.made) == ([["7_1"]], 2)
    pool.maintain(1, waiting=True)
    assert said == ["7_1 stopped responding while running an experiment; replacing it"]


def test_no_answer_is_asked_for_again_and_a_refusal_is_not(pool, launcher, said):
    launcher.errors = [LauncherError("squeue: timed out")] * 2
    pool.maintain(1, waiting=True)
    pool.maintain(1, waiting=True)
    pool.maintain(1, waiting=True)
    assert (launcher.made, said) == (1, ["no response, retrying: squeue: timed out"])
    launcher.copies.clear()
    pool.reported(["7_1"])
    launcher.start = lambda *_: (_ for _ in ()).throw(Refused("invalid partition"))
    with pytest.raises(LaunchFailed, match="invalid partition"):
        pool.maintain(1, waiting=True)


def test_close_ends_all_those_of_an_earlier_driver_too(pool, launcher):
    launcher.copies["6_1"] = Copy("waiting")
    launcher.errors = [LauncherError("no answer")]
    assert pool.close()
    assert launcher.copies == {}
    pool.maintain(3, waiting=True)
    assert launcher.made == 0, "nothing starts any more"


def test_close_does_not_wait_long_for_an_engine_that_refuses(pool, launcher, said):
    launcher.copies["6_1"] = Copy("running")
    pool.maintain(1, waiting=True)
    launcher.end = lambda names=None: (_ for _ in ()).throw(Refused("credentials expired"))
    assert not pool.close()
    assert said == [WAITS, "could not confirm that these ended: 6_1 (credentials expired)"]
    assert pool.clock.now < launcher.end_timeout


def test_close_ends_at_once_a_copy_that_appears_late(pool, launcher):
    end = launcher.end

    def one_comes(names=None):
        launcher.end = end
        end(names)
        launcher.copies["7_9"] = Copy("running")

    launcher.end = one_comes
    assert pool.close()
    assert launcher.ended == [None, None]
    assert pool.clock.now < pools.ENDING


def test_close_ends_even_where_the_engine_does_not(pool, launcher, said):
    launcher.copies["6_1"], launcher.deaf = Copy("running"), True
    assert not pool.close()
    assert said == [WAITS, "could not confirm that these ended: 6_1"]
    assert len(launcher.ended) == 3, "they are asked again"
    assert pool.clock.now < 2 * launcher.end_timeout


# --- the backend ------------------------------------------------------------------------------------------------------


class Launched(LaunchedBackend):
    name = "launched"
    engine = None

    @dataclass(frozen=True, kw_only=True)
    class Options(LaunchOptions):
        url: str

    def launcher(self):
        return self.engine


def make(tmp_path, settings, notify=print):
    options = Launched.Options(url=f"{tmp_path}/share")
    return Launched(options, BackendContext(settings, 2, tmp_path, create_host(), notify))


@pytest.fixture
def backend(tmp_path, launcher, said):
    (tmp_path / "p").mkdir()
    one = make(tmp_path, Settings("train.py"), said.append)
    one.engine = launcher
    one.open(tmp_path / "p")
    yield one
    launcher.errors = []
    one.close()


def wait_for(what):
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_starts_before_the_first_experiment(backend, launcher, tmp_path):
    assert backend.poll(0.05) == []
    assert launcher.made == 0
    backend.start(BackendContract().make_run(tmp_path, 1, ""))
    wait_for(lambda: backend.poll(0.05) or launcher.made == 1)


def test_the_record_has_the_engines_word(backend, launcher, tmp_path):
    """Why workers were lost with an experiment that is given up."""
    run = BackendContract().make_run(tmp_path, 1, "")
    backend.start(run)
    wait_for(lambda: backend.poll(0.05) or launcher.made == 1)
    backend._pool.took_job("7_1")
    launcher.copies.clear()
    wait_for(lambda: backend._pool.words_about("7_1"))
    (travel,) = backend._travels.values()
    backend._holders[travel.job] = "7_1"
    (outcome,) = backend._end(travel, JobOutcome(travel.job, "lost", {}, "", 3, 0, "given up: 3 workers died"))
    assert isinstance(outcome, Outcome)
    assert outcome.reason == "given up: 3 workers died; 7_1: node failed"


def test_an_engine_that_hangs_does_not_hold_up_the_end(backend, launcher, said, tmp_path, monkeypatch):
    """And the user hears what is waited for."""
    hang = threading.Event()
    monkeypatch.setattr(pools, "WORD_AFTER", 0.01)
    monkeypatch.setattr(pools, "JOINING", 0.1)
    launcher.start = lambda *_: hang.wait(30) and []
    backend.start(BackendContract().make_run(tmp_path, 1, ""))
    wait_for(lambda: backend.poll(0.05) or backend._needed())
    begun = time.monotonic()
    try:
        time.sleep(0.1)
        backend.close()
        assert time.monotonic() - begun < 10
    finally:
        hang.set()
    assert any("at most for a pending request" in text for text in said)
    assert launcher.ended == [None]


def test_an_engine_that_fails_ends_the_search(backend, launcher, tmp_path):
    launcher.errors = [BadInput("squeue is not installed")]
    backend.start(BackendContract().make_run(tmp_path, 1, ""))
    with pytest.raises(BadInput, match="squeue is not installed"):
        wait_for(lambda: backend.poll(0.05))


def test_an_engine_that_ends_the_search_says_so_once(backend, launcher, tmp_path):
    """Running experiments are stopped then, and their outcomes awaited."""
    launcher.errors = [EndSearch("--max-cost is spent", "cost")]
    backend.start(BackendContract().make_run(tmp_path, 1, ""))
    with pytest.raises(EndSearch, match="--max-cost is spent"):
        wait_for(lambda: backend.poll(0.05))
    assert backend.poll(0.05) == []


# --- texts ------------------------------------------------------------------------------------------------------------


def test_a_line_for_a_shell_has_the_name_unquoted():
    assert shell_line(["a b", "--name={name}", "{name}.log", ""], '"$ID"') == "'a b' --name=\"$ID\" \"$ID\".log ''"


@pytest.mark.parametrize("idle", [0.5, 300.0, 12 * 86400.0])
def test_a_worker_understands_its_idle_time(idle):
    (given,) = [word for word in worker_command("/share", idle=idle) if word.startswith("--idle=")]
    assert parse_duration(given.removeprefix("--idle="), "--idle") == idle


def test_last_words_are_one_line():
    assert last_line("Slurm: FAILED", "a\n\nb  c\n") == "Slurm: FAILED; a | b c"
    assert last_line("", "\n") == ""
    assert len(last_line("x" * 5000)) == 1000


def test_a_preview_needs_no_project(tmp_path):
    settings = replace(Settings("train.py"), cpus=2, gpus=1, ram="2GB")
    one = make(tmp_path, settings)
    one.engine = FakeLauncher()
    one.engine.preview = lambda n, command, resources: f"{n} {command[1:3]} {resources}"
    assert one.preview() == f"2 {['worker', f'{tmp_path}/share/PROJECT-ID']} {Resources(2, 1, '2GB')}"
    assert not (tmp_path / "share").exists()
