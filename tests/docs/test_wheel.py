"""The wheel: what is in it, and that a search runs where nothing else of this repository is."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "core": "studio",
    "plugins": "studio/plugins",
    "optimizers": "studio/optimizers",
    "backends": "studio/backends",
}
BUILD = {"vendor.lock.json"}  # names the libraries of the dashboard's charts


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def can_build_alone():
    import setuptools  # not at the top: the tests need it nowhere else

    return int(setuptools.__version__.split(".")[0]) >= 77


def test_wheel(tmp_path):
    wheel = build(tmp_path)
    check_contents(wheel, tmp_path / "source")
    check_search(wheel, tmp_path)
    check_dashboard(tmp_path)


def build(folder):
    """The wheel, built from a copy, so that the build leaves nothing behind in the repository."""
    source = folder / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    vendor = source / "core" / "dashboard" / "vendor"
    vendor.mkdir(exist_ok=True)
    for name in ("uplot.js", "uplot.css"):  # `make ui` brings them; here it need not have
        if not (vendor / name).exists():
            (vendor / name).write_text("export default null;\n")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("tests", "docs", "examples"):
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    alone = ["--no-build-isolation"] if can_build_alone() else []
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *alone, "--wheel-dir", folder, source)
    (path,) = folder.glob("*.whl")
    return path


def check_contents(wheel, source):
    import studio

    assert wheel.name == f"studio_search-{studio.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"studio_search-{studio.__version__}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    expected = {
        str(Path(target, file.relative_to(source / folder)))
        for folder, target in FOLDERS.items()
        for file in (source / folder).rglob("*")
        if file.is_file() and not {"__pycache__", "node_modules", *BUILD} & set(file.parts)
    }
    assert {name for name in names if not name.startswith(info)} == expected
    assert {"studio/py.typed", "studio/fs_tracker.py", "studio/testing/__init__.py", "studio/cli/run.py"} <= expected
    assert {
        "studio/dashboard/vendor/uplot.js",
        "studio/dashboard/static/charts/best.js",
    } <= names
    assert {
        "studio/dashboard/templates/project.html",
        "studio/dashboard/static/main.js",
        "studio/dashboard/static/studio.css",
    } <= expected
    assert {name.split("/")[0] for name in names} == {"studio", info}
    assert f"{info}/licenses/LICENSE" in names
    assert "studio = studio.cli:main" in entry_points
    for line in ("cma = studio.optimizers.cma_es", "local = studio.backends.local", "printed = studio.plugins.printed"):
        assert line in entry_points
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: Apache-2.0" in metadata


def check_search(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python, studio = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "studio"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    # The dependencies of this environment, without its editable Studio: .pth files that lie there are not read.
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))

    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text(
        "from tensorboardX import SummaryWriter\nfrom studio import fs_tracker\nlr = 1\n"
        "with SummaryWriter(fs_tracker.get_tensorboard_dir()) as w:\n    w.add_scalar('loss', (lr - 0.5) ** 2)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "PYTHON"))}
    options = {"cwd": work, "env": {**environment, "STUDIO_HOME": str(tmp_path / "home")}}
    arguments = (
        "--optimizer=random",
        "--seed=1",
        "--max-experiments=2",
        "--metric=loss:min",
        "--hp=lr=0:1",
        "train.py",
    )
    found = json.loads(run(studio, "run", "--json", *arguments, **options))
    assert [experiment["status"] for experiment in found] == ["completed"] * 2
    for experiment in found:
        assert experiment["metric"]["value"] == pytest.approx((experiment["values"]["lr"] - 0.5) ** 2, abs=1e-6)

    program = (
        "import importlib.util as util, studio, studio.testing, studio.search.run\n"
        "print(studio.__file__, [n for n in ('core', 'plugins', 'optimizers', 'backends') if util.find_spec(n)])"
    )
    assert run(python, "-W", "error", "-c", program, **options) == f"{packages}/studio/__init__.py []\n"
    plugins = json.loads(run(studio, "plugins", "--json", **options))
    assert plugins["problems"] == []
    assert {piece["distribution"] for piece in plugins["plugins"]} == {"studio-search"}
    assert len({(piece["kind"], piece["name"]) for piece in plugins["plugins"]}) == len(plugins["plugins"]) >= 9


def check_dashboard(tmp_path):
    """Pages, their scripts and the libraries are served from what was installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "PYTHON"))}
    process = subprocess.Popen(
        [tmp_path / "venv" / "bin" / "studio", "ui", "--no-open", "--port=0"],
        env={**environment, "STUDIO_HOME": str(tmp_path / "home")},
        cwd=tmp_path / "work",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        link = process.stdout.readline().strip()
        with httpx.Client(base_url=link.partition("/?")[0], timeout=30, follow_redirects=True) as client:
            page = client.get(link).text
            (project,) = re.findall(r'href="(/p/[^"/]+)"', page)
            text = client.get(project).text
            files = set(re.findall(r'(?:src|href)="(/(?:[^"/]+/)*(?:static|vendor)/[^"]+)"', text))
            named = {re.sub(r"^.*(?=/(?:static|vendor)/)", "", path) for path in files}
            assert named >= {"/static/main.js", "/static/studio.css", "/vendor/uplot.css"}
            for path in [
                *files,
                "/vendor/uplot.js",
                "/static/charts/best.js",
                f"{project}/1",
                f"/api/projects/{project.removeprefix('/p/')}",
            ]:
                assert client.get(path).status_code == 200, path
    finally:
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (0, "")


def test_top_level_names_of_this_environment():
    """An editable install must not make `core` and `plugins` importable either, from anywhere but the repository."""
    program = "import importlib.util as u; print([n for n in ('core', 'plugins', 'optimizers') if u.find_spec(n)])"
    assert run(sys.executable, "-c", program, cwd="/") == "[]\n"
