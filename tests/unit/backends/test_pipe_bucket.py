"""A bucket behind a pipe: the same answers as the one behind it; its end; and whoever writes nonsense into it."""

import os
import threading

import pytest

from studio.backends.queue.bucket import BucketError, BucketFull, BucketGone
from studio.backends.queue.bucket_url import open_bucket
from studio.backends.queue.pipe_bucket import PART, PipeBucket, serve
from studio.backends.queue.worker import Worker
from studio.host import create_host


@pytest.fixture
def behind(tmp_path):
    return open_bucket(str(tmp_path / "shared"), create=True)


@pytest.fixture
def ends(behind, tmp_path):
    """The pipe's ends: the worker's two, and what cuts it."""
    question, answer = os.pipe(), os.pipe()
    files = [os.fdopen(end, mode) for end, mode in zip((*question, *answer), ("rb", "wb", "rb", "wb"), strict=True)]
    (tmp_path / "parts").mkdir()
    arguments = (behind, files[0], files[3], tmp_path / "parts")
    thread = threading.Thread(target=lambda: (serve(*arguments), files[3].close()))
    thread.start()
    yield files[1], files[2]
    files[1].close()
    thread.join(10)
    assert not thread.is_alive()
    assert list((tmp_path / "parts").iterdir()) == [], "no part of a file is left"
    for file in files:
        file.close()


@pytest.fixture
def bucket(ends):
    return PipeBucket(*ends)


def test_values_are_those_behind_it(bucket, behind):
    version = bucket.put_if_absent("jobs/1", b"\x00one\n")
    assert bucket.get("jobs/1") == behind.get("jobs/1") == (b"\x00one\n", version)
    assert bucket.put_if_absent("jobs/1", b"two") is None
    second = bucket.put_if_match("jobs/1", b"two", version)
    assert behind.get("jobs/1") == (b"two", second)
    assert bucket.put_if_match("jobs/1", b"three", version) is None
    assert bucket.get("jobs/2") is None
    assert list(bucket.list("jobs/")) == ["jobs/1"]
    assert list(bucket.list("jobs/", after="jobs/1")) == []


def test_a_worker_of_an_earlier_version_has_its_keys(bucket, behind):
    behind.put_if_absent("jobs/1", b"one")
    assert bucket._ask("list", prefix="jobs/", after="")[0]["keys"] == ["jobs/1"]


@pytest.mark.parametrize("size", [0, 1, PART, 2 * PART + 7])
def test_files_go_in_and_come_out_whole(size, bucket, behind, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(size))
    bucket.upload("blobs/1.tar", tmp_path / "file")
    assert bucket.download("blobs/1.tar", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    assert not bucket.download("blobs/2.tar", tmp_path / "none")


def test_errors_are_those_behind_it(bucket, behind, monkeypatch):
    def full(key, data):
        raise BucketFull("no space left")

    monkeypatch.setattr(behind, "put_if_absent", full)
    with pytest.raises(BucketFull, match="no space left"):
        bucket.put_if_absent("jobs/1", b"1")
    with pytest.raises(BucketError, match="cannot be a key"):
        bucket.get("../etc")
    assert bucket.get("jobs/1") is None, "the pipe goes on"


def test_keys_are_checked_on_the_other_side_too(bucket, tmp_path):
    """A machine may write whatever it likes into the pipe."""
    (tmp_path / "secret").write_text("secret")
    for asked in (
        {"do": "get", "key": "../secret"},
        {"do": "download", "part": "x", "key": "../secret"},
        {"do": "read", "part": "../../secret", "at": 0},
        {"do": "no such thing"},
        {"do": "get"},
        {"do": ["get"]},
        {"do": "list", "prefix": "../", "after": ""},
    ):
        with pytest.raises(BucketError):
            bucket._ask(asked.pop("do"), **asked)
    bucket._ask("append", b"x", part="../../secret")
    bucket._ask("drop", part="../../secret")
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize("nonsense", [b"hello\n", b"[]\n", b'{"size": -1}\n', b'{"size": 1e99}\n', b'{"size": 9}\nx'])
def test_nonsense_ends_the_pipe(nonsense, ends):
    ends[0].write(nonsense)
    ends[0].close()
    assert ends[1].read() == b""


def test_a_pipe_that_ends_is_a_bucket_that_is_gone(bucket, ends):
    ends[0].close()
    with pytest.raises(BucketGone, match="the search has ended"):
        bucket.get("jobs/1")
    with pytest.raises(BucketGone):
        Worker(bucket, create_host(), look=0.01).run()
