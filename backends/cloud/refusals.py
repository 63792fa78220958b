"""What clouds call the reasons for which they refuse a request, as the errors of `studio.backends.cloud.cloud`."""

from dataclasses import dataclass, field

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    NoCapacity,
    QuotaRefused,
)


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
