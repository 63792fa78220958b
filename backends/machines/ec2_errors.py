"""What Amazon answers, as the errors of `studio.backends.machines.cloud`."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from studio.backends.machines.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    NoCapacity,
    QuotaRefused,
)
from studio.queue.bucket import sdk

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
NO_CAPACITY = {
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "ReservationCapacityExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",  # this type, in this zone
}
QUOTA = {  # and VcpuLimitExceeded, InstanceLimitExceeded, VolumeLimitExceeded ...
    "MaxSpotInstanceCountExceeded",
    "PendingVerification",  # a new account, which Amazon looks at for some hours
}
CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
BUSY = {
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "Unavailable",
}
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"


@contextlib.contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turns errors of botocore into a `CloudError` whose text begins with `what`."""
    known = sdk("botocore.exceptions", extra="ec2")
    unreadable = sdk("botocore.parsers", extra="ec2").ResponseParserError  # of a proxy, or a log-in page of a hotel
    try:
        yield
    except known.ClientError as error:
        raise _answered(error, what) from error
    except known.BotoCoreError as error:
        raise _failed(error, what, known) from error
    except unreadable as error:
        raise CloudUnreachable(f"{what}: the answer was not Amazon's: {error}") from error


def code_of(error: BaseException | None) -> str:
    """Amazon's name of the error, also where it is the cause of ours: `VcpuLimitExceeded`."""
    response = getattr(error, "response", None) or getattr(getattr(error, "__cause__", None), "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _answered(error: Any, what: str) -> CloudError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = str(error.response.get("Error", {}).get("Message", ""))
    text = re.sub(r"\s*Encoded authorization failure message: \S+", "", text)  # a kilobyte that only Amazon reads
    said = f"{what}: {code}: {text}"
    if code in CREDENTIALS and "not authorized" not in text.lower():  # AuthFailure is also said of images and keys
        wrong_clock = " (is the clock of this machine right?)" if code == "RequestExpired" else ""
        return CloudCredentials(said + wrong_clock)
    if code in NO_CAPACITY:
        return NoCapacity(said)
    if code in BUSY or status >= 500 or status == 429:
        return CloudUnreachable(said)
    if code in QUOTA or code.endswith("LimitExceeded"):
        return QuotaRefused(f"{said} (ask for more: {QUOTA_PAGE})")
    return CloudDenied(said)


def _failed(error: Exception, what: str, known: Any) -> CloudError:
    without = known.NoCredentialsError, known.PartialCredentialsError, known.CredentialRetrievalError
    tokens = known.SSOError, known.TokenRetrievalError, known.UnauthorizedSSOTokenError, known.ProfileNotFound
    if isinstance(error, (*without, *tokens)):
        return CloudCredentials(f"{what}: no AWS credentials that work: {error}")
    if isinstance(error, known.HTTPClientError | known.ConnectionError | known.IncompleteReadError):
        return CloudUnreachable(f"{what}: {error}")
    return CloudDenied(f"{what}: {error}")
