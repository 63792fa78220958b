"""The example packages as their users have them: built and installed by pip, and run.

They use the public API alone, pass their own tests, and each carries a real search.
"""

import ast
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)  # of which an installation takes the most

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
PACKAGES = {  # distribution -> kind and name of what it adds
    "studio-optuna": ("optimizer", "optuna"),
    "studio-nevergrad": ("optimizer", "nevergrad"),
    "studio-subprocess-pool": ("backend", "pool"),
    "studio-csv-metrics": ("metric extractor", "csv"),
    "studio-normal-range": ("range parser", "normal"),
}
# Of all their own tests, in an environment of their own: Nevergrad 1.0.12 fails with NumPy 2.4, as its package says.
REQUIREMENTS = ["optuna==5.0.0", "cmaes==0.13.1", "nevergrad==1.0.12", "numpy<2.4", "setuptools>=77"]
PUBLIC = {  # what stands in no list of `studio`, and yet a package needs: docs/plugins.md names it
    "studio.space": {"Array", "Choice", "Constant", "Integer", "Real"},
    "studio.experiment": {"Metric", "Resources"},
    "studio.execution.runner": {"Runner"},
    "studio.system.processes": {"kill_tree"},
}

TRAIN = """
    import sys
    lr, layers, kind = 0.01, 2, 'sgd'
    print(f"fitness: {-(lr - 0.03) ** 2 - (layers - 5) ** 2 / 100 - (kind != 'adam')}")
"""
MIXED = ["--hp=lr=1e-4:0.1:l", "--hp=layers=1:8:i", "--hp=kind=adam,sgd"]


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of the sources in `sources` and the installed packages in `site`, of all pytest-xdist workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "third-party"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits
        if not (folder / "ready").exists():
            unwanted = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
            shutil.copytree(PLUGINS, folder / "sources", ignore=unwanted)
            how = ["install", "--quiet", "--no-compile", "--no-deps", "--no-build-isolation"]
            pip(*how, "--target", folder / "site", *(folder / "sources" / name for name in PACKAGES))
            (folder / "ready").touch()
    return folder


@pytest.fixture
def packages(built: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `command` runs finds the packages."""
    monkeypatch.setattr(sys, "path", [str(built / "site"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(built / "site"))


@pytest.fixture
def experiments(packages: None, command: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    """Experiments that `studio run --json` prints."""

    def call(*arguments: str, script: tuple[str, ...] = ("train.py",), code: int = 0) -> list[dict[str, Any]]:
        done = command("run", "--json", "--seed=1", *arguments, *script)
        assert done.code == code, done.err
        found: list[dict[str, Any]] = json.loads(done.out)
        return found

    return call


@pytest.fixture
def train(script: Callable[[str, str], Path]) -> None:
    script("train.py", TRAIN)


# --- the packages -----------------------------------------------------------------------------------------------------


def test_they_are_all_here() -> None:
    assert {folder.name for folder in PLUGINS.iterdir() if (folder / "pyproject.toml").exists()} == set(PACKAGES)


def test_they_are_listed_and_can_be_switched_off(
    packages: None, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = json.loads(command("plugins", "--json").out)
    assert listed["problems"] == []
    ours = {
        piece["distribution"]: (piece["kind"], piece["name"], piece["version"])
        for piece in listed["plugins"]
        if piece["distribution"] in PACKAGES
    }
    assert ours == {distribution: (*piece, "0.1.0") for distribution, piece in PACKAGES.items()}
    monkeypatch.setenv("STUDIO_DISABLE_PLUGINS", ",".join(PACKAGES))
    left = json.loads(command("plugins", "--json").out)["plugins"]
    assert not {piece["distribution"] for piece in left} & PACKAGES.keys()


def test_one_passes_its_own_tests(built: Path) -> None:
    """Run the tests of a package with the present libraries."""
    tests = built / "sources" / "studio-csv-metrics" / "tests"
    own_tests(sys.executable, tests, {"PYTHONPATH": str(built / "site")})


@pytest.mark.slow
def test_all_pass_their_own_tests(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip("--python", python, "install", "--quiet", *REQUIREMENTS)
    for package in PACKAGES:
        own_tests(python, built / "sources" / package / "tests", {"PYTHONPATH": str(built / "site")})


def own_tests(python: str, tests: Path, env: dict[str, str]) -> None:
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, env=clean_environ() | env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize("file", sorted(PLUGINS.rglob("*.py")), ids=lambda file: file.name)
def test_they_use_public_names_alone(file: Path) -> None:
    import studio

    text = file.read_text()
    assert not re.search(r"\bstudio(\.\w+)*\._[a-z]", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "studio":
            assert node.module is not None
            allowed = PUBLIC.get(node.module, set())
            if node.module == "studio.testing" or node.module.startswith("studio.testing."):
                continue
            private = {alias.name for alias in node.names} - allowed
            assert not private, f"from {node.module} import {', '.join(private)}"
        if isinstance(node, ast.Import):
            private = {a.name for a in node.names if a.name.startswith("studio.") and a.name != "studio.testing"}
            assert not private, f"import {', '.join(private)}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "studio":
            assert node.attr in studio.__all__, f"studio.{node.attr}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--optimizer=optuna"],
            "there is no optimizer 'optuna'; did you mean 'tpe'? (or install the plugin in examples/plugins/studio-optuna)",
        ),
        (["--backend=pool"], "there is no backend 'pool'; there are: dask, ec2, "),
        (["--optimizer=random", "--hp=x=normal(0,1)"], "x=normal(0,1)"),
        (["--metric=csv:metrics.csv:loss", "--dry-run"], ""),  # whose prefix is no mode
    ],
)
def test_without_a_package_the_error_says_what_there_is(
    command: Callable[..., Any], train: None, options: list[str], message: str
) -> None:
    done = command("run", *options, "--hp=lr=0.1", "train.py")
    assert (done.code, message in done.err) == (2 if message else 0, True), done.err
    assert "is not a mode" not in done.err


@pytest.mark.parametrize("option", ["seed=3", "sampler=TPE"])
def test_a_wrong_option_of_a_plugin_is_one_line(
    packages: None, command: Callable[..., Any], train: None, option: str
) -> None:
    done = command("run", "--optimizer=optuna", "-O", option, "--hp=lr=0:1", "train.py")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err


# --- a search with each -----------------------------------------------------------------------------------------------


def test_optuna_on_three_workers(experiments: Callable[..., Any], train: None) -> None:
    options = ["--optimizer=optuna", "-O", "n_startup_trials=5", "-O", "multivariate=True", "--num-workers=3"]
    values = [*MIXED, "--hp=w=0:1:3:a", "--hp=shift=0:1:u"]
    found = experiments("--max-experiments=15", *options, *values, script=("train.py", "{w}", "{shift}"))
    assert [experiment["status"] for experiment in found] == ["completed"] * 15
    assert all(len(experiment["values"]["w"]) == 3 for experiment in found)


def test_a_pruner_ends_experiments(experiments: Callable[..., Any], script: Callable[[str, str], Path]) -> None:
    script(
        "train.py",
        """
        import time
        x = 0.5
        print(f"fitness: {x}", flush=True)
        while x < 0.5:
            time.sleep(0.1)
            print(f"fitness: {x}", flush=True)
        """,
    )
    options = ["--optimizer=optuna", "-O", "sampler=RandomSampler", "-O", "pruner=ThresholdPruner"]
    found = experiments(*options, "-O", "pruner_lower=0.5", "--max-experiments=4", "--hp=x=0:1")
    assert {experiment["status"] for experiment in found} == {"completed", "pruned"}
    for experiment in found:
        assert (experiment["status"] == "pruned") == (experiment["values"]["x"] < 0.5)


def test_the_pool_on_two_workers(experiments: Callable[..., Any], train: None) -> None:
    found = experiments("--backend=pool", "--num-workers=2", "--hp=lr=0.01,0.02", "--hp=layers=4,5")
    assert [experiment["status"] for experiment in found] == ["completed"] * 4
    assert {tuple(experiment["values"].values()) for experiment in found} == {
        (lr, layers) for lr in (0.01, 0.02) for layers in (4, 5)
    }


def test_the_csv_metric(experiments: Callable[..., Any], script: Callable[[str, str], Path]) -> None:
    script(
        "train.py",
        """
        import os
        lr = 0.01
        os.makedirs("logs")
        with open("logs/metrics.csv", "w") as file:
            file.write("step,train_loss,val_loss\\n")
            for step in range(4):
                file.write(f"{step},{lr / 2},\\n{step},,{lr + abs(step - 2)}\\n")
        """,
    )
    metric = "csv:logs/metrics.csv:val_loss"
    options = [f"--metric={metric}:min", "--hp=lr=0.1,0.2"]
    found = experiments(*options)
    assert [experiment["metric"] for experiment in found] == [
        {"name": metric, "mode": "min", "value": lr} for lr in (0.1, 0.2)
    ]
    found = experiments("--metric=csv:logs/metrics.csv:acc", code=1)
    seen = ", ".join(f"csv:logs/metrics.csv:{name}" for name in ("step", "train_loss", "val_loss"))
    assert found[0]["reason"] == f"metric 'csv:logs/metrics.csv:acc' never came; seen: {seen}"


def test_the_normal_range(experiments: Callable[..., Any], command: Callable[..., Any], train: None) -> None:
    options = ["--optimizer=random", "--max-experiments=5", "--hp=lr=lognormal(-3.5,0.5)"]
    found = experiments(*options, "--hp=layers=normal(5,0.1)")
    assert all(abs(experiment["values"]["layers"] - 5) < 0.4 for experiment in found)
    assert all(0.004 < experiment["values"]["lr"] < 0.25 for experiment in found)
    done = command("run", "--optimizer=cma", "--hp=lr=normal(0,-1)", "train.py")
    assert done.code != 0
    assert "lr=normal(0,-1): the mean must be finite and the standard deviation above 0" in done.err
