"""TFRecord framing and tf.train.Example on the wire, without TensorFlow.

A record is its length (8 bytes, little endian), the masked CRC32C of these 8 bytes, the data, and
the masked CRC32C of the data. Source: tensorflow/core/lib/io/record_writer.h and hash/crc32c.h,
tensorflow/core/example/example.proto and feature.proto, and protobuf's encoding.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from typing import Final, Literal, Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_HEADER: Final = struct.Struct("<QI")  # length, and its masked CRC
HEADER_BYTES: Final = _HEADER.size
FOOTER_BYTES: Final = 4

_MASK_DELTA: Final = 0xA282EAD8
# Tags of length-delimited protobuf fields.
_FIELD_1: Final = b"\x0a"
_FIELD_2: Final = b"\x12"
_KINDS: Final = {"float": b"\x12", "int64": b"\x1a"}  # fields of tf.train.Feature

# What is searched at once for the next header.
_WINDOW_BYTES: Final = 2**16
# Where the search for the header before a byte begins.
_BACK_BYTES: Final = 2**20

Kind = Literal["float", "int64"]


class Readable(Protocol):
    """What records are read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""


def masked(crcs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return CRC32Cs as records hold them: rotated right by 15 bits, plus a constant."""
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_MASK_DELTA)


def frame_header(data_bytes: int) -> bytes:
    """Return the 12 bytes before the data of a record."""
    return _HEADER.pack(data_bytes, _masked_crc(data_bytes.to_bytes(8, "little")))


def varint(value: int) -> bytes:
    r"""Return a non-negative whole number as protobuf writes it, 7 bits a byte, lowest first.

    >>> varint(127), varint(300)
    (b'\x7f', b'\xac\x02')
    """
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def feature(name: str, kind: Kind, values: bytes) -> bytes:
    """Return one feature of an Example; `values` are packed varints or little-endian floats."""
    packed = _FIELD_1 + varint(len(values)) + values
    feature_ = _KINDS[kind] + varint(len(packed)) + packed
    key = _FIELD_1 + varint(len(name)) + name.encode()
    entry = key + _FIELD_2 + varint(len(feature_)) + feature_
    return _FIELD_1 + varint(len(entry)) + entry


def example(features: Sequence[bytes]) -> bytes:
    """Return an Example of encoded features, in the order of their names."""
    joined = b"".join(features)
    return _FIELD_1 + varint(len(joined)) + joined


def read_record(stream: Readable, at_most: int | None = None) -> bytes:
    """Return the data of the record at the stream's position.

    Args:
        stream: to read from.
        at_most: how long it can be.

    Raises:
        ValueError: there is none, or one of its two CRCs is another.
    """
    header = stream.read(HEADER_BYTES)
    length = header_length(header)
    if length is None:
        raise ValueError("no header with its CRC")
    if at_most is not None and length > at_most:
        raise ValueError("truncated")
    data, footer = stream.read(length), stream.read(FOOTER_BYTES)
    if len(data) < length or len(footer) < FOOTER_BYTES:
        raise ValueError("truncated")
    if _masked_crc(data) != int.from_bytes(footer, "little"):
        raise ValueError("another CRC of its data")
    return data


def header_length(header: bytes) -> int | None:
    """Return the length that a header tells, or None where these 12 bytes are no header."""
    if len(header) < HEADER_BYTES:
        return None
    length, crc = _HEADER.unpack_from(header)
    return int(length) if _masked_crc(header[:8]) == crc else None


def count_records(descriptor: int, file_bytes: int, at_most: int | None = None) -> tuple[int, int]:
    """Return how many records a file has, by their headers, and where the last of them ends.

    Args:
        descriptor: of the file.
        file_bytes: its length.
        at_most: after as many the rest is not looked at.

    Raises:
        ValueError: no record begins where the one before ends, or the last one is cut.
    """
    records = at = 0
    while at < file_bytes and records != at_most:
        try:
            at = next_header(descriptor, at, file_bytes)
        except ValueError as error:
            raise ValueError(f"record {records + 1:,}: {error}") from error
        records += 1
    return records, at


def feature_names(example_: bytes) -> set[str]:
    """Return the names of an Example's features.

    Raises:
        ValueError: it is no Example.
    """
    names = set()
    for features in _fields(example_, 1):
        for entry in _fields(features, 1):
            names |= {key.decode() for key in _fields(entry, 1)}
    return names


def first_header(descriptor: int, at: int, file_bytes: int) -> int:
    """Return where the first record begins at or after byte `at`, `file_bytes` where none does.

    A header is known by its CRC, and by the header or the end that it leads to.

    Raises:
        ValueError: the file does not begin with a record.
    """
    if at == 0:
        next_header(descriptor, 0, file_bytes)
        return 0
    window = _WINDOW_BYTES
    while at < file_bytes:
        data = os.pread(descriptor, window, at)
        if not data:
            raise ValueError("became shorter while it was read")
        for start in range(max(0, len(data) - HEADER_BYTES + 1)):
            # Lengths above 4 GiB are none; this spares nearly all bytes the CRC.
            if data[start + 4 : start + 8] == b"\0\0\0\0" and _leads_on(
                descriptor, at + start, data[start : start + HEADER_BYTES], file_bytes
            ):
                return at + start
        at += max(1, len(data) - HEADER_BYTES + 1)
    return file_bytes


def next_header(descriptor: int, at: int, file_bytes: int) -> int:
    """Return where the record ends that begins at `at`.

    Raises:
        ValueError: none begins there, or it ends beyond the file.
    """
    if at == file_bytes:
        return at
    length = header_length(os.pread(descriptor, HEADER_BYTES, at))
    if length is None:
        raise ValueError(f"no record begins at byte {at:,}")
    end = at + HEADER_BYTES + length + FOOTER_BYTES
    if end > file_bytes:
        raise ValueError(f"truncated: the record at byte {at:,} ends at {end:,}")
    return end


def record_from(descriptor: int, at: int, file_bytes: int) -> int:
    """Return where the first record begins at or after byte `at`, `file_bytes` where none does.

    It follows from the record before, so that a header that is none is not passed over.

    Raises:
        ValueError: no record begins where one ends, or one ends beyond the file.
    """
    if at == 0:
        return first_header(descriptor, 0, file_bytes)
    return next_header(descriptor, record_around(descriptor, at - 1, file_bytes), file_bytes)


def record_around(descriptor: int, at: int, file_bytes: int) -> int:
    """Return where the record begins that holds byte `at`.

    Raises:
        ValueError: no record begins where one ends, or one ends beyond the file.
    """
    back = _BACK_BYTES
    start = first_header(descriptor, max(0, at - back), file_bytes)
    while start > at:
        back *= 4
        start = first_header(descriptor, max(0, at - back), file_bytes)
    while (following := next_header(descriptor, start, file_bytes)) <= at:
        start = following
    return start


class RecordCounter:
    """Counts the records that begin in a range of a file, from its bytes as they come.

    Args:
        start: of the first record that begins in the range.
        file_bytes: the length of the file.
    """

    def __init__(self, start: int, file_bytes: int) -> None:
        self.records = 0
        self._next = start
        self._file_bytes = file_bytes
        self._open = b""  # the beginning of a header whose end has not come yet
        self._crcs: dict[int, int] = {}  # of the lengths that came, as headers hold them

    def add(self, at: int, data: memoryview) -> None:
        """Take the bytes of the file from `at` on; they follow what was taken before.

        Raises:
            ValueError: no record begins where the one before ends, or one ends beyond the file.
        """
        end = at + len(data)
        while self._next < end or self._open:
            if not self._open and self._passes_known(at, data):
                continue
            begins = self._next - at + len(self._open)
            header = self._open + bytes(data[begins : begins + HEADER_BYTES - len(self._open)])
            if not self._open:
                self.records += 1
            if len(header) < HEADER_BYTES:
                if self._next + HEADER_BYTES > self._file_bytes:
                    what = f"the record at byte {self._next:,} has no whole header"
                    raise ValueError(f"truncated: {what}")
                self._open = header
                return
            self._open = b""
            length = header_length(header)
            if length is None:
                raise ValueError(f"no record begins at byte {self._next:,}")
            following = self._next + HEADER_BYTES + length + FOOTER_BYTES
            if following > self._file_bytes:
                what = f"the record at byte {self._next:,} ends at {following:,}"
                raise ValueError(f"truncated: {what}")
            self._next = following
            _, self._crcs[length] = _HEADER.unpack(header)

    def _passes_known(self, at: int, data: memoryview) -> int:
        """Pass over records of lengths that came before, and return how many.

        They are nearly all, and a few hundred thousand a GB: the CRC of a length is looked up.
        """
        begins, last, most = self._next - at, len(data) - HEADER_BYTES, self._file_bytes - at
        records = 0
        while begins <= last:
            length, crc = _HEADER.unpack_from(data, begins)
            following = begins + HEADER_BYTES + length + FOOTER_BYTES
            if self._crcs.get(length) != crc or following > most:
                break
            begins, records = following, records + 1
        self._next, self.records = at + begins, self.records + records
        return records


def _leads_on(descriptor: int, at: int, header: bytes, file_bytes: int) -> bool:
    length = header_length(header)
    if length is None:
        return False
    end = at + HEADER_BYTES + length + FOOTER_BYTES
    if end == file_bytes:
        return True
    return header_length(os.pread(descriptor, HEADER_BYTES, end)) is not None


def _masked_crc(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the length-delimited fields of a protobuf message with one number."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag & 7 != 2:
            raise ValueError("not an Example")
        length, at = _read_varint(message, at)
        if at + length > len(message):
            raise ValueError("not an Example")
        if tag >> 3 == wanted:
            yield message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("not an Example")
