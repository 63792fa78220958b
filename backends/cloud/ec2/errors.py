"""Error codes of Amazon, mapped to Studio's exceptions."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudDenied,
    CloudError,
    CloudUnreachable,
    Gone,
    NoCredentials,
    Refusals,
)
from studio.backends.queue.bucket import sdk
from studio.backends.queue.s3_bucket import BUSY, EXPIRED, LOGIN

# A wrong key or secret: waiting does not help.
WRONG = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
REFUSALS = Refusals(
    no_capacity={
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "InsufficientReservedInstanceCapacity",
        "ReservationCapacityExceeded",
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        "Unsupported",  # this type in this zone
    },
    quota={
        "MaxSpotInstanceCountExceeded",
        "PendingVerification",  # a new account, which Amazon verifies for some hours
    },
    credentials=WRONG | EXPIRED | {"MissingAuthenticationToken"},
    busy=BUSY | {"InternalFailure", "RequestLimitExceeded", "ServiceUnavailable", "Unavailable"},
    quota_page="https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas",
)


@contextlib.contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn errors of botocore into a `CloudError` whose text begins with `what`."""
    known = sdk("botocore.exceptions", extra="ec2")
    unreadable = sdk("botocore.parsers", extra="ec2").ResponseParserError  # from a proxy, or the log-in page of a hotel
    try:
        yield
    except known.ClientError as error:
        raise _answered(error, what) from error
    except known.BotoCoreError as error:
        raise _failed(error, what, known) from error
    except unreadable as error:
        raise CloudUnreachable(
            f"{what}: the response was not Amazon's: {' '.join(str(error).split())[:200]}"
        ) from error


def code_of(error: BaseException | None) -> str:
    """Return Amazon's code of the error, or of its cause: `VcpuLimitExceeded`."""
    response = getattr(error, "response", None) or getattr(getattr(error, "__cause__", None), "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _answered(error: Any, what: str) -> CloudError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = str(error.response.get("Error", {}).get("Message", ""))
    text = re.sub(r"\s*Encoded authorization failure message: \S+", "", text)  # a kilobyte that only Amazon can read
    said = f"{what}: {code}: {text}"
    if code == "IdempotentInstanceTerminated":  # of an order that was sent again
        return Gone(said)
    if code == "AuthFailure" and "not authorized" in text.lower():  # said of images and keys
        return CloudDenied(said)
    if code == "AuthFailure.ServiceLinkedRoleCreationNotPermitted":
        return CloudDenied(
            f"{said} (the role for spot machines is missing; an administrator can make it: studio cloud setup ec2)"
        )
    if code == "RequestExpired":
        said += " (is the clock of this machine right?)"
    if code in WRONG:
        return NoCredentials(f"{said} (these credentials are wrong; {LOGIN})")
    error = REFUSALS.error(code, said)
    return CloudUnreachable(said) if type(error) is CloudDenied and (status >= 500 or status == 429) else error


def _failed(error: Exception, what: str, known: Any) -> CloudError:
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError, known.ProfileNotFound)):
        return NoCredentials(f"{what}: no AWS credentials ({error}); {LOGIN}")
    tokens = known.SSOError, known.TokenRetrievalError, known.UnauthorizedSSOTokenError
    if isinstance(error, (known.CredentialRetrievalError, *tokens)):
        return CloudCredentials(f"{what}: no valid AWS credentials: {error}")
    if isinstance(error, known.HTTPClientError | known.ConnectionError | known.IncompleteReadError):
        return CloudUnreachable(f"{what}: {error}")
    return CloudDenied(f"{what}: {error}")
