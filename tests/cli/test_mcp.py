"""`studio mcp` speaks the Model Context Protocol: an agent inspects, starts a search, and reads its best and a patch."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from studio.cli import mcp

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="pip install mcp")


def test_a_search_that_cannot_have_its_name_is_an_error(recorded, script):
    script("train.py", "lr = 0.1\nprint('fitness:', lr)\n")
    recorded("taken", [({"lr": 0.1}, 0.1)], ranges={"lr": "0.1"})
    answer = mcp.start_search("train.py", {"lr": "0.1:1"}, max_experiments=1, project="taken")
    assert "studio resume taken" in answer.get("error", answer)


@pytest.mark.parametrize("script", ["--backend=folder:elsewhere", "--cloud=ec2", "-m", "missing.py"])
def test_a_script_that_is_no_file_here_starts_nothing(home, workdir, script):
    (workdir / "slow.py").write_text("lr = 0.1\nprint('fitness:', lr)\n")
    answer = mcp.start_search(script, {"lr": "1,2"}, arguments=["--yes", "slow.py"])
    assert answer == {"error": f"script {script!r} is not a file of this folder; give its path, such as train.py"}


@pytest.fixture
def agent(home, workdir):
    """`agent(tool, **arguments)`: what a tool answers."""
    server = subprocess.Popen(
        [Path(sys.executable).with_name("studio"), "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    numbers = iter(range(1, 100))

    def send(method, params, *, answered=True):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        number = next(numbers)
        server.stdin.write(json.dumps(message | ({"id": number} if answered else {})).encode() + b"\n")
        server.stdin.flush()
        while answered:
            answer = json.loads(server.stdout.readline())
            if answer.get("id") == number:
                return answer["result"]
        return None

    client = {"name": "test", "version": "1"}
    send("initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": client})
    send("notifications/initialized", {}, answered=False)

    def call(tool, **arguments):
        if tool == "tools":
            return {each["name"] for each in send("tools/list", {})["tools"]}
        answer = send("tools/call", {"name": tool, "arguments": arguments})
        assert not answer.get("isError"), answer
        return json.loads(answer["content"][0]["text"])

    yield call
    server.stdin.close()
    server.wait(20)
    server.stdout.close()


def test_an_agent_goes_from_a_script_to_a_patch(agent, script):
    path = script("train.py", "lr = 0.1\nprint('accuracy:', lr)\n")
    assert agent("tools") >= {"inspect_script", "start_search", "search_status", "best_experiment", "patch"}
    seen = agent("inspect_script", script="train.py")
    assert seen["metrics"][0]["name"] == "accuracy"
    refused = agent("start_search", script="train.py", hyperparams={"rate": "0.1:1"})
    assert "'rate' is read nowhere" in refused["error"]
    started = agent(
        *["start_search"],
        **{"script": "train.py", "hyperparams": {"lr": "0.1:1"}, "metric": "accuracy:max", "max_experiments": 3},
        optimizer="random",
        project="p",
    )
    assert started["project"] == "p"
    deadline = time.monotonic() + 60
    while (status := agent("search_status", project="p"))["state"] != "done":
        assert time.monotonic() < deadline, status
        time.sleep(0.1)  # another process searches
    best = agent("best_experiment", project="p")
    assert f"+lr = {best['values']['lr']}" in agent("patch", project="p")["patch"]
    assert path.read_text().startswith("lr = 0.1\n")
