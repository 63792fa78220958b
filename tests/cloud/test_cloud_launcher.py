"""A pool of cloud machines: it keeps them alive, mends what goes wrong, and leaves none, whatever happens."""

import os
from dataclasses import replace

import pytest
from fake_cloud import OFFERS, FakeCloud, Lost, Time, unreachable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    NoCapacity,
    Order,
    QuotaRefused,
)
from studio.backends.cloud.launcher import CAPACITY_PAUSE, LIST_LAG, PATIENCE, QUOTA_PAUSE, CloudLauncher
from studio.backends.cloud.ledger import Ledger, read
from studio.backends.cloud.plan import CloudSettings, Wishes
from studio.backends.cloud.spending import HOUR
from studio.backends.queue.failed_starts import GIVE_UP_SECONDS, MAX_REST_SECONDS, MAX_TAKEN_AWAY
from studio.backends.queue.pool import LaunchFailed, WorkerPool
from studio.errors import EndSearch, StudioError
from studio.experiment import Resources

TAG = "digits-1a2b"
SILENT = CloudLauncher.start_timeout


def order(offer, name, token, lifetime, command):
    where = (offer.machine_type, offer.zone)
    return Order(TAG, name, token, *where, None, 16 << 30, False, lifetime, " ".join(command), "worker")


class World:
    """A cloud, a clock, and a pool that can be left and taken up again."""

    def __init__(self, folder=None, *, most=4, lifetime=24 * 3600, max_cost=None, **cloud):
        self.time = Time()
        self.cloud = FakeCloud(time=self.time, **cloud)
        money = {"price": None, "bid": None, "max_cost": max_cost}
        about = {"lifetime": lifetime, "idle": 300, "hdd": 16 << 30}
        self.plan = CloudSettings(self.cloud, False, Wishes(), OFFERS, most, 1, **about, **money)
        self.order, self.together = order, 1
        self.folder, self.said, self.logs = folder, [], {}
        self.ledger = Ledger(folder)
        self.take_up()

    def take_up(self, plan="its own"):
        """A driver, perhaps after one that was killed."""
        if self.folder is not None:
            self.ledger = Ledger(self.folder)
        self.plan = self.plan if plan == "its own" else plan
        times = {"clock": self.time, "sleep": self.time.sleep}
        self.launcher = CloudLauncher(
            self.cloud,
            TAG,
            self.ledger,
            self.plan,
            lambda *given: self.order(*given),
            boot_log=lambda name: self.logs.get(name, ""),
            say=self.said.append,
            wall=self.time.wall,
            together=self.together,
            **times,
        )
        most = self.plan.machines if self.plan else 0
        self.pool = WorkerPool(self.launcher, ["w"], Resources(), most=most, say=self.said.append, **times)

    @property
    def counted(self):
        """Machines that exist, or may, and are not ending."""
        return sorted(name for name, copy in self.launcher.alive().items() if copy.state != "ending")

    @property
    def spent(self):
        return self.ledger.spent(self.time.wall())

    def maintain(self, needed=4, *, waiting=True, after=5.0):
        self.time.pass_by(after)
        self.pool.maintain(needed, waiting=waiting)

    def start(self, needed=4):
        """Machines that the cloud's list has shown."""
        self.maintain(needed)
        self.maintain(needed)

    def work_for(self, hours):
        for _ in range(12 * hours):
            self.all_work()
            self.end_those_whose_time_is_over()
            self.maintain(after=300)

    def end_those_whose_time_is_over(self):
        """As machines do by themselves."""
        for name in list(self.cloud.made):
            if self.time() > self.ledger.get(name).ends:
                self.cloud.dies(name)

    def all_work(self):
        for name in self.cloud.alive:
            self.pool.took_job(name)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def one_zone(world):
    """A world whose plan has a single zone, so that what fails there fails everywhere."""
    world.take_up(replace(world.plan, offers=OFFERS[:1]))
    return world


# --- machines come and go ---------------------------------------------------------------------------------------------


def test_as_many_as_are_needed(world):
    world.maintain(2)
    assert len(world.cloud.alive) == 2
    world.maintain(4)
    assert len(world.cloud.alive) == 4
    world.maintain(9)
    assert len(world.cloud.alive) == 4  # never more than the search has
    world.maintain(1)
    assert len(world.cloud.alive) == 4  # those without work end by themselves
    assert len({order.token for order in world.cloud.orders}) == 4
    assert len({order.name for order in world.cloud.orders}) == 4
    assert world.pool.close()
    assert world.cloud.alive == []
    world.maintain(4)
    assert world.cloud.alive == []


def test_they_are_the_cheapest(world):
    world.maintain()
    assert {(order.machine_type, order.zone) for order in world.cloud.orders} == {("small", "zone-a")}


def test_a_lost_machine_is_replaced(world):
    world.start()
    world.all_work()
    lost = world.cloud.alive[0]
    world.cloud.dies(lost)
    world.maintain()
    assert lost not in world.cloud.alive
    assert len(world.cloud.alive) == 4
    world.maintain(after=60)
    assert world.ledger.get(lost).ended is not None


def test_all_lost_at_once(world):
    world.start()
    world.all_work()
    for _ in range(5):
        for name in world.cloud.alive:
            world.cloud.dies(name)
        world.start()
        assert len(world.cloud.alive) == 4
        world.all_work()


def test_no_machine_is_replaced_that_nobody_needs(world):
    world.start()
    world.all_work()
    for name in world.cloud.alive[:3]:
        world.cloud.dies(name)
    world.maintain(2)
    assert len(world.cloud.alive) == 2


def test_a_new_machine_that_the_list_does_not_show_yet_is_not_ordered_twice(tmp_path):
    world = World(tmp_path, lag=12.0)
    for _ in range(6):
        world.maintain()
        assert len(world.cloud.alive) == 4
    world.pool.close()
    assert (world.cloud.alive, len(world.cloud.orders)) == ([], 4)


def test_a_machine_that_only_stopped_is_deleted_and_replaced(world):
    world.maintain()
    world.all_work()
    stopped = world.cloud.alive[0]
    world.cloud.stops(stopped)
    world.maintain()
    assert stopped not in world.cloud.made
    assert len(world.cloud.alive) == 4


def test_a_machine_that_hangs_is_replaced(world):
    world.maintain()
    world.all_work()
    hung = world.cloud.alive[0]
    world.pool.silent(hung)
    world.maintain()
    world.maintain()
    assert hung not in world.cloud.alive
    assert len(world.cloud.alive) == 4
    assert world.said == [f"{hung} stopped responding while running an experiment; replacing it"]


def test_a_machine_that_outlives_its_time_is_ended(tmp_path):
    world = World(tmp_path, most=1, lifetime=HOUR)
    world.maintain(1)
    (name,) = world.cloud.alive
    world.pool.reported([name])
    world.all_work()
    world.maintain(1, after=HOUR + LIST_LAG + 1)
    assert name not in world.cloud.alive


# --- no answer, no capacity, no permission ----------------------------------------------------------------------------


def test_an_interrupt_before_an_order_is_sent_costs_nothing(world):
    world.order = lambda *given: world.pool.interrupt() or order(*given)
    world.take_up()
    before = world.time.now
    world.maintain(4, after=0)
    assert world.counted == []
    assert world.pool.close()
    assert (world.cloud.orders, world.ledger.entries, world.time.now) == ([], [], before)


@pytest.mark.parametrize("lag", [0.0, 20.0, 60.0, LIST_LAG])
def test_close_ends_a_machine_that_lists_are_late_to_show(tmp_path, lag):
    world = World(tmp_path, most=1, lag=lag)
    world.cloud.answers += [Lost(unreachable()), *[unreachable()] * 3]
    world.maintain(1, after=0)
    before = world.time.now
    assert world.pool.close()
    assert (world.cloud.alive, world.ledger.alive) == ([], [])
    assert world.time.now - before < LIST_LAG + 10


def test_an_order_without_answer_is_sent_again_as_it_was(tmp_path):
    world = World(tmp_path, most=1)
    world.cloud.answers += [Lost(unreachable()), unreachable(), None]
    world.maintain(1)
    world.maintain(1)
    assert len(world.cloud.alive) == 1
    assert len(world.cloud.orders) == 1


def test_an_order_that_never_had_an_answer_is_found_in_the_list(tmp_path):
    world = World(tmp_path, most=1, lag=20.0)
    world.cloud.answers += [Lost(unreachable()), *[unreachable()] * 3]
    world.maintain(1)
    world.maintain(1)
    assert (len(world.cloud.alive), len(world.cloud.orders)) == (1, 1)


def test_another_is_ordered_when_lists_do_not_show_one_whose_order_had_no_answer(tmp_path):
    world = World(tmp_path, most=1)
    world.cloud.answers += [unreachable()] * 10
    for _ in range(5):
        world.maintain(1, after=LIST_LAG + 1)
    assert (len(world.cloud.alive), len(world.cloud.orders)) == (1, 1)


def test_an_order_that_is_under_way_for_long_counts(tmp_path):
    world, seen = World(tmp_path, most=1), []
    launch = world.cloud.launch

    def slowly(order):
        world.time.pass_by(LIST_LAG + 1)
        seen.append((world.counted, world.ledger.alive))  # as another thread sees it, which ends all
        return launch(order)

    world.cloud.launch = slowly
    world.maintain(1)
    assert seen == [(world.cloud.alive, world.cloud.alive)]


def test_a_refusal_after_an_attempt_without_answer_tells_nothing_of_the_first(tmp_path):
    world = World(tmp_path, most=1, lag=20.0)
    world.cloud.answers += [Lost(unreachable()), NoCapacity("none")]
    world.maintain(1)
    assert (world.cloud.most, len(world.cloud.orders)) == (1, 1)
    assert world.ledger.alive == world.cloud.alive
    assert world.pool.close()
    assert world.cloud.alive == []


def test_close_finds_the_machine_whose_order_had_no_answer(tmp_path):
    world = World(tmp_path, most=1, lag=20.0)
    world.cloud.answers += [Lost(unreachable()), *[unreachable()] * 3]
    world.maintain(1)
    assert world.pool.close()
    assert world.cloud.alive == []


@pytest.mark.parametrize("together", [1, 8])
def test_a_machine_that_ended_before_its_order_had_an_answer_is_replaced(tmp_path, together):
    world = World(tmp_path, most=2)
    world.together = together
    world.take_up()
    world.cloud.answers += [Lost(unreachable(), dies=True)]
    world.maintain(2)
    assert (len(world.cloud.alive), len(world.cloud.orders)) == (2, 3)
    assert len(world.ledger.alive) == 2
    assert len(read(tmp_path)) == 3  # all were made, and cost


def test_other_zones_and_types_when_one_is_sold_out(world):
    world.cloud.sold_out = {("small", "zone-a"), ("small", "zone-b")}
    world.maintain()
    assert {(order.machine_type, order.zone) for order in world.cloud.orders} == {("large", "zone-a")}
    assert world.said == [
        "no small in zone-a now; looking elsewhere",
        "no small in zone-b now; looking elsewhere",
    ]


def test_it_waits_while_everything_is_sold_out(world):
    world.cloud.sold_out = {(offer.machine_type, offer.zone) for offer in OFFERS}
    world.maintain()
    world.maintain()
    assert world.cloud.alive == []
    world.cloud.sold_out.clear()
    world.maintain(after=CAPACITY_PAUSE + 1)
    assert len(world.cloud.alive) == 4


def test_an_order_that_is_never_answered_is_given_up(tmp_path):
    world = World(tmp_path, most=1)
    world.cloud.answers += [unreachable("InternalError")] * 100
    world.maintain(1)
    with pytest.raises(LaunchFailed, match="no machine was available for 30 minutes"):
        world.maintain(1, after=PATIENCE + 1)
    assert world.pool.close()


def test_patience_begins_when_a_machine_is_wanted(world):
    world.maintain(0)
    world.maintain(0, after=PATIENCE + 1)
    world.cloud.sold_out = {(offer.machine_type, offer.zone) for offer in OFFERS}
    for needed, after in ((4, 5), (4, 5), (0, 5), (0, PATIENCE + 1), (4, 5), (4, 5)):
        world.maintain(needed, after=after)
    assert world.counted == []


def test_credentials_that_expire_while_an_order_is_sent_leave_no_machine(tmp_path):
    world = World(tmp_path, most=1, lag=20.0)
    world.cloud.answers += [Lost(CloudCredentials("ExpiredToken"))]
    world.maintain(1)
    assert world.pool.close()
    assert world.cloud.alive == []


def test_it_does_not_wait_for_ever(world):
    world.cloud.sold_out = {(offer.machine_type, offer.zone) for offer in OFFERS}
    world.maintain()
    with pytest.raises(LaunchFailed, match="no machine was available for 30 minutes"):
        world.maintain(after=PATIENCE + 1)


def test_a_quota_is_gone_on_with(world):
    world.cloud.answers += [None, None, QuotaRefused("VcpuLimitExceeded: you may have 4 vCPUs")]
    world.maintain()
    world.maintain(after=300)
    assert len(world.cloud.alive) == 2
    assert world.said == ["quota reached; continuing with 2 machines: VcpuLimitExceeded: you may have 4 vCPUs"]
    world.all_work()
    world.cloud.dies(world.cloud.alive[0])
    world.maintain()
    assert len(world.cloud.alive) == 2
    world.maintain(after=QUOTA_PAUSE)
    assert len(world.cloud.alive) == 4  # somebody raised it


@pytest.mark.parametrize("quota", [1, 4])
@pytest.mark.parametrize("what", ["dies", "hangs", "stops"])
def test_a_quota_that_counts_machines_on_their_way_out_is_waited_for(tmp_path, quota, what):
    world = World(tmp_path, most=quota, quota=quota)
    world.start(quota)
    for _ in range(3):
        world.all_work()
        lost = world.cloud.alive[0]
        {"dies": world.cloud.dies, "hangs": world.pool.silent, "stops": world.cloud.stops}[what](lost)
        for _ in range(20):
            world.maintain(quota)
        assert lost not in world.cloud.alive
        assert len(world.cloud.alive) == quota
    assert [text for text in world.said if "stopped responding" not in text] == [
        "quota reached; waiting until a machine has ended: VcpuLimitExceeded"
    ]


def test_a_quota_that_counts_a_machine_that_ended_without_work_is_waited_for(tmp_path):
    world = World(tmp_path, most=1, quota=1)
    world.start(1)
    world.all_work()
    world.cloud.dies(*world.cloud.alive)
    world.maintain(0)
    world.maintain(1)
    assert world.cloud.alive == []
    world.maintain(1, after=60)
    assert len(world.cloud.alive) == 1


def test_a_quota_of_nothing_ends_the_search_though_a_machine_has_just_gone(tmp_path):
    world = World(tmp_path, most=1, quota=1)
    world.start(1)
    world.all_work()
    world.cloud.quota = 0
    world.cloud.dies(world.cloud.alive[0])

    def go_on():
        for _ in range(60):
            world.maintain(1)

    with pytest.raises(LaunchFailed, match="no machine is available: VcpuLimitExceeded"):
        go_on()


@pytest.mark.parametrize(
    "error", [QuotaRefused("none for you"), CloudDenied("not authorized"), CloudCredentials("none")]
)
def test_the_search_ends_where_no_machine_is_to_be_had(world, error):
    world.cloud.answers += [error]
    if isinstance(error, CloudCredentials):  # where they expired meanwhile, there may be a machine
        world.maintain()
        world.time.pass_by(LIST_LAG)
    with pytest.raises(LaunchFailed, match=f"no machine is available: {error}"):
        world.maintain()
    assert len(world.cloud.orders) == 0


def test_credentials_that_expire_stop_nothing_that_runs(world):
    world.maintain()
    world.all_work()
    world.cloud.no_lists += [CloudCredentials("ExpiredToken")] * 100
    for _ in range(100):
        world.maintain()
    assert len(world.cloud.alive) == 4
    assert world.said == ["no response, retrying: cannot list the machines: ExpiredToken"]
    world.cloud.dies(world.cloud.alive[0])
    world.maintain()
    assert len(world.cloud.alive) == 4


def test_what_close_cannot_end_it_names(world):
    world.maintain()
    names = world.cloud.alive
    world.cloud.no_lists += [CloudCredentials("ExpiredToken")] * 1000
    world.cloud.no_ends += [CloudCredentials("ExpiredToken")] * 1000
    before = world.time.now
    assert not world.pool.close()
    assert world.time.now - before < 60
    assert world.said[-1] == f"could not confirm that these ended: {', '.join(names)} (ExpiredToken)"


def test_close_believes_the_list_and_not_the_answer_to_its_request(world):
    world.start(2)
    terminate, requests = world.cloud.terminate, []
    world.cloud.terminate = lambda machines: requests.append(machines) or (len(requests) > 1 and terminate(machines))
    assert world.pool.close()
    assert (world.cloud.alive, len(requests)) == ([], 2)


def test_close_tries_again(world):
    world.maintain()
    world.cloud.no_ends += [unreachable(), unreachable()]
    world.cloud.no_lists += [unreachable(), unreachable()]
    assert world.pool.close()
    assert world.cloud.alive == []


# --- lists that are wrong ---------------------------------------------------------------------------------------------


def test_one_stale_list_loses_no_machine(world):
    world.start()
    world.cloud.stale = 1
    world.maintain()
    assert len(world.counted) == len(world.cloud.alive) == len(world.cloud.orders) == 4


def test_close_ends_a_machine_that_lists_do_not_show_any_more(world):
    world.start(2)
    forgotten = world.cloud.alive[0]
    world.cloud.forgotten.add(forgotten)
    world.maintain(1, after=LIST_LAG + 1)
    assert forgotten not in world.counted
    assert world.pool.close()
    assert world.cloud.alive == []


def test_close_in_the_moment_of_a_stale_list(world):
    world.start(2)
    world.cloud.stale = 1
    assert world.pool.close()
    assert world.cloud.alive == []


def test_a_machine_that_was_given_up_and_is_listed_again_costs_from_its_order_on(world):
    world.start(1)
    (name,) = world.cloud.alive
    world.all_work()
    world.cloud.stale = 2
    world.maintain(0, after=LIST_LAG + 1)
    assert world.ledger.get(name).ended is not None
    world.cloud.stale = 0
    world.maintain(0, after=HOUR)
    assert world.counted == [name]
    assert world.spent == pytest.approx(0.36, rel=0.05)


@pytest.mark.parametrize("greeted", [True, False])
def test_a_start_that_fails_is_seen_at_once(one_zone, greeted):
    """Before any list has shown the machine."""
    world = one_zone
    log = "ERROR: No such torhc\nstudio: a package was not installed\nstudio: the end, with exit code 1 after 9 s\n"

    def fails():
        (name,) = world.cloud.alive
        world.logs[name] = log
        world.pool.reported([name] if greeted else [])
        world.cloud.forgotten.add(name)
        world.cloud.dies(name)
        world.maintain(1)
        return name

    world.maintain(1)
    name = fails()
    assert name not in world.cloud.alive
    assert len(world.cloud.alive) == 1
    if greeted:  # a job that it had may still be found
        world.maintain(1)
    why = (
        "a package cannot be installed there: correct requirements.txt, pyproject.toml or --python-pkg, and start the "
    )
    why += "search anew; ERROR: No such torhc | studio: a package was not installed"
    assert world.said == [f"{name} ended before it ran an experiment: {why}"]

    def fail_again():
        fails()
        world.maintain(1)

    with pytest.raises(LaunchFailed, match=f"2 workers in a row failed .*; no more are started: {why[:60]}"):
        fail_again()


# --- faults of this computer ------------------------------------------------------------------------------------------


def test_a_mute_machine_that_cannot_be_ended_counts_until_it_is(tmp_path):
    world = World(tmp_path, most=3)
    world.start(1)
    world.cloud.no_ends.append(unreachable())
    world.maintain(3, after=SILENT + 1)
    assert world.cloud.most == 3
    world.maintain(3, after=30)
    assert (world.cloud.most, len(world.cloud.alive), len(world.cloud.orders)) == (3, 3, 4)


def test_one_refusal_after_a_time_without_network_is_not_the_end_of_a_close(world):
    world.start(1)
    world.cloud.no_ends += [*[unreachable()] * 20, CloudDenied("no")]
    assert world.pool.close()
    assert world.cloud.alive == []


def test_a_launcher_that_orders_nothing_ends_what_it_finds(world):
    """As `close` does for a search that only moved away."""
    world.start(1)
    world.take_up(plan=None)
    assert world.pool.close()
    assert world.cloud.alive == []


def test_a_disk_that_is_full_keeps_no_machine_alive(tmp_path):
    world = World(tmp_path / "project")
    (tmp_path / "project").mkdir()
    world.start()
    stranger = replace(world.cloud.orders[0], name="studio-of-yesterday", token="another")
    world.cloud.launch(stranger)
    (tmp_path / "project").rename(tmp_path / "gone")  # nothing can be written there any more
    assert world.pool.close()
    assert world.cloud.alive == []
    assert world.ledger.alive == []


@pytest.mark.parametrize("hours", [-1, 5], ids=["back", "on"])
def test_a_clock_that_is_set_ends_no_machine_and_stops_no_close(world, hours):
    world.start(2)
    there = world.cloud.alive
    world.time.set_by = hours * HOUR
    world.maintain(2)
    world.maintain(2)
    assert world.cloud.alive == there
    world.cloud.no_ends += [unreachable()] * 3
    assert world.pool.close()
    assert world.cloud.alive == []


def test_a_clock_that_is_set_back_while_it_closes(world):
    world.start(2)
    world.cloud.no_ends += [unreachable()] * 3

    def sleep(seconds):
        world.time.now += seconds
        world.time.set_by = -HOUR

    world.time.sleep = sleep
    world.take_up()
    assert world.pool.close()
    assert world.cloud.alive == []


# --- machines that come to nothing ------------------------------------------------------------------------------------


def test_two_barren_machines_end_the_search(one_zone):
    world = one_zone
    world.start(2)
    first, second = world.cloud.alive
    world.logs[second] = "studio: not installed: no-such-package\nstudio: the end, with exit code 1 after 12 s\n"
    world.cloud.dies(first)
    world.maintain(2)
    assert len(world.cloud.alive) == 2  # one may have bad luck
    world.cloud.dies(second)
    with pytest.raises(LaunchFailed, match="2 workers in a row failed before they ran an experiment") as caught:
        world.maintain(2)
    assert "studio: not installed: no-such-package" in str(caught.value)
    world.pool.close()
    assert world.cloud.alive == []


def test_barren_machines_without_a_log(one_zone):
    world = one_zone
    world.start(2)
    for name in world.cloud.alive:
        world.cloud.dies(name)
    with pytest.raises(LaunchFailed, match="left no log; check that its account can write to the bucket"):
        world.maintain(2)


def spot_order(*given):
    return replace(order(*given), spot=True)


@pytest.mark.parametrize("log", ["", *[f"studio: the end, with exit code {code} after 60 s" for code in (0, 143)]])
def test_spot_machines_that_are_taken_away_while_they_install_are_not_barren(one_zone, log):
    world = one_zone
    world.order = spot_order
    world.take_up()

    def are_taken(times):
        for _ in range(times):
            world.maintain(1, after=MAX_REST_SECONDS)
            world.maintain(1)
            (name,) = world.cloud.alive
            world.logs[name] = log
            world.cloud.dies(name)
            world.maintain(0)

    are_taken(MAX_TAKEN_AWAY - 1)
    world.maintain(1, after=MAX_REST_SECONDS)
    world.all_work()
    world.cloud.dies(*world.cloud.alive)
    are_taken(MAX_TAKEN_AWAY - 1)
    with pytest.raises(LaunchFailed, match="6 workers in a row failed before they ran an experiment"):
        are_taken(1)


def test_spot_machines_whose_log_tells_of_a_failure_are_barren(one_zone):
    world = one_zone
    world.order = spot_order
    world.take_up()
    world.start(2)
    for name in world.cloud.alive:
        world.logs[name] = "studio: cannot fetch wheels/1/a.whl\nstudio: the end, with exit code 1 after 12 s\n"
        world.cloud.dies(name)
    with pytest.raises(LaunchFailed, match=r"2 workers in a row failed before they ran an experiment.* cannot fetch"):
        world.maintain(2)


def test_machines_that_never_say_a_word(one_zone):
    world = one_zone
    world.start(2)
    world.maintain(2, after=SILENT + 1)
    assert "has not reported for 20 minutes; ending it" in world.said[0]
    with pytest.raises(LaunchFailed):
        world.maintain(2)
    world.pool.close()
    assert world.cloud.alive == []


def test_a_zone_where_machines_come_to_nothing_rests_while_others_work(world):
    """And the search ends if no zone has one that works, for a time that the user is told."""
    world.start(2)
    for name in world.cloud.alive:
        world.cloud.dies(name)
    world.start(2)
    assert [order.zone for order in world.cloud.orders] == ["zone-a"] * 2 + ["zone-b"] * 2
    assert [text.rpartition("; ")[2] for text in world.said] == ["zone-a is tried again later"]
    world.all_work()
    for _ in range(10):
        world.maintain(4, after=MAX_REST_SECONDS)
        for name in world.cloud.alive:
            if world.ledger.get(name).zone == "zone-a":
                world.cloud.dies(name)
    assert len(world.cloud.alive) == 2, "they work"
    world.cloud.dies(world.cloud.alive[0])
    world.cloud.dies(world.cloud.alive[0])
    world.maintain(2)

    def until_the_end():
        for _ in range(100):
            world.maintain(2, after=10)
            for name in world.cloud.alive:
                world.cloud.dies(name)

    begun = world.time()
    with pytest.raises(LaunchFailed, match="no worker has worked for 10 minutes"):
        until_the_end()
    assert world.time() - begun == pytest.approx(GIVE_UP_SECONDS, abs=30)
    assert "the search ends if none does within 10 minutes" in world.said[-1]


def test_machines_that_took_a_job_and_died_are_not_barren(world):
    for _ in range(10):
        world.start(1)
        world.all_work()
        world.cloud.dies(world.cloud.alive[0])
    world.maintain(1)
    assert len(world.cloud.alive) == 1


def test_machines_that_found_no_work_are_not_barren(world):
    for _ in range(5):
        world.maintain(1, waiting=False)
        world.maintain(1, waiting=False)
        world.pool.reported(world.cloud.alive)
        world.cloud.dies(world.cloud.alive[0])
    world.maintain(1, waiting=False)
    assert len(world.cloud.alive) == 1


def test_one_that_works_closes_the_breaker(world):
    for _ in range(3):
        world.maintain(1, after=MAX_REST_SECONDS)
        world.cloud.dies(world.cloud.alive[0])
        world.start(1)
        world.all_work()
        world.cloud.dies(world.cloud.alive[0])
    world.maintain(1)
    assert len(world.cloud.alive) == 1


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_cap_shortens_lifetimes(tmp_path):
    world = World(tmp_path, max_cost=4 * 0.36 * 5)
    world.maintain()
    assert [order.lifetime for order in world.cloud.orders] == pytest.approx([5 * 3600] * 4, abs=2)


def test_a_cap_that_pays_for_fewer(tmp_path):
    world = World(tmp_path, max_cost=0.36 * 0.25 * 2.2, lifetime=1800)
    world.maintain()
    assert len(world.cloud.alive) in (1, 2)
    assert sum(order.lifetime for order in world.cloud.orders) * 0.36 / HOUR <= 0.36 * 0.25 * 2.2


def test_a_cap_that_pays_for_nothing(tmp_path):
    world = World(tmp_path, max_cost=0.01)
    with pytest.raises(EndSearch, match=r"\$0.00 of \$0.01 is spent; the rest does not pay for another machine"):
        world.maintain()
    assert world.cloud.alive == []


def test_the_cap_ends_the_search(tmp_path):
    world = World(tmp_path, max_cost=0.36 * 2, most=1)
    world.maintain(1)
    with pytest.raises(EndSearch, match="--max-cost"):
        world.work_for(hours=10)
    assert 0.36 * 2 * 0.8 < world.spent <= 0.36 * 2 + 1e-9


def test_what_outlives_its_time_goes_on_costing(tmp_path):
    world = World(tmp_path, most=1, lifetime=HOUR)
    world.start(1)
    world.all_work()
    world.cloud.no_ends += [unreachable()] * 100
    for _ in range(20):
        world.maintain(0, after=HOUR / 5)
    assert world.spent == pytest.approx(4 * 0.36, rel=0.05)
    world.cloud.dies(world.cloud.alive[0])
    world.time.pass_by(9 * HOUR)
    world.take_up()
    world.maintain(0)
    assert world.spent == pytest.approx(4 * 0.36, rel=0.05)  # until it was seen last


def test_spot_machines_count_with_what_they_can_have_cost(tmp_path):
    world = World(tmp_path, most=1, lifetime=HOUR, max_cost=0.5)
    world.take_up(replace(world.plan, offers=[replace(OFFERS[0], spot=0.1, on_demand=0.4)], spot=True))
    world.start(1)
    world.all_work()
    world.time.pass_by(HOUR)
    world.end_those_whose_time_is_over()
    world.time.pass_by(60)  # lists show it no more
    with pytest.raises(EndSearch, match=r"\$0.10 of \$0.50 is spent \(up to \$0.40, if prices rose\)"):
        world.maintain(1, after=60)
    assert world.cloud.alive == []


def test_a_damaged_ledger_is_not_one_without_machines(world):
    world.start(1)
    (world.folder / "machines.json").write_text('[{"name": "studio-digits-1", "rate"')
    with pytest.raises(StudioError, match=r"machines\.json cannot be read .* the costs of its machines are unknown"):
        world.take_up()


def test_what_earlier_sessions_spent_counts(tmp_path):
    world = World(tmp_path, max_cost=100.0)
    world.maintain()
    world.time.pass_by(HOUR)
    world.pool.close()
    before = world.spent
    assert before == pytest.approx(4 * 0.36, rel=0.05)
    world.take_up()
    assert world.spent == pytest.approx(before)


# --- drivers that are killed, and interrupts --------------------------------------------------------------------------


def test_the_next_driver_takes_the_machines_over(world):
    world.maintain()
    there = world.cloud.alive
    world.take_up()
    world.maintain()
    assert world.cloud.alive == there
    world.pool.close()
    assert world.cloud.alive == []


def test_the_next_driver_can_end_machines_without_having_looked(world):
    world.start(2)
    world.take_up()
    world.launcher.end()
    assert world.cloud.alive == []


def test_machines_that_ended_between_two_drivers_are_replaced_and_paid(world):
    world.maintain()
    for name in world.cloud.alive:
        world.cloud.dies(name)
    world.time.pass_by(HOUR)
    world.take_up()
    world.maintain()
    assert len(world.cloud.alive) == 4
    assert len([entry for entry in read(world.folder) if entry.ended is None]) == 4


def test_more_than_wanted_are_ended(world):
    world.maintain()
    world.take_up(replace(world.plan, machines=2))
    world.maintain()
    assert len(world.cloud.alive) == 2


def test_machines_of_others_are_left_alone(world):
    other = Order("other-9z", "studio-other-1", "t", "small", "zone-a", None, 1, False, 60, "", "")
    world.cloud.launch(other)
    world.maintain()
    world.pool.close()
    assert world.cloud.alive == ["studio-other-1"]


@pytest.mark.parametrize("answer", [KeyboardInterrupt(), Lost(KeyboardInterrupt())], ids=["before", "after"])
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("killed", [False, True])
def test_an_interrupt_at_each_order_leaves_nothing(tmp_path, answer, at, killed):
    world = World(tmp_path, lag=20.0)
    world.cloud.answers += [*[None] * at, answer]
    with pytest.raises(KeyboardInterrupt):
        world.maintain()
    if killed:
        world.take_up()
    assert world.pool.close()
    assert world.cloud.alive == []


def test_an_interrupt_while_an_order_is_sent_again(world):
    world.cloud.answers += [Lost(unreachable()), KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.maintain()
    assert world.pool.close()
    assert world.cloud.alive == []


def test_several_orders_at_a_time(tmp_path):
    world = World(tmp_path, most=8)
    world.together = 8
    world.take_up()
    world.maintain(8)
    assert len(world.cloud.alive) == 8
    world.pool.close()
    assert world.cloud.alive == []


# --- whatever happens -------------------------------------------------------------------------------------------------

ERRORS = [
    unreachable(),
    NoCapacity("none"),
    CloudError("?"),
    CloudDenied("no"),
    CloudCredentials("old"),
    QuotaRefused("x"),
]
LOST = [Lost(unreachable()), Lost(KeyboardInterrupt()), Lost(unreachable(), dies=True)]
ANSWERS = st.sampled_from([None, *ERRORS, *LOST, KeyboardInterrupt()])


class Whatever(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(most=3, lifetime=HOUR, max_cost=5.0)
        self.ledger = self.world.ledger

    @initialize(quota=st.none() | st.integers(1, 4), lag=st.floats(0.0, LIST_LAG))
    def the_account(self, quota, lag):
        self.world.cloud.quota, self.world.cloud.lag = quota, lag

    @rule(needed=st.integers(0, 5), after=st.sampled_from([1.0, 30.0, 200.0, 2000.0]), waiting=st.booleans())
    def tend(self, needed, after, waiting):
        self.world.time.pass_by(after)
        self.world.end_those_whose_time_is_over()
        try:
            self.world.maintain(needed, after=0.0, waiting=waiting)
        except (LaunchFailed, EndSearch, KeyboardInterrupt):
            pass

    @rule(answers=st.lists(ANSWERS, max_size=6))
    def answer(self, answers):
        self.world.cloud.answers.extend(answers)

    @rule(error=st.sampled_from(ERRORS))
    def lists_fail(self, error):
        self.world.cloud.no_lists.append(error)

    @rule(error=st.sampled_from(ERRORS))
    def ends_fail(self, error):
        self.world.cloud.no_ends.append(error)

    @rule(data=st.data(), what=st.sampled_from(["dies", "stops", "works", "hangs", "greets"]))
    def a_machine(self, data, what):
        # In the order in which they were made, because names are random.
        if alive := [name for name in self.world.cloud.made if name in self.world.cloud.alive]:
            name = data.draw(st.sampled_from(alive))
            pool, cloud = self.world.pool, self.world.cloud
            does = {"dies": cloud.dies, "stops": cloud.stops, "works": pool.took_job, "hangs": pool.silent}
            does.get(what, lambda name: pool.reported([name]))(name)

    @rule()
    def the_driver_is_killed(self):
        self.world.take_up()

    @rule()
    def lifetimes_end(self):
        self.world.end_those_whose_time_is_over()

    @invariant()
    def never_more_than_wanted(self):
        assert self.world.cloud.most <= 3

    @invariant()
    def every_machine_is_in_the_ledger(self):
        assert set(self.world.cloud.made) <= set(self.ledger.alive)

    @invariant()
    def never_more_than_may_be_spent(self):
        assert self.world.spent <= 5.0 + 1e-9
        assert self.ledger.committed(self.world.time.wall()) <= 5.0 + 1e-9

    def teardown(self):
        cloud = self.world.cloud
        cloud.answers.clear()
        assert self.world.pool.close() or cloud.no_lists or cloud.no_ends
        cloud.no_lists.clear()
        cloud.no_ends.clear()
        self.the_driver_is_killed()
        assert self.world.pool.close()
        assert cloud.made == {}
        assert self.ledger.alive == []


LONG = bool(os.environ.get("STUDIO_TEST_LONG"))
TestWhatever = Whatever.TestCase
TestWhatever.settings = settings(max_examples=600 if LONG else 60, stateful_step_count=30)
