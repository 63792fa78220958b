"""core/tail.py: each byte of a growing file once, whole lines, bounded memory."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.system import tail
from studio.system.tail import Lines, Sample, Tail, thinned


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def append(file: Path, data: bytes) -> None:
    with open(file, "ab") as out:
        out.write(data)


def taken(source: Tail) -> bytes:
    return b"".join(source.read())


def lines(source: Lines, *, last: bool = False) -> list[bytes]:
    return [line for block in source.read(last=last) for line in block.split(b"\n") if line]


# --- Tail


def test_a_file_that_comes_later_and_grows(file: Path) -> None:
    source = Tail(str(file))
    assert taken(source) == b""
    for data in (b"one", b"", b"two", b"x" * (tail.CHUNK * 2 + 1)):
        append(file, data)
        assert taken(source) == data
    assert taken(source) == b""


def test_a_file_that_grows_while_it_is_read_ends_where_it_was(file: Path) -> None:
    append(file, b"a" * (tail.CHUNK + 1))
    source = Tail(str(file))
    sizes = []
    for chunk in source.read():
        sizes.append(len(chunk))
        append(file, b"b" * tail.CHUNK)  # a flood
    assert sizes == [tail.CHUNK, 1]
    assert taken(source) == b"b" * tail.CHUNK * 2


def test_a_file_that_is_cut_while_it_is_read(file: Path) -> None:
    append(file, b"a" * (tail.CHUNK * 2))
    source = Tail(str(file))
    for _ in source.read():
        os.truncate(file, 0)
    append(file, b"new")
    assert taken(source) == b"new"


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_a_shorter_file_is_a_new_one(file: Path, keep: int) -> None:
    append(file, b"abcde")
    source = Tail(str(file))
    taken(source)
    os.truncate(file, keep)
    assert taken(source) == b"abcde"[:keep]
    assert source.generation == 1


def test_a_file_cut_and_written_anew_between_two_calls(file: Path) -> None:
    append(file, b"abcde")
    source = Tail(str(file))
    taken(source)
    file.write_bytes(b"new")
    assert taken(source) == b"new"


def test_another_file_of_the_same_name_is_read_from_its_beginning(file: Path) -> None:
    append(file, b"abcde")
    source = Tail(str(file))
    taken(source)
    new = file.with_name("new")
    new.write_bytes(b"longer than before")
    os.replace(new, file)
    assert taken(source) == b"longer than before"


def test_a_deleted_file_that_comes_again_is_a_new_one_whatever_its_inode(file: Path) -> None:
    append(file, b"abcde")
    source = Tail(str(file))
    taken(source)
    file.unlink()
    assert taken(source) == b""
    append(file, b"abcdefg")
    assert taken(source) == b"abcdefg"


def test_what_was_there_before_is_left_out_once(file: Path) -> None:
    append(file, b"old new")
    source = Tail(str(file), start=4)
    assert taken(source) == b"new"
    file.write_bytes(b"all")
    assert taken(source) == b"all"


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    for name in ("fifo", "loop", "", "zero\0byte", "file/below", "x" * 300):
        assert taken(Tail(str(tmp_path / name))) == b""
    assert taken(Tail("/dev/zero")) == b""


def test_an_unreadable_disk_is_tried_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, b"abc")
    source = Tail(str(file))
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", lambda *_: (_ for _ in ()).throw(OSError("no disk")))
        assert taken(source) == b""
    assert taken(source) == b"abc"


def test_no_file_handle_is_kept(file: Path) -> None:
    append(file, b"x" * tail.CHUNK * 2)
    source = Tail(str(file))
    before = len(os.listdir("/dev/fd"))
    for _ in source.read():
        break  # who stops early loses nothing but the chunk in hand
    taken(source)
    assert len(os.listdir("/dev/fd")) == before


# --- Lines


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r", b"\r\n", b"a\nb\rc"]), max_size=12))
def test_pieces_of_any_size_give_the_same_lines(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    file = tmp_path_factory.mktemp("lines") / "file"
    source = Lines(str(file), ends=(b"\n", b"\r"))
    got = b""
    for piece in pieces:
        append(file, piece)
        for block in source.read():
            assert block[-1:] in (b"\n", b"\r"), "a block ends with a line"
            got += block
    got += b"".join(source.read(last=True))
    assert got == b"".join(pieces)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 50))
def test_lines_up_to_the_longest_always_come(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], cut: int
) -> None:
    file = tmp_path_factory.mktemp("lines") / "file"
    source = Lines(str(file), longest=20)
    text = b"".join(b"%02d" % at + b"x" * length + b"\n" for at, length in enumerate(lengths))
    got = []
    for at in range(0, len(text), cut):
        append(file, text[at : at + cut])
        got += lines(source)
    short = [line for line in got if len(line) <= 20]
    assert short == [line for line in text.split(b"\n") if line and len(line) <= 20]


def test_an_endless_line_takes_no_memory(file: Path) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
    os.truncate(file, 256 << 20)  # a hole, read as zeros: nothing that ends a line
    append(file, b"\nafter\n")
    tracemalloc.start()
    try:
        assert lines(Lines(str(file))) == [b"after"]
        assert tracemalloc.get_traced_memory()[1] < 4 * tail.CHUNK
    finally:
        tracemalloc.stop()


def test_the_last_line_comes_once(file: Path) -> None:
    source = Lines(str(file))
    append(file, b"one\ntw")
    assert lines(source) == [b"one"]
    append(file, b"o")
    assert lines(source) == []
    assert lines(source, last=True) == [b"two"]
    assert lines(source, last=True) == []


def test_half_a_line_of_a_replaced_file_is_forgotten(file: Path) -> None:
    source = Lines(str(file))
    append(file, b"one\nhalf of a line")
    assert lines(source) == [b"one"]
    file.write_bytes(b"new\n")
    assert lines(source) == [b"new"]


# --- bounded


def test_few_values_stay_as_they_are() -> None:
    some: list[Sample] = [(0, 1.0), (1, float("nan")), (None, 2.0)]
    assert thinned(some) is some


@given(st.lists(st.floats(), min_size=11, max_size=60))
def test_many_values_keep_their_extremes_their_last_and_their_order(values: list[float]) -> None:
    kept = thinned(list(enumerate(values)), 10)
    steps = [step for step, _ in kept if step is not None]
    assert steps == sorted(set(steps))
    assert len(kept) <= len(values) // 2 + 3
    assert steps[-1] == len(values) - 1
    finite = [value for value in values if abs(value) < float("inf")]
    left = [value for _, value in kept if abs(value) < float("inf")]
    assert (min(left), max(left)) == (min(finite), max(finite)) if finite else not left
