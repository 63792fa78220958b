"""Machines by ssh: the file of hosts, the lines that are run, and searches through a real sshd on loopback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bucket_tools import HELD, WorkersHereContract

from studio.backends.ssh import Machine, SSHBackend, SSHLauncher, read_hosts
from studio.errors import BadInput
from studio.experiment import Resources
from studio.project.project import Project
from studio.testing import LauncherContract

HOSTS = """
# the lab
me@gpu1.lab slots=2 python=/opt/py/bin/python
gpu2.lab:2222   # behind the router
"""


def test_a_file_of_hosts(tmp_path):
    (tmp_path / "hosts.txt").write_text(HOSTS)
    assert read_hosts(f"{tmp_path}/hosts.txt") == [
        Machine("me@gpu1.lab", 2, "/opt/py/bin/python"),
        Machine("gpu2.lab", 1, "python3", 2222),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file or directory"),
        ("# nobody\n", "has no machine; write lines such as: me@host.lab slots=2"),
        ("-oProxyCommand=x\n", "hosts.txt:1: '-oProxyCommand=x': write [USER@]HOST[:PORT] [slots=N] [python=PATH]"),
        ("a slots=0\n", "hosts.txt:1: 'a slots=0': write"),
        ("a\nb gpus=2\n", "hosts.txt:2: 'b gpus=2': write"),
        ("a python=$(x)\n", "write [USER@]HOST"),
        ("a\na slots=2\n", "has a twice; write slots=2 after it"),
    ],
)
def test_a_file_of_hosts_that_is_none(text, says, tmp_path):
    if text is not None:
        (tmp_path / "hosts.txt").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_hosts(f"{tmp_path}/hosts.txt")
    assert says in str(caught.value)


def test_the_lines_that_are_run():
    machines = [Machine("me@gpu1.lab", 2, "/opt/py/bin/python"), Machine("gpu2.lab", 1, "python3", 2222)]
    text = SSHLauncher(machines, "/q", Path("/l")).preview(3, ["worker", "pipe:", "--name={name}"], Resources())
    lines = text.splitlines()
    assert [line.partition(" -- ")[2].partition(" ")[0] for line in lines] == ["me@gpu1.lab", "me@gpu1.lab", "gpu2.lab"]
    assert "-p 2222 -- gpu2.lab" in lines[2]
    assert all("-o BatchMode=yes -o StrictHostKeyChecking=yes" in line for line in lines)
    assert "exec /opt/py/bin/python -c" in lines[0]
    assert "worker pipe: --name=gpu1.lab-1" in lines[0]


# Less patience with a machine that is off.
IMPATIENT = """\
import studio.backends.ssh as s, studio.backends.queue.failed_starts as f
s.TTL, f.FIRST_REST_SECONDS, f.MAX_REST_SECONDS, f.GIVE_UP_SECONDS = 3.0, 0.5, 1.0, 60.0
"""


# --- a real sshd ------------------------------------------------------------------------------------------------------


def here(ssh, **fields):
    return Machine("127.0.0.1", port=ssh.port, **{"slots": 4, "python": sys.executable, **fields})


class TestSSH(LauncherContract):
    survives = False

    @pytest.fixture(autouse=True)
    def server(self, ssh, monkeypatch):
        self.ssh = ssh
        run = "import os, sys, threading; threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start(); "
        monkeypatch.setattr("studio.backends.ssh.STUDIO", run + "exec(sys.argv.pop(3))")
        return ssh

    def command(self, folder, text=None):
        _, _, text, where, name = super().command(folder, *([text] if text else []))
        return [where, name, text]

    def launcher(self, folder):
        return SSHLauncher([here(self.ssh)], f"{folder}/queue", folder / "logs", self.ssh.config)


@pytest.mark.slow  # two minutes on a busy machine
class TestSSHBackend(WorkersHereContract):
    backend = SSHBackend

    @pytest.fixture(autouse=True)
    def server(self, ssh, scratch, tmp_path):
        hosts = tmp_path / "hosts.txt"
        hosts.write_text(f"127.0.0.1:{ssh.port} slots=3 python={sys.executable}\n")
        self.tmp, self.options = scratch, {"hosts": str(hosts), "config": ssh.config}


@pytest.fixture
def search(ssh, driver, script, tmp_path):
    """`search(...)`: `studio run` with a file of hosts, in a process of its own. `held`: experiments wait for `search.go()`."""
    hosts = tmp_path / "hosts.txt"
    hosts.write_text(f"127.0.0.1:{ssh.port} slots=2 python={sys.executable}\n")
    new = ("run", f"--backend=ssh:{hosts}", f"--ssh-config={ssh.config}", "--project=p")

    def start(*options, held=False, command=new, arguments=("train.py",)):
        script("train.py", HELD.format(go=str(tmp_path / "go")))
        if not held:
            start.go()
        return driver(*command, *options, *arguments, before=IMPATIENT)

    start.hosts, start.go = hosts, (tmp_path / "go").touch
    return start


def finish(process, code=0):
    assert process.wait(100) == code, process.out + process.err
    return process.out + process.err


def workers(folder):
    """Processes of this test that have the word of a worker in their command."""
    found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    return [line for line in found if "worker pipe:" in line and str(folder) in line]


def logs():
    return list(Path(os.environ["STUDIO_HOME"], "projects", "p", "ssh").glob("*.log"))


def said_by_workers():
    return "".join(log.read_text() for log in logs())


def test_a_search_runs_there_and_leaves_nothing(search, ssh, scratch, until):
    finish(search("--hp=lr=0.1:0.1:0.4", "--num-workers=2"))
    found = Project("p").experiments
    assert [(one.status, one.fitness) for one in found] == [("completed", value) for value in (0.1, 0.2, 0.3, 0.4)]
    until(lambda: not [line for line in workers("") if str(ssh.port) in line], what="no worker is left")
    until(lambda: not list(scratch.glob("studio-worker-*")), what="no file is left")


def test_a_killed_driver_leaves_no_worker(search, ssh, until):
    """The connection ends with it; the next one runs again what had no outcome."""
    process = search("--hp=lr=0.1,0.2", "--num-workers=1", held=True)
    until(lambda: "took p/" in said_by_workers(), what="a worker runs")
    process.kill()
    until(lambda: not [line for line in workers("") if str(ssh.port) in line], what="no worker is left")
    search.go()
    finish(search(command=("resume", "p"), arguments=()))
    assert [one.fitness for one in Project("p").experiments] == [0.1, 0.2]


def test_ctrl_c_ends_workers(search, ssh, until):
    process = search("--hp=lr=0.1", "--num-workers=1", held=True)
    until(lambda: "took p/" in said_by_workers(), what="a worker runs")
    process.signal(signal.SIGTERM)  # as the second Ctrl-C
    finish(process, 130)
    until(lambda: "the search has ended" in said_by_workers(), what="Ctrl-C ends workers")


def test_machines_that_are_off_do_not_end_the_search(search, ssh, tmp_path, until):
    """One after the other is switched off and on; each is named once, and each experiment has one result."""
    other = ssh.another()
    search.hosts.write_text("".join(f"127.0.0.1:{one.port} python={sys.executable}\n" for one in (ssh, other)))
    try:
        process = search("--hp=lr=0.1:0.1:0.6", "--num-workers=2", held=True)
        until(lambda: said_by_workers().count("took p/") == 2, what="both machines work")
        other.off()
        until(lambda: f"127.0.0.1:{other.port} is tried again later" in process.err, what="a machine is named")
        other.on()
        until(lambda: f"127.0.0.1:{other.port} works again" in process.err, what="the machine works again")
        ssh.off()
        until(lambda: f"127.0.0.1:{ssh.port} is tried again later" in process.err, what="the other is named")
        search.go()
        said = finish(process)
    finally:
        other.off()
        if ssh.is_off:
            ssh.on()
    assert [(one.status, one.fitness) for one in Project("p").experiments] == [
        ("completed", value) for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    ]
    assert said.count("is tried again later") == 2, said


@pytest.mark.parametrize(
    ("trusts", "python", "says"),
    [
        ("user_key", sys.executable, "Host key verification failed"),
        (
            "host_key",
            "/no/such/python",
            "name a Python with Studio in the hosts file: 127.0.0.1 python=/path/to/python",
        ),
        ("host_key", "/usr/bin/env", "workers in a row failed before they ran an experiment"),
    ],
    ids=["key", "python", "other"],
)
def test_what_cannot_work_is_one_line(trusts, python, says, search, ssh):
    search.hosts.write_text(f"127.0.0.1:{ssh.port} python={python}\n")
    ssh.trust(trusts)
    said = finish(search("--hp=lr=0.1"), 1)
    assert says in said
    assert "Traceback" not in said
