"""Searches on simulated clouds: a driver in a process of its own, and what may happen to it and to its machines.

`OnACloud` holds the tests that both clouds have in common; each cloud's file says what it calls things.
"""

import base64
import fnmatch
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from machine_tools import wrong_clock

from studio.backends.cloud.ec2.setup import driver_policy, worker_policy
from studio.backends.cloud.gce.setup import DRIVER, ROLES
from studio.project.paths import database
from studio.project.project import Project

SCRIPT = """
    import os, time
    lr = 0.01
    print("with", lr, flush=True)
    time.sleep(float(os.environ.get("TAKES", "0")))
    while "GO" in os.environ and not os.path.exists(os.environ["GO"]):
        time.sleep(0.05)
    with open("log.jsonl", "w") as log:
        for epoch in range(3):
            log.write('{"val_loss": %s}\\n' % ((lr - 0.04) ** 2 + 0.1 / (epoch + 1)))
"""
# Half a minute each, all of them a quarter of an hour.
FULL = pytest.mark.slow
METRIC = "--metric=jsonl:log.jsonl:val_loss:min"
PATIENCE = 120.0  # seconds, for anything

# The same backends in a hurry: they look more often, and a worker that says nothing for eight seconds is lost.
# HASTY_SILENT: seconds that a machine has to say a word; HASTY_LIFETIME: of workers, who otherwise have a minute at least.
HASTY = """
import os
from dataclasses import replace
from studio.backends.cloud.ec2.backend import EC2Backend, EC2SpotBackend
from studio.backends.cloud.gce.backend import GCEBackend, GCSpotBackend
from studio.backends.cloud.launcher import CloudLauncher
from studio.backends.cloud import plan as cloud_settings
from studio.hookspecs import hookimpl

cloud_settings.LEAST_LIFETIME = 60
cloud_settings.LEAST_IDLE = 1


CloudLauncher.start_timeout = float(os.environ.get("HASTY_SILENT", CloudLauncher.start_timeout))


def in_a_hurry(script):
    if lifetime := os.environ.get("HASTY_LIFETIME"):
        script = script.replace('--lifetime "$left"', f"--lifetime {lifetime}")
    return script.replace(" --lifetime ", " --ttl 8s --lifetime ")


def hasty(backend):
    class Hasty(backend):
        name = f"hasty-{backend.name}"
        aliases = ()

        @classmethod
        def pace(cls, seconds):
            return seconds / 20

        def _order(self, *arguments):
            made = super()._order(*arguments)
            return replace(made, script=in_a_hurry(made.script))

    return Hasty


@hookimpl
def studio_backends():
    return [hasty(backend) for backend in (EC2Backend, EC2SpotBackend, GCEBackend, GCSpotBackend)]
"""


def install_hasty(folder):
    """A distribution with these backends, for PYTHONPATH."""
    (folder / "hasty_clouds.py").write_text(HASTY)
    info = folder / "hasty_clouds-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[studio]\nhasty = hasty_clouds\n")


class Search:
    """`studio run` or `resume` in the background."""

    def __init__(self, home, folder, env, *arguments, project="p"):
        self.home, self.errors = home, folder.with_name(f"stderr-{time.monotonic_ns()}")
        self.folder = home / "projects" / project
        program = [Path(sys.executable).with_name("studio"), *arguments]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                program,
                cwd=folder,
                env={**env, "STUDIO_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=hear_interrupts,
            )

    def wait_for(self, what, timeout=PATIENCE):
        """Until `what` is said, or holds."""
        end = time.monotonic() + timeout
        while not (what() if callable(what) else re.search(what, self.said)):
            assert time.monotonic() < end, f"still not: {what}\n{self.said}"
            assert self.process.poll() is None or not isinstance(what, str), f"it ended: {self.said}"
            time.sleep(0.05)

    def end(self, timeout=PATIENCE * 2):
        """The exit code, and the experiments."""
        try:
            self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on: {self.said}") from None
        finally:
            self.process.kill()
        return self.process.returncode, self.record()

    def record(self):
        """Its experiments. Each was asked for once, was told once at most, and came to one end."""
        if not database(self.folder).exists():
            return []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STUDIO_HOME", str(self.home))
            found = [experiment.as_dict() for experiment in Project(self.folder.name).experiments]
        with closing(sqlite3.connect(database(self.folder))) as record:
            for kind in ("ask", "tell"):
                told = record.execute("SELECT number FROM events WHERE kind = ?", [kind]).fetchall()
                assert len(told) == len(set(told)), f"{kind}: {told}"
            ended = record.execute("SELECT number FROM attempts WHERE status = 'completed'").fetchall()
        assert len(ended) == len(set(ended)), f"completed: {ended}"
        assert [e["experiment"] for e in found] == [f"{self.folder.name}/{n}" for n in range(1, len(found) + 1)]
        return found

    def machines(self):
        """Those that its ledger has, by name. All of them are gone, and paid for no longer than they were there."""
        file = self.folder / "machines.json"
        rows = json.loads(file.read_text()) if file.exists() else []
        for row in rows:
            assert row["ended"] is not None, row
            assert row["begun"] <= row["ended"] <= time.time() + self.clock, row
        return {row["name"]: row for row in rows}

    def interrupt(self, times=3):
        """Ctrl-C once waits, twice ends, a third time kills."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # two at a time would count once

    clock = 0.0  # seconds that its computer's is wrong by

    @property
    def said(self):
        return self.errors.read_text()


def hear_interrupts():
    """Also where the tests run in the background, which hears none."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# --- what the accounts of `studio cloud setup` may ------------------------------------------------------------------

AMAZON = {"driver": driver_policy("studio-test", "123456789012"), "machine": worker_policy("studio-test")}
ROLE, PROFILE = (f"arn:aws:iam::123456789012:{kind}/studio-worker" for kind in ("role", "instance-profile"))
OBJECTS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject"}
GOOGLE = {"driver": set(DRIVER), "machine": {permission for _, may in ROLES.values() for permission in may}}
TO_INSERT = {  # cloud.google.com/compute/docs/reference/rest/v1/instances/insert
    *("compute.instances.create", "compute.disks.create", "compute.instances.setMetadata"),
    *("compute.instances.setLabels", "compute.disks.setLabels", "compute.instances.setServiceAccount"),
    *("compute.subnetworks.use", "compute.subnetworks.useExternalIp", "iam.serviceAccounts.actAs"),
}


def lacks(cloud, request):
    """What is needed for that request, and not allowed to who sent it."""
    who = "driver" if request.by == "driver" else "machine"
    if request.by == "test":
        return []
    if cloud == "ec2":
        return [need for need in needs_of_amazon(request) if not allows(AMAZON[who], *need)]
    return sorted(needs_of_google(request) - GOOGLE[who])


def needs_of_amazon(request):
    """Actions, each with what it is done to."""
    service, _, name = request.call.partition(":")
    if service != "s3":
        needs = [(request.call, PROFILE if name == "GetInstanceProfile" else "*")]
        made = [("ec2:CreateTags", "*"), ("iam:PassRole", ROLE), ("ssm:GetParameters", "*")]
        return [*needs, *made] if name == "RunInstances" else needs
    bucket, _, key = request.parameters["key"].strip("/").partition("/")
    return (
        [(OBJECTS.get(name, f"s3:{name}"), f"arn:aws:s3:::{bucket}/{key}")]
        if key
        else [("s3:ListBucket", f"arn:aws:s3:::{bucket}")]
    )


def allows(policy, action, resource):
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for one in actions:
            if fnmatch.fnmatchcase(action, one) and fnmatch.fnmatchcase(resource, statement["Resource"]):
                return True
    return False


def needs_of_google(request):
    service, _, name = request.call.partition(":")
    if service == "billing":
        return {"serviceusage.services.use"}
    if service == "compute":
        if name == "instances.insert":
            return TO_INSERT | ({"compute.instances.setTags"} if request.body.get("tags") else set())
        changed = {"compute.networks.updatePolicy"} if name in ("firewalls.insert", "firewalls.delete") else set()
        return {f"compute.{name.replace('aggregatedList', 'list').replace('insert', 'create')}"} | changed
    found = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/[^/]+(/o(?:/.+)?)?", request.parameters["key"])
    assert found, request
    if not found[1]:
        return {f"storage.buckets.{name.lower()}"}
    if name == "POST":  # to write a key again is to delete its old value
        return {"storage.objects.create", "storage.objects.delete"}
    verbs = {"GET": "get" if found[1] != "/o" else "list", "PUT": "create", "DELETE": "delete"}
    return {f"storage.objects.{verbs[name]}"}


class OnACloud:
    """Subclasses have the fixture `cloud`, and say:

    name, spot          backends
    machine                      a machine type
    launching, ending, listing   calls
    sold_out, quota, expired     codes of refusals
    """

    name: str
    spot: str
    machine: str
    launching: str
    ending: str
    listing: str
    sold_out: str
    quota: str
    expired: str
    denied: str

    @pytest.fixture
    def search(self, home, workdir, script, cloud, tmp_path, monkeypatch):
        """`search("--hp=lr=1:4")` starts one; `search.resume()` goes on with it. Its experiments take `takes` seconds, or
        `until` a file is there."""
        plugins = tmp_path / "plugins"
        plugins.mkdir()
        install_hasty(plugins)
        script("train.py", SCRIPT)
        started = []

        def environment(variables):
            path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
            return {**os.environ, **cloud.env, "PYTHONPATH": path, **variables}

        def start(
            *options,
            spot=False,
            workers=2,
            takes=0.0,
            file="train.py",
            metric=METRIC,
            machine=self.machine,
            project="p",
            home=home,
            clock=0.0,
            until=None,
            **variables,
        ):
            options = [f"--cloud=hasty-{self.spot if spot else self.name}", f"--num-workers={workers}", *options]
            given = [f"--bucket={cloud.bucket}", "--yes", f"--project={project}", f"--env=TAKES={takes}"]
            given += [f"--env=GO={until}"] if until else []
            given += [f"--machine-type={machine}"] if machine else []  # looking through all takes seconds
            options = [*options, *given, "--verbose", *([metric] if metric else []), file]
            env = environment(variables)
            if clock:
                env["PYTHONPATH"] = os.pathsep.join([wrong_clock(tmp_path / "clock", clock), env["PYTHONPATH"]])
            started.append(Search(home, workdir, env, "run", *options, project=project))
            started[-1].clock = clock
            return started[-1]

        def resume(*options, home=home):
            options = ["resume", "p", "--yes", *options, "--verbose"]
            started.append(Search(home, workdir, environment({}), *options))
            return started[-1]

        def command(*arguments):
            return subprocess.run(
                [Path(sys.executable).with_name("studio"), *arguments],
                **{"cwd": workdir, "env": environment({}), "capture_output": True, "text": True, "timeout": 60},
                stdin=subprocess.DEVNULL,
                check=False,
            )

        start.resume, start.command = resume, command
        yield start
        for each in started:
            each.process.kill()
            each.process.communicate()

    def completed(self, search, count, cloud, *, code=0, machines=6):
        """It ends with that many completed experiments, each told once; no machine is left, at most so many were made
        and paid for, and nobody asked for what `studio cloud setup` would not allow."""
        found, experiments = search.end()
        assert found == code, search.said
        assert [e["status"] for e in experiments].count("completed") == count, search.said
        cloud.wait_all_gone()
        self.nothing_is_left(search, cloud, machines)
        asked = cloud.requests()
        assert {request.by == "driver" for request in asked} == {True, False}
        for request in asked:
            assert lacks(self.name, request) == [], f"{request.by}: {request.call}"
        return experiments

    @staticmethod
    def nothing_is_left(search, cloud, machines):
        cloud.wait_all_gone()
        made = {instance.name for instance in cloud.instances()}
        assert len(made) <= machines
        assert search.machines().keys() <= made, "it pays for a machine that never was"

    # --- all is well ------------------------------------------------------------------------------------------------

    def test_the_seeds_command_with_four_workers(self, search, cloud):
        found = self.completed(search("--hyperparam=lr=0.01:0.01:0.1", workers=4, machine=None), 10, cloud)
        assert found[3]["values"] == {"lr": 0.04}
        assert found[3]["metric"]["value"] == pytest.approx(0.1 / 3)
        assert {e["attempt"] for e in found} == {1}
        assert (Path(found[3]["folder"]) / "output.log").read_text() == "with 0.04\n"
        record = json.loads((Path(found[3]["folder"]) / "machine.json").read_text())
        assert record["dollars_an_hour"] > 0
        assert 0 < record["dollars"] < record["dollars_an_hour"]
        assert len(cloud.instances()) == 4
        assert len(cloud.requests(self.launching)) == 4

    @FULL
    def test_nothing_secret_travels_in_the_start_up_script(self, search, cloud):
        search("--hp=lr=1", "--env=PASSWORD=hunter2", workers=1).end()
        assert cloud.requests(self.launching)
        for request in cloud.requests(self.launching):
            sent = str(vars(request)) + base64.b64decode(request.parameters.get("UserData", "")).decode()
            assert f"{cloud.bucket}/p-" in sent, "the script was looked at"
            assert "hunter2" not in sent
            assert "secret of driver" not in sent
        cloud.wait_all_gone()

    @FULL
    def test_several_experiments_on_one_machine(self, search, cloud):
        self.completed(search("--hp=lr=1:4", "--per-machine=4", workers=4, takes=2), 4, cloud)
        assert len(cloud.instances()) == 1

    @FULL
    def test_what_machines_install(self, search, cloud, script, workdir):
        script("requirements.txt", "numpy\n")
        (workdir / "first.sh").write_text("#!/bin/sh\necho the user was first\n")
        found = search("--hp=lr=1", "--python-pkg=scipy", "--user-startup-script=first.sh", workers=1)
        self.completed(found, 1, cloud)
        log = cloud.log(cloud.instances()[0].id)
        assert "the user was first" in log

    # --- machines that go away --------------------------------------------------------------------------------------

    @FULL
    def test_a_spot_machine_is_lost_in_mid_experiment(self, search, cloud, tmp_path):
        running = search("--hp=lr=1:3", spot=True, until=tmp_path / "go")
        running.wait_for(lambda: self.at_work(cloud, 2))
        cloud.interrupt_spot(cloud.alive()[0].id, notice=0)
        (tmp_path / "go").touch()
        found = self.completed(running, 3, cloud)
        assert all(instance.spot for instance in cloud.instances())
        assert {e["attempt"] for e in found} == {1}  # the worker that died is the queue's business

    @FULL
    def test_a_spot_machine_hears_that_it_will_be_taken(self, search, cloud):
        running = search("--hp=lr=1:2", spot=True, takes=15)
        running.wait_for(lambda: self.at_work(cloud, 2))
        taken = cloud.alive()[0].id
        cloud.interrupt_spot(taken, notice=30)
        running.wait_for(lambda: "released p/" in cloud.log(taken))
        self.completed(running, 2, cloud)
        assert "being taken away" in cloud.log(taken)

    @FULL
    def test_all_machines_are_lost(self, search, cloud):
        running = search("--hp=lr=1:4", takes=5)
        running.wait_for(lambda: self.at_work(cloud, 2))
        for instance in cloud.alive():
            cloud.interrupt_spot(instance.id, notice=0)
        self.completed(running, 4, cloud)
        assert len(cloud.instances()) >= 4

    @FULL
    def test_a_worker_hangs(self, search, cloud):
        running = search("--hp=lr=1:2", takes=10)
        running.wait_for(lambda: self.at_work(cloud, 2))
        hung = cloud.alive()[0].id
        cloud.hang(hung)
        running.wait_for("stopped responding while running an experiment; replacing it")
        self.completed(running, 2, cloud)

    @FULL
    def test_a_zombie_wakes_up_after_its_lease_was_stolen(self, search, cloud):
        running = search("--hp=lr=1:2", takes=10)
        running.wait_for(lambda: self.at_work(cloud, 2))
        hung = cloud.alive()[0].id
        cloud.refuse(self.denied, self.ending)
        cloud.hang(hung)
        running.wait_for("cannot end workers, retrying")
        running.wait_for(lambda: sum("try 2" in log_of(cloud, each.id) for each in cloud.instances()) == 1)
        cloud.wake(hung)
        running.wait_for(lambda: "another worker has it" in cloud.log(hung) or "by another" in cloud.log(hung))
        cloud.allow()
        self.completed(running, 2, cloud)

    @FULL
    def test_a_poison_job_is_given_up(self, search, cloud, script):
        """After three machines, or after ten where the worker had time to give it back."""
        script(
            "poison.py", "import os, time\nlr = 1\nif lr == 2:\n    os.system('shutdown -P now')\n    time.sleep(30)\n"
        )
        running = search("--hp=lr=1:3", file="poison.py", metric=None)
        found = self.completed(running, 2, cloud, code=3, machines=14)
        assert (found[1]["status"], found[1]["failure"], found[1]["attempt"]) == ("failed", "crash", 1)
        assert re.search("workers died|preempted or shut down", found[1]["reason"])

    # --- machines that come to nothing, or do not come --------------------------------------------------------------

    @FULL
    def test_a_broken_bootstrap_ends_the_search(self, search, cloud):
        running = search("--hp=lr=1:4", "--python-pkg=no-such-package")
        code, _ = running.end()
        assert code == 1
        assert "workers in a row failed before they ran an experiment; no more are started" in running.said
        assert "no-such-package" in running.said.splitlines()[-1]
        cloud.wait_all_gone()
        assert len(cloud.instances()) <= 4

    @FULL
    def test_no_capacity_in_the_best_zone(self, search, cloud):
        cloud.refuse(self.sold_out, times=1)
        running = search("--hp=lr=1:2")
        self.completed(running, 2, cloud)
        assert "looking elsewhere" in running.said

    @FULL
    def test_no_capacity_anywhere(self, search, cloud):
        cloud.refuse(self.sold_out)
        running = search("--hp=lr=1:2")
        running.wait_for("looking elsewhere")
        running.interrupt()
        assert running.end()[0] == 130
        assert cloud.instances() == []

    @FULL
    def test_a_quota_of_one(self, search, cloud):
        cloud.refuse(self.quota, times=2)  # of the three orders that are sent at a time
        running = search("--hp=lr=1:6", workers=3, takes=1)
        self.completed(running, 6, cloud)
        assert "continuing with 1 machine" in running.said
        assert len(cloud.instances()) == 1

    @FULL
    def test_no_machine_at_all_may_be_had(self, search, cloud):
        cloud.refuse(self.quota)
        running = search("--hp=lr=1:2")
        assert running.end()[0] == 1
        assert "no machine is available" in running.said
        assert cloud.instances() == []

    # --- requests without answers -----------------------------------------------------------------------------------

    @FULL
    def test_answers_to_orders_are_lost(self, search, cloud):
        cloud.lose_answers(self.launching, times=3)
        self.completed(search("--hp=lr=1:4"), 4, cloud)
        assert len(cloud.instances()) == 2

    @FULL
    def test_credentials_expire_in_mid_search(self, search, cloud):
        running = search("--hp=lr=1:6", takes=2)
        running.wait_for(lambda: self.at_work(cloud, 2))
        cloud.refuse(self.expired, "*", by="driver")
        running.wait_for("no response, retrying")
        time.sleep(3)
        cloud.allow()
        self.completed(running, 6, cloud)

    @FULL
    def test_the_drivers_network_is_cut(self, search, cloud):
        running = search("--hp=lr=1:6", takes=2)
        running.wait_for(lambda: self.at_work(cloud, 2))
        cloud.cut("driver")
        time.sleep(3)
        cloud.mend("driver")
        self.completed(running, 6, cloud)

    # --- ends -------------------------------------------------------------------------------------------------------

    @FULL
    def test_the_laptop_is_closed_and_the_search_taken_up_again(self, search, cloud):
        running = search("--hp=lr=1:6", takes=4)
        running.wait_for(lambda: self.at_work(cloud, 2))
        running.process.kill()
        running.process.wait()
        first = {instance.id for instance in cloud.alive()}
        search_again = search.resume()
        found = self.completed(search_again, 6, cloud)
        assert {e["attempt"] for e in found} == {1}
        assert {instance.id for instance in cloud.instances()} == first
        started = [cloud.log(id).count("took p/") for id in first]
        assert sum(started) == 6

    @FULL
    def test_machines_without_a_driver_end_by_themselves(self, search, cloud):
        running = search("--hp=lr=1:6", "--cloud-timeout=2s", takes=2)
        running.wait_for(lambda: self.at_work(cloud, 2))
        running.process.kill()
        running.process.wait()
        cloud.wait_all_gone(timeout=PATIENCE)

    @FULL
    def test_ctrl_c_while_orders_have_no_answer(self, search, cloud):
        cloud.lose_answers(self.launching, times=50)
        running = search("--hp=lr=1:8", workers=2, takes=60)
        running.wait_for(lambda: cloud.requests(self.launching))
        running.interrupt()
        assert running.end()[0] == 130, running.said
        cloud.wait_all_gone()

    @FULL
    def test_studio_stop(self, search, cloud):
        running = search("--hp=lr=1:8", takes=60)
        running.wait_for(lambda: self.at_work(cloud, 2))
        assert search.command("stop", "p").returncode == 0
        assert running.end()[0] in (0, 4)
        cloud.wait_all_gone()

    @FULL
    def test_the_cap_is_reached(self, search, cloud):
        price = ["--price=3600", "--max-cost=60", "--cloud-lifetime=60s"]  # a minute, the least that is billed
        running = search("--hp=lr=1:8", *price, workers=1, takes=60)
        code, found = running.end()
        assert code == 4, running.said
        assert "--max-cost" in running.said
        assert "completed" not in [e["status"] for e in found]
        cloud.wait_all_gone()

    @FULL
    def test_from_this_machine_to_the_cloud_and_back(self, search, cloud):
        begun = search.command("run", "--hp=lr=1:6", "--max-experiments=2", "--project=p", METRIC, "train.py")
        assert begun.returncode == 0, begun.stderr
        there = [f"--cloud=hasty-{self.name}", f"--bucket={cloud.bucket}", f"--machine-type={self.machine}"]
        moved = search.resume(*there, "--max-experiments=4", "--num-workers=2")
        self.completed(moved, 4, cloud)
        back = search.resume("--backend=local", "--max-experiments=6")
        self.completed(back, 6, cloud)
        assert len(cloud.instances()) == 2

    @FULL
    def test_machines_that_a_killed_driver_left_end_when_the_search_moves(self, search, cloud):
        running = search("--hp=lr=1:4", takes=5)
        running.wait_for(lambda: self.at_work(cloud, 2))
        running.process.kill()
        running.process.wait()
        self.completed(search.resume("--backend=local"), 4, cloud)

    # --- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def at_work(cloud, count, project="p"):
        """So many machines run an experiment."""
        logs = [log_of(cloud, instance.id) for instance in cloud.alive()]
        return sum(log.count(f"took {project}/") > log.count(f"finished {project}/") for log in logs) >= count


def log_of(cloud, id):
    """Empty for a machine that has just been made."""
    try:
        return cloud.log(id)
    except FileNotFoundError:
        return ""
