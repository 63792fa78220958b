"""Searches on machines of the simulated Compute Engine, from the command to the end of the last machine."""

import pytest
from search_faults import Faults
from searches import FULL


class TestGCE(Faults):
    name, spot = "gce", "gcspot"
    machine = "e2-standard-2"
    launching, ending, listing = (
        "compute:instances.insert",
        "compute:instances.delete",
        "compute:instances.aggregatedList",
    )
    sold_out, quota = "ZONE_RESOURCE_POOL_EXHAUSTED", "QUOTA_EXCEEDED"
    expired, denied = "401 authError", "403 forbidden"
    looking, storing, gone, skew = (
        "compute:machineTypes.*",
        "storage:POST",
        "there is no bucket studio-test at Google",
        float("inf"),
    )

    @pytest.fixture
    def cloud(self, google_server):
        google_server.reset()
        yield google_server
        google_server.reset()

    @FULL
    def test_a_dry_run_shows_the_requests_and_sends_none(self, search, cloud):
        place = ["--cloud=gcloud", f"--bucket={cloud.bucket}", f"--machine-type={self.machine}", "--port=8080"]
        done = search.command("run", "--dry-run", *place, "--num-workers=4", "--hp=lr=1:8", "train.py")
        assert done.returncode == 0, done.stderr
        assert "4 machines e2-standard-2 (2 CPUs, 8 GB) of gce in us-central1-a" in done.stdout
        for text in ("firewalls.insert {", "instances.insert {", '"maxRunDuration"', '"automaticRestart": false'):
            assert text in done.stdout
        assert cloud.requests("compute:*.insert") == []
