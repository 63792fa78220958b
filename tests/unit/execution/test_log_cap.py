"""core/log_cap.py: the head and the tail of a log stay, what lies between makes room, and a note says how much that was."""

import contextlib
import errno
import os
import re
import resource
import signal
from pathlib import Path

import pytest

from studio.execution import log_cap
from studio.execution.log_cap import BLOCK, NOTE, LogCap

LIMIT = 64 * BLOCK
HALF = 32 * BLOCK


@pytest.fixture
def log(tmp_path):
    return tmp_path / "output.log"


@pytest.fixture
def holes(tmp_path):
    """Skips where the file system has none."""
    with open(tmp_path / "probe", "wb+") as probe:
        probe.write(b"x" * 2 * BLOCK)
        probe.flush()
        try:
            log_cap._punch_hole(probe.fileno(), 0, BLOCK)
        except OSError:
            pytest.skip("this file system has no holes")


def numbered(count, begin=0):
    """Lines of 16 bytes."""
    return b"".join(b"line %10d\n" % number for number in range(begin, begin + count))


def disk(path):
    return os.stat(path).st_blocks * 512


def note_in(data):
    (found,) = re.findall(
        rb"\n\[studio: ([\d,]+) bytes of the output are left out here; --max-log keeps more\] *\n", data
    )
    return int(found.replace(b",", b""))


def check(data, whole):
    """`data` is the head of `whole`, a note, and its tail; together they count every byte."""
    head, note, tail = re.split(rb"(\n\[studio: .*\] *\n)", data)
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + note_in(note) + len(tail) == len(whole)


# --- while it grows ---------------------------------------------------------------------------------------------------


def test_a_short_log_stays_as_it_is(log):
    log.write_bytes(numbered(100))
    cap = LogCap(log, LIMIT)
    assert cap.trim(1600)
    cap.compact()
    assert log.read_bytes() == numbered(100)


def test_what_was_read_makes_room_and_the_file_keeps_its_length(log, holes):
    whole = numbered(100_000)
    log.write_bytes(whole)
    assert LogCap(log, LIMIT).trim(len(whole))
    data = log.read_bytes()
    assert len(data) == len(whole)
    assert disk(log) <= LIMIT + 2 * BLOCK
    assert data[: HALF - NOTE] == whole[: HALF - NOTE]
    assert data[-HALF:] == whole[-HALF:]
    begin = data.index(b"\0")
    assert begin == HALF
    assert data.rindex(b"\0") + 1 - begin == note_in(data) - NOTE
    assert data.strip(b"\0").count(b"\0") == note_in(data) - NOTE


def test_what_was_not_read_yet_stays(log, holes):
    whole = numbered(100_000)
    log.write_bytes(whole)
    assert LogCap(log, LIMIT).trim(3 * LIMIT)
    assert log.read_bytes()[3 * LIMIT :] == whole[3 * LIMIT :]
    assert LogCap(log, LIMIT).trim(LIMIT)
    assert disk(log) > len(whole) - 4 * LIMIT


def test_a_script_goes_on_writing_behind_the_hole(log, holes):
    """The script has the file open for appending all the time."""
    cap, written = LogCap(log, LIMIT), 0
    with open(log, "ab", buffering=0) as script:
        for _ in range(50):
            script.write(numbered(5000, written))
            written += 5000
            assert cap.trim(cap.size)
            assert disk(log) <= LIMIT + 5000 * 16 + HALF + 2 * BLOCK
    assert log.stat().st_size == written * 16
    cap.compact()
    check(log.read_bytes(), numbered(written))
    assert log.stat().st_size <= LIMIT


def test_a_log_that_grew_between_two_looks_is_cut_when_it_has_ended(log):
    whole = numbered(100_000)
    log.write_bytes(whole)
    LogCap(log, LIMIT).compact()
    check(log.read_bytes(), whole)
    assert log.stat().st_size <= LIMIT


@pytest.mark.parametrize("limit", [1, BLOCK, 3 * BLOCK + 1])
def test_the_smallest_limits_keep_a_head_and_a_tail_all_the_same(log, limit):
    whole = numbered(10_000)
    log.write_bytes(whole)
    cap = LogCap(log, limit)
    cap.trim(len(whole))
    cap.compact()
    check(log.read_bytes(), whole)
    assert log.stat().st_size <= max(limit, 2 * BLOCK)


def test_it_keeps_its_permissions_and_leaves_nothing_beside_it(log):
    log.write_bytes(numbered(100_000))
    log.chmod(0o640)
    LogCap(log, LIMIT).compact()
    assert log.stat().st_mode & 0o777 == 0o640
    assert os.listdir(log.parent) == ["output.log"]


# --- whatever becomes of the file -------------------------------------------------------------------------------------


def test_a_log_that_was_removed_is_no_concern(log, holes):
    cap = LogCap(log, LIMIT)
    assert (cap.size, cap.trim(0)) == (0, True)
    log.write_bytes(numbered(100_000))
    assert cap.trim(cap.size)
    log.unlink()
    assert cap.trim(1_600_000)
    cap.compact()
    assert os.listdir(log.parent) == ["probe"]


def test_a_log_that_the_script_emptied_is_thinned_out_anew(log, holes):
    cap = LogCap(log, LIMIT)
    log.write_bytes(numbered(200_000))
    assert cap.trim(cap.size)
    os.truncate(log, 0)
    assert cap.trim(cap.size)
    whole = numbered(100_000, 7)
    log.write_bytes(whole)
    assert cap.trim(cap.size)
    assert disk(log) <= LIMIT + 2 * BLOCK
    cap.compact()
    check(log.read_bytes(), whole)


def test_a_log_that_was_emptied_last_stays_as_it_is(log):
    cap = LogCap(log, LIMIT)
    log.write_bytes(numbered(200_000))
    cap.trim(cap.size)
    log.write_bytes(b"the end\n")
    cap.compact()
    assert log.read_bytes() == b"the end\n"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path.parent / "other", path)])
def test_what_a_script_puts_in_its_place_is_neither_read_nor_written(log, make):
    other = log.parent / "other"
    other.write_bytes(numbered(200_000))
    cap = LogCap(log, LIMIT)
    log.write_bytes(numbered(200_000))
    cap.trim(cap.size)
    log.unlink()
    make(log)
    assert cap.trim(3_200_000)
    try:
        cap.compact()
    except OSError:
        assert sorted(os.listdir(log.parent)) == ["other", "output.log"]
    assert other.read_bytes() == numbered(200_000)


def test_a_link_beside_it_leads_nowhere(log, tmp_path):
    """The shorter copy is written under another name first; a script may have put a link there."""
    (tmp_path / "precious").write_text("mine")
    log.with_suffix(".part").symlink_to(tmp_path / "precious")
    log.write_bytes(numbered(100_000))
    LogCap(log, LIMIT).compact()
    assert (tmp_path / "precious").read_text() == "mine"
    check(log.read_bytes(), numbered(100_000))
    assert not log.is_symlink()


def test_where_the_shorter_copy_cannot_be_written_the_log_stays_and_nothing_else_does(log, limited_files):
    whole = numbered(100_000)
    log.write_bytes(whole)
    cap = LogCap(log, LIMIT)
    with limited_files(LIMIT // 2), pytest.raises(OSError, match="too large"):
        cap.compact()
    assert log.read_bytes() == whole
    assert os.listdir(log.parent) == ["output.log"]


@pytest.fixture
def limited_files():
    """`with limited_files(bytes)`: no file may become larger, which is what a full disk looks like."""

    @contextlib.contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, heard)

    return limit


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EOPNOTSUPP, False),
        (errno.ENOSYS, False),
        (errno.EINVAL, False),
        (errno.EPERM, False),
        (errno.EIO, False),
        (errno.ENOSPC, True),  # that passes
        (errno.EINTR, True),
    ],
)
def test_whether_holes_are_possible_is_said(log, monkeypatch, number, word):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(log_cap, "_punch_hole", refuse)
    whole = numbered(100_000)
    log.write_bytes(whole)
    cap = LogCap(log, LIMIT)
    assert cap.trim(len(whole)) is word
    assert log.read_bytes() == whole
    cap.compact()
    check(log.read_bytes(), whole)


def test_no_file_stays_open(log):
    log.write_bytes(numbered(100_000))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    cap = LogCap(log, LIMIT)
    cap.trim(cap.size)
    cap.compact()
    assert before is None or len(os.listdir("/proc/self/fd")) == before
