"""Build the requests to Google for a machine, and read its responses. Pure."""

import re
from datetime import datetime
from typing import Any

from studio.backends.cloud.cloud import TAG, Machine, NotOffered, Order, Request
from studio.backends.cloud.gce.startup import SHUTDOWN
from studio.backends.cloud.gce.types import ARM, disk_gib, disk_type, guest_gpus, series

UBUNTU = "ubuntu-os-cloud/ubuntu-2404-lts-{}"
WITH_DRIVER = "ubuntu-os-accelerator-images/ubuntu-accelerator-2404-{}-with-nvidia-580"
# Narrower than the account's roles: objects of buckets, and machines, for a machine to delete itself.
SCOPES = [
    "https://www.googleapis.com/auth/compute",
    "https://www.googleapis.com/auth/devstorage.read_write",
]
FIXED = ("h3", "h4d")  # series that cannot move to another host
SHORTEST, LONGEST = 30, 120 * 24 * 3600  # seconds that maxRunDuration may be
STARTING, RUNNING = {"PENDING", "PROVISIONING", "STAGING"}, {"RUNNING", "REPAIRING"}  # all others are ending


def requests(order: Order, project: str, network: str) -> list[Request]:
    """Return the requests for one machine, in the form of the REST API. `project`: Google's."""
    insert = {
        "project": project,
        "zone": order.zone,
        "requestId": order.token,  # the same id again: the same machine
        "instanceResource": _instance(order, f"projects/{project}/global/networks/{network}"),
    }
    found = [Request("instances.insert", insert)]
    if ports := order.ports:
        firewall = {
            "name": _tag(ports),
            "description": f"Machines of {TAG}, open to the world at {', '.join(map(str, ports))}",
            "network": f"projects/{project}/global/networks/{network}",
            "direction": "INGRESS",
            "allowed": [{"IPProtocol": "tcp", "ports": [str(port) for port in ports]}],
            "sourceRanges": ["0.0.0.0/0"],
            "targetTags": [_tag(ports)],  # applies only to machines with this tag
        }
        found.insert(0, Request("firewalls.insert", {"project": project, "firewallResource": firewall}))
    return found


def label(project: str) -> str:
    """Return `project` as a valid label. Two names may have the same label: the exact name is in the metadata."""
    return re.sub(r"[^a-z0-9_-]", "-", project.lower())[:63]


def read_machine(instance: Any) -> Machine:
    """Convert a `compute_v1.Instance`."""
    metadata = read_metadata(instance)
    if instance.status in STARTING:
        state = "starting"
    else:
        state = "running" if instance.status in RUNNING else "ending"
    return Machine(
        id=str(instance.id),
        name=instance.name,
        project=metadata.get(f"{TAG}-project", instance.labels.get(TAG, "")),
        machine_type=instance.machine_type.rpartition("/")[2],
        zone=instance.zone.rpartition("/")[2],
        spot=instance.scheduling.provisioning_model == "SPOT",
        launched=seconds(instance.creation_timestamp),
        state=state,
    )


def read_metadata(instance: Any) -> dict[str, str]:
    return {item.key: item.value for item in instance.metadata.items}


def seconds(timestamp: str) -> float:
    """Return seconds since the epoch of Google's `2026-11-24T12:00:00.123-08:00`."""
    return datetime.fromisoformat(timestamp).timestamp()


def _instance(order: Order, network: str) -> dict[str, Any]:
    zone = f"zones/{order.zone}"
    metadata = {
        "startup-script": order.script,
        "shutdown-script": SHUTDOWN,
        f"{TAG}-project": order.project,
        f"{TAG}-order": order.token,
        "block-project-ssh-keys": "TRUE",
    }
    if order.keypair is not None:
        metadata |= {"ssh-keys": _ssh_key(order.keypair), "enable-oslogin": "FALSE"}
    scheduling: dict[str, Any] = {
        "provisioningModel": "SPOT" if order.spot else "STANDARD",
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": str(min(max(order.lifetime, SHORTEST), LONGEST))},
        "automaticRestart": False,
        "onHostMaintenance": "MIGRATE" if _can_move(order) else "TERMINATE",
    }
    disk = {
        "sourceImage": image(order),
        "diskSizeGb": str(disk_gib(order.hdd, order.gpus)),
        "diskType": f"{zone}/diskTypes/{disk_type(order.machine_type)}",
        "labels": {TAG: label(order.project)},
    }
    instance: dict[str, Any] = {
        "name": order.name,
        "description": f"Worker of {TAG}. It deletes itself; so does: studio cloud gc",
        "machineType": f"{zone}/machineTypes/{order.machine_type}",
        "labels": {TAG: label(order.project)},
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        "scheduling": scheduling,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
        "networkInterfaces": [
            {"network": network, "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}
        ],
        "serviceAccounts": [{"email": order.account or "default", "scopes": SCOPES}],
    }
    gpu = guest_gpus(order)
    if gpu is not None:
        kind = {"acceleratorType": f"{zone}/acceleratorTypes/{gpu}", "acceleratorCount": order.gpus}
        instance["guestAccelerators"] = [kind]
    if order.ports:
        instance["tags"] = {"items": [_tag(order.ports)]}
    return instance


def image(order: Order) -> str:
    """Return the image as `initializeParams.sourceImage` takes it. `order.image` is such a path, or PROJECT/FAMILY."""
    named = order.image
    if named is None:
        arch = "arm64" if series(order.machine_type) in ARM else "amd64"
        named = (WITH_DRIVER if order.gpus else UBUNTU).format(arch)
    if named.count("/") > 1:  # projects/…/global/images/…, or with https:// before it
        return named
    project, slash, family = named.partition("/")
    if not (slash and project and family):
        raise NotOffered(f"--image {named!r}: write PROJECT/FAMILY, such as {UBUNTU.format('amd64')}")
    return f"projects/{project}/global/images/family/{family}"


def _ssh_key(keypair: str) -> str:
    """Return `USER:ssh-ed25519 AAAA… comment`, as Google takes it; without a user it is `studio`."""
    user, colon, rest = keypair.partition(":")
    key = rest if colon and re.fullmatch(r"[a-z_][a-z0-9_-]*", user) else keypair
    if not re.fullmatch(r"(ssh|ecdsa)-\S+ \S+.*", key):
        raise NotOffered(
            f"--ssh-keypair {keypair[:60]!r} is not a key: Google takes a public key, USER:ssh-ed25519 AAAA…"
        )
    return f"{user}:{key}" if key is rest else f"studio:{key}"


def _can_move(order: Order) -> bool:
    """Return whether the machine can move to another host while it runs."""
    return not order.spot and not order.gpus and series(order.machine_type) not in FIXED


def _tag(ports: list[int]) -> str:
    return f"{TAG}-{'-'.join(str(port) for port in ports)}"
