"""Rarer faults of searches on simulated clouds, each from the command to the end of the last machine. See `searches`."""

import shutil
import time
from datetime import datetime

import pytest
from searches import FULL, OnACloud, log_of

HOUR = 3600.0


class Faults(OnACloud):
    """Subclasses say in addition:

    looking    calls that ask what there is, before anything is ordered
    storing    calls that write into the bucket
    skew       seconds that a clock may be wrong by before the cloud refuses its requests
    gone       how the cloud says that there is no such bucket
    """

    looking: str
    storing: str
    skew: float
    gone: str

    # --- two drivers ------------------------------------------------------------------------------------------------

    @FULL
    def test_a_second_driver_of_a_project_is_refused_and_disturbs_nothing(self, search, cloud):
        first = search("--hp=lr=1:4", takes=3)
        first.wait_for(lambda: self.at_work(cloud, 2))
        second = search.resume()
        assert second.end()[0] == 2, second.said
        assert "project 'p' is being run by process" in second.said
        found = self.completed(first, 4, cloud, machines=2)
        assert {e["attempt"] for e in found} == {1}

    @FULL
    def test_two_projects_share_a_bucket_and_one_is_stopped(self, search, cloud):
        one = search("--hp=lr=1:4", takes=60)
        other = search("--hp=lr=1:6", takes=3, project="q")
        other.wait_for(lambda: self.at_work(cloud, 2) and self.at_work(cloud, 2, "q"))
        theirs = {instance.id for instance in cloud.alive() if instance.project.startswith("q-")}
        one.interrupt()
        code, found = one.end()
        assert code == 130, one.said
        assert "completed" not in [e["status"] for e in found]
        assert {instance.id for instance in cloud.alive()} <= theirs
        found = self.completed(other, 6, cloud, machines=4)
        assert {e["attempt"] for e in found} == {1}
        assert {instance.id for instance in cloud.instances() if instance.project.startswith("q-")} == theirs

    @FULL
    def test_two_people_have_a_project_of_one_name_in_a_bucket(self, search, cloud, tmp_path):
        both = [search("--hp=lr=1:4", takes=1), search("--hp=lr=1:3", takes=2, home=tmp_path / "another")]
        for one, count in zip(both, (4, 3), strict=True):
            code, found = one.end()
            assert (code, [e["status"] for e in found]) == (0, ["completed"] * count), one.said
        cloud.wait_all_gone()
        assert len({instance.project for instance in cloud.instances()}) == 2
        assert not both[0].machines().keys() & both[1].machines().keys()
        assert len(both[0].machines()) + len(both[1].machines()) == len(cloud.instances()) == 4

    @FULL
    def test_a_copy_of_the_project_is_resumed_on_another_computer(self, search, cloud, home, tmp_path):
        """Two drivers of one search: what is done once counts for both, and whoever ends first ends nothing for the other."""
        first = search("--hp=lr=1:6", takes=4)
        first.wait_for(lambda: self.at_work(cloud, 2))
        shutil.copytree(home, tmp_path / "copy")
        second = search.resume(home=tmp_path / "copy")
        for one in (first, second):
            code, found = one.end()
            assert (code, [e["status"] for e in found]) == (0, ["completed"] * 6), one.said
        cloud.wait_all_gone()
        assert sum(log_of(cloud, instance.id).count("finished p/") for instance in cloud.instances()) == 6
        assert len(cloud.instances()) <= 8

    # --- clocks -----------------------------------------------------------------------------------------------------

    @FULL
    @pytest.mark.parametrize("seconds", [-5 * HOUR, -600.0, 5 * HOUR])
    def test_the_clocks_of_machines_are_wrong(self, search, cloud, seconds):
        cloud.set_clocks(seconds)
        begun = time.time()
        running = search("--hp=lr=1:4", takes=1)
        if abs(seconds) > self.skew:
            assert running.end()[0] == 1, running.said
            assert "workers in a row failed" in running.said
            assert "the clock of this machine is wrong" in running.said
            self.nothing_is_left(running, cloud, 4)
            return
        found = self.completed(running, 4, cloud, machines=2)
        for experiment in found:
            times = [datetime.fromisoformat(experiment[name]).timestamp() for name in ("started", "finished")]
            assert begun - 1 < times[0] < times[1] < time.time() + 1
            assert 1 <= experiment["duration"] < 60

    @FULL
    def test_the_clock_of_one_machine_is_wrong(self, search, cloud):
        cloud.set_clocks(5 * HOUR, times=1)
        self.completed(search("--hp=lr=1:4", takes=2), 4, cloud, machines=3)

    @FULL
    @pytest.mark.parametrize("seconds", [-5 * HOUR, 5 * HOUR])
    def test_the_clock_of_the_driver_is_wrong(self, search, cloud, seconds):
        running = search("--hp=lr=1:4", takes=1, clock=seconds)
        if abs(seconds) > self.skew:
            assert running.end()[0] == 1, running.said
            assert "is the clock of this machine right?" in running.said
            assert cloud.instances() == []
            return
        found = self.completed(running, 4, cloud, machines=2)
        assert all(1 <= e["duration"] < 60 for e in found)

    # --- machines ---------------------------------------------------------------------------------------------------

    @FULL
    def test_no_machine_ever_reports(self, search, cloud):
        """They boot, they bill, and they say nothing."""
        cloud.mute()
        running = search("--hp=lr=1:4", HASTY_SILENT="5")
        assert running.end()[0] == 1, running.said
        assert "has not reported for" in running.said
        assert "workers in a row failed before they ran an experiment" in running.said
        self.nothing_is_left(running, cloud, 4)
        assert len(running.machines()) == len(cloud.instances()) >= 2

    @FULL
    def test_a_machine_that_never_reports_is_replaced(self, search, cloud):
        cloud.mute(times=1)
        running = search("--hp=lr=1:4", takes=30, HASTY_SILENT="40")
        running.wait_for("has not reported for")
        self.completed(running, 4, cloud, machines=3)

    @FULL
    def test_an_experiment_takes_longer_than_its_machines_live(self, search, cloud, script):
        script("long.py", "import time\nlr = 1\nif lr == 2:\n    time.sleep(600)\nprint('fitness:', lr)\n")
        running = search("--hp=lr=1:3", file="long.py", metric=None, HASTY_LIFETIME="12s")
        found = self.completed(running, 2, cloud, code=3, machines=6)
        assert (found[1]["status"], found[1]["failure"]) == ("failed", "crash")
        assert "reached their lifetime with it" in found[1]["reason"]

    @FULL
    def test_all_machines_are_lost_again_and_again(self, search, cloud):
        """Whatever becomes of machines, an experiment is begun three times and then given up, once."""
        running = search("--hp=lr=1,2", takes=60)
        for _ in range(3):
            running.wait_for(lambda: self.at_work(cloud, 2))
            for instance in cloud.alive():
                cloud.interrupt_spot(instance.id, notice=0)
        code, found = running.end()
        assert code == 1, running.said
        assert [(e["status"], e["failure"]) for e in found] == [("failed", "crash")] * 2
        self.nothing_is_left(running, cloud, 8)

    # --- the bucket -------------------------------------------------------------------------------------------------

    @FULL
    def test_the_bucket_is_deleted_in_mid_search(self, search, cloud):
        running = search("--hp=lr=1:6", takes=5)
        running.wait_for("#1/6  completed")
        running.wait_for(lambda: self.at_work(cloud, 2))
        cloud.delete_bucket()
        code, found = running.end()
        assert code == 1, running.said
        assert self.gone in running.said.splitlines()[-1]
        assert "continue with: studio resume p" in running.said
        assert "Traceback" not in running.said
        assert 0 < [e["status"] for e in found].count("completed") < 6
        self.nothing_is_left(running, cloud, 4)
        cloud.make_bucket()
        self.completed(search.resume(), 6, cloud, machines=6)

    # --- Ctrl-C -----------------------------------------------------------------------------------------------------

    @FULL
    @pytest.mark.parametrize("times", [2, 3])
    @pytest.mark.parametrize("stage", ["looking", "storing", "ordering", "booting", "waiting", "working"])
    def test_ctrl_c_at_each_stage_of_a_launch(self, search, cloud, stage, times):
        """The first three are requests that are under way meanwhile, and are carried out after it."""
        held = {"looking": self.looking, "storing": self.storing, "ordering": self.launching}.get(stage)
        if held is not None:
            cloud.hold(held)
        running = search("--hp=lr=1:8", workers=3, takes=600)
        reached = {
            "booting": cloud.instances,
            "waiting": lambda: any("waiting for experiments" in log_of(cloud, each.id) for each in cloud.instances()),
            "working": lambda: self.at_work(cloud, 1),
        }
        running.wait_for(reached.get(stage, lambda: cloud.requests(held or "")))
        running.interrupt(times)
        time.sleep(0.5)
        cloud.release()
        code, found = running.end()
        assert code == 130, running.said
        assert "Traceback" not in running.said
        assert "completed" not in [e["status"] for e in found]
        self.nothing_is_left(running, cloud, 3)
        time.sleep(2)
        assert cloud.alive() == [], "it came when nobody waited for it any more"
