"""`ec2`, `ec2spot`: experiments on machines of Amazon EC2, which are made for the search and end with it.

studio cloud setup ec2
studio run --cloud=ec2 --num-workers=4 …
"""

from typing import Any, ClassVar

from studio.backends.cloud.cloud import Cloud
from studio.backends.cloud.ec2.cloud import EC2Cloud
from studio.backends.cloud.ec2.requests import region_of
from studio.backends.cloud.ec2.setup import PROFILE, EC2Setup
from studio.backends.cloud.ec2.startup import snippets
from studio.backends.cloud.machines_backend import MachinesBackend
from studio.hookspecs import hookimpl


class EC2Backend(MachinesBackend):
    """Machines of Amazon EC2, at the on-demand price."""

    name = "ec2"
    related: ClassVar[tuple[str, ...]] = ("aws", "amazon")
    cloud = "ec2"
    scheme = "s3"
    extra = "ec2"
    make_setup = EC2Setup

    @classmethod
    def open_cloud(cls, *, everywhere: bool = False) -> Cloud:
        return EC2Cloud(every_region=everywhere)

    @classmethod
    def snippets(cls, bucket: str, zone: str, lifetime: int) -> dict[str, str]:
        return snippets(bucket, region_of(zone), lifetime)

    @classmethod
    def default_account(cls, cloud: Cloud) -> str:
        return PROFILE


class EC2SpotBackend(EC2Backend):
    """Machines of Amazon EC2 at the spot price. Amazon may preempt them; their experiments run again."""

    name = "ec2spot"
    related = ()
    spot = True


@hookimpl
def studio_backends() -> list[Any]:
    return [EC2Backend, EC2SpotBackend]
