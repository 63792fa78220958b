"""Dask and Ray keep the contract of backends: in place, and on machines that do not see the project's folder."""

from importlib.util import find_spec
from ipaddress import ip_address

import pytest

from studio.backends import engine_task
from studio.backends.dask import DaskBackend
from studio.backends.ray import RayBackend
from studio.system.processes import processes_of
from studio.testing import BackendContract

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="pip install distributed")


def listeners():
    """Addresses at which this process listens."""
    import psutil

    return {each.laddr for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN}


class TestDask(BackendContract):
    backend = DaskBackend

    def test_a_cluster_of_its_own_listens_on_loopback_alone(self):
        before = listeners()
        with self._open(slots=1):
            made = listeners() - before
        assert {address for address in made if not ip_address(address.ip).is_loopback} == set()


class TestDaskElsewhere(TestDask):
    """No worker sees the project's folder: files travel."""

    @pytest.fixture(autouse=True)
    def _unseen(self, monkeypatch, tmp_path):
        monkeypatch.setattr(engine_task, "_sees", lambda folder, token: False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def processes_of(self, run):
        return list(processes_of(str(engine_task.scratch())))


@pytest.mark.slow  # Ray takes 5 to 30 s to start
class TestRay(BackendContract):
    backend = RayBackend
    patience = 60.0

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _cluster(cls):
        """Start a cluster for all tests: a backend uses the one of its program."""
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=3, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        yield
        ray.shutdown()
