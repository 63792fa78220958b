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

from studio.execution import runner
from studio.project.project import Project

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


def once(*options):
    """The command for a search of one experiment, of project `p`."""
    return ["run", "--project=p", *options, "--hp=lr=1", "train.py"]


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
        one = driver(*once(*options))
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
        ([Path(sys.executable).with_name("studio"), *once()], "exit code 3"),
        ([sys.executable, "-c", IN_A_THREAD], "could not start: the exit code is lost: this process ignores SIGCHLD"),
    ],
    ids=["command", "thread"],
)
def test_a_launcher_that_ignores_sigchld(scripted, home, program, reason):
    """The kernel then forgets exit codes, and Python takes a forgotten one for 0."""
    scripted("raise SystemExit(3)")
    subprocess.run([sys.executable, "-c", LAUNCHER, *program], capture_output=True, timeout=60, check=False)
    assert (only().status, only().reason) == ("failed", reason)


@pytest.mark.parametrize(("what", "seconds"), [("limit", 1.1), ("stop", 0.4)])
def test_what_ended_well_while_the_driver_was_paused_has_ended_well(
    what, seconds, scripted, driver, command, notes, until, go, alive
):
    scripted("note(f'up {os.getpid()}')\nwait()\nprint('fitness:', lr)")
    one = driver(*once("--max-duration=1s"))
    until(lambda: notes.count("up"))
    os.kill(one.pid, signal.SIGSTOP)
    go()
    until(lambda: not any(map(alive, notes.processes())))
    if what == "stop":
        assert command("stop", "p").code == 0
    time.sleep(seconds)  # so that it does not wait any more when it wakes up
    os.kill(one.pid, signal.SIGCONT)
    one.wait()
    assert (only().status, only().fitness) == ("completed", 1)


# --- the metric -------------------------------------------------------------------------------------------------------


def test_the_fitness_of_a_log_whose_middle_is_gone_survives_the_driver(scripted, driver, notes, command, folder):
    scripted("note('begins')\nprint('-' * 100_000)\nprint('fitness: 7')\nprint('-' * 100_000)")
    dies = ("before", "studio.project.store:Store.attempt_ended", 1)
    killed = driver(*once("--max-log=20kB"), dies=dies)
    assert killed.wait() == -signal.SIGKILL
    assert json.loads((folder / "1" / "1" / "outcome.json").read_text())["metric"] == 7
    assert "fitness" not in (folder / "1" / "1" / "output.log").read_text()
    assert command("resume", "p").code == 0
    assert (only().status, only().fitness, notes.count("begins")) == ("completed", 7, 1)


def test_what_an_attempt_that_was_cut_off_printed_is_not_read(scripted, cut_off, command, go, monkeypatch):
    """Here the driver looks at metrics all the time: while it removes that attempt's folder, too."""
    scripted("""
        print("fitness:", 100 if first() else 5)
        note("up")
        wait()
    """)
    cut_off("--metric=fitness:max")
    go()
    monkeypatch.setattr(runner, "READ_EVERY", 0.0)
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
    search = humble(*once(*(f"--capture={tag}:{tag}" for tag in tags)))
    assert search.wait(60) == 0, search.stderr.read()
    assert (only().status, only().fitness) == ("completed", 1)
    said = only().reason.split("; ")
    assert said[0] == "secret was not saved: Permission denied"
    assert [text.partition(":")[0] for text in said] == [f"{tag} was not saved" for tag in tags[1:]]
    assert Path(only().folder, "artifacts", "good").exists()


def test_a_capture_that_cannot_be_kept_is_said_of_a_script_without_a_fitness_too(scripted, humble):
    scripted("""
        print(lr)
        open("secret", "w").close()
        os.chmod("secret", 0)
    """)
    assert humble(*once("--capture=secret:secret")).wait(60) == 0
    assert (only().status, only().fitness) == ("completed", None)
    assert only().reason == "secret was not saved: Permission denied"


def test_a_capture_that_the_script_put_in_its_place_itself_is_left_there(scripted, command):
    scripted("""
        print("fitness:", lr)
        kept = os.environ["STUDIO_FOLDER"] + "/artifacts/model"
        with open(kept, "w") as model:
            model.write("weights")
        os.symlink(kept, "model")
    """)
    assert command(*once("--capture=model:model")).code == 0
    assert Path(only().folder, "artifacts", "model").read_text() == "weights"
    assert only().reason == ""


# --- folders ----------------------------------------------------------------------------------------------------------


def test_experiments_whose_record_is_gone_are_not_overwritten(scripted, command, folder):
    scripted("print('fitness:', lr)")
    assert command(*once()).code == 0
    for path in folder.glob("studio.db*"):
        path.unlink()
    before = sorted(folder.rglob("*"))
    refused = command(*once())
    assert refused.code == 2
    assert f"{folder} has experiments of a project whose record is gone" in refused.err
    assert sorted(folder.rglob("*")) == before


def test_rm_ends_what_a_driver_and_its_watchdog_left(scripted, driver, command, notes, until, everything, alive):
    scripted("child()\ndaemon()\nnote(f'up {os.getpid()}')\nsleep()")
    one = driver(*once())
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
    killed = humble(*once())
    until(lambda: notes.count("up") or killed.poll() is not None)
    killed.kill()
    killed.wait()
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
    assert command(*once("--keep=none")).code == 0
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
    assert driver("resume", "p").wait(60) == 1
    assert (only().status, only().reason) == ("failed", "exit code 3")


def test_a_link_beside_the_outcome_is_not_written_through(scripted, command, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    scripted(f"os.symlink({str(precious)!r}, '../outcome.part')\nprint('fitness:', lr)")
    assert command(*once()).code == 0
    outcome = Path(only().folder, "outcome.json")
    assert precious.read_text() == "mine"
    assert not outcome.is_symlink()
    assert json.loads(outcome.read_text())["metric"] == 1


# --- the search -------------------------------------------------------------------------------------------------------

OPTIMIZER = """
import os, time
import studio

def pause():
    open(os.environ["NOTES"] + "-pause", "w").close()
    while not os.path.exists(os.environ["NOTES"] + "-go"):
        time.sleep(0.005)

class Mine(studio.Optimizer):
    needs_fitness = False

    def __init__(self, space, *, seed):
        if os.environ.get("OPTIMIZER") == "slow":
            pause()
        self.space, self.asked = space, 0

    def ask(self):
        self.asked += 1
        return self.space.suggestion([self.asked / 10])

    def tell(self, suggestion, fitness):
        if os.environ.get("OPTIMIZER") == "breaks":
            pause()
            time.sleep(0.5)
            raise ValueError("no idea")
"""


@pytest.fixture
def searched(script, notes):
    """Options of a search by that optimizer."""
    return ["--project=p", f"--optimizer={script('mine.py', OPTIMIZER)}", "--hp=lr=0:1", "--no-baseline"]


def test_a_stop_while_a_resume_replays_is_heard(scripted, searched, command, driver, until, notes, go):
    scripted("print('fitness:', lr)")
    assert command("run", *searched, "--max-experiments=1", "train.py").code == 0
    resumed = driver("resume", "p", "--max-experiments=5", env={"OPTIMIZER": "slow"})
    until(Path(f"{notes.path}-pause").exists, what=resumed.err)
    assert "asked the search to stop" in command("stop", "p").err
    go()
    resumed.wait()
    assert Project("p").state == "stopped"
    assert len([e for e in Project("p").experiments if e.started]) == 1


def test_what_ended_while_the_search_broke_off_is_not_done_again(scripted, searched, driver, command, until, notes, go):
    scripted("note('begins')\nif os.environ['STUDIO_EXPERIMENT'] == 'p/2':\n    wait()\nprint('fitness:', lr)")
    options = [*searched, "--num-workers=2", "--max-experiments=2"]
    broken = driver("run", *options, "train.py", env={"OPTIMIZER": "breaks"})
    until(lambda: Path(f"{notes.path}-pause").exists() and notes.count("begins") == 2, what=broken.err)
    go()
    assert broken.wait() == 1
    assert "no idea" in broken.err
    assert command("resume", "p").code == 0
    assert [e.status for e in Project("p").experiments] == ["completed"] * 2
    assert notes.count("begins") == 2


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
        command(*once())
        assert (only().status, only().reason) == ("stopped", "the disk was full: exit code 3: no room for weights")
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)


def test_policies_can_be_changed_on_resume(scripted, command):
    scripted("raise SystemExit(3 if lr > 1 else 0)")

    def attempts():
        return [e.attempt for e in Project("p").experiments if e.started]

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
        assert refused.err.endswith("to use your files as they are now: studio resume p --accept-changes\n")
    assert command("resume", "p", "--max-experiments=2", "--accept-changes").code == 0
    assert [e.fitness for e in Project("p").experiments] == [1, 2]
    assert command("doctor", "p").code == 0


def test_a_script_that_was_renamed_has_a_way_on(begun, command):
    os.rename("train.py", "better.py")
    refused = command("resume", "p", "--max-experiments=2", "--accept-changes")
    assert refused.code == 2
    assert refused.err.endswith("to continue with the files as they were at the start: studio resume p --keep-source\n")
    assert command("resume", "p", "--max-experiments=2", "--keep-source").code == 0


def test_a_home_that_is_a_file(home, command):
    home.write_text("")
    refused = command("runs", "list")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"studio: STUDIO_HOME is {str(home)!r}, which is not a folder; set it to one\n"


def test_a_grid_without_a_fitness_says_so(scripted, command):
    scripted("pass")
    result = command(*once())
    assert result.code == 0
    assert "no ranking: no experiment printed `fitness: NUMBER`; name a metric with --metric" in result.err


@pytest.mark.parametrize(
    ("damaged", "code", "advice"),
    [(False, 2, "not a terminal: confirm with studio rm p --yes"), (True, 1, "studio doctor p --restore")],
    ids=["well", "damaged"],
)
def test_rm_wants_a_yes_where_nobody_can_be_asked(begun, command, folder, damaged, code, advice):
    if damaged:
        (folder / "studio.db").write_bytes(b"not a database")
    refused = command("rm", "p")
    assert (refused.code, advice in refused.err) == (code, True), refused.err
    assert folder.is_dir()
    assert command("rm", "p", "--yes").code == 0
    assert not folder.exists()
