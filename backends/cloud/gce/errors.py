"""Error codes of Google, mapped to Studio's exceptions.

A request is refused at once, with an HTTP status and a `reason`, or later, by its operation, with a `code`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from studio.backends.cloud.cloud import (
    CloudCredentials,
    CloudError,
    CloudUnreachable,
    NoCredentials,
    Refusals,
)
from studio.backends.queue.bucket import sdk

# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation
REFUSALS = Refusals(
    no_capacity={
        "IP_SPACE_EXHAUSTED",
        "RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    },
    quota={"QUOTA_EXCEEDED", "quotaExceeded", "limitExceeded"},
    busy={
        "INTERNAL_ERROR",
        "RATE_LIMIT_EXCEEDED",
        "RESOURCE_OPERATION_RATE_EXCEEDED",
        "SERVICE_UNAVAILABLE",
        "operationRateExceeded",
        "rateLimitExceeded",
        "userRateLimitExceeded",
    },
    quota_page="https://console.cloud.google.com/iam-admin/quotas",
)
LOGIN = "run gcloud auth application-default login"


@contextlib.contextmanager
def google_errors(what: str) -> Iterator[None]:
    """Turn errors of Google's libraries into a `CloudError` whose text begins with `what`."""
    api = sdk("google.api_core.exceptions", extra="gce")
    auth = sdk("google.auth.exceptions", extra="gce")
    http = sdk("requests.exceptions", extra="gce")
    try:
        yield
    except api.RetryError as error:  # the same error until the retries ran out
        raise CloudUnreachable(f"{what}: {error.cause or error}") from error
    except api.GoogleAPICallError as error:
        raise _answered(error, what) from error
    except auth.TransportError as error:
        raise CloudUnreachable(f"{what}: {error}") from error
    except auth.GoogleAuthError as error:
        if type(error) is auth.DefaultCredentialsError:  # its subclasses mean something else
            raise NoCredentials(f"{what}: no Google credentials; {LOGIN}") from error
        # its text may quote the token server
        raise CloudCredentials(f"{what}: no valid Google credentials ({type(error).__name__}); {LOGIN}") from error
    except (http.RequestException, ConnectionError) as error:
        raise CloudUnreachable(f"{what}: {error}") from error


def refusal(code: str, said: str) -> CloudError:
    """Return the error for the `code` of an operation. Nothing was made."""
    error = REFUSALS.error(code, said)  # if busy, the same order again would return the same operation
    return CloudError(said) if isinstance(error, CloudUnreachable) else error


def _answered(error: Any, what: str) -> CloudError:
    reason = str(error.errors[0].get("reason", "")) if error.errors else ""
    said = f"{what}: {error.message}"
    if error.code == 401:
        return CloudCredentials(f"{said} ({LOGIN})")
    if error.code in (None, 408, 429) or error.code >= 500:
        return CloudUnreachable(said)
    return REFUSALS.error(reason, said)
