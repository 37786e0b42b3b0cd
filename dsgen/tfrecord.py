"""TFRecord framing and tf.train.Example on the wire, without TensorFlow.

A record is its length (8 bytes, little endian), the masked CRC32C of these 8 bytes, the data, and
the masked CRC32C of the data. Source: tensorflow/core/lib/io/record_writer.h and hash/crc32c.h,
tensorflow/core/example/example.proto and feature.proto, and protobuf's encoding.
"""

from collections.abc import Sequence
from typing import Final, Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES: Final = 12
FOOTER_BYTES: Final = 4

_MASK_DELTA: Final = 0xA282EAD8
# Tags of length-delimited protobuf fields.
_FIELD_1: Final = b"\x0a"
_FIELD_2: Final = b"\x12"
_KINDS: Final = {"float": b"\x12", "int64": b"\x1a"}  # fields of tf.train.Feature

Kind = Literal["float", "int64"]


def masked(crcs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return CRC32Cs as records hold them: rotated right by 15 bits, plus a constant."""
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_MASK_DELTA)


def frame_header(data_bytes: int) -> bytes:
    """Return the 12 bytes before the data of a record."""
    length = data_bytes.to_bytes(8, "little")
    crc = masked(np.array([google_crc32c.value(length)], dtype=np.uint32))
    return length + crc.astype("<u4").tobytes()


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
