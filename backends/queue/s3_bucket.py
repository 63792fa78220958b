"""Amazon S3, and any service with its protocol and conditional writes (AWS_ENDPOINT_URL_S3).

Responses of S3 to a conditional PUT:

    200  written; the ETag is the version. It hashes the content, so A, B, A is back at A's version: values that are
         swapped carry a counter
    412  the condition does not hold. Or it held, we wrote, the response was lost, and botocore sent the PUT again
    409  two conditional writes of the key at the same moment: either may have won, or neither
    404  IfMatch on a missing key
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.backends.queue.bucket import (
    Bucket,
    BucketDenied,
    BucketError,
    BucketGone,
    BucketUnreachable,
    CredentialsExpired,
    CredentialsMissing,
    Entry,
    check_key,
    check_prefix,
    sdk,
    whole_file,
)

ATTEMPTS = 3  # that botocore makes of one request
AGAIN = 5  # retries after a 409
LOGIN = "run aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
MISSING = {"NoSuchKey", "404", "NotFound"}
REFUSED = {"PreconditionFailed", "412"}
CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"}
BUSY = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException", "InternalError"}


class S3Bucket(Bucket):
    """A bucket of S3. Credentials, region and proxy are those of boto3. `prefix` is empty or ends with a slash."""

    def __init__(self, name: str, prefix: str = ""):
        boto3 = sdk("boto3", extra="ec2")
        self.url = f"s3://{name}/{prefix}"
        self._name, self._prefix = name, prefix
        self._exceptions = sdk("botocore.exceptions", extra="ec2")
        self._boto3_error = sdk("boto3.exceptions", extra="ec2").Boto3Error
        # Short, because the holder of a lease has to hear of trouble before the lease expires.
        config = sdk("botocore.config", extra="ec2").Config(
            connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": ATTEMPTS}
        )
        with self._errors():
            # Its own session: boto3's default session is not safe to use from several threads.
            self._s3 = boto3.session.Session().client("s3", config=config)

    def get(self, key: str) -> tuple[bytes, str] | None:
        with self._errors():
            try:
                answer = self._s3.get_object(**self._at(key))
                with contextlib.closing(answer["Body"]) as body:
                    return body.read(), answer["ETag"]
            except self._exceptions.ClientError as error:
                if self._is_missing(error, key):
                    return None
                raise

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        return self._put(key, data, IfNoneMatch="*")

    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        return self._put(key, data, IfMatch=version)

    def entries(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        options = {"Bucket": self._name, "Prefix": self._prefix + check_prefix(prefix)}
        if after:
            options["StartAfter"] = self._prefix + after
        with self._errors():
            for page in self._s3.get_paginator("list_objects_v2").paginate(**options):
                for entry in page.get("Contents", []):
                    yield Entry(entry["Key"].removeprefix(self._prefix), entry["ETag"], entry["Size"])

    def upload(self, key: str, path: Path) -> None:
        at = self._at(key)
        with self._errors():
            self._s3.upload_file(str(path), at["Bucket"], at["Key"])  # in parts, each tried again

    def download(self, key: str, path: Path) -> bool:
        at = self._at(key)
        with self._errors():
            try:
                with whole_file(path) as part:
                    self._s3.download_file(at["Bucket"], at["Key"], str(part))
            except self._exceptions.ClientError as error:
                if self._is_missing(error, key):
                    return False
                raise
        return True

    def close(self) -> None:
        self._s3.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._name, "Key": self._prefix + check_key(key)}

    def _put(self, key: str, data: bytes, **condition: str) -> str | None:
        for _ in range(AGAIN):
            with self._errors():
                try:
                    answer = self._s3.put_object(**self._at(key), Body=data, **condition)
                    return str(answer["ETag"])
                except self._exceptions.ClientError as error:
                    code = _code(error)
                    if code not in REFUSED | CONFLICT | MISSING:
                        raise
            landed = self._landed(key, data)
            if landed is not None or code not in CONFLICT:
                return landed
        raise BucketUnreachable(f"{self.url}{key}: other writers kept changing it at the same moment")

    def _is_missing(self, error: Exception, key: str) -> bool:
        """Return whether that response to a GET or HEAD means that the bucket is there and the key is not.

        A HEAD has no body to say which of the two is missing. And to a user whose right to list is limited to a
        prefix, as a worker's is, S3 answers 403 for a missing key: the condition cannot be met by a GET.
        """
        code = _code(error)
        if code == "NoSuchKey":
            return True
        if code not in MISSING | {"403", "AccessDenied", "Forbidden"}:
            return False
        full = self._at(key)["Key"]
        answer = self._s3.list_objects_v2(Bucket=self._name, Prefix=full, MaxKeys=1)
        keys = [entry["Key"] for entry in answer.get("Contents", [])]  # succeeds, so the bucket exists
        return code in MISSING or full not in keys

    def region(self) -> str:
        with self._errors():
            try:
                answer = self._s3.head_bucket(Bucket=self._name)
            except self._exceptions.ClientError as error:  # a refusal has the header, too
                answer = error.response
        return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._exceptions.ClientError, self._exceptions.BotoCoreError, self._boto3_error) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> BucketError:
        known = self._exceptions
        if isinstance(error, self._boto3_error) and isinstance(error.__context__, known.ClientError):
            error = error.__context__  # upload_file and download_file wrap the client's error
        if isinstance(error, known.ClientError):
            return self._answered(error)
        if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
            return CredentialsMissing(f"{self.url}: no AWS credentials; {LOGIN}")
        tokens = known.SSOError, known.TokenRetrievalError, known.UnauthorizedSSOTokenError
        if isinstance(error, (known.CredentialRetrievalError, *tokens)):
            return CredentialsExpired(f"{self.url}: no valid AWS credentials ({type(error).__name__})")
        if isinstance(error, (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError)):
            return BucketUnreachable(f"{self.url}: {error}")
        return BucketError(f"{self.url}: {error}")

    def _answered(self, error: Any) -> BucketError:
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = f"{self.url}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        if code == "NoSuchBucket" or (status == 404 and code in MISSING):
            return BucketGone(said)
        if code in EXPIRED:
            return CredentialsExpired(said)
        if code == "RequestTimeTooSkewed":
            return BucketDenied(f"{said} (the clock of this machine is wrong)")
        if status in (401, 403):
            return BucketDenied(said)
        if code in BUSY or status in (408, 429) or status >= 500:
            return BucketUnreachable(said)
        return BucketError(said)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
