"""How S3 and Google Cloud Storage say that something went wrong, and what a bucket makes of it.

A server that answers from a script stands in for both: the simulators do not lose answers, expire or refuse.
"""

import gc
import json
import threading
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from studio.backends.queue import gcs_bucket, s3_bucket
from studio.backends.queue.bucket import (
    BucketDenied,
    BucketGone,
    BucketUnreachable,
    CredentialsExpired,
)
from studio.backends.queue.bucket_url import open_bucket

DROPPED = 0  # instead of a status: the connection ends without an answer


@dataclass
class Server:
    """Answers requests from `script`, each (status, headers, body); the last answer stays."""

    url: str
    script: list = field(default_factory=list)
    requests: list = field(default_factory=list)  # "PUT /bucket/key"

    def answers(self, *script):
        self.script = list(script)


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.requests.append(f"{self.command} {self.path}")
            status, headers, body = told.script.pop(0) if len(told.script) > 1 else told.script[0]
            self.close_connection = True
            if status == DROPPED:
                return
            self.send_response(status)
            for name, value in {"Connection": "close", "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = answer

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    http.shutdown()
    thread.join()
    http.server_close()


# --- S3 ---------------------------------------------------------------------------------------------------------------


def s3_error(status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as it says</Message></Error>".encode()
    return status, {"Content-Type": "application/xml"}, body


def s3_listing(*keys):
    entries = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    return 200, {"Content-Type": "application/xml"}, f"<ListBucketResult>{entries}</ListBucketResult>".encode()


NOTHING = (DROPPED, {}, b"")
WRITTEN = (200, {"ETag": '"2"'}, b"")


def holds(data, etag='"2"'):
    return 200, {"ETag": etag}, data


@pytest.fixture
def s3(server, monkeypatch):
    pytest.importorskip("boto3")
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    with open_bucket("s3://searches/digits") as bucket:
        yield bucket


def test_s3_a_put_whose_answer_was_lost_is_found_to_have_landed(s3, server):
    server.answers(NOTHING, s3_error(412, "PreconditionFailed"), holds(b"beat 2"))
    assert s3.put_if_match("leases/1", b"beat 2", '"1"') == '"2"'
    assert [request.split()[0] for request in server.requests] == ["PUT", "PUT", "GET"]


def test_s3_a_put_whose_answer_was_lost_and_that_another_beat_is_refused(s3, server):
    server.answers(NOTHING, s3_error(412, "PreconditionFailed"), holds(b"by another"))
    assert s3.put_if_match("leases/1", b"beat 2", '"1"') is None


def test_s3_after_a_conflict_in_which_nobody_won_it_is_written_again(s3, server):
    server.answers(s3_error(409, "ConditionalRequestConflict"), s3_error(404, "NoSuchKey"), WRITTEN)
    assert s3.put_if_absent("outcomes/1", b"mine") == '"2"'


def test_s3_after_a_conflict_that_we_won_it_is_not_written_again(s3, server):
    server.answers(s3_error(409, "ConditionalRequestConflict"), holds(b"mine"))
    assert s3.put_if_absent("outcomes/1", b"mine") == '"2"'
    assert len(server.requests) == 2


def test_s3_conflicts_without_end_are_no_answer(s3, server):
    server.answers(*[s3_error(409, "ConditionalRequestConflict"), holds(b"of another")] * 5)
    with pytest.raises(BucketUnreachable, match="same moment"):
        s3.put_if_match("leases/1", b"mine", '"1"')


def test_s3_answers_403_for_a_missing_key_to_a_worker_that_may_list_its_prefix_alone(s3, server):
    server.answers(s3_error(403, "AccessDenied"), s3_listing("digits/stops/10"))
    assert s3.get("stops/1") is None
    assert "prefix=digits%2Fstops%2F1&" in server.requests[1]


def test_s3_a_key_that_is_there_and_may_not_be_read_is_denied(s3, server):
    server.answers(s3_error(403, "AccessDenied"), s3_listing("digits/stops/1"))
    with pytest.raises(BucketDenied):
        s3.get("stops/1")


def test_s3_errors_are_told_apart_and_hold_no_secret(s3, server, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_bucket, "ATTEMPTS", 1)
    with open_bucket("s3://searches/digits") as hasty:
        for answer, error in (
            (s3_error(403, "AccessDenied"), BucketDenied),
            (s3_error(403, "InvalidAccessKeyId"), BucketDenied),
            (s3_error(400, "ExpiredToken"), CredentialsExpired),
            (s3_error(403, "RequestTimeTooSkewed"), BucketDenied),
            (s3_error(404, "NoSuchBucket"), BucketGone),
            (s3_error(503, "SlowDown"), BucketUnreachable),
            (NOTHING, BucketUnreachable),
        ):
            check_error(hasty, server, answer, error, tmp_path)


def check_error(bucket, server, answer, error, tmp_path):
    server.answers(answer)
    file = tmp_path / "file"
    file.write_text("text")
    for call in (
        lambda: bucket.get("jobs/1"),
        lambda: bucket.put_if_absent("jobs/1", b""),
        lambda: list(bucket.list("jobs/")),
        lambda: bucket.upload("out/1", file),
    ):
        with pytest.raises(error) as raised:
            call()
        assert type(raised.value) is error
        assert "very-secret" not in str(raised.value)


# --- Google Cloud Storage ---------------------------------------------------------------------------------------------


def gcs_json(status, body):
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def gcs_error(status, message="as it says"):
    return gcs_json(status, {"error": {"code": status, "message": message}})


def gcs_holds(data, generation="2"):
    return 200, {"X-Goog-Generation": generation, "Content-Type": "application/octet-stream"}, data


GCS_WRITTEN = gcs_json(200, {"name": "digits/leases/1", "generation": "2"})


@pytest.fixture
def gcs(server, monkeypatch):
    pytest.importorskip("google.cloud.storage")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    monkeypatch.setattr(gcs_bucket, "PATIENCE", 0.1)
    monkeypatch.setattr(gcs_bucket, "PATIENCE_FILES", 0.1)
    with open_bucket("gs://searches/digits") as bucket:
        yield bucket
    with warnings.catch_warnings():  # what is left of those falls on no other test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_gcs_a_put_whose_answer_was_lost_is_found_to_have_landed(gcs, server, monkeypatch):
    monkeypatch.setattr(gcs_bucket, "PATIENCE", 20)  # the library waits up to a second before it sends again
    with open_bucket("gs://searches/digits") as patient:
        server.answers(NOTHING, gcs_error(412), gcs_holds(b"beat 2"))
        assert patient.put_if_match("leases/1", b"beat 2", "1") == "2"
    assert all("ifGenerationMatch=1" in request for request in server.requests[:2])


def test_gcs_a_put_that_another_beat_is_refused(gcs, server):
    server.answers(gcs_error(412), gcs_holds(b"by another", "9"))
    assert gcs.put_if_match("leases/1", b"beat 2", "1") is None


def test_gcs_a_first_put_asks_for_generation_zero(gcs, server):
    server.answers(GCS_WRITTEN)
    assert gcs.put_if_absent("leases/1", b"beat 1") == "2"
    assert "ifGenerationMatch=0" in server.requests[0]


def test_gcs_answers_403_for_a_missing_key_to_a_worker_that_may_list_its_prefix_alone(gcs, server):
    server.answers(gcs_error(403), gcs_json(200, {"items": [{"name": "digits/stops/10"}]}))
    assert gcs.get("stops/1") is None


def test_gcs_a_key_that_is_there_and_may_not_be_read_is_denied(gcs, server):
    server.answers(gcs_error(403), gcs_json(200, {"items": [{"name": "digits/stops/1"}]}))
    with pytest.raises(BucketDenied):
        gcs.get("stops/1")


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # the library reads no answer that it will ask for again
def test_gcs_errors_are_told_apart(gcs, server, tmp_path):
    for answer, error in (
        (gcs_error(403), BucketDenied),
        (gcs_error(401), CredentialsExpired),
        (gcs_error(404, "The specified bucket does not exist."), BucketGone),
        (gcs_error(429), BucketUnreachable),
        (gcs_error(503), BucketUnreachable),
        (NOTHING, BucketUnreachable),
    ):
        check_error(gcs, server, answer, error, tmp_path)
