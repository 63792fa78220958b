"""A folder as a bucket, with processes that come, wait and are killed."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from studio.backends.queue import folder_bucket
from studio.backends.queue.bucket import BucketDenied, BucketError, BucketFull, BucketGone, BucketUnreachable
from studio.backends.queue.bucket_url import open_bucket


@pytest.fixture
def bucket(tmp_path):
    return open_bucket(str(tmp_path / "shared"), create=True)


def process(bucket, code):
    head = f"import json, sys\nfrom studio.backends.queue.bucket_url import open_bucket\nbucket = open_bucket({bucket.url!r})\n"
    return subprocess.Popen([sys.executable, "-c", head + textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def test_many_processes_that_swap_one_value_lose_no_update(bucket):
    bucket.put_if_absent("leases/1", b'{"count": 0}')
    count = """
        done = 0
        while done < 25:
            data, version = bucket.get("leases/1")
            new = json.dumps({"count": json.loads(data)["count"] + 1, "by": sys.argv[0], "mine": id(done), "done": done})
            done += bucket.put_if_match("leases/1", new.encode(), version) is not None
    """
    counters = [process(bucket, count.replace("id(done)", str(number))) for number in range(4)]
    assert [counter.communicate(timeout=50)[0] for counter in counters] == [""] * 4
    assert json.loads(bucket.get("leases/1")[0])["count"] == 100
    assert [name.name for name in (bucket.folder / ".studio-bucket").iterdir()] == ["lock"]


def test_of_many_processes_that_create_a_key_one_wins(bucket):
    create = """
        import os
        for job in range(20):
            won = bucket.put_if_absent(f"outcomes/{job}", str(os.getpid()).encode())
            print(job, won is not None)
    """
    printed = [process(bucket, create) for _ in range(4)]
    winners = [line for one in printed for line in one.communicate(timeout=50)[0].splitlines() if "True" in line]
    assert sorted(winners) == sorted(f"{job} True" for job in range(20))


@pytest.mark.parametrize("code", [errno.EACCES, errno.ESTALE])
def test_an_unreadable_folder_is_not_empty(code, bucket, monkeypatch):
    """Root may read everything, so the refusal is made here."""
    bucket.put_if_absent("jobs/1", b"1")
    whole = os.scandir

    def refuse(path):
        if str(path).endswith("jobs"):
            raise OSError(code, os.strerror(code), path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BucketError):
        bucket.list("jobs/")
    assert list(bucket.list("outcomes/")) == [], "one that is not there is empty"


def test_a_process_killed_while_it_writes_leaves_the_old_value_and_no_lock(bucket):
    bucket.put_if_absent("leases/1", b"old")
    writing = process(
        bucket,
        """
        import os
        from studio.backends.queue import folder_bucket
        def cut(descriptor):
            print("writing", flush=True)
            input()
        folder_bucket._to_disk = cut
        bucket.put_if_match("leases/1", b"new", bucket.get("leases/1")[1])
        """,
    )
    assert writing.stdout.readline() == "writing\n"
    writing.kill()
    writing.communicate()
    data, version = bucket.get("leases/1")
    assert data == b"old"
    assert bucket.put_if_match("leases/1", b"newer", version) is not None


def test_a_lock_held_by_a_paused_process_is_no_answer_and_no_waiting_without_end(bucket, monkeypatch):
    monkeypatch.setattr(folder_bucket, "PATIENCE", 0.05)
    with open(bucket.folder / ".studio-bucket" / "lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BucketUnreachable, match="lock has been held"):
            bucket.put_if_absent("jobs/1", b"one")
    assert bucket.put_if_absent("jobs/1", b"one") is not None


def test_a_value_that_comes_back_has_another_version(bucket):
    first = bucket.put_if_absent("leases/1", b"A")
    second = bucket.put_if_match("leases/1", b"B", first)
    third = bucket.put_if_match("leases/1", b"A", second)
    assert third != first
    assert bucket.put_if_match("leases/1", b"stolen", first) is None


def test_a_clock_that_went_back_changes_nothing(bucket, monkeypatch):
    first = bucket.put_if_absent("leases/1", b"A")
    monkeypatch.setattr(folder_bucket.time, "time_ns", lambda: 1_000)
    second = bucket.put_if_match("leases/1", b"B", first)
    third = bucket.put_if_match("leases/1", b"A", second)
    assert len({first, second, third}) == 3


def test_times_that_a_file_system_rounds_to_seconds_still_tell_versions_apart(bucket, monkeypatch):
    exact = os.utime
    monkeypatch.setattr(
        folder_bucket.os, "utime", lambda path, ns: exact(path, ns=tuple(t // 10**9 * 10**9 for t in ns))
    )
    versions, version = [], bucket.put_if_absent("leases/1", b"A")
    for data in (b"B", b"A", b"B", b"A"):
        versions.append(version)
        version = bucket.put_if_match("leases/1", data, version)
    assert len({*versions, version}) == 5


def test_values_are_plain_files_that_others_may_read(bucket):
    mask = os.umask(0o022)
    try:
        bucket.put_if_absent("jobs/1", b"one")
    finally:
        os.umask(mask)
    file = bucket.folder / "jobs" / "1"
    assert file.read_bytes() == b"one"
    assert file.stat().st_mode & 0o777 == 0o644


def test_parts_that_a_killed_process_left_long_ago_are_swept(bucket):
    old, new = (bucket.folder / ".studio-bucket" / name for name in ("part-old", "part-new"))
    for part in (old, new):
        part.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)
    open_bucket(bucket.url)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_is_deleted_is_gone(bucket):
    (bucket.folder / ".studio-bucket" / "lock").unlink(missing_ok=True)
    (bucket.folder / ".studio-bucket").rmdir()
    for call in (
        lambda: bucket.get("jobs/1"),
        lambda: bucket.put_if_absent("jobs/1", b""),
        lambda: list(bucket.list("jobs/")),
    ):
        with pytest.raises(BucketGone):
            call()


def test_a_key_that_is_the_folder_of_another_is_an_error(bucket):
    bucket.put_if_absent("out/1", b"")
    with pytest.raises(BucketError, match="folder of another"):
        bucket.put_if_absent("out/1/log", b"")
    with pytest.raises(BucketError, match="folder of another"):
        bucket.get("out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_denied(bucket):
    bucket.folder.chmod(0o500)
    try:
        with pytest.raises(BucketDenied):
            bucket.put_if_absent("jobs/1", b"")
    finally:
        bucket.folder.chmod(0o700)


def test_a_full_disk_may_pass(bucket, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_bucket.os, "fsync", full)
    with pytest.raises(BucketFull, match="no space left"):
        bucket.put_if_absent("jobs/1", b"one")
    assert bucket.get("jobs/1") is None
    assert not list((bucket.folder / ".studio-bucket").glob("part-*"))
