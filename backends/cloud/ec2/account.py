"""An AWS account: its credentials and its regions."""

import threading
from collections.abc import Iterator
from typing import Any

from studio.backends.cloud.cloud import NotOffered
from studio.backends.cloud.ec2.errors import aws_errors
from studio.backends.queue.bucket import sdk
from studio.errors import BadInput
from studio.project.paths import studio_home
from studio.text import did_you_mean


class EC2Account:
    """An AWS account. `region`: where machines are made; None: the default of boto3. `every_region`: look for machines in all
    enabled regions, not only those used from this computer.
    """

    def __init__(self, region: str | None, every_region: bool):
        with aws_errors("EC2"):
            self._session = sdk("boto3", extra="ec2").session.Session(region_name=region)
        if not self._session.region_name:
            raise BadInput("no AWS region is set: export AWS_DEFAULT_REGION=us-east-1, or run `aws configure`")
        self.region: str = self._session.region_name
        self._check_region()
        self._every_region = every_region
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def _check_region(self) -> None:
        """Check the region against boto3's lists: requests to an unknown one get no response, or a wrong one."""
        parts = self._session.get_available_partitions()
        names = {name for part in parts for name in self._session.get_available_regions("ec2", part)}
        if self.region not in names:
            close = did_you_mean(self.region, names)
            raise NotOffered(f"AWS_DEFAULT_REGION {self.region!r} is not an AWS region known to boto3{close}")

    def client(self, service: str, region: str) -> Any:
        """Return a client of boto3. Safe to use from several threads."""
        config = sdk("botocore.config", extra="ec2").Config(
            connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 3}
        )
        with self._lock:  # a session is not safe for threads; its clients are
            if (service, region) not in self._made:
                client = self._session.client(service, region_name=region, config=config)
                self._made[service, region] = client
            return self._made[service, region]

    def pages(self, method: str, key: str, region: str | None = None, **asked: Any) -> Iterator[dict[str, Any]]:
        """Yield the items below `key` in all pages of the response."""
        region = region or self.region
        with aws_errors(f"EC2 in {region}"):
            for page in self.client("ec2", region).get_paginator(method).paginate(**asked):
                yield from page[key]

    def used(self) -> set[str]:
        """Return the regions in which this computer may have made machines."""
        return {self.region, *self._remembered()}

    def looked_at(self) -> set[str]:
        """Return the regions in which machines are looked for."""
        if not self._every_region:
            return self.used()
        with aws_errors("regions of EC2"):
            answer = self.client("ec2", self.region).describe_regions()
        return self.used() | {found["RegionName"] for found in answer["Regions"]}

    def _remembered(self) -> list[str]:
        try:
            return (studio_home() / "cloud" / "ec2-regions").read_text().split()
        except OSError:
            return []

    def remember(self, region: str) -> None:
        """Record the region before a machine is made there, to look for machines there from now on."""
        if region not in self._remembered():
            folder = studio_home() / "cloud"
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "ec2-regions").open("a") as file:
                file.write(f"{region}\n")
