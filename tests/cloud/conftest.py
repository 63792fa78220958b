"""What tests of clouds share lies beside them: `from ec2_simulator import Ec2Simulator`. Each simulated cloud takes
seconds to start, so there is one of each for all tests of a process, which is empty when a test begins."""

import functools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import slurm_cluster as slurm_tools
import ssh_server as ssh_tools
from ec2_simulator import Ec2Simulator
from gce_simulator import GceSimulator
from slurm_cluster import SlurmCluster
from ssh_server import SSHServer


@pytest.fixture(scope="session")
def amazon_server(tmp_path_factory):
    with Ec2Simulator(tmp_path_factory.mktemp("amazon")) as cloud, pytest.MonkeyPatch.context() as patch:
        import botocore.session

        # It reads megabytes of JSON for each session that is made, as one is by each command. Here, once for all.
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield cloud


@pytest.fixture(scope="session")
def google_server(tmp_path_factory):
    with GceSimulator(tmp_path_factory.mktemp("google")) as cloud:
        yield cloud


@pytest.fixture
def amazon(amazon_server, home, monkeypatch):
    """The simulator of EC2, and the environment of a driver. An hour of `shutdown -P +60` takes 3 s."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in amazon_server.env.items():
        monkeypatch.setenv(name, value)
    amazon_server.reset(minute=0.05)
    yield amazon_server
    amazon_server.reset()


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    if slurm_tools.missing():
        pytest.skip(slurm_tools.MISSING)
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.close()


@pytest.fixture
def slurm(slurm_cluster, monkeypatch):
    """A real cluster of one node, and the environment of its commands."""
    for name, value in slurm_cluster.env.items():
        monkeypatch.setenv(name, value)
    return slurm_cluster


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    if ssh_tools.missing():
        pytest.skip(ssh_tools.MISSING)
    server = SSHServer(tmp_path_factory.mktemp("sshd"))
    yield server
    server.close()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """TMPDIR of workers, of this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def ssh(ssh_server, scratch):
    """A real sshd, whose key is known."""
    ssh_server.trust("host_key")
    return ssh_server
