"""What Google answers, as the errors of `studio.backends.machines.cloud`.

A request is refused at once, with an HTTP status and a `reason`, or later, by its operation, with a `code`.
"""

import contextlib
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

# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation
NO_CAPACITY = {
    "IP_SPACE_EXHAUSTED",
    "RESOURCE_POOL_EXHAUSTED",
    "ZONE_RESOURCE_POOL_EXHAUSTED",
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
}
QUOTA = {"QUOTA_EXCEEDED", "quotaExceeded", "limitExceeded"}
BUSY = {
    "INTERNAL_ERROR",
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_OPERATION_RATE_EXCEEDED",
    "SERVICE_UNAVAILABLE",
    "operationRateExceeded",
    "rateLimitExceeded",
    "userRateLimitExceeded",
}
QUOTA_PAGE = "https://console.cloud.google.com/iam-admin/quotas"
LOGIN = "gcloud auth application-default login"


@contextlib.contextmanager
def google_errors(what: str) -> Iterator[None]:
    """Turns errors of Google's libraries into a `CloudError` whose text begins with `what`."""
    api = sdk("google.api_core.exceptions", extra="gce")
    auth = sdk("google.auth.exceptions", extra="gce")
    http = sdk("requests.exceptions", extra="gce")
    try:
        yield
    except api.RetryError as error:  # the same error again and again, until our patience ended
        raise CloudUnreachable(f"{what}: {error.cause or error}") from error
    except api.GoogleAPICallError as error:
        raise _answered(error, what) from error
    except auth.TransportError as error:
        raise CloudUnreachable(f"{what}: {error}") from error
    except auth.GoogleAuthError as error:  # its text may quote what the token server said
        raise CloudCredentials(f"{what}: no Google credentials that work ({type(error).__name__}): {LOGIN}") from error
    except (http.RequestException, ConnectionError) as error:
        raise CloudUnreachable(f"{what}: {error}") from error


def refusal(code: str, said: str) -> CloudError:
    """For what an operation, or the `reason` of an answer, calls `code`. Nothing was made."""
    if code in NO_CAPACITY:
        return NoCapacity(said)
    if code in QUOTA:
        return QuotaRefused(f"{said} (ask for more: {QUOTA_PAGE})")
    if code in BUSY:  # the same order again would be answered with the same operation
        return CloudError(said)
    return CloudDenied(said)


def _answered(error: Any, what: str) -> CloudError:
    reason = str(error.errors[0].get("reason", "")) if error.errors else ""
    said = f"{what}: {error.message}"
    if error.code == 401:
        return CloudCredentials(f"{said} ({LOGIN})")
    if reason in BUSY or error.code in (None, 408, 429) or error.code >= 500:
        return CloudUnreachable(said)
    return refusal(reason, said)
