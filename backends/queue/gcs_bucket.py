"""Google Cloud Storage as a bucket. The version of a value is its generation, which grows with every write.

`if_generation_match=0` writes only if the key does not exist. 412 is the refusal; it also comes if our own PUT succeeded,
its response was lost, and the library sent it again. A key accepts about one write a second: more get 429 and are
retried later.
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

CONNECT, READ = 5, 20  # seconds
LOGIN = "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"
PATIENCE = 20  # seconds of retries: the holder of a lease must learn of errors before it expires
PATIENCE_FILES = 300  # seconds without progress, for files


class GCSBucket(Bucket):
    """A bucket in Google Cloud Storage. `prefix` is empty or ends with a slash.

    Credentials are the application default ones: of the machine, of `gcloud auth`, or of the file named by
    GOOGLE_APPLICATION_CREDENTIALS.
    """

    def __init__(self, name: str, prefix: str = ""):
        storage = sdk("google.cloud.storage", extra="gce")
        self.url = f"gs://{name}/{prefix}"
        self._name, self._prefix = name, prefix
        self._api = sdk("google.api_core.exceptions", extra="gce")
        self._auth = sdk("google.auth.exceptions", extra="gce")
        self._http = (
            sdk("requests.exceptions", extra="gce").RequestException,
            sdk("urllib3.exceptions", extra="gce").HTTPError,
            sdk("google.cloud.storage.exceptions", extra="gce").InvalidResponse,
            sdk("google.cloud.storage.exceptions", extra="gce").DataCorruption,
            ConnectionError,
        )
        retry = sdk("google.cloud.storage.retry", extra="gce").DEFAULT_RETRY
        self._small = {"timeout": (CONNECT, READ), "retry": retry.with_timeout(PATIENCE)}
        # Set explicitly: without a generation to match the library would not retry an upload.
        self._large = {"timeout": (CONNECT, 60), "retry": retry.with_timeout(PATIENCE_FILES)}
        with self._errors():
            self._client = storage.Client()
        # Else a thread of the library repeatedly requests the bucket's metadata, for traces that are not used, with a
        # permission that workers do not have.
        self._client._bucket_metadata_cache = None
        self._bucket = self._client.bucket(name)

    def get(self, key: str) -> tuple[bytes, str] | None:
        blob = self._blob(key)
        with self._errors():
            try:
                data = blob.download_as_bytes(**self._small)
            except (self._api.NotFound, self._api.Forbidden) as error:
                if self._is_missing(error, blob.name):
                    return None
                raise
        return data, str(blob.generation)  # from the response with the data

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        return self._put(key, data, 0)

    def put_if_match(self, key: str, data: bytes, version: str) -> str | None:
        return self._put(key, data, int(version))

    def entries(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        fields = "items(name,generation,size),nextPageToken"
        options = {"prefix": self._prefix + check_prefix(prefix), "fields": fields}
        if after:
            options["start_offset"] = self._prefix + after  # the first one is this key itself
        with self._errors():
            for blob in self._client.list_blobs(self._name, **options, **self._small):
                key = blob.name.removeprefix(self._prefix)
                if key > after:
                    yield Entry(key, str(blob.generation), blob.size)

    def upload(self, key: str, path: Path) -> None:
        blob = self._blob(key)
        with self._errors():
            blob.upload_from_filename(str(path), **self._large)

    def download(self, key: str, path: Path) -> bool:
        blob = self._blob(key)
        with self._errors():
            try:
                with whole_file(path) as part:
                    blob.download_to_filename(str(part), **self._large)
            except (self._api.NotFound, self._api.Forbidden) as error:
                if self._is_missing(error, blob.name):
                    return False
                raise
        return True

    def close(self) -> None:
        self._client.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _blob(self, key: str) -> Any:
        return self._bucket.blob(self._prefix + check_key(key))

    def _put(self, key: str, data: bytes, generation: int) -> str | None:
        blob = self._blob(key)
        with self._errors():
            try:
                blob.upload_from_string(data, if_generation_match=generation, **self._small)
                return str(blob.generation)
            except self._api.PreconditionFailed:
                pass
            except self._api.NotFound as error:  # the key, with a generation to match; or the bucket
                if not self._is_missing(error, blob.name):
                    raise
        return self._landed(key, data)

    def _is_missing(self, error: Exception, name: str) -> bool:
        """Return whether that error means that the bucket exists and the key does not.

        404 means either. 403 is sent for a missing key if the account may not list the bucket, or only a prefix.
        """
        if isinstance(error, self._api.NotFound) and "No such object" in str(error):
            return True
        found = self._client.list_blobs(self._name, prefix=name, max_results=1, fields="items(name)", **self._small)
        names = [blob.name for blob in found]  # success means that the bucket exists
        return isinstance(error, self._api.NotFound) or name not in names

    def region(self) -> str:
        with self._errors():
            try:
                found = self._client.get_bucket(self._name, **self._small)
            except self._api.Forbidden:  # a search continues without that permission
                return ""
        return "" if found.location_type == "dual-region" else str(found.location or "").lower()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._api.GoogleAPIError, self._auth.GoogleAuthError, *self._http) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> BucketError:
        api, auth, said = self._api, self._auth, f"{self.url}: {type(error).__name__}: {error}"
        if isinstance(error, api.NotFound):
            return BucketGone(f"{self.url}: there is no bucket {self._name} at Google")
        if isinstance(error, api.Unauthorized):
            return CredentialsExpired(said)
        if isinstance(error, auth.TransportError):
            return BucketUnreachable(said)
        if type(error) is auth.DefaultCredentialsError:  # its subclasses have other meanings
            return CredentialsMissing(f"{self.url}: no Google credentials; {LOGIN}")
        if isinstance(error, auth.GoogleAuthError):  # its text may quote the token server
            return CredentialsExpired(f"{self.url}: no Google credentials that work ({type(error).__name__})")
        if isinstance(error, api.Forbidden):
            return BucketDenied(said)
        passing = (
            api.ServerError,
            api.TooManyRequests,
            api.RetryError,
        )  # RetryError: one of those, until the time for retries ended
        if isinstance(error, (*passing, *self._http)) or getattr(error, "code", None) == 408:
            return BucketUnreachable(said)
        return BucketError(said)
