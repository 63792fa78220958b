"""SkyPilot: the whole task, what `sky status` means, and which commands are sent."""

import json
import sys

import pytest

from studio.backends.queue.launcher import Copy, LauncherError
from studio.backends.skypilot import SETUP, SkyPilotLauncher, SkyPilotTask, read_clusters
from studio.experiment import Resources

COMMAND = ["studio", "worker", "s3://bucket/my x/digits-0a1b2c", "--name={name}", "--idle=60s"]
YAML = """name: studio-digits-0a1b2c-1
resources:
  infra: "aws/us-east-1"
  accelerators: "A100:1"
  cpus: "2+"
  memory: "2+"
  use_spot: true
  autostop:
    idle_minutes: 5
    down: true
setup: "pip install studio-search[ec2] torch"
run: "studio worker 's3://bucket/my x/digits-0a1b2c' --name=studio-digits-0a1b2c-1 --idle=60s"
"""


def test_the_whole_task(tmp_path):
    task = SkyPilotTask(
        "digits-0a1b2c", tmp_path, "aws/us-east-1", "A100:1", True, "pip install studio-search[ec2] torch"
    )
    assert SkyPilotLauncher(task).preview(4, COMMAND, Resources(cpus=2, gpus=0, ram="2GB")) == YAML


def test_the_shortest_task_tears_itself_down(tmp_path):
    text = SkyPilotTask("t", tmp_path).yaml("n", ["studio", "worker"], Resources())
    assert text == (
        "name: n\nresources:\n  autostop:\n    idle_minutes: 5\n    down: true\n"
        f'setup: {json.dumps(SETUP)}\nrun: "studio worker"\n'
    )


def test_a_task_is_yaml(tmp_path):
    yaml = pytest.importorskip("yaml")
    read = yaml.safe_load(
        SkyPilotTask("t", tmp_path, setup="a: b # c\nd 'e'").yaml("n", ["x", "a b"], Resources(ram="1GB"))
    )
    assert (read["setup"], read["run"]) == ("a: b # c\nd 'e'", "x 'a b'")
    assert read["resources"] == {"memory": "1+", "autostop": {"idle_minutes": 5, "down": True}}


CLUSTERS = [
    {"name": "studio-digits-0a1b2c-aaaaaa", "status": "UP"},
    {"name": "studio-digits-0a1b2c-bbbbbb", "status": "ClusterStatus.INIT"},
    {"name": "studio-digits-0a1b2c-cccccc", "status": "STOPPED"},
    {"name": "studio-digits-9f9f9f-dddddd", "status": "UP"},
    {"name": "mine", "status": "UP"},
]


@pytest.mark.parametrize("before", ["", "a line of a log\n"])
def test_what_sky_status_answers(before):
    assert read_clusters(before + json.dumps(CLUSTERS), "studio-digits-0a1b2c") == {
        "studio-digits-0a1b2c-aaaaaa": Copy("running"),
        "studio-digits-0a1b2c-bbbbbb": Copy("waiting"),
        "studio-digits-0a1b2c-cccccc": Copy("ending"),
    }


def test_searches_of_a_long_name_have_clusters_of_their_own(tmp_path):
    tags = [f"{'a' * 40}-0a1b2c", f"{'a' * 40}-9f9f9f"]
    one, other = [SkyPilotLauncher(SkyPilotTask(tag, tmp_path)).preview(1, COMMAND, Resources()) for tag in tags]
    name, others = [text.splitlines()[0].removeprefix("name: ") for text in (one, other)]
    assert name != others
    clusters = json.dumps([{"name": name, "status": "UP"}, {"name": others, "status": "UP"}])
    assert set(read_clusters(clusters, name.removesuffix("-1"))) == {name}


@pytest.mark.parametrize("text", ["", "no clusters", "[7]", "[{}]"])
def test_an_answer_that_is_none(text):
    with pytest.raises(LauncherError, match="did not return a list of clusters"):
        read_clusters(text, "studio-t")


def test_which_commands_are_sent(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sky"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"clusters = [json.loads(line) for line in open({str(tmp_path / 'calls')!r})]\n"
        "names = [c[c.index('--cluster') + 1] for c in clusters if c[0] == 'launch']\n"
        "print(json.dumps([{'name': name, 'status': 'INIT'} for name in names]))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    launcher = SkyPilotLauncher(SkyPilotTask("digits-0a1b2c", tmp_path / "skypilot"))
    names = launcher.start(2, COMMAND, Resources())
    assert dict.fromkeys(names, Copy("waiting")) == launcher.alive()
    launcher.end()
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    files = [tmp_path / "skypilot" / f"{name}.yaml" for name in names]
    for name, file, call in zip(names, files, calls, strict=False):
        assert call == ["launch", "--async", "--yes", "--detach-run", "--cluster", name, str(file)]
        assert file.read_text() == SkyPilotTask("digits-0a1b2c", tmp_path).yaml(name, COMMAND, Resources())
    assert calls[-1] == ["down", "--yes", "--async", *sorted(names)]
