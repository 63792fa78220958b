"""What a script leaves behind: artifacts that cannot be kept, folders that nobody may enter, pipes and links in odd places."""

import json
import signal
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


# --- captures ---------------------------------------------------------------------------------------------------------


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
    assert search.wait() == 0, search.err
    assert (only().status, only().fitness) == ("completed", 1)
    said = only().reason.split("; ")
    assert said[0] == "secret was not saved: Permission denied"
    assert [text.partition(":")[0] for text in said] == [f"{tag} was not saved" for tag in tags[1:]]
    assert Path(only().folder, "artifacts", "good").exists()


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
    until(lambda: notes.count("up") or not killed.running)
    killed.kill()
    go()
    for arguments in (["resume", "p"], ["rm", "p", "--yes"]):
        one = humble(*arguments)
        assert one.wait() == 0, one.err
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
