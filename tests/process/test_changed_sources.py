"""The user's files change between run and resume: refused with the difference shown, until the user says what is meant."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from studio.project.project import Project

# What an experiment printed shows which files it had.
TRAIN = """
    import os
    from model.net import units

    lr = 1
    once = open(os.path.join(os.environ["STUDIO_FOLDER"], "artifacts.json")).read()
    print("train one", "units", units, open("data.csv").read().strip(), *sorted(os.listdir(".")))
    print("fitness:", lr)
"""


@pytest.fixture(autouse=True)
def _nothing_stays(nothing_stays):
    pass


@pytest.fixture
def files(script):
    """A script, a module, data, a binary file and a link."""
    script("train.py", TRAIN)
    script("model/net.py", "units = 3\n")
    script("data.csv", "1,2\n")
    script("weights.bin", "").write_bytes(bytes(range(256)) * 4)
    return script


@pytest.fixture
def begun(command, files, home):
    """A search of three experiments of which the first was made; `begun(options)`."""

    def call(*options):
        done = command("run", "--project=p", "--quiet", "--max-experiments=1", *options, "--hp=lr=1:3", "train.py")
        assert done.code == 0, done.err
        return home / "projects" / "p"

    return call


@pytest.fixture
def resume(command):
    return lambda *options: command("resume", "p", "--max-experiments=2", *options)


def output(number, attempt=1):
    return (Project("p").folder / str(number) / str(attempt) / "output.log").read_text()


def check_refused(result, *shown, names="train.py"):
    """Exit code 2, `shown` among the lines, the last of which says what to type; nothing was asked or started."""
    lines = result.err.splitlines()
    assert (result.code, result.out) == (2, ""), result.err
    for line in shown:
        assert f"studio: {line}" in lines
    assert lines[-1].startswith("studio: changed since the search started: ")
    assert names in lines[-1]
    assert lines[-1].endswith(
        "To use them as they are now: studio resume p --accept-changes; "
        "to continue with the files as they were: studio resume p --keep-source"
    )
    assert [e.number for e in Project("p").experiments if e.started] == [1]
    assert not (Project("p").folder / "source-2").exists()


# --- what is a change ---------------------------------------------------------------------------------------------------


def edit(path, old, new):
    Path(path).write_text(Path(path).read_text().replace(old, new))


def test_several_changes_are_all_named(begun, resume):
    begun()
    edit("train.py", "train one", "train two")
    edit("data.csv", "1", "7")
    os.remove("weights.bin")
    result = resume()
    check_refused(result, "-1,2", "+++ train.py (now)", "weights.bin: is gone")
    assert all(name in result.err.splitlines()[-1] for name in ("/data.csv, ", "/train.py, ", "/weights.bin. "))


def test_what_is_hostile_in_a_difference_does_not_reach_the_terminal(begun, resume):
    begun()
    Path("data.csv").write_text("\x1b[31mred\x07\n")
    result = resume()
    check_refused(result, "-1,2", "+ [31mred ", names="data.csv")
    assert "\x1b" not in result.err


def no_change():
    os.utime("weights.bin", (1, 1))
    os.chmod("train.py", 0o600)
    os.rename("data.csv", "moved")
    shutil.copyfile("moved", "data.csv")
    Path("notes.txt").write_text("new")
    Path("train.pyc").write_bytes(b"\0")
    Path("link").symlink_to("/")
    for folder in ("runs", ".git"):
        Path(folder).mkdir()
        Path(folder, "1").write_text("new")


def test_what_is_no_change(begun, resume):
    """Other times and permissions, equal files, and whatever is new."""
    begun()
    no_change()
    result = resume()
    assert result.code == 0, result.err
    assert output(2) == output(1).replace("fitness: 1", "fitness: 2")


# --- what the user can say ----------------------------------------------------------------------------------------------


def test_accepted_changes_are_for_later_experiments(begun, resume, command):
    project = begun()
    edit("train.py", "train one", "train two")
    edit("model/net.py", "3", "4")
    os.remove("weights.bin")
    Path("notes.txt").write_text("new")
    result = resume("--accept-changes")
    assert result.code == 0, result.err
    assert "studio: +units = 4" in result.err.splitlines()  # shown all the same
    assert output(1).startswith("train one units 3 1,2 data.csv model train.py weights.bin\n")
    assert output(2).startswith("train two units 4 1,2 data.csv model notes.txt train.py\n")
    first, second = (project / str(n) / "1" / "workspace" / "model" / "net.py" for n in (1, 2))
    assert (first.read_text(), second.read_text()) == ("units = 3\n", "units = 4\n")
    assert (project / "source" / "model" / "net.py").read_text() == "units = 3\n"
    assert resume("--max-experiments=3").code == 0  # nothing has changed since
    assert output(3).startswith("train two units 4")


def test_the_old_files_can_be_kept(begun, resume):
    begun()
    edit("train.py", "train one", "train two")
    shutil.rmtree("model")
    result = resume("--keep-source")
    assert result.code == 0, result.err
    assert output(2) == output(1).replace("fitness: 1", "fitness: 2")
    check = resume("--max-experiments=3")  # which is said for one session
    assert (check.code, "studio: model/net.py: is gone" in check.err) == (2, True)


def test_what_does_not_work_any_more_is_refused_though_accepted(begun, resume, command):
    project = begun()
    Path("train.py").write_text("lr = 1\nprint('fitness:', lr\n")
    result = resume("--accept-changes")
    assert result.code == 2
    assert "train.py" in result.err.splitlines()[-1]
    assert not (project / "source-2").exists()
    Path("train.py").unlink()
    result = resume("--accept-changes")
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("studio: there is no script 'train.py'")
    assert resume("--keep-source").code == 0


def test_retry_asks_the_same(begun, command, script):
    begun()
    edit("model/net.py", "3", "4")
    check = command("retry", "p", "1")
    assert (check.code, "studio: +units = 4" in check.err.splitlines()) == (2, True)
    assert command("retry", "p", "1", "--keep-source", "--quiet").code == 0
    assert command("retry", "p", "1", "--accept-changes", "--quiet").code == 0
    runs = [output(1, attempt).split()[3] for attempt in (1, 2, 3)]
    assert runs == ["3", "3", "4"]


def test_a_resume_that_is_killed_while_it_takes_the_new_files_changes_nothing(begun, resume, driver):
    begun()
    edit("model/net.py", "3", "4")
    one = driver("resume", "p", "--accept-changes", dies=("after", "studio.project.source:copy_source", 1))
    assert one.wait() == -signal.SIGKILL, one.err
    result = resume()
    assert (result.code, "studio: +units = 4" in result.err.splitlines()) == (2, True)
    assert resume("--accept-changes").code == 0
    assert output(2).startswith("train one units 4")


# --- where the source is ------------------------------------------------------------------------------------------------


def test_the_source_folder_is_gone(begun, resume, workdir, tmp_path, monkeypatch):
    begun()
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(workdir)
    for options in ([], ["--accept-changes", "--max-experiments=3"]):
        result = resume(*options)
        assert result.code == 0, result.err
        assert (
            f"studio: {workdir} no longer exists; continuing with the project's copy of it" in result.err.splitlines()
        )
    assert output(3) == output(1).replace("fitness: 1", "fitness: 3")


def test_it_does_not_matter_where_resume_is_typed(begun, resume, tmp_path, monkeypatch):
    begun()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.py").write_text("something else\n")
    monkeypatch.chdir(tmp_path / "other")
    assert resume().code == 0
    edit("../work/data.csv", "1", "7")
    assert resume("--max-experiments=3").code == 2


def test_a_script_outside_the_working_directory_is_refused_at_once(
    command, files, workdir, tmp_path, monkeypatch, home
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in (str(workdir / "train.py"), "../work/train.py"):
        result = command("run", "--project=p", "--hp=lr=1:3", path)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"cd {workdir} first" in result.err
    assert not (home / "projects" / "p").exists()


def test_the_copy_of_the_source_is_lost(begun, resume, command):
    shutil.rmtree(begun() / "source")
    found = command("doctor", "p")
    assert found.code == 1
    assert "the copy of the source is gone" in found.out + found.err
    for options in ([], ["--keep-source"]):
        refused = resume(*options)
        assert refused.code == 2
        assert refused.err.endswith("to use your files as they are now: studio resume p --accept-changes\n")
    assert resume("--accept-changes").code == 0
    assert command("doctor", "p").code == 0


def test_a_script_that_was_renamed_has_a_way_on(begun, resume):
    begun()
    os.rename("train.py", "better.py")
    refused = resume("--accept-changes")
    assert refused.code == 2
    assert refused.err.endswith("to continue with the files as they were at the start: studio resume p --keep-source\n")
    assert resume("--keep-source").code == 0


# --- what is captured once ----------------------------------------------------------------------------------------------

ONCE = """
    import json, os

    lr = 1
    path = json.load(open(os.environ["STUDIO_FOLDER"] + "/artifacts.json"))["set"]
    print("had", *sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read().split())
    print("fitness:", lr)
"""


@pytest.fixture(params=["outside", pytest.param("inside", marks=pytest.mark.slow)])
def data(request, script, tmp_path):
    """A folder that is captured once, in the working directory or elsewhere."""
    script("train.py", ONCE)
    script("model/net.py", "")
    folder = Path("data") if request.param == "inside" else tmp_path / "elsewhere" / "data"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("1,2\n")
    (folder / "b.bin").write_bytes(b"\0\1")
    return folder


def captured(command, path):
    options = ["--project=p", "--quiet", "--max-experiments=1", f"--capture-once={path}:set", "--hp=lr=1:3"]
    assert command("run", *options, "train.py").code == 0


def test_a_captured_folder_that_changed(command, data, resume):
    captured(command, data)
    (data / "a.csv").write_text("1,3\n")
    (data / "b.bin").unlink()
    check_refused(resume(), "--- a.csv (the search)", "-1,2", "+1,3", "b.bin: is gone", names="data/a.csv")
    assert resume("--keep-source").code == 0
    assert output(2).startswith("had a.csv b.bin\n")
    (data / "c.csv").write_text("5,6\n")
    assert resume("--max-experiments=3", "--accept-changes").code == 0
    assert output(3).startswith("had a.csv c.csv\n")
    assert resume("--max-experiments=3").code == 0


def test_earlier_experiments_keep_the_captured_data_that_they_had(command, data, resume):
    captured(command, data)
    (data / "a.csv").write_text("1,3\n")
    assert resume("--accept-changes").code == 0
    shared = [json.loads((Project("p").folder / f"{n}/1/artifacts.json").read_text())["set"] for n in (1, 2)]
    assert [experiment.snapshot for experiment in Project("p").experiments] == ["source", "source-2"]
    assert [Path(path, "a.csv").read_text() for path in shared] == ["1,2\n", "1,3\n"]


@pytest.mark.parametrize(
    "moment",
    [
        ("before", "studio.project.store:Store.set_meta", 1),
        pytest.param(("after", "studio.system.copying:copy_any", 1), marks=pytest.mark.slow),
    ],
    ids=lambda moment: f"{moment[0]} {moment[1].partition(':')[2]}",
)
def test_until_new_data_is_taken_as_a_whole_the_old_is_in_use(command, data, resume, driver, moment):
    captured(command, data)
    (data / "a.csv").write_text("1,3\n")
    (data / "c.csv").write_text("5,6\n")
    one = driver("resume", "p", "--accept-changes", dies=moment)
    assert one.wait() == -signal.SIGKILL, one.err
    assert resume("--keep-source").code == 0
    assert output(2).startswith("had a.csv b.bin\n")
    assert resume("--max-experiments=3", "--accept-changes").code == 0
    assert output(3).startswith("had a.csv b.bin c.csv\n")


# --- the optimizer's file -----------------------------------------------------------------------------------------------

REPLAY = 1  # the exit code where it asks for something else than it did
MINE = """
    import studio

    class Mine(studio.Optimizer):
        needs_fitness = False

        def __init__(self, space, *, seed):
            self.space, self.asked = space, 0

        def ask(self):
            self.asked += 1
            return self.space.suggestion([self.asked / 10])

        def tell(self, suggestion, fitness):
            pass
"""


@pytest.fixture(params=["inside", "outside"])
def mine(request, command, files, tmp_path):
    """A search by an optimizer in a file, in the working directory or elsewhere; the path of that file."""
    path = Path("mine.py").absolute() if request.param == "inside" else tmp_path / "mine.py"
    inside = files("mine.py", MINE)
    if path != inside:
        inside.rename(path)
    options = ["--project=p", "--quiet", "--max-experiments=1", "--hp=lr=0:1", "--no-baseline", f"--optimizer={path}"]
    assert command("run", *options, "train.py").code == 0
    return path


def values():
    return [round(e.values["lr"], 6) for e in Project("p").experiments if e.started]


def test_an_optimizer_that_changed_and_asks_the_same(mine, resume, workdir):
    """Its past is repeated and compared, which a copy of the file could not do better: it may import what lies beside it."""
    said = f"studio: {mine} has changed since the search began"
    edit(mine, "needs_fitness = False", "needs_fitness = True")
    if mine.parent == workdir:
        check_refused(resume(), "+++ mine.py (now)", names="mine.py")
        result = resume("--keep-source")
    else:
        result = resume()
    assert result.code == 0, result.err
    assert said in result.err.splitlines()
    assert values() == [0.1, 0.2]
    assert resume("--accept-changes").code == 0
    result = resume("--max-experiments=3")
    assert (result.code, said in result.err.splitlines()) == (0, False)
    assert values() == [0.1, 0.2, 0.3]


def test_an_optimizer_that_changed_and_asks_for_something_else(mine, resume, workdir):
    edit(mine, "self.asked / 10", "self.asked / 20")
    if mine.parent == workdir:
        check_refused(resume(), "+++ mine.py (now)", names="mine.py")
    result = resume("--keep-source")
    assert result.code == REPLAY
    last = result.err.splitlines()[-1]
    assert last.startswith("studio: experiment 1: mine now suggests {'lr': 0.05}, the record has {'lr': 0.1}; its code")
    assert last.endswith("--accept-changes")
    assert values() == [0.1]
    result = resume("--accept-changes")
    assert result.code == 0, result.err
    assert values() == [0.1, 0.05]


def test_an_optimizer_that_is_gone(mine, resume):
    mine.unlink()
    for options in ([], ["--keep-source"], ["--accept-changes"]):
        result = resume(*options)
        assert (result.code, result.err) == (2, f"studio: optimizer file {str(mine)!r} does not exist\n")
    assert values() == [0.1]
