"""`gcloud`, `gce`, `gcspot`: experiments on machines of Google Compute Engine, made for the search and ended with it.

studio cloud setup gcloud
studio run --cloud=gcloud --num-workers=4 …
"""

import re
from pathlib import Path
from typing import Any, ClassVar

from studio.backends.cloud.cloud import Cloud
from studio.backends.cloud.gce.cloud import GCECloud
from studio.backends.cloud.gce.setup import ACCOUNT, GCESetup
from studio.backends.cloud.gce.startup import snippets
from studio.backends.cloud.machines_backend import MachinesBackend
from studio.errors import BadInput
from studio.hookspecs import hookimpl


class GCEBackend(MachinesBackend):
    """Machines of Google Compute Engine, at the standard price."""

    name = "gce"
    aliases: ClassVar[tuple[str, ...]] = ("gcloud",)
    related: ClassVar[tuple[str, ...]] = ("gcp", "google", "googlecloud")
    cloud = "gce"
    scheme = "gs"
    extra = "gce"
    make_setup = GCESetup
    earlier = 120  # so that files and boot log are in the bucket before Google deletes the machine

    @classmethod
    def open_cloud(cls, *, everywhere: bool = False) -> Cloud:
        return GCECloud()  # its list has all zones anyway

    @classmethod
    def snippets(cls, bucket: str, zone: str, lifetime: int) -> dict[str, str]:
        return snippets(bucket, lifetime)

    @classmethod
    def default_account(cls, cloud: Cloud) -> str:
        assert isinstance(cloud, GCECloud)
        return f"{ACCOUNT}@{cloud.project}.iam.gserviceaccount.com"

    @classmethod
    def keypair(cls, given: str) -> str:
        """Replace the file of `USER:FILE.pub` or `FILE.pub` by its content. A key itself is returned unchanged."""
        if " " in given.strip():
            return given
        user, colon, name = given.rpartition(":")
        try:
            key = Path(name).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise BadInput(f"--ssh-keypair {given!r}: {name} cannot be read; write USER:FILE.pub") from error
        if not re.fullmatch(r"(sk-)?(ssh|ecdsa)-\S+ \S+.*", key):
            raise BadInput(f"--ssh-keypair {given!r}: {name} is not a public key, such as FILE.pub")
        return f"{user}{colon}{key}"


class GCSpotBackend(GCEBackend):
    """Machines of Google Compute Engine at the spot price. Google may preempt them; their experiments run again."""

    name = "gcspot"
    aliases = related = ()
    spot = True
    bids = False


@hookimpl
def studio_backends() -> list[Any]:
    return [GCEBackend, GCSpotBackend]
