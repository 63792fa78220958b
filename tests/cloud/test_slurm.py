"""Slurm: the text that it gets, what its answers mean, and searches on a real cluster of one node."""

from pathlib import Path

import pytest
from bucket_tools import HELD, WorkersHereContract

from studio.backends.queue.launcher import Copy, LauncherError, Refused
from studio.backends.slurm import (
    SlurmBackend,
    SlurmJob,
    SlurmLauncher,
    read_accounting,
    read_job,
    read_partitions,
    read_queue,
    read_submission,
)
from studio.errors import BadInput
from studio.experiment import Resources
from studio.host import read_backend_options
from studio.project.project import Project
from studio.testing import LauncherContract

SCRIPT = """#!/bin/bash
#SBATCH --job-name=studio-digits-0a1b2c
#SBATCH --array=1-4
#SBATCH --output="/home/me/.studioml/projects/digits/slurm/%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --time=240
#SBATCH --signal=B:TERM@60
#SBATCH --cpus-per-task=2
#SBATCH --mem=1908M
#SBATCH --gres=gpu:1
#SBATCH --requeue
#SBATCH --constraint=a100
#SBATCH --exclusive
exec /opt/py/bin/studio worker '/shared/my dir/digits-0a1b2c' --name="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" --idle=60s
"""


def test_the_whole_text_that_sbatch_gets():
    logs = Path("/home/me/.studioml/projects/digits/slurm")
    extra = ["--constraint=a100", "--exclusive"]
    job = SlurmJob("studio-digits-0a1b2c", logs, partition="gpu", account="lab", time=4 * 3600, extra=extra)
    command = ["/opt/py/bin/studio", "worker", "/shared/my dir/digits-0a1b2c", "--name={name}", "--idle=60s"]
    assert SlurmLauncher(job).preview(4, command, Resources(cpus=2, gpus=1, ram="2GB")) == SCRIPT


@pytest.mark.parametrize(("limit", "time"), [(125, "3"), (3600, "60")])
def test_a_time_limit_is_never_shorter_than_asked(limit, time):
    assert f"#SBATCH --time={time}\n" in SlurmJob("s", Path("/p/slurm"), time=limit).script(1, ["true"], Resources())


def test_a_time_limit_leaves_room_before_the_signal():
    with pytest.raises(BadInput, match="--slurm-time '2m': a worker releases its experiments 60 s before"):
        read_backend_options(SlurmBackend, {"time": "2m", "url": "/tmp"})


def test_the_shortest_text():
    text = SlurmJob("s", Path("/p/slurm")).script(1, ["true"], Resources())
    names = [line.partition("=")[0] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert names == [f"#SBATCH --{name}" for name in ("job-name", "array", "output", "open-mode", "requeue")]


def test_a_partition_where_workers_failed_is_left_out():
    job = SlurmJob("s", Path("/p/slurm"), partition="gpu,long")
    assert "--partition=gpu,long\n" in job.script(1, ["true"], Resources())
    assert "--partition=long\n" in job.script(1, ["true"], Resources(), {"gpu"})


@pytest.mark.parametrize(("text", "number"), [("17\n", "17"), ("17;cluster\n", "17"), ("a banner\n17\n", "17")])
def test_what_sbatch_answers(text, number):
    assert read_submission(text) == number


@pytest.mark.parametrize("text", ["", "Submitted batch job 17\n"])
def test_an_answer_that_is_no_number(text):
    with pytest.raises(LauncherError, match="not a job number"):
        read_submission(text)


def test_what_squeue_answers():
    """As Slurm 24.11 printed it for an array of which two tasks run, one waits and one is ending."""
    text = "7_1|RUNNING|None|gpu\n7_2|COMPLETING|None|long\n7_3|PENDING|Resources|gpu,long\n"
    text += "7_4|RUNNING|None|gpu\n9_1|PENDING|BeginTime|gpu,long\n"
    assert read_partitions(text) == {"7_1": "gpu", "7_2": "long", "7_4": "gpu"}
    assert read_queue(text) == {
        "7_1": Copy("running"),
        "7_2": Copy("ending"),
        "7_3": Copy("waiting", "Resources"),
        "7_4": Copy("running"),
        "9_1": Copy("waiting", "BeginTime"),
    }
    assert read_queue("slurm_load_jobs error: Unable to contact\n") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("JobId=8 JobState=COMPLETED Reason=None Dependency=(null) ExitCode=0:0", ""),
        ("JobId=8 JobState=RUNNING Reason=None ExitCode=0:0", ""),
        ("JobId=8 JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0", "Slurm: FAILED, exit code 3 (NonZeroExitCode)"),
        (
            "JobId=8 JobState=OUT_OF_MEMORY Reason=OutOfMemory ExitCode=0:125",
            "Slurm: OUT_OF_MEMORY, signal 125 (OutOfMemory)",
        ),
        ("JobId=8 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15", "Slurm: TIMEOUT, signal 15 (TimeLimit)"),
        ("JobId=8 JobState=PREEMPTED Reason=None ExitCode=0:0", "Slurm: PREEMPTED"),
        ("slurm_load_jobs error: Invalid job id specified", ""),
        ("", ""),
    ],
)
def test_why_a_job_ended(text, words):
    assert read_job(text) == words


def test_why_a_job_ended_in_the_accounts():
    assert read_accounting("NODE_FAIL|1:0|None\nNODE_FAIL|1:0|\n") == "Slurm: NODE_FAIL, exit code 1"
    assert read_accounting("CANCELLED by 0|0:0|None\n") == "Slurm: CANCELLED by 0"
    assert read_accounting("") == ""


@pytest.mark.parametrize("extra", ["constraint=a100", "--a=$(x) y", "--x; rm"])
def test_extra_options_are_options(extra, command, script):
    script("train.py", "print('fitness: 1')")
    result = command("run", "--backend=slurm:/share", f"--slurm-extra={extra}", "train.py")
    assert result.code == 2
    assert "write options of sbatch as --name=value, separated by blanks" in result.err


def test_a_dry_run_shows_the_text(command, script, home):
    script("train.py", "lr = 1\nprint('fitness:', lr)")
    result = command(
        "run", "--dry-run", "--backend=slurm:/shared/dir", "--slurm-partition=gpu", "--hp=lr=1,2", "train.py"
    )
    assert result.code == 0, result.err
    assert "#SBATCH --partition=gpu" in result.out
    assert "worker /shared/dir/PROJECT-ID" in result.out
    assert not home.exists()


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="squeue is not installed on this machine, or is not in PATH"):
        SlurmLauncher(SlurmJob("s", tmp_path)).alive()


QUICK = "import studio.backends.slurm as s; s.SlurmLauncher.poll_interval = 0.5"


# --- a real cluster ---------------------------------------------------------------------------------------------------


class TestSlurm(LauncherContract):
    @pytest.fixture(autouse=True)
    def cluster(self, slurm):
        return slurm

    def launcher(self, folder):
        return SlurmLauncher(SlurmJob(f"contract-{folder.name}", folder / "logs"))


@pytest.mark.slow  # two minutes on a busy machine
class TestSlurmBackend(WorkersHereContract):
    backend = SlurmBackend

    @pytest.fixture(autouse=True)
    def cluster(self, slurm, scratch, tmp_path, monkeypatch):
        monkeypatch.setattr(SlurmLauncher, "poll_interval", 0.5)
        self.tmp, self.options = scratch, {"url": f"{tmp_path}/share"}


def test_what_the_cluster_cannot_give_ends_at_once(slurm, tmp_path):
    launcher = SlurmLauncher(SlurmJob("refused", tmp_path, partition="nowhere"))
    with pytest.raises(Refused, match=r"invalid partition specified"):
        launcher.start(1, ["true"], Resources())
    with pytest.raises(Refused, match="Slurm refuses these workers"):
        SlurmLauncher(SlurmJob("refused", tmp_path)).start(1, ["true"], Resources(cpus=400))


@pytest.fixture
def search(slurm, driver, script, tmp_path):
    """`search(...)`: `studio run` on the cluster, in a process of its own. `held`: experiments wait for `search.go()`."""
    (tmp_path / "share").mkdir()

    def start(*options, held=False, before=""):
        script("train.py", HELD.format(go=str(tmp_path / "go")))
        if not held:
            start.go()
        where = (f"--backend=slurm:{tmp_path}/share", "--project=p")
        return driver("run", *where, *options, "train.py", before=f"{QUICK}\n{before}")

    start.go = (tmp_path / "go").touch
    return start


def finish(process, code=0):
    assert process.wait(180) == code, process.out + process.err
    return process.out + process.err


def queue(slurm):
    return slurm.run("squeue", "--noheader", "--array", "--format=%F_%K %T")


def test_a_search_runs_on_the_nodes_and_leaves_none(search, slurm):
    finish(search("--hp=lr=0.1:0.1:0.4", "--num-workers=2"))
    found = Project("p").experiments
    assert [(one.status, one.fitness) for one in found] == [("completed", value) for value in (0.1, 0.2, 0.3, 0.4)]
    assert all("None\n" not in Path(one.folder, "output.log").read_text() for one in found), "each has a job's number"
    slurm.wait(lambda: queue(slurm) == "", "no job is left")


def took(folder):
    """How many experiments have a worker."""
    return len(list(folder.glob("share/*/leases/*")))


def test_requeued_tasks_go_on(search, slurm, tmp_path):
    """A node that is taken away in the middle: the experiment runs again, and has one outcome."""
    process = search("--hp=lr=0.1,0.2", "--num-workers=1", held=True)
    slurm.wait(lambda: took(tmp_path) == 1, "a worker has an experiment")
    job = queue(slurm).split()[0]
    slurm.run("scontrol", "requeue", job)
    slurm.wait(lambda: f"{job} PENDING" in queue(slurm), "it waits")  # for two minutes, if nobody says otherwise
    search.go()
    slurm.run("scontrol", "update", f"jobid={job}", "starttime=now")
    finish(process)
    assert [(one.status, one.fitness) for one in Project("p").experiments] == [("completed", 0.1), ("completed", 0.2)]


def test_a_killed_driver_leaves_workers_that_the_next_one_ends(search, slurm, command, tmp_path, monkeypatch):
    monkeypatch.setattr(SlurmLauncher, "poll_interval", 0.5)
    process = search("--hp=lr=0.1,0.2", "--num-workers=2", held=True)
    slurm.wait(lambda: took(tmp_path) == 2, "two workers have an experiment")
    process.kill()
    assert queue(slurm).count("RUNNING") == 2
    search.go()
    resumed = command("resume", "p")
    assert resumed.code == 0, resumed.err
    assert [one.fitness for one in Project("p").experiments] == [0.1, 0.2]
    slurm.wait(lambda: queue(slurm) == "", "no job is left")


def test_workers_that_cannot_start_end_the_search(search, slurm):
    """With the engine's reason and the last words of the last one."""
    broken = "import studio.backends.queue.pool as p; p.worker_command = lambda *a, **k: ['sh', '-c', 'echo no disk; exit 3']"
    said = finish(search("--hp=lr=0.1", before=broken), 1)
    assert (
        "3 workers in a row failed before they ran an experiment; no more are started: Slurm: FAILED, exit code 3"
        in said
    )
    assert "(NonZeroExitCode); no disk" in said
    assert "Traceback" not in said
    slurm.wait(lambda: queue(slurm) == "", "no job is left")
