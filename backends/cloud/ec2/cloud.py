"""Machines of Amazon EC2.

What ends a machine, from the inside out: its worker, when there is no work; the trap of its start-up script; the timer
that this script sets first; a second boot (`startup`). Each shuts the machine down, which terminates it and deletes
its disk (InstanceInitiatedShutdownBehavior, DeleteOnTermination). From outside: the driver, and `studio cloud gc`.

Amazon itself sets no time limit on an instance. These were considered (API reference, as in botocore 1.44):

- SpotOptions.ValidUntil: "For a one-time request, ValidUntil is not supported"; BlockDurationMinutes: "Deprecated".
- EC2 Fleet with ValidUntil and TerminateInstancesWithExpiration. `instant` responds at once, and is over then: the only
  status of such a fleet is "fulfilled", and nothing says that it expires. `maintain` makes a new machine for each that
  ended itself. `request` would fit, but it is asynchronous: CreateFleet names neither machines nor reasons, so
  lack of capacity and quotas would be guessed at by polling, and a Ctrl-C between two polls leaves a machine that
  nobody knows of. "You cannot specify a resource type of instance [or] volume" to tag: tags and script go into a launch
  template, so that each worker has two more things that can be left behind.
- EventBridge Scheduler may call TerminateInstances at a given time. It needs a role to do so, which the driver may pass:
  one more permission, for all machines of the account, against a fault that has to break four other ends.
"""

import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from studio.backends.cloud.cloud import (
    TAG,
    Cloud,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    Machine,
    NotOffered,
    Offer,
    Order,
    Request,
    Wanted,
)
from studio.backends.cloud.ec2.account import EC2Account
from studio.backends.cloud.ec2.errors import aws_errors, code_of
from studio.backends.cloud.ec2.prices import Prices
from studio.backends.cloud.ec2.requests import (
    OLD_GPUS,
    ROOT,
    SSM,
    image_id,
    least_disk,
    read_machine,
    read_type,
    region_of,
    requests,
)
from studio.backends.cloud.machine_types import GIB, MachineType, suitable
from studio.text import did_you_mean

ALIVE = ["pending", "running", "stopping", "stopped", "shutting-down"]  # the disk of a stopped machine costs
MOST_TYPES, MOST_SPOT_TYPES = 10, 40  # types offered; types whose spot prices are asked for
TOGETHER = 50  # machines terminated with one request
OFFERINGS = "InstanceTypeOfferings"
NO_IMAGE = {"InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable", "ParameterNotFound"}
SETTLED = 60.0  # seconds in which requests may not find a new machine yet: "eventual consistency"


class EC2Cloud(Cloud):
    """Amazon EC2. `region`: where machines are made; without it, the default of boto3.

    `every_region`: look for machines in all enabled regions, not only those used from this computer.
    """

    name: ClassVar[str] = "ec2"

    def __init__(self, *, region: str | None = None, every_region: bool = False):
        self._account = EC2Account(region, every_region)
        self.region = self._account.region
        self._roots: dict[tuple[str, str], tuple[str, int]] = {}
        self._launched: dict[str, float] = {}  # id -> when, on this computer's own clock

    # --- offers -------------------------------------------------------------------------------------------------

    def offers(self, wanted: Wanted) -> list[Offer]:
        types = suitable(self._types(wanted), wanted, f"EC2 in {self.region}", OLD_GPUS)
        prices = Prices(self._account.client, self.region)
        hourly = prices.on_demand(wanted.machine_type)
        types.sort(key=lambda kind: hourly.get(kind.name, math.inf))  # equal and unknown ones keep their order
        spot = prices.spot([kind.name for kind in types[:MOST_SPOT_TYPES]]) if wanted.spot else {}
        if spot:
            best = {name: min(price for (kind, _), price in spot.items() if kind == name) for name, _ in spot}
            types = sorted(types[:MOST_SPOT_TYPES], key=lambda kind: best.get(kind.name, math.inf))
        zones = self._zones([kind.name for kind in types])
        types = [kind for kind in types if zones.get(kind.name)][:MOST_TYPES]
        if not types:
            raise CloudDenied(f"no zone of {self.region} with a default network offers such a machine")
        besides = prices.besides(max(math.ceil((wanted.hdd or 0) / GIB), least_disk(types[0].gpus)))
        offers = [
            Offer(
                machine_type=kind.name,
                zone=zone,
                cpus=kind.cpus,
                gpus=kind.gpus,
                ram=kind.ram,
                on_demand=hourly[kind.name] + besides if kind.name in hourly else None,
                spot=spot[kind.name, zone] + besides if (kind.name, zone) in spot else None,
                besides=besides,
            )
            for kind in types
            for zone in zones[kind.name]
        ]
        return sorted(offers, key=lambda offer: _unknown_last(offer.spot if wanted.spot else offer.on_demand))

    def _types(self, wanted: Wanted) -> list[MachineType]:
        if wanted.machine_type is not None:
            asked: dict[str, Any] = {"InstanceTypes": [wanted.machine_type]}
        else:
            use = "spot" if wanted.spot else "on-demand"
            asked = {
                "Filters": [
                    {"Name": "supported-usage-class", "Values": [use]},
                    {"Name": "processor-info.supported-architecture", "Values": ["x86_64"]},
                ]
            }
        try:
            return [
                read_type(found) for found in self._account.pages("describe_instance_types", "InstanceTypes", **asked)
            ]
        except CloudError as error:
            if wanted.machine_type is None or code_of(error) != "InvalidInstanceType":
                raise
            names = {
                found["InstanceType"] for found in self._account.pages("describe_instance_type_offerings", OFFERINGS)
            }
            close = did_you_mean(wanted.machine_type, names)
            raise NotOffered(f"--machine-type {wanted.machine_type!r}: EC2 has none in {self.region}{close}") from error

    def _zones(self, types: Sequence[str]) -> dict[str, list[str]]:
        """Return, by machine type, the zones that offer it and have a default network."""
        own = [{"Name": "default-for-az", "Values": ["true"]}]
        usable = {
            found["AvailabilityZone"] for found in self._account.pages("describe_subnets", "Subnets", Filters=own)
        }
        if not usable:
            raise CloudDenied(f"this account has no default network in {self.region}: aws ec2 create-default-vpc")
        zones: dict[str, list[str]] = {}
        for first in range(0, len(types), 100):
            asked = [{"Name": "instance-type", "Values": list(types[first : first + 100])}]
            by_zone: dict[str, Any] = {"LocationType": "availability-zone", "Filters": asked}
            for found in self._account.pages("describe_instance_type_offerings", OFFERINGS, **by_zone):
                if found["Location"] in usable:
                    zones.setdefault(found["InstanceType"], []).append(found["Location"])
        return {name: sorted(found) for name, found in zones.items()}

    # --- one machine ------------------------------------------------------------------------------------------------

    def check(self, order: Order) -> None:
        region = region_of(order.zone) or self.region
        self._root(order)
        if order.keypair:
            with aws_errors(f"key pairs in {region}"):
                found = self._account.client("ec2", region).describe_key_pairs()["KeyPairs"]
            names = {pair["KeyName"] for pair in found}
            if order.keypair not in names:
                close = did_you_mean(order.keypair, names)
                raise NotOffered(f"--ssh-keypair {order.keypair!r}: there is no such key pair in {region}{close}")
        try:
            with aws_errors("looking for the instance profile"):
                profile = order.account.rpartition("/")[2]
                self._account.client("iam", region).get_instance_profile(InstanceProfileName=profile)
        except CloudError as error:  # without permission to look, the order reports it
            if code_of(error) == "NoSuchEntity":
                raise NotOffered(
                    f"there is no instance profile {profile!r}, which machines need to access the bucket; "
                    "make it with: studio cloud setup ec2"
                ) from error

    def requests(self, order: Order) -> list[Request]:
        return requests(order, *self._root(order))

    def launch(self, order: Order) -> Machine:
        region = region_of(order.zone) or self.region
        self._account.remember(region)
        answer: dict[str, Any] = {}
        for request in self.requests(order):
            try:
                answer = self._send(request, region, f"{order.machine_type} in {order.zone or region}")
            except CloudError as error:
                if code_of(error) == "InvalidGroup.NotFound":  # deleted by another search that ended: make it again
                    raise CloudUnreachable(str(error)) from error
                if code_of(error) not in ("InvalidGroup.Duplicate", "InvalidPermission.Duplicate"):
                    raise
        machine = read_machine(answer["Instances"][0])
        self._launched[machine.id] = time.monotonic()
        return machine

    def _send(self, request: Request, region: str, what: str) -> dict[str, Any]:
        method = re.sub(r"(?<=.)([A-Z])", r"_\1", request.method).lower()
        with aws_errors(what):
            answer: dict[str, Any] = getattr(self._account.client("ec2", region), method)(**request.body)
            return answer

    def _root(self, order: Order) -> tuple[str, int]:
        """Return the name and the least size, in GiB, of the disk that the image boots from."""
        if order.image is None:
            return ROOT, least_disk(order.gpus)
        region = region_of(order.zone) or self.region
        if (region, order.image) not in self._roots:
            found = self._image(order, region)
            root = found["RootDeviceName"]
            disks = [disk for disk in found["BlockDeviceMappings"] if disk["DeviceName"] == root and "Ebs" in disk]
            self._roots[region, order.image] = root, max([1, *(disk["Ebs"].get("VolumeSize", 0) for disk in disks)])
        return self._roots[region, order.image]

    def _image(self, order: Order, region: str) -> dict[str, Any]:
        none = NotOffered(
            f"--image {order.image!r}: there is none in {region}; write ami-… or the path of an SSM parameter, /aws/…"
        )
        try:
            with aws_errors(f"image {order.image} in {region}"):
                image = image_id(order)
                if image.startswith(SSM):
                    asked = image.removeprefix(SSM)
                    image = self._account.client("ssm", region).get_parameter(Name=asked)["Parameter"]["Value"]
                found: list[dict[str, Any]] = self._account.client("ec2", region).describe_images(ImageIds=[image])[
                    "Images"
                ]
        except CloudError as error:
            if code_of(error) in NO_IMAGE:
                raise none from error
            raise
        if not found:
            raise none
        return found[0]

    # --- all machines -----------------------------------------------------------------------------------------------

    def survey(self, project: str | None = None) -> tuple[list[Machine], list[CloudError]]:
        """Return all machines. One launched a moment ago may be missing: Amazon's lists are some seconds late."""
        tag = {"Name": f"tag:{TAG}", "Values": [project]} if project else {"Name": "tag-key", "Values": [TAG]}
        filters = [tag, {"Name": "instance-state-name", "Values": ALIVE}]
        used, missed = self._account.used(), list[CloudError]()
        try:
            regions = self._account.looked_at()
        except CloudError as error:
            regions = used
            missed.append(error)

        def of_region(region: str) -> list[Machine] | CloudError:
            try:
                found = self._account.pages("describe_instances", "Reservations", region, Filters=filters)
                return [read_machine(instance) for reservation in found for instance in reservation["Instances"]]
            except CloudError as error:  # companies often close the regions that they do not use
                return [] if isinstance(error, CloudDenied) and region not in used else error

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(of_region, sorted(regions)))
        found = [machine for answer in answers if not isinstance(answer, CloudError) for machine in answer]
        silent = [answer for answer in answers if isinstance(answer, CloudError)]
        if len(silent) == len(regions):
            raise silent[0]
        return found, missed + silent

    def terminate(self, machines: Sequence[Machine]) -> None:
        by_region: dict[str, list[Machine]] = {}
        for machine in machines:
            by_region.setdefault(region_of(machine.zone) or self.region, []).append(machine)
        first: CloudError | None = None
        for region, some in by_region.items():
            for start in range(0, len(some), TOGETHER):
                try:
                    self._terminate(region, some[start : start + TOGETHER])
                except CloudError as error:
                    first = first or error  # the other machines cost, too
        if first is not None:
            raise first

    def _terminate(self, region: str, machines: Sequence[Machine]) -> None:
        """Terminate the machines; the one-time request of a spot machine ends with it."""
        ids = [machine.id for machine in machines]
        try:
            with aws_errors(f"terminating {', '.join(ids)}"):
                self._account.client("ec2", region).terminate_instances(InstanceIds=ids)
        except CloudError as error:
            if code_of(error) != "InvalidInstanceID.NotFound":
                raise
            if len(machines) > 1:  # one is unknown, and then none of the others was terminated
                for machine in machines:
                    self._terminate(region, [machine])
            elif time.monotonic() - self._launched.get(ids[0], -math.inf) < SETTLED:
                time.sleep(1)  # not known yet, and would keep running
                self._terminate(region, machines)

    def close_ports(self) -> list[str]:
        tagged = [{"Name": "tag-key", "Values": [TAG]}]
        left = []
        for region in sorted(self._account.looked_at()):
            try:
                for group in list(
                    self._account.pages("describe_security_groups", "SecurityGroups", region, Filters=tagged)
                ):
                    if not self._delete_group(group["GroupId"], region):
                        left.append(group["GroupName"])
            except CloudDenied:
                if region in self._account.used():  # companies often close the regions that they do not use
                    raise
        return left

    def _delete_group(self, group: str, region: str) -> bool:
        """Delete a security group; return whether it is gone. Amazon keeps one until its machines are terminated."""
        try:
            with aws_errors(f"deleting the security group {group}"):
                self._account.client("ec2", region).delete_security_group(GroupId=group)
        except CloudError as error:
            if code_of(error) in ("DependencyViolation", "InvalidGroup.InUse"):
                return False
            if code_of(error) != "InvalidGroup.NotFound":
                raise
        return True


def _unknown_last(price: float | None) -> float:
    return math.inf if price is None else price
