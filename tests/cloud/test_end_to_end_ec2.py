"""Searches on machines of the simulated EC2, from the command to the end of the last machine."""

import pytest
from search_faults import Faults
from searches import FULL


class TestEC2(Faults):
    name, spot = "ec2", "ec2spot"
    machine = "m7i.large"
    launching, ending, listing = "ec2:RunInstances", "ec2:TerminateInstances", "ec2:DescribeInstances"
    sold_out, quota = "InsufficientInstanceCapacity", "VcpuLimitExceeded"
    expired, denied = "ExpiredToken", "UnauthorizedOperation"
    looking, storing, gone, skew = "ec2:Describe*", "s3:PUT", "NoSuchBucket", 900.0

    @pytest.fixture
    def cloud(self, amazon_server):
        amazon_server.reset()
        yield amazon_server
        amazon_server.reset()

    @FULL
    def test_each_machine_has_an_order_of_its_own(self, search, cloud):
        self.completed(search("--hp=lr=1:2"), 2, cloud)
        asked = [request.parameters for request in cloud.requests(self.launching)]
        assert len({parameters["ClientToken"] for parameters in asked}) == 2
        for parameters in asked:
            assert parameters["InstanceInitiatedShutdownBehavior"] == "terminate"
            assert parameters["MetadataOptions.HttpTokens"] == "required"
            assert parameters["IamInstanceProfile.Name"] == "studio-worker"
