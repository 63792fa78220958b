"""Names that lead elsewhere, and a source full of traps: refused or copied, and nothing written outside STUDIO_HOME."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.project.source import scan_source

TRAIN = "lr = 0\nprint('fitness:', lr)\n"
STUDIO = str(Path(sys.executable).with_name("studio"))


def listing(folder, without):
    """What lies in `folder`: kind, size, time and content of links, but not what lies in `without`."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            if path != without:
                state = path.lstat()
                is_folder = path.is_dir() and not path.is_symlink()
                found[str(path)] = (state.st_mode, *(() if is_folder else (state.st_size, state.st_mtime_ns)))
        folders[:] = [name for name in folders if Path(place, name) != without]
    return found


@pytest.fixture
def untouched(home, tmp_path):
    """`untouched(function)` calls it and sees that outside STUDIO_HOME nothing was made, changed or removed."""

    def call(function, *arguments):
        before, around = listing(tmp_path, home), set(os.listdir(tmp_path.parent))
        result = function(*arguments)
        assert listing(tmp_path, home) == before
        assert set(os.listdir(tmp_path.parent)) == around
        return result

    return call


@pytest.fixture
def safely(command, untouched):
    """As `command`, with nothing touched outside STUDIO_HOME."""
    return lambda *arguments: untouched(command, *arguments)


def check_refused(result, *words):
    """One line, exit code 2, no control characters."""
    assert (result.code, result.out) == (2, ""), (
        result
    )  # whose repr has no lone surrogates, which pytest-xdist cannot send
    line = result.err.removesuffix("\n")
    fine = line.startswith("studio: ") and line.isprintable()
    assert fine, ascii(line)
    assert [word for word in words if word not in line] == []


def experiments(command, project):
    return json.loads(command("runs", "list", project, "--json").out)


@pytest.fixture
def begun(safely, script):
    """A project `p` of one experiment."""
    script("train.py", TRAIN)
    assert safely("run", "--quiet", "--project=p", "--hp=lr=1", "train.py").code == 0


# --- projects and experiments -----------------------------------------------------------------------------------------

PROJECTS = [
    "../../x",
    "..",
    "",
    "/tmp/x",
    "a\\b",
    ".hidden",
    "--help ",
    "~",
    "$HOME",
    "a\n",
    "a\0b",
    "a\x1b[31m",
    "a\u202eb",
]
PROJECTS += ["é", "a\udcff", "x" * 201, "x" * 100_000]


def test_a_project_name_that_leads_elsewhere_is_refused(begun, safely, home):
    before = listing(home, None)
    for project in PROJECTS:
        check_refused(safely("run", f"--project={project}", "--hp=lr=1", "train.py"), "is not a project name")
    for project in PROJECTS[:3]:
        for name in ("resume", "rm", "stop", "retry"):
            check_refused(safely(name, "--", project))
        check_refused(safely("runs", "list", "--", project))
        check_refused(safely("runs", "show", "--", f"{project}/1"))
        check_refused(safely("runs", "logs", "--", f"{project}/1"))
    assert listing(home, None) == before


def test_no_number_of_an_experiment(begun, safely):
    for number in ["0", "-1", "1/../1", "..", "*", "", "1.0", "0x1", "1\n", "9" * 20, "9" * 5000]:
        check_refused(safely("runs", "show", "--", f"p/{number}"))
    check_refused(safely("runs", "logs", "--", "p/0"))


# --- artifacts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--capture=train.py", "--capture-once=train.py", "--reuse=p/1/modeldir"])
def test_an_artifact_tag_that_leads_elsewhere_is_refused(safely, script, home, option):
    script("train.py", TRAIN)
    for tag in ["..", "../x", "/etc/x", "a\\b", "a\0b", "\u202ea", "x" * 101, "-a", " "]:
        check_refused(safely("run", f"{option}:{tag}", "--hp=lr=1", "train.py"), option.split("=")[0])
    assert not home.exists()


REUSED = ["../../etc/passwd", "/etc/passwd", "etc/1/passwd", "./p/1/modeldir", "p/1/..", "p/1/.", "p/../1/modeldir"]
REUSED += ["p/1/1/output.log", "p/../../secret", "p/1/mod\0eldir", "p/1/*", f"p/{'9' * 5000}/modeldir", "~/1/x"]


def test_what_is_reused_lies_in_an_experiment(begun, safely, home):
    (home / "secret").write_text("secret")
    for path in REUSED:
        check_refused(safely("run", "--project=q", f"--reuse={path}:start", "--hp=lr=1", "train.py"))
    assert not (home / "projects" / "q").exists()


@pytest.mark.parametrize("option", ["--capture", "--capture-once"])
def test_what_cannot_be_captured_is_refused(safely, script, tmp_path, home, option):
    """No path at all, a folder that holds STUDIO_HOME, and what is neither file nor folder."""
    script("train.py", TRAIN)
    os.mkfifo(tmp_path / "pipe")
    made = ["a\0b", "x" * 5000, "\udcff\x1b[2J"] if option == "--capture-once" else []  # else the script may make it
    for path in [*made, "/", "..", "../home/..", "/dev/zero", "/dev/stdin", "../pipe"]:
        check_refused(safely("run", f"{option}={path}:tag", "--hp=lr=1", "train.py"), option)
    assert not home.exists()


# What a script leaves to be captured: pipes, sockets, links that lead in circles or to no end, a folder that is closed.
LEFT = [
    "os.mkdir('out'); os.mkfifo('out/pipe'); open('out/file', 'w').close()",
    "import socket; socket.socket(socket.AF_UNIX).bind('out')",
    "os.symlink('/dev/zero', 'out')",
    "os.symlink('out', 'out')",
    "os.symlink('..', 'out')",
    "os.symlink('../artifacts', 'out')",
    "os.mkdir('out', mode=0)",
]


def test_whatever_a_script_leaves_to_be_captured_holds_nobody_up(command, script):
    ways = "\n".join(f"if lr == {number}: {way}" for number, way in enumerate(LEFT, 1))
    script("train.py", f"import os\n{TRAIN}{ways}\n")
    options = ["--quiet", "--project=p", "--capture=out:out", "--num-workers=4", "--max-duration=20s"]
    result = command("run", *options, f"--hp=lr=1:{len(LEFT)}", "train.py")
    assert (result.code, result.err) == (0, "")


# --- scripts ----------------------------------------------------------------------------------------------------------

SCRIPTS = [
    'it\'s "quoted" and\nlong\u202e.py',
    "--hp=lr=1.py",
    "$(touch pwned)`touch pwned`;a&b|c>pwned.py",
    "%s{lr}[bold]x[/bold]\x1b[2J.py",
    "caf\udce9.py",  # no UTF-8
    "x" * 252 + ".py",
    "a folder/~.py",
]


@pytest.mark.parametrize("name", SCRIPTS, ids=lambda name: ascii(name[:20]))
def test_a_script_may_have_any_name(safely, command, script, home, name):
    script(name, TRAIN)
    result = safely("run", "--hp=lr=1,2", "--", name)
    assert result.code == 0, result
    hidden = [c for c in result.out + result.err if not c.isprintable() and c != "\n"]
    assert not hidden, ascii(hidden)
    (project,) = os.listdir(home / "projects")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", project)
    assert [experiment["fitness"] for experiment in experiments(command, project)] == [1, 2]


@pytest.mark.parametrize("name", ["-x.sh", '$(touch pwned) it\'s\n"me"'])
def test_a_program_may_have_any_name(safely, command, script, name):
    script(name, "#!/bin/sh\necho fitness: $1\n").chmod(0o755)
    result = safely("run", "--quiet", "--project=p", "--hp=lr=1,2", "--", name, "{lr}")
    assert result.code == 0, result.err
    assert [experiment["fitness"] for experiment in experiments(command, "p")] == [1, 2]


def test_a_script_that_is_none_of_here_is_refused(safely, script, workdir, tmp_path, home):
    script("train.py", TRAIN)
    (tmp_path / "train.py").write_text(TRAIN)
    os.mkfifo(workdir / "pipe.py")
    for name in ["../train.py", "/etc/hostname", "a\0b.py", "", ".", "..", "/dev/null", "x" * 5000, "pipe.py"]:
        check_refused(safely("run", "--hp=lr=1", "--", name))
    assert not home.exists()


# --- links that lead out ----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """A folder outside the working directory, with a script and data in it."""
    folder = tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    for place in (folder, folder / "deep"):
        (place / "train.py").write_text(TRAIN)
        (place / "train.py").chmod(0o755)
        (place / "data").write_text("data")
    return folder


@pytest.mark.parametrize("name", ["train.py", "folder/deep/train.py"])
def test_values_are_never_written_through_a_link(safely, command, workdir, elsewhere, name):
    """The file that the link leads to is the user's own."""
    (workdir / "train.py").symlink_to("../elsewhere/train.py")
    (workdir / "folder").symlink_to(elsewhere)
    assert safely("run", "--quiet", "--project=p", "--hp=lr=1,2", name).code == 0
    assert [experiment["fitness"] for experiment in experiments(command, "p")] == [1, 2]
    assert (elsewhere / "train.py").read_text() == TRAIN


def test_shared_artifacts_are_never_written_through_a_link(safely, command, script, workdir, elsewhere):
    script("main.py", "lr = 0\nprint('fitness:', lr + len(open('folder/data').read()))\n")
    (workdir / "folder").symlink_to(elsewhere)
    result = safely("run", "--quiet", "--project=p", "--capture-once=folder/data:data", "--hp=lr=1,2", "main.py")
    assert result.code == 0
    assert [experiment["fitness"] for experiment in experiments(command, "p")] == [5, 6]


# --- a source full of traps -------------------------------------------------------------------------------------------


def test_a_source_full_of_traps_is_copied_as_far_as_it_can_be(safely, command, script, workdir, home, elsewhere):
    script("train.py", TRAIN)
    script("sub/file", "inside")
    links = {
        "out": "../elsewhere",
        "out-file": "../elsewhere/data",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "self": "self",
        "here": ".",
        "sub/up": "..",
        "sub/down": "down/down",
        "nowhere": "/no/such/file",
        "root": "/",
        "home": "../home",
    }
    for link, target in links.items():
        (workdir / link).symlink_to(target)
    os.mkfifo(workdir / "pipe")
    os.mkfifo(workdir / "sub" / "pipe\n\x1b[2J")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        result = safely("run", "--project=p", "--hp=lr=1,2", "train.py")
    assert result.code == 0, result.err
    assert "studio: pipe is not a regular file and is left out\n" in result.err
    assert "studio: socket is not a regular file and is left out\n" in result.err
    assert "studio: sub/pipe  [2J is not a regular file and is left out\n" in result.err
    workspace = home / "projects" / "p" / "1" / "1" / "workspace"
    names = {
        os.path.relpath(os.path.join(place, name), workspace)
        for place, folders, files in os.walk(workspace)
        for name in [*folders, *files]
    }
    assert names == {"train.py", "sub", "sub/file", *links} - {"home"}  # that one is STUDIO_HOME, and never copied
    assert (workspace / "out-file").read_text() == "data"
    assert (workspace / "sub" / "up" / "here" / "sub" / "file").read_text() == "inside"
    before = listing(workspace, None)
    again = safely("resume", "p", "--quiet")  # which compares the copy with all of that
    assert (again.code, again.err) == (0, "")
    assert listing(workspace, None) == before


@pytest.mark.skipif(not shutil.which("setpriv") and os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_left_out_with_a_word(untouched, command, script, workdir, home):
    script("train.py", TRAIN)
    script("secret", "1").chmod(0)
    script("closed/x", "2")
    (workdir / "closed").chmod(0)
    # A root that owns them but has no right to pass over permissions.
    without_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    run = [*without_rights, STUDIO, "run", "--project=p", "--hp=lr=1,2", "train.py"]
    try:
        done = untouched(lambda: subprocess.run(run, capture_output=True, text=True, timeout=60, check=False))
    finally:
        (workdir / "closed").chmod(0o700)
    if "Operation not permitted" in done.stderr:
        pytest.skip("root reads everything, and cannot be kept from it")
    assert done.returncode == 0, done.stderr
    assert "studio: secret cannot be read and is left out\n" in done.stderr
    assert "studio: closed cannot be read and is left out\n" in done.stderr
    workspace = home / "projects" / "p" / "1" / "1" / "workspace"
    assert sorted(os.listdir(workspace)) == ["closed", "train.py"]
    assert os.listdir(workspace / "closed") == []


# --- many files -------------------------------------------------------------------------------------------------------


def fill(folder, count):
    """`count` empty files, a thousand a folder."""
    for number in range(count):
        if number % 1000 == 0:
            part = folder / f"part{number // 1000}"
            part.mkdir(parents=True)
        os.close(os.open(part / f"{number}", os.O_CREAT | os.O_WRONLY))


def seconds(function):
    """The best of five, in time of this process: others on this machine do not count."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_many_files_is_copied(command, script, workdir, home):
    many = 100_000
    script("train.py", TRAIN)
    fill(workdir / "data", many)
    begin = time.process_time()
    assert command("run", "--quiet", "--project=p", "--hp=lr=1", "train.py").code == 0
    assert time.process_time() - begin < 2 + many * 0.001  # about 0.0002 each: listed, copied twice
    workspace = home / "projects" / "p" / "1" / "1" / "workspace"
    assert sum(len(files) for _, _, files in os.walk(workspace)) == many + 1
    shutil.rmtree(home)
    shutil.rmtree(workdir / "data")


@pytest.mark.slow
def test_the_time_of_the_walk_grows_with_the_number_of_files(tmp_path):
    many = 100_000
    fill(tmp_path / "few", many // 4)
    fill(tmp_path / "many", many)
    out = [tmp_path / "home", tmp_path / "many" / "no-such"]
    few = seconds(lambda: scan_source(tmp_path / "few", leave_out=out))
    assert (
        seconds(lambda: scan_source(tmp_path / "many", leave_out=out)) < 9 * few
    )  # 4 where it is linear, 16 where it is not
