"""What Studio asks of a cloud: machines that take work from a bucket, and that end by themselves.

    Wanted --offers--> Offer --> Order --launch--> Machine ... --terminate--> gone

CloudError (StudioError)     the request failed; asking again may help
├── NoCapacity               none of that kind there now: another zone or type may have one
├── Gone                     the order was carried out before, and its machine has ended since
├── QuotaRefused             this account may not have (so many of) these: a person has to ask for more
├── CloudDenied              this account may not do that, or the request is wrong: a person has to mend it
│   └── NotOffered           (BadInput) what the user named or asked for is nothing that the cloud has
├── CloudCredentials         credentials that are no good, or no longer
│   └── NoCredentials        (BadInput) there are none
└── CloudUnreachable         no answer; whether a machine was made is unknown: send the same order again
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from studio.errors import BadInput, StudioError

TAG = "studio-search"  # label of everything that Studio makes; its value is the project


class CloudError(StudioError):
    pass


class NoCapacity(CloudError):
    pass


class Gone(CloudError):
    pass


class QuotaRefused(CloudError):
    pass


class CloudDenied(CloudError):
    pass


class NotOffered(CloudDenied, BadInput):
    pass


class CloudCredentials(CloudError):
    pass


class NoCredentials(CloudCredentials, BadInput):
    pass


class CloudUnreachable(CloudError):
    pass


@dataclass(frozen=True)
class Refusals:
    """Codes of one cloud; what is none of them is a `CloudDenied`. `quota_page`: where a person asks for more."""

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
    """What one machine must have. Sizes are bytes; None as the cloud likes. `machine_type` is taken as it is. `ram_given`: as it
    was typed, for errors."""

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
    """A machine type in a zone. Prices are dollars an hour for the whole machine; None: not known. `besides`: what of
    them is for its disk and its address, which no bid covers."""

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
    """One machine, complete: the same order sent twice makes one machine.

    name      of the machine and its worker: lower case letters, digits and -, at most 60
    token     for the cloud to know a repeated order by
    hdd       bytes of its disk
    bid       most that a spot machine may cost an hour, in dollars
    lifetime  seconds after which it has to end, whoever is alive
    script    what it runs when it starts, at most 16 kB; nothing secret in it
    account   what the machine may act as: instance profile, or service account
    keypair   to log in with; port: to open to the world. Neither unless asked
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
        """That are open to the world."""
        return sorted({*([22] if self.keypair else []), *([self.port] if self.port else [])})


@dataclass(frozen=True)
class Machine:
    """A machine that may cost money. `launched` in seconds since the epoch, by the cloud's clock.

    state  starting, running, or ending: still there, on its way out
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
    """One request to the cloud, for people to read: `--dry-run` and `studio cloud setup` show these."""

    method: str
    body: dict[str, Any] = field(default_factory=dict)


class Cloud(ABC):
    """Every method may raise a `CloudError`. Nothing here waits for a machine to be up."""

    name: ClassVar[str]  # ec2, gce
    largest_disk: ClassVar[int] = 64 << 40  # bytes

    @abstractmethod
    def offers(self, wanted: Wanted) -> list[Offer]:
        """What would do, the cheapest first. CloudDenied where nothing can, saying what comes closest."""

    @abstractmethod
    def check(self, order: Order) -> None:
        """Ask whether there is what the order names: image, key pair, account. NotOffered, saying what to type."""

    @abstractmethod
    def requests(self, order: Order) -> list[Request]:
        """What `launch` sends."""

    @abstractmethod
    def launch(self, order: Order) -> Machine:
        """Make the machine. It is there, and costs, when this returns."""

    @abstractmethod
    def survey(self, project: str | None = None) -> tuple[list[Machine], list[CloudError]]:
        """All that Studio made and that may still cost money, of one project or of all, in every region or zone; and
        why one of those could not be looked at."""

    def machines(self, project: str | None = None) -> list[Machine]:
        """As `survey` finds them. CloudError where not all was looked at: what is not listed may be there."""
        found, missed = self.survey(project)
        if missed:
            raise missed[0]
        return found

    @abstractmethod
    def terminate(self, machines: Sequence[Machine]) -> None:
        """Delete them, disks included. One that is gone is no error."""

    def close_ports(self) -> list[str]:
        """Delete the rules that open ports of machines, in all that `survey` looks at. Names of those that stay, as some
        machine still uses them."""
        return []
