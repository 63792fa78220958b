"""Build the requests to EC2 for a machine, and read its responses. Pure."""

import math
import re
from typing import Any

from studio.backends.cloud.cloud import TAG, Machine, Order, Request
from studio.backends.cloud.machine_types import GIB, MachineType

SSM = "resolve:ssm:"  # EC2 resolves the image
UBUNTU = SSM + "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
WITH_DRIVER = SSM + "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
DISK, DISK_WITH_DRIVER = 16, 100  # least GiB: an image does not boot from a disk smaller than itself
ROOT = "/dev/sda1"  # root device of the images above
STATES = {"pending": "starting", "running": "running"}  # stopping, stopped, shutting-down: ending


def requests(order: Order, root: str, least: int) -> list[Request]:
    """Return the requests for one machine. `root` and `least`: name and smallest size, in GiB, of the disk that the image
    boots from.
    """
    body = _run_instances(order, root, least)
    ports = order.ports
    if not ports:  # the default group: no incoming connections, all outgoing ones
        return [Request("RunInstances", body)]
    group = f"{TAG}-{'-'.join(str(port) for port in ports)}"
    to_the_world = [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} for port in ports
    ]
    made = {
        "GroupName": group,
        "Description": f"Machines of Studio, open to the world at {', '.join(str(port) for port in ports)}",
        "TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": TAG, "Value": ""}]}],
    }
    return [
        Request("CreateSecurityGroup", made),
        Request("AuthorizeSecurityGroupIngress", {"GroupName": group, "IpPermissions": to_the_world}),
        Request("RunInstances", body | {"SecurityGroups": [group]}),
    ]


def _run_instances(order: Order, root: str, least: int) -> dict[str, Any]:
    tags = [{"Key": TAG, "Value": order.project}, {"Key": "Name", "Value": order.name}]
    kinds = ["instance", "volume", "network-interface", *(["spot-instances-request"] if order.spot else [])]
    disk = {"VolumeSize": max(math.ceil(order.hdd / GIB), least), "VolumeType": "gp3", "DeleteOnTermination": True}
    body: dict[str, Any] = {
        "ClientToken": order.token,  # the same token again: the same machine
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": image_id(order),
        "InstanceType": order.machine_type,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [{"DeviceName": root, "Ebs": disk}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in kinds],
        "UserData": order.script,  # boto3 encodes it in base64
    }
    if order.zone:
        body["Placement"] = {"AvailabilityZone": order.zone}
    if order.account:
        body["IamInstanceProfile"] = {"Arn" if order.account.startswith("arn:") else "Name": order.account}
    if order.spot:
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        if order.bid is not None:
            options["MaxPrice"] = f"{order.bid:.6f}".rstrip("0").rstrip(".")
        body["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    if order.keypair:
        body["KeyName"] = order.keypair
    if is_burstable(order.machine_type):  # "unlimited", the default of most, costs more than the price
        body["CreditSpecification"] = {"CpuCredits": "standard"}
    return body


def image_id(order: Order) -> str:
    """Return the image as RunInstances takes it. `order.image` is an ami-… or the path of an SSM parameter."""
    if order.image is not None:
        return SSM + order.image if order.image.startswith("/") else order.image
    if order.gpus:
        return WITH_DRIVER.format("arm64" if is_arm(order.machine_type) else "x86_64")
    return UBUNTU.format("arm64" if is_arm(order.machine_type) else "amd64")


def least_disk(gpus: int) -> int:
    """Return the GiB of the smallest disk for the default image."""
    return DISK_WITH_DRIVER if gpus else DISK


def region_of(zone: str) -> str:
    """Return the region of a zone: us-west-2 for us-west-2a and for us-west-2-lax-1a."""
    found = re.match(r"[a-z]+(-[a-z]+)+-\d+", zone)
    return found[0] if found else ""


def read_machine(instance: dict[str, Any]) -> Machine:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return Machine(
        id=instance["InstanceId"],
        name=tags.get("Name", ""),
        project=tags.get(TAG, ""),
        machine_type=instance["InstanceType"],
        zone=instance["Placement"]["AvailabilityZone"],
        spot=instance.get("InstanceLifecycle") == "spot",
        launched=instance["LaunchTime"].timestamp(),
        state=STATES.get(instance["State"]["Name"], "ending"),
    )


# --- machine types, read from DescribeInstanceTypes ----------------------------------------------------------------------

# Their last driver is older than the one in the default GPU image: used only if named.
OLD_GPUS = {"K520", "K80", "M60", "V100"}


def read_type(answer: dict[str, Any]) -> MachineType:
    gpus = answer.get("GpuInfo", {}).get("Gpus", [])
    # A part of a GPU counts 0. Burstable machines are cheap only while idle, which experiments are not. Metal takes many
    # minutes to start. An image fits one architecture. Types before Nitro (2017) have other disks.
    ordinary = (
        not answer.get("BurstablePerformanceSupported")
        and not answer.get("BareMetal")
        and answer.get("Hypervisor") == "nitro"
        and "x86_64" in answer["ProcessorInfo"]["SupportedArchitectures"]
        and all(gpu.get("Manufacturer") == "NVIDIA" for gpu in gpus)
    )
    return MachineType(
        name=answer["InstanceType"],
        cpus=answer["VCpuInfo"]["DefaultVCpus"],
        gpus=sum(gpu.get("Count", 0) for gpu in gpus),
        ram=answer["MemoryInfo"]["SizeInMiB"] << 20,
        gpu_type=gpus[0].get("Name", "") if gpus else "",
        ordinary=ordinary,
    )


def is_arm(machine_type: str) -> bool:
    """Return whether a type is Graviton, by its name: a1, t4g, m7gd, c8gn."""
    return bool(re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", machine_type))


def is_burstable(machine_type: str) -> bool:
    return bool(re.match(r"(t2|t3a?|t4g)\.", machine_type))
