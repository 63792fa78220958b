"""The wheel that machines get: the Studio that runs here, the same bytes each time, installable without this tree."""

import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

import studio
from studio.backends.cloud.packages import build, put_wheel
from studio.backends.queue.folder_bucket import FolderBucket

ROOT = Path(__file__).parent.parent.parent
INFO = f"studio_search-{studio.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"))


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel):
    assert wheel.name == f"studio_search-{studio.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("studio/errors.py") == (ROOT / "core" / "errors.py").read_bytes()
        assert b"studio = studio.cli:main" in archive.read(f"{INFO}/entry_points.txt")
        assert b"Requires-Dist: numpy" in archive.read(f"{INFO}/METADATA")
        records = archive.read(f"{INFO}/RECORD").decode().splitlines()
    assert {
        "studio/py.typed",
        "studio/cli/run.py",
        "studio/optimizers/grid.py",
        "studio/backends/queue/leases.py",
    } <= names
    assert {name.split("/")[0] for name in names} == {"studio", INFO}
    assert not any("__pycache__" in name or name.endswith("direct_url.json") for name in names)
    assert {line.rsplit(",", 2)[0] for line in records} == names


def test_what_the_charts_are_built_from_stays_here(wheel):
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "node_modules" in name] == []
    assert wheel.stat().st_size < 4e6


def test_the_same_files_give_the_same_bytes(wheel, tmp_path):
    time.sleep(0.01)
    (tmp_path / "again").mkdir()
    assert build(tmp_path / "again").read_bytes() == wheel.read_bytes()


def test_it_goes_to_a_bucket_once(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket", create=True)
    key = put_wheel(bucket)
    written = (tmp_path / "bucket" / key).stat().st_mtime_ns
    assert put_wheel(bucket) == key
    assert (tmp_path / "bucket" / key).stat().st_mtime_ns > written  # a bucket deletes what is 30 days old
    assert len(list((tmp_path / "bucket" / "wheels").iterdir())) == 1
    assert key.startswith("wheels/")
    assert key.endswith("/" + f"studio_search-{studio.__version__}-py3-none-any.whl")


def installed(wheel, folder):
    """An environment with the wheel, and with what it needs from this one, but without this one's Studio."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder / "bin", packages


def test_it_installs_and_builds_itself_again(wheel, tmp_path):
    binaries, packages = installed(wheel, tmp_path / "venv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "PYTHON"))}
    environment["STUDIO_HOME"] = str(tmp_path / "home")
    options = {"cwd": tmp_path, "env": environment, "check": True, "capture_output": True, "text": True}
    (tmp_path / "train.py").write_text("lr = 1\nprint('fitness:', lr)\n")
    done = subprocess.run([binaries / "studio", "run", "--hp=lr=1,2", "train.py"], **options)
    assert "completed" in done.stdout
    program = (
        "import sys, studio; from pathlib import Path; from studio.backends.cloud.packages import build\n"
        "print(studio.__file__); print(build(Path(sys.argv[1])))"
    )
    (tmp_path / "second").mkdir()
    done = subprocess.run([binaries / "python", "-c", program, tmp_path / "second"], **options)
    file, again = done.stdout.split()
    assert file == f"{packages}/studio/__init__.py"
    assert Path(again).read_bytes() == wheel.read_bytes()
