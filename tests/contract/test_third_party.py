"""The example packages as their users have them: built, installed into an environment of their own, and run.

They use the public API alone, pass their own tests there, and each carries a real search.
"""

import ast
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)  # of which the installation takes the most

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
PACKAGES = {  # distribution -> kind and name of what it adds
    "studio-optuna": ("optimizer", "optuna"),
    "studio-nevergrad": ("optimizer", "nevergrad"),
    "studio-subprocess-pool": ("backend", "pool"),
    "studio-csv-metrics": ("metric extractor", "csv"),
    "studio-normal-range": ("range parser", "normal"),
}
# Nevergrad 1.0.12 fails with NumPy 2.4, as its package says.
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


@dataclass(frozen=True)
class Environment:
    python: Path
    sources: Path

    def call(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> Any:
        return subprocess.run(
            [self.python, *arguments],
            env=clean_environ() | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def studio(self, *arguments: str, **options: Any) -> Any:
        return self.call("-c", "from studio.cli import main; main()", *arguments, **options)

    def experiments(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """The record that `studio run` or `studio resume` prints."""
        done = self.studio(*arguments)
        assert done.returncode == code, done.stderr
        return self.record(project_of(arguments))

    def record(self, project: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.studio("runs", "list", project, "--json").stdout)
        return found


def project_of(arguments: tuple[str, ...]) -> str:
    return next(argument.partition("=")[2] for argument in arguments if argument.startswith("--project="))


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}


def make_environment(folder: Path) -> Path:
    """An environment that sees what the running one has, as with --system-site-packages; its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    inside = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", inside], capture_output=True, text=True, check=True).stdout.strip()
    outer = sysconfig.get_path("purelib")
    (Path(site) / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return python


def install(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", *arguments]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all pytest-xdist workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "third-party"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def environment(shared: Path) -> Environment:
    """With the five packages. Built once: whoever comes second waits."""
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Environment(shared / "environment" / "bin" / "python", shared / "sources")
        if not (shared / "ready").exists():
            shutil.copytree(PLUGINS, found.sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
            python = make_environment(shared / "environment")
            install(python, *REQUIREMENTS)
            install(python, "--no-deps", "--no-build-isolation", *(str(found.sources / name) for name in PACKAGES))
            (shared / "ready").touch()
        return found


@pytest.fixture
def train(script: Callable[[str, str], Path], home: Path) -> None:
    script("train.py", TRAIN)


# --- the packages -----------------------------------------------------------------------------------------------------


def test_they_are_all_here() -> None:
    assert {folder.name for folder in PLUGINS.iterdir() if (folder / "pyproject.toml").exists()} == set(PACKAGES)


def test_they_are_listed(environment: Environment, home: Path) -> None:
    listed = json.loads(environment.studio("plugins", "--json").stdout)
    assert listed["problems"] == []
    ours = {
        piece["distribution"]: (piece["kind"], piece["name"], piece["version"])
        for piece in listed["plugins"]
        if piece["distribution"] in PACKAGES
    }
    assert ours == {distribution: (*piece, "0.1.0") for distribution, piece in PACKAGES.items()}


SLOW = (
    "studio-optuna",
    "studio-nevergrad",
    "studio-subprocess-pool",
    "studio-normal-range",
)  # a search with each is enough every day


@pytest.mark.parametrize(
    "package", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in PACKAGES]
)
def test_their_own_tests_pass(package: str, environment: Environment, home: Path) -> None:
    tests = environment.sources / package / "tests"
    done = environment.call("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), timeout=900)
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


def test_without_a_package_the_error_says_what_there_is(
    environment: Environment, shared: Path, tmp_path: Path, train: None
) -> None:
    bare = Environment(make_environment(tmp_path / "bare"), shared)
    for options, message in (
        (
            ["--optimizer=optuna"],
            "there is no optimizer 'optuna'; did you mean 'tpe'? (or install the plugin in examples/plugins/studio-optuna)",
        ),
        (
            ["--backend=pool"],
            "there is no backend 'pool'; there are: dask, ec2, ec2spot, folder, gce, gcspot, kubernetes, local, ray, skypilot, slurm, ssh",
        ),
        (["--optimizer=random", "--hp=x=normal(0,1)"], "x=normal(0,1)"),
    ):
        done = bare.studio("run", *options, "--hp=lr=0.1", "train.py")
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert done.stderr.count("\n") == 1
    disabled = environment.studio("plugins", "--json", env={"STUDIO_DISABLE_PLUGINS": ",".join(PACKAGES)})
    assert not {piece["distribution"] for piece in json.loads(disabled.stdout)["plugins"]} & PACKAGES.keys()


# --- a search with each -----------------------------------------------------------------------------------------------


def test_optuna_on_three_workers(environment: Environment, train: None) -> None:
    options = ["-O", "n_startup_trials=5", "-O", "multivariate=True", "--hp=w=0:1:3:a", "--hp=shift=0:1:u"]
    command = ["run", "--project=p", "--optimizer=optuna", "--seed=1", "--max-experiments=25", "--num-workers=3"]
    script = ["train.py", "{w}", "{shift}"]
    found = environment.experiments(*command, *options, *MIXED, *script)
    assert [experiment["status"] for experiment in found] == ["completed"] * 25
    assert max(experiment["fitness"] for experiment in found) > -0.1
    assert all(len(experiment["values"]["w"]) == 3 for experiment in found)


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer=optuna", "-O", "n_startup_trials=4"],
        pytest.param(["--optimizer=nevergrad"], marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_is_as_uninterrupted(
    options: list[str], environment: Environment, home: Path, script: Callable[[str, str], Path]
) -> None:
    script("train.py", "import time\ntime.sleep(0.05)\n" + TRAIN.replace("\n    ", "\n"))
    command = ["run", "--seed=1", "--max-experiments=14", *options, *MIXED]
    whole = environment.experiments(*command, "--project=whole", "train.py")
    driver = subprocess.Popen(
        [environment.python, "-c", "from studio.cli import main; main()", *command, "--project=cut", "train.py"],
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list(home.glob("projects/cut/*/1/outcome.json"))) < 6:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert 6 <= len(environment.record("cut")) < 14, "it was killed in the middle"
    done = environment.studio("resume", "cut")
    assert done.returncode == 0, done.stderr
    of_both = [
        [(experiment["values"], experiment["fitness"], experiment["status"]) for experiment in found]
        for found in (whole, environment.record("cut"))
    ]
    assert of_both[0] == of_both[1]


@pytest.mark.slow
def test_nevergrad_ends_with_its_budget(environment: Environment, train: None) -> None:
    options = ["--optimizer=nevergrad", "-O", "budget=20", "-O", "num_workers=2", "--num-workers=2", "--seed=1"]
    found = environment.experiments("run", "--project=p", *options, *MIXED, "train.py")
    assert [experiment["status"] for experiment in found] == ["completed"] * 20


def test_a_pruner_ends_experiments(environment: Environment, home: Path, script: Callable[[str, str], Path]) -> None:
    script(
        "train.py",
        """
        import time
        x = 0.5
        for step in range(20):
            print(f"fitness: {x}")
            time.sleep(0.1 if x < 0.5 else 0)
        """,
    )
    options = ["--optimizer=optuna", "-O", "sampler=RandomSampler", "-O", "pruner=ThresholdPruner"]
    options += ["-O", "pruner_lower=0.5", "--seed=1", "--max-experiments=6", "--hp=x=0:1"]
    found = environment.experiments("run", "--project=p", *options, "train.py")
    assert {experiment["status"] for experiment in found} == {"completed", "pruned"}
    for experiment in found:
        assert (experiment["status"] == "pruned") == (experiment["values"]["x"] < 0.5)


def test_the_pool_on_two_workers(environment: Environment, train: None) -> None:
    options = ["--backend=pool", "--num-workers=2", "--hp=lr=0.01,0.02,0.03", "--hp=layers=4,5"]
    found = environment.experiments("run", "--project=p", *options, "train.py")
    assert [experiment["status"] for experiment in found] == ["completed"] * 6
    assert {tuple(experiment["values"].values()) for experiment in found} == {
        (lr, layers) for lr in (0.01, 0.02, 0.03) for layers in (4, 5)
    }


def test_the_csv_metric(environment: Environment, home: Path, script: Callable[[str, str], Path]) -> None:
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
    found = environment.experiments("run", "--project=p", *options, "train.py")
    assert [experiment["metric"] for experiment in found] == [
        {"name": metric, "mode": "min", "value": lr} for lr in (0.1, 0.2)
    ]
    found = environment.experiments("run", "--project=q", "--metric=csv:logs/metrics.csv:acc", "train.py", code=1)
    seen = ", ".join(f"csv:logs/metrics.csv:{name}" for name in ("step", "train_loss", "val_loss"))
    assert found[0]["reason"] == f"metric 'csv:logs/metrics.csv:acc' never came; seen: {seen}"


def test_the_normal_range(environment: Environment, train: None) -> None:
    options = ["--optimizer=random", "--seed=1", "--max-experiments=10", "--hp=lr=lognormal(-3.5,0.5)"]
    found = environment.experiments("run", "--project=p", *options, "--hp=layers=normal(5,0.1)", "train.py")
    assert all(abs(experiment["values"]["layers"] - 5) < 0.4 for experiment in found)
    assert all(0.004 < experiment["values"]["lr"] < 0.25 for experiment in found)
    done = environment.studio("run", "--optimizer=cma", "--hp=lr=normal(0,-1)", "train.py")
    assert done.returncode != 0
    assert "lr=normal(0,-1): the mean must be finite and the standard deviation above 0" in done.stderr


# --- defects of Studio that these packages met ------------------------------------------------------------------------


def test_without_its_package_a_metric_with_a_prefix_is_not_misread(
    environment: Environment, tmp_path: Path, train: None
) -> None:
    bare = Environment(make_environment(tmp_path / "bare"), environment.sources)
    done = bare.studio("run", "--metric=csv:metrics.csv:loss", "--hp=lr=0.1", "train.py")
    assert "is not a mode" not in done.stderr


def test_seed_as_an_option_is_refused_in_one_line(environment: Environment, train: None) -> None:
    done = environment.studio("run", "--optimizer=optuna", "-O", "seed=3", "--hp=lr=0:1", "train.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_false_is_false_for_any_options() -> None:
    from studio.options import convert_options

    class Any:
        def __init__(self, **options: object):
            pass

    assert convert_options(Any, {"multivariate": "false"}) == {"multivariate": False}


def test_a_wrong_option_of_a_plugin_is_bad_input(environment: Environment, train: None) -> None:
    done = environment.studio("run", "--optimizer=optuna", "-O", "sampler=TPE", "--hp=lr=0:1", "train.py")
    assert done.returncode == 2, done.stderr
