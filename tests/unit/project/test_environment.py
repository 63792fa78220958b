"""The environment of a search, as it is written down."""

import platform
import subprocess
import sys

import studio
from studio.project.environment import describe
from studio.project.records import read_meta, reading


def git(*words, cwd):
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True)


def test_interpreter_packages_commit_machine(tmp_path):
    git("init", cwd=tmp_path)
    (tmp_path / "train.py").write_text("lr = 1\n")
    git("add", ".", cwd=tmp_path)
    git("commit", "-m", "first", cwd=tmp_path)
    found = describe(sys.executable, tmp_path)
    assert found["python"] == platform.python_version()
    assert len(found["commit"]) == 40
    assert any(line.startswith("numpy ") for line in found["packages"].splitlines())
    assert "CPUs" in found["machine"]
    (tmp_path / "train.py").write_text("lr = 2\n")
    assert describe(sys.executable, tmp_path)["commit"].endswith("(with changes)")


def test_outside_of_a_repository_and_for_another_program(tmp_path):
    found = describe("./train.sh", tmp_path)
    assert set(found) == {"host", "machine"}


def test_a_project_has_it(home, command, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    command("run", "--project=digits", "--hp=lr=1,2", "train.py")
    with reading(studio.Project("digits").folder) as connection:
        assert read_meta(connection, "environment")["python"] == platform.python_version()


def test_a_virtual_environment_of_the_same_python_has_its_own_packages(tmp_path):
    (binaries := tmp_path / "venv/bin").mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (tmp_path / "venv/lib/python3.9/site-packages/only_here-1.5.dist-info").mkdir(parents=True)
    found = describe(str(binaries / "python"), tmp_path)
    assert (found["packages"], found["python"]) == ("only_here 1.5", "3.9")
