"""Commands that `make` runs and prints are those of the present command line."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_the_demo_runs_and_names_commands_that_work(command, monkeypatch):
    made = ["make", "--dry-run", "--assume-old=setup", "demo", "VENV=.venv-demo", "DEMO_HOME=/tmp/demo"]
    text = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace("\\\n", "")
    assert "--editable '.[demo]' | sed" in text  # only what the demo needs, each package as it comes
    lines = [line for line in text.splitlines() if "/bin/studio run" in line]
    (advice,) = [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("printf")]
    assert len(lines) == 2
    monkeypatch.chdir(ROOT / "examples")
    for line in lines:
        result = command("run", "--dry-run", *shlex.split(line.partition("/bin/studio run ")[2]))
        assert result.code == 0, result.err
    assert advice[2] == f'  export PATH="{ROOT}/.venv-demo/bin:$PATH" STUDIO_HOME="/tmp/demo"'
    for words in advice[3:5]:
        program, name, *rest = words.split()
        assert (program, command(name, "--help").code) == ("studio", 0)
        known = command(name, "--help").out
        assert all(word.partition("=")[0] in known for word in rest if word.startswith("--"))
