"""`studio plugins new optimizer NAME`, `new metric NAME`: the package passes its own tests, untouched, and works."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def new(command, workdir):
    def make(kind):
        result = command("plugins", "new", kind, "my-search")
        assert (result.code, result.err) == (0, "")
        assert "pip install -e studio-my-search" in result.out
        return workdir / "studio-my-search"

    return make


@pytest.fixture
def package(new):
    return new("optimizer")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Have a package count as installed: its folder in sight, with the metadata that pip would write."""

    def call(package):
        info = tmp_path / "site" / "studio_my_search-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: studio-my-search\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text("[studio]\nmy-search = studio_my_search\n")
        monkeypatch.setattr(sys, "path", [str(package), str(info.parent), *sys.path])
        monkeypatch.setenv("PYTHONPATH", f"{package}{os.pathsep}{info.parent}")
        monkeypatch.delitem(sys.modules, "studio_my_search", raising=False)

    return call


def test_it_passes_its_tests(command, workdir):
    """Both kinds side by side, in one session of pytest."""
    for kind in ("optimizer", "metric"):
        assert command("plugins", "new", kind, f"my-{kind}").code == 0
    folders = [f"studio-my-{kind}" for kind in ("optimizer", "metric")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    tests = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *folders]
    done = subprocess.run(tests, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_runs_a_search(package, install, command, script):
    install(package)
    script("train.py", "lr = 1\nprint('fitness:', -abs(lr - 0.01))\n")
    options = ("--optimizer=my-search", "-O", "spread=0.3", "--max-experiments=3", "--hp=lr=1e-4:1:l")
    result = command("run", *options, "train.py")
    assert result.code == 0, result.err
    assert "my-search" in command("plugins").out


def test_a_metric_ranks_a_search(new, install, command, script):
    install(new("metric"))
    script("train.py", "lr = 1\nopen('log.txt', 'w').write(f'loss={lr}\\n')\n")
    result = command("run", "--metric=my-search:log.txt:loss:min", "--hp=lr=0.5,0.25", "train.py")
    assert result.code == 0, result.err
    assert "my-search:log.txt:loss 0.25  lr=0.25" in result.err


def test_names_and_kinds_that_cannot_be(command, package):
    for arguments, complaint in (
        (("optimizer", "My Search"), "'My Search' is not a valid name of a plugin"),
        (("optimizer", "my-search"), "studio-my-search exists here"),
        (("backend", "x"), "'backend' has no skeleton; write: studio plugins new optimizer or metric NAME"),
    ):
        result = command("plugins", "new", *arguments)
        assert result.code == 2
        assert complaint in result.err
