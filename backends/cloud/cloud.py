"""The interface of a cloud, whose machines take work from a bucket and end by themselves.

    Wanted --offers--> Offer --> Order --launch--> Machine ... --terminate--> gone

CloudError (LauncherError)   the request failed; trying again may help
├── NoCapacity               no machine of that type there now: another zone or type may have one
├── Gone                     the order was carried out before, and its machine has ended since
├── QuotaRefused             the account's quota is reached: a person has to ask for more
├── CloudDenied (Refused)    the account lacks a permission, or the request is wrong: a person has to correct it
│   └── NotOffered           (BadInput) the cloud has nothing that the user named or asked for
├── CloudCredentials         (Refused) invalid or expired credentials
│   └── NoCredentials        (BadInput) no credentials
└── CloudUnreachable         no response; whether a machine was made is unknown: send the same order again
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from studio.backends.queue.launcher import LauncherError, Refused
from studio.errors import BadInput

TAG = "studio-search"  # label of all that Studio makes; its value is the project


class CloudError(LauncherError):
    pass


class NoCapacity(CloudError):
    pass


class Gone(CloudError):
    pass


class QuotaRefused(CloudError):
    pass


class CloudDenied(CloudError, Refused):
    pass


class NotOffered(CloudDenied, BadInput):
    pass


class CloudCredentials(CloudError, Refused):
    pass


class NoCredentials(CloudCredentials, BadInput):
    pass


class CloudUnreachable(CloudError):
    pass


@dataclass(frozen=True)
class Refusals:
    """Error codes of one cloud; other codes give a `CloudDenied`. `quota_page`: where to ask for a larger quota."""

    no_capacity: set[str]
    quota: set[str]
    busy: set[str]
    quota_page: str
    credentials: set[str] = field(default_factory=set)

    def error(self, code: str, said: str) -> CloudError:
        if code in self.credentials:
            return CloudCredentials(said)
        if code in self.no_capacity:
            return NoCapacity(said)
        if code in self.busy:
            return CloudUnreachable(said)
        if code in self.quota or code.endswith("LimitExceeded"):  # VcpuLimitExceeded, InstanceLimitExceeded, …
            return QuotaRefused(f"{said} (ask for more: {self.quota_page})")
        return CloudDenied(said)


@dataclass(frozen=True)
class Wanted:
    """Requirements of one machine. Sizes in bytes; None: any. `machine_type` is used as given. `ram_given`: as typed, for
    errors.
    """

    cpus: int | None = None
    gpus: int = 0
    ram: int | None = None
    hdd: int | None = None
    gpu_type: str | None = None
    machine_type: str | None = None
    spot: bool = False
    ram_given: str = ""


@dataclass(frozen=True)
class Offer:
    """A machine type in a zone. Prices in dollars an hour for the whole machine; None: unknown. `besides`: the part for disk
    and address, which no bid covers.
    """

    machine_type: str
    zone: str
    cpus: int
    gpus: int
    ram: int
    on_demand: float | None = None
    spot: float | None = None
    besides: float = 0.0


@dataclass(frozen=True)
class Order:
    """A complete order of one machine: sending the same order twice makes one machine.

    name      of the machine and its worker: lower case letters, digits and -, at most 60
    token     by which the cloud recognises a repeated order
    hdd       bytes of its disk
    bid       most dollars an hour that a spot machine may cost
    lifetime  seconds after which the machine has to end in any case
    script    start-up script, at most 16 kB; no secrets in it
    account   identity of the machine: instance profile, or service account
    keypair   to log in with; port: to open to the world. Neither unless requested
    """

    project: str
    name: str
    token: str
    machine_type: str
    zone: str
    image: str | None
    hdd: int
    spot: bool
    lifetime: int
    script: str
    account: str
    bid: float | None = None
    gpus: int = 0
    gpu_type: str | None = None
    keypair: str | None = None
    port: int | None = None

    @property
    def ports(self) -> list[int]:
        """Ports open to the world."""
        return sorted({*([22] if self.keypair else []), *([self.port] if self.port else [])})


@dataclass(frozen=True)
class Machine:
    """A machine that may cost money. `launched` in seconds since the epoch, by the cloud's clock.

    state  starting, running, or ending
    """

    id: str
    name: str
    project: str
    machine_type: str
    zone: str
    spot: bool
    launched: float
    state: str = "running"


@dataclass(frozen=True)
class Request:
    """A request to the cloud, readable: `--dry-run` and `studio cloud setup` show these."""

    method: str
    body: dict[str, Any] = field(default_factory=dict)


class Cloud(ABC):
    """A cloud. Every method may raise a `CloudError`; none waits for a machine to be up."""

    name: ClassVar[str]  # ec2, gce
    largest_disk: ClassVar[int] = 64 << 40  # bytes

    @abstractmethod
    def offers(self, wanted: Wanted) -> list[Offer]:
        """Return the offers that meet `wanted`, cheapest first. Raises CloudDenied if none does, naming the closest."""

    @abstractmethod
    def check(self, order: Order) -> None:
        """Check that the image, key pair and account of the order exist. Raises NotOffered, saying what to type."""

    @abstractmethod
    def requests(self, order: Order) -> list[Request]:
        """Return the requests that `launch` sends."""

    @abstractmethod
    def launch(self, order: Order) -> Machine:
        """Make the machine. It exists, and costs, when this returns."""

    @abstractmethod
    def survey(self, project: str | None = None) -> tuple[list[Machine], list[CloudError]]:
        """Return the machines that Studio made and that may still cost money, and an error for each region or zone that could
        not be listed. Without `project`: of all projects.
        """

    def machines(self, project: str | None = None) -> list[Machine]:
        """Return the machines of `survey`. Raises CloudError if a region could not be listed: it may have more."""
        found, missed = self.survey(project)
        if missed:
            raise missed[0]
        return found

    @abstractmethod
    def terminate(self, machines: Sequence[Machine]) -> None:
        """Delete the machines, disks included. A machine that has ended is no error."""

    def close_ports(self) -> list[str]:
        """Delete the rules that open ports of machines, wherever `survey` looks. Return the names of those that machines
        still use.
        """
        return []
