"""`studio.fs_tracker` as scripts import it: alone, under Studio, and in interpreters that have no Studio."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio import fs_tracker

ELSEWHERE = Path("/root/.pyenv/versions")


@pytest.fixture
def alone(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STUDIO_FOLDER", "STUDIO_EXPERIMENT"):
        monkeypatch.delenv(name, raising=False)
    return workdir


@pytest.fixture
def run_folder(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an experiment, with a file and an array among its artifacts."""
    folder = tmp_path / "runs" / "7"
    (folder / "artifacts").mkdir(parents=True)
    artifacts = {"data": "/elsewhere/data", "lr": str(folder / "artifacts" / "lr.npy")}
    (folder / "artifacts.json").write_text(json.dumps(artifacts))
    monkeypatch.setenv("STUDIO_FOLDER", str(folder))
    monkeypatch.setenv("STUDIO_EXPERIMENT", "digits/7")
    return folder


def test_alone_the_folders_are_in_the_current_directory(alone: Path) -> None:
    assert fs_tracker.get_experiment_key() is None
    assert fs_tracker.get_artifacts() == {}
    assert list(alone.iterdir()) == []
    assert fs_tracker.get_tensorboard_dir() == str(alone / "tb")
    assert fs_tracker.get_model_directory() == str(alone / "modeldir")
    assert sorted(path.name for path in alone.iterdir() if path.is_dir()) == ["modeldir", "tb"]
    assert fs_tracker.get_tensorboard_dir() == str(alone / "tb")


def test_alone_an_artifact_is_looked_for_in_a_folder_artifacts(alone: Path) -> None:
    assert fs_tracker.get_artifact("lr") == str(alone / "artifacts" / "lr")
    (alone / "artifacts").mkdir()
    (alone / "artifacts" / "lr.npy").write_text("")
    assert fs_tracker.get_artifact("lr") == str(alone / "artifacts" / "lr.npy")
    (alone / "artifacts" / "lr").write_text("")
    assert fs_tracker.get_artifact("lr") == str(alone / "artifacts" / "lr")
    assert fs_tracker.get_artifact("a/b.txt") == str(alone / "artifacts" / "a" / "b.txt")


def test_under_studio_the_environment_says_where(run_folder: Path, alone: Path) -> None:
    assert fs_tracker.get_experiment_key() == "digits/7"
    assert fs_tracker.get_artifacts() == {"data": "/elsewhere/data", "lr": str(run_folder / "artifacts" / "lr.npy")}
    assert fs_tracker.get_artifact("data") == "/elsewhere/data"
    assert fs_tracker.get_artifact("lr") == str(run_folder / "artifacts" / "lr.npy")
    assert fs_tracker.get_artifact("other") == str(run_folder / "artifacts" / "other")
    assert fs_tracker.get_tensorboard_dir() == str(run_folder / "tb")
    assert fs_tracker.get_model_directory() == str(run_folder / "modeldir")
    assert (run_folder / "tb").is_dir()
    assert list(alone.iterdir()) == []


def test_a_change_of_the_working_directory_changes_nothing_under_studio(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fs_tracker.get_model_directory() == str(run_folder / "modeldir")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "../x", "a/../../x", "a\\..\\x"])
def test_a_name_that_leaves_the_folder_is_refused(run_folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not an artifact name"):
        fs_tracker.get_artifact(name)


def test_its_import_takes_the_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); from studio import fs_tracker; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.startswith("studio")} == {"studio", "studio.fs_tracker"}
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"studio"}


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.12", "3.13"])
def test_it_works_in_other_interpreters_through_a_shim(run_folder: Path, tmp_path: Path, version: str) -> None:
    found = sorted(ELSEWHERE.glob(f"{version}.*/bin/python")) if os.access(ELSEWHERE, os.R_OK) else []
    if not found:
        pytest.skip(f"no Python {version} here")
    shim = tmp_path / "shim" / "studio"
    shim.mkdir(parents=True)
    (shim / "__init__.py").write_text("")
    shutil.copy(fs_tracker.__file__, shim)
    code = (
        "from studio import fs_tracker as f\n"
        "print(f.get_experiment_key(), f.get_artifact('lr'), f.get_tensorboard_dir(), len(f.get_artifacts()))\n"
        "try: f.get_artifact('..')\n"
        "except ValueError: print('refused')"
    )
    env = {**os.environ, "PYTHONPATH": str(shim.parent), "PYTHONWARNINGS": "error"}
    done = subprocess.run([found[0], "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == [
        f"digits/7 {run_folder / 'artifacts' / 'lr.npy'} {run_folder / 'tb'} 2",
        "refused",
    ]
