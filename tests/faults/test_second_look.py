"""What a review of the promises found: one test for each hole that was mended, through the real command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from studio import runner
from studio.project import Project

BEGUN_ONCE = ["run", "--project=p", "--hp=lr=1", "train.py"]
# `first()`: whether this is the first time that the script runs. `wait()`: for the file `go`. `deep()`: folders.
MANNERS = """
def deep(folder):
    here = os.open(".", os.O_RDONLY)
    for name in [folder, *["d"] * 1200]:
        os.mkdir(name)
        os.chdir(name)
    os.fchdir(here)

def first():
    return not os.path.exists(os.environ["NOTES"] + "-go")

def wait():
    while first():
        time.sleep(0.005)

lr = 1
assert lr
"""


@pytest.fixture(autouse=True)
def _nothing_stays(nothing_stays):
    pass


@pytest.fixture
def go(notes):
    return Path(f"{notes.path}-go").touch


@pytest.fixture
def scripted(tree):
    """`scripted(text)`: `train.py`, with `lr`, what a `tree` has, and these manners."""
    return lambda text: tree("train.py", MANNERS + dedent(text))


@pytest.fixture
def folder(home):
    return home / "projects" / "p"


def only():
    """The one experiment of project `p`."""
    (experiment,) = Project("p").experiments
    return experiment


@pytest.fixture
def cut_off(driver, notes, until):
    """`cut_off()`: a search whose driver was killed when the script had said `up`."""

    def call(*options):
        one = driver(*BEGUN_ONCE[:2], *options, *BEGUN_ONCE[2:])
        until(lambda: notes.count("up"), what=one.err)
        assert one.kill() == -signal.SIGKILL

    return call


# --- how a script ended -----------------------------------------------------------------------------------------------

LAUNCHER = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
IN_A_THREAD = """
import threading, studio
threading.Thread(target=lambda: studio.run("train.py", hyperparams={"lr": "1"}, project="p")).start()
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ([Path(sys.executable).with_name("studio"), *BEGUN_ONCE], "exit code 3"),
        ([sys.executable, "-c", IN_A_THREAD], "could not start: how it ended is lost: this process ignores SIGCHLD"),
    ],
    ids=["command", "thread"],
)
def test_a_launcher_that_ignores_sigchld(scripted, home, program, reason):
    """The kernel then forgets exit codes, and Python takes a forgotten one for 0."""
    scripted("raise SystemExit(3)")
    subprocess.run([sys.executable, "-c", LAUNCHER, *program], capture_output=True, timeout=60, check=False)
    assert (only().status, only().reason) == ("failed", reason)


@pytest.mark.parametrize("what", ["limit", "stop"])
def test_what_ended_well_while_the_driver_was_paused_has_ended_well(
    what, scripted, driver, command, notes, until, go, alive
):
    scripted("note(f'up {os.getpid()}')\nwait()\nprint('fitness:', lr)")
    one = driver(*BEGUN_ONCE[:2], "--max-duration=1s", *BEGUN_ONCE[2:])
    began = time.monotonic()
    until(lambda: notes.count("up"))
    os.kill(one.pid, signal.SIGSTOP)
    go()
    until(lambda: not any(map(alive, notes.processes())))
    if what == "stop":
        assert command("stop", "p").code == 0
        time.sleep(0.3)
    else:
        time.sleep(max(0.0, began + 1.3 - time.monotonic()))
    os.kill(one.pid, signal.SIGCONT)
    one.wait()
    assert (only().status, only().fitness) == ("completed", 1)


# --- the metric -------------------------------------------------------------------------------------------------------


def test_the_fitness_of_a_log_whose_middle_is_gone_survives_the_driver(scripted, driver, notes, command, folder):
    scripted("note('begins')\nprint('-' * 100_000)\nprint('fitness: 7')\nprint('-' * 100_000)")
    dies = ("before", "studio.store:Store.attempt_ended", 1)
    killed = driver(*BEGUN_ONCE[:2], "--max-log=20kB", *BEGUN_ONCE[2:], dies=dies)
    assert killed.wait() == -signal.SIGKILL
    assert json.loads((folder / "1" / "1" / "outcome.json").read_text())["metric"] == 7
    assert "fitness" not in (folder / "1" / "1" / "output.log").read_text()
    assert command("resume", "p").code == 0
    assert (only().status, only().fitness, notes.count("begins")) == ("completed", 7, 1)


def test_what_an_attempt_that_was_cut_off_printed_is_not_read(scripted, cut_off, command, go, monkeypatch):
    """It takes a while until its many files are gone."""
    scripted("""
        print("fitness:", 100 if first() else 5)
        if first():
            for number in range(6000):
                open(f"{number}", "w").close()
            note("up")
            wait()
    """)
    cut_off("--metric=fitness:max")
    go()
    monkeypatch.setattr(runner, "READ_EVERY", 0.01)
    assert command("resume", "p").code == 0
    assert only().fitness == 5


PLUGIN = """
import os
import studio

class One(studio.Optimizer):
    name = "one"
    needs_fitness = False

    def __init__(self, space, *, seed):
        self.space = space

    def ask(self):
        return self.space.suggestion([0.5])

    def tell(self, suggestion, fitness):
        pass

class Breaks(studio.MetricReader):
    def __init__(self, run):
        self.place = run.folder + "/read"

    def read(self):
        if os.path.exists(self.place):
            raise ValueError("nothing more")
        open(self.place, "w").close()
        return [studio.Report(None, 1.0)]

@studio.hookimpl
def studio_optimizers():
    return [One]

@studio.hookimpl
def studio_open_metric(metric, run):
    if metric.name == "mine:late" and os.path.isdir(run.folder):
        raise ValueError("cannot open")
    return Breaks(run) if metric.name.startswith("mine") else None
"""


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("mine", "reading the metric failed: ValueError: nothing more"),
        ("mine:late", "plugin {file} of {file} is left out: ValueError: cannot open"),
    ],
    ids=["reads", "opens"],
)
def test_a_plugin_that_breaks_while_it_reads_a_metric(scripted, script, command, metric, reason):
    """Its first value may be an old one."""
    file = script("mine.py", PLUGIN)
    scripted("""
        place = os.environ["STUDIO_FOLDER"] + "/read"
        while sys.argv[1] == "mine" and not os.path.exists(place):
            time.sleep(0.01)
    """)
    options = [f"--optimizer={file}", "--max-experiments=1", f"--metric={metric}:max", "--hp=lr=1:2"]
    result = command("run", "--project=p", *options, "train.py", metric)
    assert result.code == 1, result.err
    assert (only().status, only().failure) == ("failed", "metric")
    assert only().reason == reason.format(file=file)


# --- captures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def humble(home):
    """`humble("resume", "p")`: the command for one who must obey permissions, which root need not, and who may have no
    more than the usual 1,024 files open."""
    obeys = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if obeys and shutil.which("setpriv") is None:
        pytest.skip("root may do everything, and there is no setpriv to take that from it")
    few = ["sh", "-c", 'ulimit -n 1024; exec "$@"', "-"]
    command = [*few, *obeys, Path(sys.executable).with_name("studio")]
    started = []

    def start(*arguments):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([*command, *arguments], **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    subprocess.run(["chmod", "-R", "u+rwX", home], check=False)
    subprocess.run(["rm", "-rf", home], check=True)  # pytest cannot: it is too deep


def test_captures_that_cannot_be_kept_are_said_and_the_experiment_counts(scripted, humble):
    scripted("""
        print("fitness:", lr)
        open("good", "w").close()
        open("secret", "w").close()
        os.chmod("secret", 0)
        os.mkdir("closed")
        os.chmod("closed", 0)
        deep("deep")
    """)
    tags = ("good", "secret", "closed", "deep")
    search = humble(*BEGUN_ONCE[:2], *(f"--capture={tag}:{tag}" for tag in tags), *BEGUN_ONCE[2:])
    assert search.wait(60) == 0, search.stderr.read()
    assert (only().status, only().fitness) == ("completed", 1)
    said = only().reason.split("; ")
    assert said[0] == "secret was not kept: Permission denied"
    assert [text.partition(":")[0] for text in said] == [f"{tag} was not kept" for tag in tags[1:]]
    assert Path(only().folder, "artifacts", "good").exists()


def test_a_capture_that_the_script_put_in_its_place_itself_is_left_there(scripted, command):
    scripted("""
        print("fitness:", lr)
        kept = os.environ["STUDIO_FOLDER"] + "/artifacts/model"
        with open(kept, "w") as model:
            model.write("weights")
        os.symlink(kept, "model")
    """)
    assert command(*BEGUN_ONCE[:2], "--capture=model:model", *BEGUN_ONCE[2:]).code == 0
    assert Path(only().folder, "artifacts", "model").read_text() == "weights"
    assert only().reason == ""


# --- folders ----------------------------------------------------------------------------------------------------------


def test_experiments_whose_record_is_gone_are_not_overwritten(scripted, command, folder):
    scripted("print('fitness:', lr)")
    assert command(*BEGUN_ONCE).code == 0
    for path in [*folder.glob("studio.db*"), folder / "record.json"]:
        path.unlink()
    before = sorted(folder.rglob("*"))
    refused = command(*BEGUN_ONCE)
    assert refused.code == 2
    assert f"{folder} holds experiments of a project whose record is gone" in refused.err
    assert sorted(folder.rglob("*")) == before


def test_rm_ends_what_a_driver_and_its_watchdog_left(scripted, driver, command, notes, until, everything, alive):
    scripted("child()\ndaemon()\nnote(f'up {os.getpid()}')\nsleep()")
    one = driver(*BEGUN_ONCE)
    until(lambda: notes.count("up"))
    for pid in everything():
        if b"processes.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    one.kill()
    assert all(map(alive, notes.processes()))
    assert command("rm", "p", "--yes").code == 0
    until(lambda: not any(map(alive, notes.processes())))


def test_whatever_a_script_left_is_removed(scripted, humble, notes, until, go, folder):
    """Folders that are deep, and ones that nobody may write to or read: by resume, then by rm."""
    scripted("""
        print("fitness:", lr)
        for name, mode in (("read-only", 0o555), ("closed", 0)):
            os.makedirs(f"{name}/inner")
            open(f"{name}/inner/file", "w").close()
            os.chmod(f"{name}/inner", mode)
            os.chmod(name, mode)
        deep("deep")
        os.chmod(".", 0o555)
        note("up")
        wait()
    """)
    killed = humble(*BEGUN_ONCE)
    until(lambda: notes.count("up") or killed.poll() is not None)
    killed.kill()
    go()
    for arguments in (["resume", "p"], ["rm", "p", "--yes"]):
        one = humble(*arguments)
        assert one.wait(60) == 0, one.stderr.read()
        if arguments[0] == "resume":
            assert (only().status, only().attempt, notes.count("up")) == ("completed", 1, 2)
    assert not folder.exists()


def test_a_workspace_that_became_a_link_is_not_removed_with_what_it_leads_to(scripted, command, tmp_path):
    precious = tmp_path / "precious"
    (precious / "inner").mkdir(parents=True)
    (precious / "inner" / "file").write_text("mine")
    scripted(f"os.rename('../workspace', '../moved')\nos.symlink({str(precious)!r}, '../workspace')")
    assert command(*BEGUN_ONCE[:2], "--keep=none", *BEGUN_ONCE[2:]).code == 0
    assert (precious / "inner" / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["output.log", "outcome.json"])
def test_a_pipe_in_the_place_of_a_file_holds_up_nobody(scripted, cut_off, driver, go, name):
    scripted(f"""
        place = os.environ["STUDIO_FOLDER"] + "/{name}"
        if os.path.exists(place):
            os.unlink(place)
        os.mkfifo(place)
        note("up")
        wait()
        raise SystemExit(3)
    """)
    cut_off()
    go()
    assert driver("resume", "p").wait(10) == 1
    assert (only().status, only().reason) == ("failed", "exit code 3")


def test_a_link_beside_the_outcome_is_not_written_through(scripted, command, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    scripted(f"os.symlink({str(precious)!r}, '../outcome.part')\nprint('fitness:', lr)")
    assert command(*BEGUN_ONCE).code == 0
    outcome = Path(only().folder, "outcome.json")
    assert precious.read_text() == "mine"
    assert not outcome.is_symlink()
    assert json.loads(outcome.read_text())["metric"] == 1


# --- the search -------------------------------------------------------------------------------------------------------

SLOW = """
import os, time
import studio

class Slow(studio.Optimizer):
    needs_fitness = False

    def __init__(self, space, *, seed):
        if os.environ.get("SLOW"):
            open(os.environ["NOTES"] + "-begun", "w").close()
            while not os.path.exists(os.environ["NOTES"] + "-go"):
                time.sleep(0.005)
        self.space, self.asked = space, 0

    def ask(self):
        self.asked += 1
        return self.space.suggestion([self.asked / 10])

    def tell(self, suggestion, fitness):
        pass
"""


def test_a_stop_while_a_resume_replays_is_heard(scripted, script, command, driver, until, notes, go):
    scripted("print('fitness:', lr)")
    options = [f"--optimizer={script('slow.py', SLOW)}", "--max-experiments=1", "--hp=lr=0:1"]
    assert command("run", "--project=p", *options, "train.py").code == 0
    resumed = driver("resume", "p", "--max-experiments=5", env={"SLOW": "1"})
    until(Path(f"{notes.path}-begun").exists, what=resumed.err)
    assert "asked the driver of p to stop" in command("stop", "p").err
    go()
    resumed.wait()
    assert Project("p").state == "stopped"
    assert len([e for e in Project("p").experiments if e.started]) == 1


def test_a_record_is_not_rebuilt_where_the_copy_knows_less_of_a_retry(scripted, command, folder):
    scripted("raise SystemExit(3) if first() else 0")
    assert command(*BEGUN_ONCE).code == 1
    copy = folder / "1" / "record.json"
    early = copy.read_text()
    assert command("retry", "p").code == 1
    copy.write_text(early)
    refused = command("doctor", "p", "--rebuild")
    assert refused.code == 2
    assert "is whole, and 1 of its outcomes have no copy: it stays" in refused.err
    assert only().attempt == 2


def test_on_a_full_disk_the_scripts_own_reason_stays(scripted, command, home):
    scripted("""
        print("no room for weights", flush=True)
        place = os.environ["STUDIO_HOME"]
        disk = os.statvfs(place)
        with open(place + "/filled", "wb") as file:
            file.write(bytes(disk.f_bavail * disk.f_frsize - 500_000))
        raise SystemExit(3)
    """)
    home.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", home], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own takes root: {done.stderr.decode().strip()}")
    try:
        command(*BEGUN_ONCE)
        assert (only().status, only().reason) == ("stopped", "the disk was full: exit code 3: no room for weights")
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)


def test_policies_can_be_changed_on_resume(scripted, command):
    scripted("raise SystemExit(3 if lr > 1 else 0)")
    attempts = lambda: [e.attempt for e in Project("p").experiments if e.started]  # noqa: E731
    assert command("run", "--project=p", "--max-experiments=1", "--hp=lr=1:9", "train.py").code == 0
    command("resume", "p", "--max-experiments=2", "--retry-failed=1")
    assert attempts() == [1, 2]
    command("resume", "p", "--max-experiments=3")
    assert attempts() == [1, 2, 2]
    command("resume", "p", "--max-experiments=4", "--on-failure=stop", "--retry-failed=0")
    command("resume", "p", "--max-experiments=9")
    assert attempts() == [1, 2, 2, 1, 1]
    assert Project("p").state == "failures"


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(scripted, command):
    """A search of two experiments, of which one was made."""
    scripted("print('fitness:', lr)")
    assert command("run", "--project=p", "--max-experiments=1", "--hp=lr=1:2", "train.py").code == 0


def test_the_copy_of_the_source_is_lost(begun, command, folder):
    shutil.rmtree(folder / "source")
    found = command("doctor", "p")
    assert found.code == 1
    assert "the copy of the source is gone" in found.out + found.err
    for options in ([], ["--keep-source"]):
        refused = command("resume", "p", "--max-experiments=2", *options)
        assert refused.code == 2
        assert refused.err.endswith("to take your files as they are now: studio resume p --accept-changes\n")
    assert command("resume", "p", "--max-experiments=2", "--accept-changes").code == 0
    assert [e.fitness for e in Project("p").experiments] == [1, 2]
    assert command("doctor", "p").code == 0


def test_a_script_that_was_renamed_has_a_way_on(begun, command):
    os.rename("train.py", "better.py")
    refused = command("resume", "p", "--max-experiments=2", "--accept-changes")
    assert refused.code == 2
    assert refused.err.endswith("to go on with the copy of then: studio resume p --keep-source\n")
    assert command("resume", "p", "--max-experiments=2", "--keep-source").code == 0


def test_a_home_that_is_a_file(home, command):
    home.write_text("")
    refused = command("runs", "list")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"studio: STUDIO_HOME is {str(home)!r}, which is no folder; set it to one\n"


def test_a_grid_without_a_fitness_says_so(scripted, command):
    scripted("pass")
    result = command(*BEGUN_ONCE)
    assert result.code == 0
    assert "nothing is rated: no experiment printed a line `fitness: NUMBER`" in result.err


@pytest.mark.parametrize("damaged", [False, True], ids=["well", "damaged"])
def test_rm_wants_a_yes_where_nobody_can_be_asked(begun, command, folder, damaged):
    if damaged:
        (folder / "studio.db").write_bytes(b"not a database")
    assert command("rm", "p").code != 0
    assert folder.is_dir()
    assert command("rm", "p", "--yes").code == 0
    assert not folder.exists()
