"""The format of TensorBoard's event files: records that hold events that hold scalars.

    record   length (uint64), masked crc of it, data, masked crc of the data; all little-endian
    data     a protobuf `Event`: a step and a summary of tagged values
    scalar   a value of the kind `simple_value`, or a tensor of rank 0

Source: tensorflow/core/lib/io/record_writer.h, tensorboard/compat/proto/{event,summary,tensor}.proto.
"""

import functools
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from studio.system.tail import Tail

LARGEST = 1 << 24  # bytes of a record kept in memory; a longer one holds images or a graph and is skipped
# bytes of a record up to which checksums are verified: 5 to 10 ms in pure Python. Scalars take 50 bytes
CHECKED = 1 << 16

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_LOOKS_LIKE_LENGTH = re.compile(rb"(?=(?!\0{3})[\s\S]{3}\0{5})")  # 0 < length < LARGEST


class Records:
    """The records of one growing event file, each once.

    After a wrong checksum, reading continues at the next valid header, so records after damaged or overwritten ones are
    found. An incomplete record waits for its rest.
    """

    def __init__(self, path: str, original: str | None = None):
        self._tail = Tail(path, original=original)
        self._generation = 0
        self._forget()

    def _forget(self) -> None:
        self._rest = b""  # of an incomplete record
        self._skip = 0  # bytes still to come of a record that is too large
        self._lost = False  # not at a header: search one

    def read(self, *, last: bool = False, until: float = math.inf) -> Iterator[bytes]:
        """Yield the data of records that became complete, until the time `until`. `last`: nothing more will be written."""
        for chunk in self._tail.read(math.inf if last else until):
            if self._tail.generation != self._generation:
                self._generation = self._tail.generation
                self._forget()
            skipped = min(self._skip, len(chunk))
            self._skip -= skipped
            yield from self._split(self._rest + chunk[skipped:], last=False)
        if last:
            yield from self._split(self._rest, last=True)

    def _split(self, block: bytes, *, last: bool) -> list[bytes]:
        """Return the complete records of `block`; keep its rest. `last`: a record cut off at the end counts as damaged."""
        found = []
        at = 0
        while True:
            if self._lost:
                at = self._search(block, at)
            if len(block) - at < _HEADER.size:
                break
            length = _length(block, at)
            if length is None:
                self._lost, at = True, at + 1
                continue
            begin, end = at + _HEADER.size, at + _HEADER.size + length
            if end + _CHECKSUM.size > len(block) and not last and length <= LARGEST:
                break
            if end + _CHECKSUM.size > len(block) and length > LARGEST:
                self._skip, at = end + _CHECKSUM.size - len(block), len(block)
                break
            data = block[begin:end]
            if length > LARGEST:
                at = end + _CHECKSUM.size
            elif _is_whole(block, data, end):
                found.append(data)
                at = end + _CHECKSUM.size
            else:
                self._lost, at = True, begin
        self._rest = block[at:]
        return found

    def _search(self, block: bytes, at: int) -> int:
        """Return the position of the next header at or after `at`, or of the last bytes that may begin one."""
        for candidate in _LOOKS_LIKE_LENGTH.finditer(block, at):
            if len(block) - candidate.start() >= _HEADER.size and _length(block, candidate.start()) is not None:
                self._lost = False
                return candidate.start()
        return max(at, len(block) - _HEADER.size + 1)


def _length(block: bytes, at: int) -> int | None:
    """Return the length in the header at `at`, or None if there is no header."""
    length, checksum = _HEADER.unpack_from(block, at)
    return length if masked_crc32c(block[at : at + 8]) == checksum else None


def _is_whole(block: bytes, data: bytes, end: int) -> bool:
    if len(block) < end + _CHECKSUM.size:
        return False
    return len(data) > CHECKED or masked_crc32c(data) == _CHECKSUM.unpack_from(block, end)[0]


def _crc_table() -> tuple[int, ...]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)  # CRC-32C (Castagnoli), bits reversed
        table.append(entry)
    return tuple(table)


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of a record: CRC-32C, rotated by 15 bits and offset, so that checksums of checksums differ."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def scalars(records: Iterator[bytes]) -> Iterator[tuple[str, int, float, float]]:
    """Yield (tag, step, value, time) of every scalar in `records`. Data that is not an event is skipped."""
    for data in records:
        event_type, decode_error = _protobuf()
        try:
            event = event_type.FromString(data)
        except decode_error:
            continue
        for entry in event.summary.value:
            value = _number(entry)
            if value is not None:
                yield entry.tag, event.step, value, event.wall_time


@functools.cache
def _protobuf() -> tuple[Any, type[Exception]]:
    """Import the message types, when the first record comes: takes 50 to 80 ms."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.compat.proto.event_pb2 import Event

    return Event, DecodeError


_TENSOR_TYPES = {  # number in types.proto: how one is stored in tensor_content, and the field for single ones
    1: ("<f", "float_val"),
    2: ("<d", "double_val"),
    3: ("<i", "int_val"),
    4: ("<B", "int_val"),
    5: ("<h", "int_val"),
    6: ("<b", "int_val"),
    9: ("<q", "int64_val"),
    14: ("bfloat16", "half_val"),
    17: ("<H", "int_val"),
    19: ("<e", "half_val"),
    22: ("<I", "uint32_val"),
    23: ("<Q", "uint64_val"),
}


def _number(entry: Any) -> float | None:
    """Return the value of a `Summary.Value` if it is a single number."""
    kind = entry.WhichOneof("value")
    if kind == "simple_value":
        return float(entry.simple_value)
    tensor = entry.tensor
    shape = tensor.tensor_shape
    if kind != "tensor" or tensor.dtype not in _TENSOR_TYPES or len(shape.dim) or shape.unknown_rank:
        return None
    code, field = _TENSOR_TYPES[tensor.dtype]
    content = tensor.tensor_content
    if not content:
        stored = getattr(tensor, field)
        if field != "half_val":
            return float(stored[0]) if stored else 0.0  # TensorFlow leaves zeros out
        content = struct.pack("<H", stored[0] & 0xFFFF if stored else 0)
    if code == "bfloat16":
        code, content = "<f", b"\0\0" + content  # the upper half of a float32
    return float(struct.unpack(code, content)[0]) if len(content) == struct.calcsize(code) else None
