"""Type checkers see the public names: mypy accepts the programs of README and a plugin, and refuses mistakes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import studio.backends
import studio.optimizers
import studio.plugins

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = """
import studio

class Mine(studio.Optimizer):
    name = "mine"

    def __init__(self, space: studio.Space, *, seed: int, n: int = 5):
        self.space, self.size = space, n

    def ask(self) -> studio.Suggestion | None:
        return None

    def tell(self, suggestion: studio.Suggestion, fitness: float | None) -> None:
        pass

@studio.hookimpl
def studio_optimizers() -> list[type[studio.Optimizer]]:
    return [Mine]

project = studio.run("train.py", hyperparams={"lr": "0.1:0.2"}, max_log="1GB", keep="best", num_workers="auto")
project = studio.resume(project.name, max_time="15m")
best: studio.Experiment | None = project.best
"""
MISTAKES = {
    'studio.run("train.py", keep="some")': 'Argument "keep" to "run" has incompatible type',
    'studio.run("train.py", max_experimants=3)': 'did you mean "max_experiments"',
    'studio.resume("p", keep="best")': 'Unexpected keyword argument "keep" for "resume"',
    "studio.Searh": 'Module has no attribute "Searh"',
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """`check({"a.py": text})`: what mypy says of them."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("typing")
    package = (
        folder / "studio"
    )  # as installed, also where the installation is one that type checkers do not see through
    package.mkdir()
    for part in (studio, studio.plugins, studio.optimizers, studio.backends):
        place = package.joinpath(*part.__name__.split(".")[1:])
        place.mkdir(exist_ok=True)
        for path in Path(part.__file__).parent.iterdir():
            if path.suffix in (".py", ".typed") or (
                path.is_dir() and path.name not in ("plugins", "optimizers", "backends")
            ):
                (place / path.name).symlink_to(path)

    def run(files):
        for name, text in files.items():
            (folder / name).write_text(text)
        options = ["--no-error-summary", "--follow-imports=silent", "--ignore-missing-imports"]
        if not os.environ.get("STUDIO_TEST_LONG"):
            options.append("--no-site-packages")  # the stubs of numpy and others take three quarters of the time
        command = [sys.executable, "-m", "mypy", *options, *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        return done.stdout + done.stderr

    return run


def test_programs_are_accepted_and_mistakes_refused(check):
    readme = re.findall(r"^```python[^\n]*\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert readme
    files = {f"readme_{number}.py": text for number, text in enumerate(readme)} | {"plugin.py": PLUGIN}
    wrong = {f"wrong_{number}.py": f"import studio\n{text}\n" for number, text in enumerate(MISTAKES)}
    said = check(files | wrong)
    assert not [line for line in said.splitlines() if line.startswith(tuple(files)) and ": error:" in line], said
    for name, message in zip(wrong, MISTAKES.values(), strict=True):
        assert any(line.startswith(name) and message in line for line in said.splitlines()), f"{message}\n{said}"
