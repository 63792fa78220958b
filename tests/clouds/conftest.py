"""What tests of clouds share lies beside them: `from ec2_simulator import Ec2Simulator`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ec2_simulator import Ec2Simulator


@pytest.fixture(scope="session")
def amazon_server(tmp_path_factory):
    """One for all tests of a process, as it takes seconds to start. An hour of `shutdown -P +60` takes 3 s."""
    with Ec2Simulator(tmp_path_factory.mktemp("amazon"), minute=0.05) as cloud:
        yield cloud


@pytest.fixture
def amazon(amazon_server, home, monkeypatch):
    """The simulator of EC2, empty, and the environment of a driver."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in amazon_server.env.items():
        monkeypatch.setenv(name, value)
    yield amazon_server
    amazon_server.reset()
