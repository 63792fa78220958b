"""`--backend=folder:/shared/dir` with real drivers and real workers, which are killed, paused and cut off."""

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from bucket_tools import WorkersHereContract, bucket_backend
from searches import FULL

from studio.backends.kubernetes import KubernetesBackend
from studio.backends.queue import backend as queue_backend
from studio.backends.queue import shipping
from studio.backends.queue.bucket import BucketFull, BucketUnreachable
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.folder_backend import FolderBackend
from studio.backends.queue.lease_records import JobOutcome
from studio.backends.queue.lease_taker import LeaseTaker
from studio.backends.queue.shipping import DiskFull, outputs_key
from studio.backends.skypilot import SkyPilotBackend
from studio.backends.slurm import SlurmBackend
from studio.experiment import Outcome, Report, Resources
from studio.host import backend_fields
from studio.project.project import Project
from studio.project.records import is_complete
from studio.project.store import Store
from studio.testing import BackendContract

# A worker looks for jobs every 0.2 s instead of every second.
QUICK = "from studio.backends.queue.folder_bucket import FolderBucket as F; F.look, F.driver_look = 0.2, 0.1\n"

SHORT = 1.0  # seconds until a worker that is silent is dead; others are given more, as the machine may be busy
LASTING = """
lr = 0
note(f"up {os.getpid()}")
print("fitness:", 10 * lr, flush=True)
while not os.path.exists(os.environ["NOTES"] + "-go"):
    time.sleep(0.01)
note("down")
print("fitness:", lr)
"""


@pytest.fixture
def share(tmp_path):
    folder = tmp_path / "shared folder"
    open_bucket(str(folder), create=True)
    return folder


@pytest.fixture
def driver(driver):
    return lambda *arguments, **how: driver(*arguments, before=QUICK, **how)


@pytest.fixture
def worker(driver, share, tmp_path):
    """`worker()` starts one, with temporary files below this test's folder."""
    (tmp_path / "tmp").mkdir()

    def start(*options, ttl=30, **how):
        return driver("worker", f"--ttl={ttl}", *options, str(share), env={"TMPDIR": str(tmp_path / "tmp")}, **how)

    return start


@pytest.fixture
def search(driver, share):
    """`search("--hp=lr=1:4", "train.py")` is a driver of project p with two slots."""
    return lambda *options, **how: driver(
        "run", f"--backend=folder:{share}", "--project=p", "--num-workers=2", *options, **how
    )


@pytest.fixture
def go(notes):
    """Lets all scripts that last come to their end."""
    return notes.path.with_name("notes-go").touch


def table(project="p"):
    return [(e.number, e.status, e.fitness) for e in Project(project).experiments]


def values(home, project="p"):
    """The values of the metric so far, as the record has them."""
    folder = home / "projects" / project
    there = (folder / "studio.db").exists() and is_complete(folder)
    return [e.metric and e.metric["value"] for e in Project(project).experiments] if there else []


def completed(numbers):
    return [(number, "completed", number) for number in numbers]


# --- what goes out, and what comes home -------------------------------------------------------------------------------


def test_a_search_runs_on_its_workers_and_everything_comes_home(search, worker, script, home, tmp_path):
    script("data/words.txt", "hello")
    script(
        "train.py",
        """
        import os, sys
        from studio import fs_tracker
        lr = 0.1
        print(sys.argv[1], os.environ["COLOUR"], os.getcwd())
        with open("model.txt", "w") as model:
            model.write(f"{lr} {open('data/words.txt').read()} {open(fs_tracker.get_artifact('words')).read()}")
        for folder in (fs_tracker.get_tensorboard_dir(), fs_tracker.get_model_directory()):
            with open(os.path.join(folder, "made"), "w") as file:
                file.write(str(lr))
        with open("log", "w") as log:
            log.write('{"loss": 0.5}\\n{"loss": %f}\\n{"loss": 0.7}\\n' % (lr / 100))
        """,
    )
    workers = [worker(), worker("--slots=2", "--name=strong")]
    options = ("--capture=model.txt:model", "--capture-once=data/words.txt:words", "--env=COLOUR=blue")
    one = search(*options, "--metric=jsonl:log:loss:min", "--hp=lr=1:3", "train.py", "argument")
    assert one.wait() == 0, one.err
    for number, found in enumerate(Project("p").experiments, 1):
        assert (found.status, found.metric["value"], found.attempt) == ("completed", number / 100, 1)
        folder = Path(found.folder)
        assert folder == home / "projects" / "p" / str(number) / "1"
        assert (folder / "output.log").read_text().startswith(f"argument blue {tmp_path / 'tmp'}/studio-worker-")
        assert (folder / "artifacts" / "model").read_text() == f"{number} hello hello"
        assert (folder / "tb" / "made").read_text() == (folder / "modeldir" / "made").read_text() == str(number)
        assert json.loads((folder / "hyperparameters.json").read_text()) == {"lr": number}
    for each in workers:
        each.signal(signal.SIGTERM)
        assert each.wait() == 0, each.err
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sum(each.err.count("finished p/") for each in workers) == 3


@FULL
def test_arrays_a_module_another_python_and_an_artifact_of_another_search(search, worker, driver, script, home, share):
    script("package/__init__.py", "")
    script(
        "package/train.py",
        """
        import sys
        from studio import fs_tracker
        v = None
        values = open(fs_tracker.get_artifact("v"), "rb").read()[-16:]
        with open("kept", "wb") as kept:
            kept.write(values)
        print(sys.executable, "numpy" in sys.modules)
        print("fitness:", len(values))
        """,
    )
    worker("--slots=2")
    options = ("--optimizer=random", "--max-experiments=2", "--seed=1", "--capture=kept:kept", "-m")
    one = search(*options, f"--python={sys.executable}", "--hp=v=0:1:2:a", "package.train")
    assert one.wait() == 0, one.err
    assert [e.fitness for e in Project("p").experiments] == [16, 16]
    script(
        "again.py",
        "from studio import fs_tracker\nprint('fitness:', len(open(fs_tracker.get_artifact('old'), 'rb').read()))",
    )
    again = driver("run", f"--backend=folder:{share}", "--project=q", "--reuse=p/1/kept:old", "again.py")
    assert again.wait() == 0, again.err
    assert table("q") == [(1, "completed", 16)]


def test_values_are_seen_while_an_experiment_runs(search, worker, tree, go, until, home):
    tree("train.py", LASTING)
    worker()
    one = search("--hp=lr=1", "train.py")
    until(lambda: values(home) == [10])
    assert table() == [(1, "running", None)]
    go()
    assert one.wait() == 0, one.err
    assert table() == completed([1])


def test_a_time_limit_holds_on_a_worker(search, worker, script):
    script("train.py", "import time\nlr = 1\nprint('step', lr, flush=True)\ntime.sleep(60)")
    worker()
    one = search("--max-duration=4", "--hp=lr=1", "train.py")  # a busy machine takes a while to print
    assert one.wait() == 1
    (found,) = Project("p").experiments
    assert (found.failure, found.reason) == ("timeout", "took longer than 4 s: step 1")


def test_two_drivers_share_the_workers_of_a_folder(driver, worker, script, share):
    script("train.py", "lr = 1\nprint('fitness:', lr)")
    worker("--slots=2")
    options = ("--num-workers=2", "--hp=lr=1:4", "train.py")
    both = [driver("run", f"--backend=folder:{share}", f"--project={name}", *options) for name in "pq"]
    assert [one.wait() for one in both] == [0, 0]
    assert table("p") == table("q") == completed(range(1, 5))


# --- workers that end -------------------------------------------------------------------------------------------------


def test_another_worker_takes_over_when_one_is_killed(search, worker, tree, notes, go, until, alive, tmp_path):
    tree("train.py", LASTING)
    first = worker(ttl=SHORT)
    one = search("--hp=lr=1,2", "train.py")
    until(lambda: notes.count("up") == 1)
    second = worker("--slots=2")
    until(lambda: notes.count("up") == 2)
    first.kill()
    until(lambda: notes.count("up") == 3)
    assert not alive(notes.of("p/1", "up")[0]), "the script of a worker that was killed ends with it"
    go()
    assert one.wait() == 0, one.err
    assert table() == completed([1, 2])
    assert "took p/1, try" in second.err
    second.signal(signal.SIGTERM)
    second.wait()
    assert len(list((tmp_path / "tmp").iterdir())) == 1, "what the one that was killed left"
    worker("--idle=0.1").wait()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_worker_that_slept_while_its_job_was_done_gives_up(search, worker, tree, notes, go, until, alive):
    tree("train.py", LASTING)
    sleeper = worker(ttl=SHORT)
    one = search("--hp=lr=1", "train.py")
    until(lambda: notes.count("up") == 1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    worker()
    until(lambda: notes.count("up") == 2)
    os.kill(sleeper.pid, signal.SIGCONT)
    until(lambda: "job" in sleeper.err and "another worker has it" in sleeper.err)
    until(lambda: not alive(notes.of("p/1", "up")[0]))
    go()
    assert one.wait() == 0, one.err
    assert table() == completed([1])
    assert notes.count("down") == 1


def test_what_a_lost_worker_reported_does_not_count(search, worker, tree, notes, until, home):
    """The smallest loss of an attempt whose worker died is no loss of the one that came to its end."""
    tree(
        "train.py",
        """
        lr = 1
        first = not os.path.exists(os.environ["NOTES"])
        with open("log", "w") as log:
            log.write('{"loss": %g}\\n' % (0.1 if first else 0.5 * lr))
        note(f"up {os.getpid()}")
        if first:
            sleep()
        """,
    )
    first = worker(ttl=SHORT)
    one = search("--metric=jsonl:log:loss:min", "--hp=lr=1", "train.py")
    until(lambda: values(home) == [0.1])
    first.kill()
    worker()
    assert one.wait() == 0, one.err
    (found,) = Project("p").experiments
    assert (found.metric["value"], found.attempt) == (0.5, 2)
    assert notes.count("up") == 2, "its outcome was taken over, not made anew"
    assert "the worker that finished it" in one.err


def test_a_worker_that_is_asked_to_go_gives_back_at_once(search, worker, tree, notes, go, until, alive):
    tree("train.py", LASTING)
    first = worker(ttl=3600)
    one = search("--hp=lr=1", "train.py")
    until(lambda: notes.count("up") == 1)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert "released p/1" in first.err
    assert not alive(notes.of("p/1", "up")[0])
    worker(ttl=3600)
    until(lambda: notes.count("up") == 2)
    go()
    assert one.wait() == 0, one.err
    assert table() == completed([1])


def test_a_worker_finishes_what_it_has_after_one_ctrl_c(search, worker, tree, notes, go, until):
    tree("train.py", LASTING)
    first = worker()
    one = search("--hp=lr=1,2", "train.py")
    until(lambda: notes.count("up") == 1)
    first.signal(signal.SIGINT)
    until(lambda: "finishing running experiments" in first.err)
    go()
    assert first.wait() == 0
    assert notes.count("down") == 1
    worker()
    assert one.wait() == 0, one.err
    assert table() == completed([1, 2])


def test_an_experiment_that_kills_its_workers_is_given_up(search, worker, tree, notes):
    tree("train.py", "lr = 1\nnote('up')\nif lr == 1:\n    os.kill(os.getppid(), 9)\nprint('fitness:', lr)")
    workers = [worker(ttl=SHORT) for _ in range(4)]
    one = search("--hp=lr=1,2", "--retry-failed=lost=5", "train.py")
    assert one.wait() == 3, one.err
    bad, good = Project("p").experiments
    assert (bad.status, bad.failure) == ("failed", "crash")
    assert bad.reason == "given up: 3 workers died, stopped responding or reached their lifetime with it"
    assert (good.status, good.fitness) == ("completed", 2)
    assert notes.of("p/1").count("up") == 3
    assert sum(each.running for each in workers) == 1


# --- drivers that end -------------------------------------------------------------------------------------------------


def test_jobs_go_on_without_a_driver_and_wait_for_the_next(search, driver, worker, tree, notes, go, until, share):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    one.kill()
    go()
    until(lambda: len(list(share.glob("outcomes/*"))) == 2)
    again = driver("resume", "p")
    assert again.wait() == 0, again.err
    assert table() == completed([1, 2, 3])
    assert notes.count("up") == notes.count("down") == 3, "nothing was done twice"


def test_a_driver_attaches_to_what_runs(search, driver, worker, tree, notes, go, until, home):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    one.kill()
    again = driver("resume", "p")
    until(lambda: values(home)[:2] == [10, 20])
    go()
    assert again.wait() == 0, again.err
    assert table() == completed([1, 2, 3])
    assert notes.count("up") == 3


def test_ctrl_c_waits_and_twice_ends_what_runs_on_workers(search, driver, worker, tree, notes, go, until, alive):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    one.signal(signal.SIGINT)
    until(lambda: "waiting for 2 running experiments" in one.err)
    one.signal(signal.SIGINT)
    assert one.wait() == 130, one.err
    assert [e.status for e in Project("p").experiments][:2] == ["stopped", "stopped"]
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment
    go()
    again = driver("resume", "p")
    assert again.wait() == 0, again.err
    assert table() == completed([1, 2, 3])


def test_stop_ends_a_search_and_what_runs_on_workers(search, worker, tree, notes, until, alive, command):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    assert command("stop", "p").code == 0
    assert one.wait() == 4, one.err
    assert [e.status for e in Project("p").experiments][:2] == ["stopped", "stopped"]
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment


def test_when_the_folder_is_removed_everybody_says_so_and_ends(
    search, driver, worker, tree, notes, go, until, alive, share
):
    tree("train.py", LASTING)
    first = worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    share.rename(share.with_name("somewhere else"))
    assert one.wait() == 1
    assert f"studio: {share} is not a bucket" in one.err
    assert "continue with: studio resume p" in one.err
    assert first.wait() == 1
    assert "is the share mounted?" in first.err
    assert "Traceback" not in one.err + first.err
    until(lambda: not any(map(alive, notes.processes())))  # a killed process takes a moment
    go()
    again = driver("resume", "p")
    until((share / ".studio-bucket").is_dir)
    worker()
    assert again.wait() == 0, again.err
    assert table() == completed([1, 2, 3])


# --- what stands in the folder is not to be read ----------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "code", "attempt"), [("lost=1", 0, 2), pytest.param("lost=0", 1, 1, marks=FULL)])
def test_an_outcome_that_cannot_be_read_is_a_lost_experiment(
    policy, code, attempt, search, worker, script, share, until
):
    script("train.py", "lr = 1\nprint('fitness:', lr)")
    one = search(f"--retry-failed={policy}", "--hp=lr=1", "train.py")
    (job,) = until(lambda: list(share.glob("jobs/*")))
    open_bucket(str(share)).put_if_absent(f"outcomes/{job.name}", b"{no json")
    worker()
    assert one.wait() == code, one.err
    (found,) = Project("p").experiments
    assert (found.attempt, found.failure) == (attempt, "" if code == 0 else "lost")
    assert "its outcome in the bucket cannot be read" in one.err


# --- the backend by itself --------------------------------------------------------------------------------------------


class TestContract(WorkersHereContract):
    @pytest.fixture(autouse=True)
    def place(self, worker, share, tmp_path):
        self.tmp = tmp_path / "tmp"
        self.backend, self.options = FolderBackend, {"url": f"{share}"}
        self.worker = worker("--slots=3")


@pytest.fixture
def own(share, tmp_path):
    """A backend in this process, and a run for it."""
    said = []
    backend = bucket_backend(open_bucket(str(share)), notice=said.append)
    backend.said = said
    yield backend, BackendContract().make_run(tmp_path, 1, "print('fitness: 1')")
    backend.close()


def polled(backend, until, kind=Outcome):
    events = []
    until(lambda: events.extend(backend.poll(0.05)) or any(isinstance(event, kind) for event in events))
    return events


def hand_in(share, archive, outcome, *, reports=(), mtime=0.0, file="output.log", **envelope):
    """What a worker may write at the end of the one job, well-behaved or not."""
    (job,) = share.glob("jobs/*")
    body = {"outcome": {**SOUND, **outcome}, "reports": list(reports)}
    bucket = open_bucket(str(share))
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(file)
        member.pax_headers = {"mtime": str(mtime)}
        tar.addfile(member)
    bucket.upload(outputs_key(job.name, 1), archive)
    ended = {"job": job.name, "kind": "finished", "body": body, "worker": "w", "attempt": 1, **envelope}
    bucket.put_if_absent(f"outcomes/{job.name}", JobOutcome(**ended).encoded())


SOUND = {"number": 1, "attempt": 1, "exit_code": 0, "signal": None, "reason": "", "started": 1e9, "finished": 1e9 + 5}


@pytest.mark.parametrize(
    ("wrong", "failure"),
    [
        ({"outcome": {"exit_code": 10**30}}, "lost"),
        ({"outcome": {"exit_code": 0, "reason": "\ud800", "notice": "\udfff", "signal": "\ud800"}}, ""),
        ({"outcome": {"exit_code": 1, "reason": "x" * 10**6}}, ""),
        ({"outcome": {}, "mtime": 1e300}, ""),
        ({"outcome": {}, "mtime": float("nan")}, ""),
        ({"outcome": {}, "mtime": -1e300}, ""),
        ({"outcome": {}, "reports": [[0, 10**400, 1.0], [1, 5, 2.0]]}, ""),
        ({"outcome": {}, "attempt": 10**400}, "lost"),
        ({"outcome": {}, "kind": "lost", "reason": "\ud800" * 10**6}, "lost"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_machine_writes_ends_one_experiment_and_no_search(wrong, failure, own, until, share, tmp_path):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    hand_in(share, tmp_path / "tar", **wrong)
    *reports, outcome = polled(backend, until)
    assert outcome.failure == failure
    assert all(abs(report.step) < 2**63 for report in reports)
    folder = tmp_path / "record"
    folder.mkdir()
    store = Store.create(folder, {})
    store.ask(1, {}, None)
    store.attempt_queued(1, 1)
    store.attempt_ended(outcome, "failed", None)
    store.close()


def test_files_that_break_in_an_unknown_way_are_a_lost_experiment(own, until, share, tmp_path, monkeypatch):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    monkeypatch.setattr(queue_backend.shipping, "fetch_outputs", lambda *_: {}["no such key"])
    hand_in(share, tmp_path / "tar", {})
    (outcome,) = polled(backend, until)
    assert (outcome.failure, outcome.reason) == ("lost", "its files could not be fetched: 'no such key'")


@pytest.mark.parametrize("file", ["outcome.json", "machine.json", "workspace/train.py", "artifacts.json"])
def test_a_machine_writes_no_file_that_the_driver_believes(file, own, until, share, tmp_path):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    hand_in(share, tmp_path / "tar", {}, file=file)
    (outcome,) = polled(backend, until)
    assert outcome.failure == "lost"
    assert f"{file!r} is not one of output.log, " in outcome.reason
    assert not Path(run.folder, file).exists()


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT])
def test_an_outcome_waits_in_the_bucket_while_there_is_no_room_for_its_files(
    kind, own, until, share, tmp_path, monkeypatch
):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    hand_in(share, tmp_path / "tar", {})

    def no_room(*_, **__):
        raise OSError(kind, os.strerror(kind))

    with monkeypatch.context() as patch:
        patch.setattr(shipping, "unpack", no_room)
        with pytest.raises(
            DiskFull, match=f"no space left for {run.folder}; free some, then: studio resume {run.project}$"
        ):
            until(lambda: backend.poll(0.05))
    backend.close()
    resumed = bucket_backend(open_bucket(str(share)))
    resumed.start(run)
    (outcome,) = polled(resumed, until)
    resumed.close()
    assert (outcome.exit_code, outcome.failure) == (0, "")
    assert Path(run.folder, "output.log").exists()


def test_a_run_waits_while_there_is_no_room_to_pack_it(own, until, monkeypatch):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    backend, run = own
    monkeypatch.setattr(shipping, "pack", no_room)
    backend.start(run)
    with pytest.raises(DiskFull, match=f"free some, then: studio resume {run.project}$"):
        until(lambda: backend.poll(0.05))


def test_without_a_worker_the_user_hears_once_how_to_start_one(own, until, monkeypatch, share):
    backend, run = own
    monkeypatch.setattr(queue_backend, "ALONE", 0.1)
    backend.start(run)
    until(lambda: backend.poll(0.05) or backend.said)
    for _ in range(20):
        backend.poll(0.02)
    assert backend.said == [f"no worker is running; start one on any machine that has access: studio worker '{share}'"]


def test_without_a_worker_for_its_gpus_the_user_hears_how_many_are_wanted(own, until, monkeypatch):
    backend, run = own
    monkeypatch.setattr(queue_backend, "ALONE", 0.1)
    backend.start(replace(run, resources=Resources(gpus=2)))
    until(lambda: backend.poll(0.05) or backend.said)
    assert backend.said[0].startswith("no worker with 2 free GPUs is running; start one on a machine that has them")


@pytest.mark.parametrize("place", [".", ".."])
def test_the_folder_is_not_around_the_working_directory(place, command, script):
    script("train.py", "lr = 1\nprint(lr)")
    result = command("run", f"--backend=folder:{place}", "--hp=lr=1", "train.py")
    where, here = os.path.abspath(place), os.getcwd()
    says = f"the working directory {here} is in it; name another folder, such as /shared/dir"
    assert (result.code, result.err) == (2, f"studio: --backend=folder:{where}: {says}\n")
    assert not os.path.exists(f"{where}/.studio-bucket")


@pytest.fixture
def full(tmp_path):
    """A share without room for anything."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "full", folder]).returncode:
        pytest.skip("only root may mount a file system")
    try:
        open_bucket(str(folder), create=True)
        with suppress(OSError), open(folder / "filling", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_search_on_a_full_share_ends_and_says_so(full, driver, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)")
    one = driver("run", f"--backend=folder:{full}", "--project=p", "--hp=lr=1,2", "train.py")
    assert one.wait() == 1
    assert f"studio: {full}: no space left; free some, then: studio resume p\n" in one.err
    assert "asking again" not in one.err


def test_a_worker_that_is_silent_as_the_share_is_full_ends_the_search(own, until, share):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    LeaseTaker(open_bucket(str(share)), "w", ttl=0.2).take()

    def no_room():
        raise BucketFull("no space left")

    backend.bucket.check_room = no_room
    with pytest.raises(BucketFull, match=f"no space left; free some, then: studio resume {run.project}"):
        until(lambda: backend.poll(0.05))


def no_answer(*_):
    raise BucketUnreachable("no answer")


@pytest.mark.parametrize("kill", [False, True])
def test_a_search_whose_files_find_no_bucket_can_be_stopped(kill, own, until, monkeypatch):
    backend, run = own
    monkeypatch.setattr(queue_backend, "AGAIN", 0.05)
    monkeypatch.setattr(backend.bucket, "upload", no_answer)
    backend.start(run)
    until(lambda: backend.poll(0.05) or backend.said)
    backend.stop(1, kill=kill)
    (outcome,) = polled(backend, until)
    assert (outcome.stopped, outcome.reason) == (True, "stopped before it could be sent")


def test_a_stop_that_reaches_no_worker_is_not_waited_for(own, until, monkeypatch, share):
    backend, run = own
    monkeypatch.setattr(queue_backend, "UNTOLD", 0.3)
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    monkeypatch.setattr(backend.bucket, "put_if_absent", no_answer)
    backend.stop(1, kill=False)
    (outcome,) = polled(backend, until)
    assert (outcome.stopped, outcome.reason) == (True, "stopped; its worker could not be told")


def test_a_stop_that_an_earlier_driver_asked_for_ends_nothing_now(own, until, worker, share):
    earlier, run = own
    earlier.start(run)
    until(lambda: earlier.poll(0.05) or list(share.glob("jobs/*")))
    earlier.stop(1, kill=False)
    until(lambda: earlier.poll(0.05) or list(share.glob("stops/*")))
    worker()
    later = bucket_backend(open_bucket(str(share)))
    later.start(run)
    *reports, outcome = polled(later, until)
    assert (outcome.exit_code, outcome.stopped, outcome.number, outcome.attempt) == (0, False, 1, 1)
    assert reports == [Report(1, 1.0, 1, 1)]
    later.close()


def test_a_kill_is_not_held_up_by_a_worker_that_is_dead(own, until, worker, monkeypatch, share):
    backend, run = own
    monkeypatch.setattr(queue_backend, "KILLED", 0.3)
    asleep = worker(ttl=3600)
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("leases/*")))
    os.kill(asleep.pid, signal.SIGSTOP)
    backend.stop(1, kill=True)
    outcome = polled(backend, until)[-1]
    assert (outcome.stopped, outcome.reason) == (True, "stopped; its worker has not answered yet")


def test_closing_is_not_held_up_by_a_bucket_that_is_gone(own, share):
    backend, run = own
    backend.start(run)
    share.rename(share.with_name("elsewhere"))  # at once, while the job is being sent
    backend.close()


def test_closing_is_not_held_up_by_a_bucket_that_does_not_answer(own, until, monkeypatch, share):
    backend, run = own
    backend.start(run)
    until(lambda: backend.poll(0.05) or list(share.glob("jobs/*")))
    monkeypatch.setattr(queue_backend, "CLOSING", 0.2)
    monkeypatch.setattr(backend.bucket, "get", lambda key: time.sleep(60))
    begun = time.monotonic()
    backend.close()
    assert time.monotonic() - begun < 30


NO_PLACE = "name a folder that all workers see, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("folder", "backend folder needs URL: write --backend=folder:URL"),
        ("folder:", f"--folder-url: {NO_PLACE}"),
        (
            "folder:/dev/null/x",
            "/dev/null/x cannot be used: Not a directory; name a folder that all machines can write to",
        ),
        (
            "folder:http://host",
            "'http://host' is not a bucket: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder",
        ),
    ],
)
def test_a_place_that_cannot_be_is_said_in_one_line_and_nothing_stays(place, says, command, script, home):
    script("train.py", "lr = 1\nprint(lr)")
    result = command("run", f"--backend={place}", "--hp=lr=1", "train.py")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"studio: {says}\n"
    assert not list(home.glob("projects/*"))


@pytest.mark.parametrize(
    ("backend", "field"),
    [(FolderBackend, "url"), (SlurmBackend, "url"), (KubernetesBackend, "bucket"), (SkyPilotBackend, "bucket")],
)
def test_a_folder_is_kept_with_its_whole_path(backend, field, workdir):
    read = backend_fields(backend)[field].read
    assert read("shared") == f"{os.getcwd()}/shared"
    assert read("~/x") == os.path.expanduser("~/x")
    assert read("s3://b/x/") == "s3://b/x"


# --- searches that move -----------------------------------------------------------------------------------------------


def test_outcomes_that_wait_come_home_when_the_search_moves(search, driver, worker, tree, notes, go, until, share):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    one.kill()
    go()
    until(lambda: len(list(share.glob("outcomes/*"))) == 2)
    moved = driver("resume", "p", "--backend=local")
    assert moved.wait() == 0, moved.err
    assert table() == completed([1, 2, 3])
    assert notes.count("up") == 3, "nothing was done twice"
    assert "fitness" in (Path(Project("p").experiments[0].folder) / "output.log").read_text()


@pytest.mark.parametrize("to", ["local", pytest.param("folder:another folder", marks=FULL)])
def test_what_runs_on_workers_ends_when_the_search_moves(
    to, search, driver, worker, tree, notes, go, until, alive, tmp_path
):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1:3", "train.py")
    until(lambda: notes.count("up") == 2)
    one.kill()
    there = notes.processes()
    moved = driver("resume", "p", f"--backend={to}")
    until(lambda: not any(map(alive, there)))
    if to != "local":
        until(lambda: "another folder" in str(Project("p").settings["backend_options"]))
        driver("worker", "--slots=2", Project("p").settings["backend_options"]["url"], env={"TMPDIR": str(tmp_path)})
    until(lambda: notes.count("up") == 4)
    go()
    assert moved.wait() == 0, moved.err
    assert table() == completed([1, 2, 3])


@FULL
def test_a_move_that_breaks_off_is_made_by_the_next_resume(
    search, driver, worker, tree, notes, go, until, alive, share
):
    tree("train.py", LASTING)
    worker("--slots=2")
    one = search("--hp=lr=1,2", "train.py")
    until(lambda: notes.count("up") == 2)
    one.kill()
    (share / "stops").write_text("in the way")
    broken = driver("resume", "p", "--backend=local")
    assert broken.wait() == 1, broken.err
    assert Project("p").settings["backend"] == "folder"
    there = notes.processes()
    (share / "stops").unlink()
    moved = driver("resume", "p", "--backend=local")
    until(lambda: not any(map(alive, there)))
    go()
    assert moved.wait() == 0, moved.err
    assert table() == completed([1, 2])
