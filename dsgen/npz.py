"""The structure of npz files around their arrays: zip with 64-bit sizes.

Source: APPNOTE.TXT of PKWARE, version 6.3.10, sections 4.3 to 4.5.
"""

import struct
from dataclasses import dataclass
from typing import Final

from isal import isal_zlib

from dsgen.npy import npy_header

_VERSION: Final = 45  # the first with 64-bit sizes
_DATE: Final = 1 << 5 | 1  # 1 January 1980, the first that zip knows, as numpy writes it
_UNKNOWN: Final = 0xFFFFFFFF  # look into the 64-bit field instead
_ZIP64: Final = 1  # number of the extra field with 64-bit sizes
_PADDING: Final = 0xD935  # number of an extra field of zeros, as zip alignment tools use it
_METHODS: Final = {"stored": 0, "deflate": 8}
# What numpy's archives say: made on Unix, readable and writable by its owner.
_MADE_BY: Final = 3 << 8 | _VERSION
_MODE: Final = 0o600 << 16
_LOCAL: Final = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One array of an archive.

    Args:
        name: with `.npy`.
        method: stored or deflate.
        crc: CRC-32 of the npy file.
        size_bytes: of the npy file.
        stored_bytes: what it takes in the archive.
        offset_bytes: where its local header begins.
    """

    name: str
    method: str
    crc: int
    size_bytes: int
    stored_bytes: int
    offset_bytes: int


def local_header(member: Member, *, length: int | None = None) -> bytes:
    """Return the header before a member's data, filled up to `length` bytes.

    Where that is less than it takes, it has the least length that can be filled up.
    """
    name = member.name.encode()
    sizes = struct.pack("<HHQQ", _ZIP64, 16, member.size_bytes, member.stored_bytes)
    padding = b""
    if length is not None:
        zeros = max(0, length - (_LOCAL.size + len(name) + len(sizes) + 4))
        padding = struct.pack("<HH", _PADDING, zeros) + bytes(zeros)
    return (
        _LOCAL.pack(
            *(b"PK\x03\x04", _VERSION, 0, _METHODS[member.method], 0, _DATE),
            *(member.crc, _UNKNOWN, _UNKNOWN, len(name), len(sizes) + len(padding)),
        )
        + name
        + sizes
        + padding
    )


def directory(members: list[Member], offset_bytes: int) -> bytes:
    """Return the end of an archive, whose central directory begins at `offset_bytes`."""
    entries = b"".join(_entry(member) for member in members)
    end = offset_bytes + len(entries)
    count = len(members)
    sizes = (count, count, len(entries), offset_bytes)
    return (
        entries
        + struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, _MADE_BY, _VERSION, 0, 0, *sizes)
        + struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
        + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), _UNKNOWN, 0)
    )


def small_archive(name: str, values: tuple[int, ...]) -> bytes:
    """Return an archive of one stored array of int64."""
    content = npy_header("<i8", (len(values),)) + struct.pack(f"<{len(values)}q", *values)
    member = Member(
        name=f"{name}.npy",
        method="stored",
        crc=isal_zlib.crc32(content),
        size_bytes=len(content),
        stored_bytes=len(content),
        offset_bytes=0,
    )
    body = local_header(member) + content
    return body + directory([member], len(body))


def _entry(member: Member) -> bytes:
    name = member.name.encode()
    sizes = struct.pack(
        "<HHQQQ", _ZIP64, 24, member.size_bytes, member.stored_bytes, member.offset_bytes
    )
    return (
        struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\x01\x02", _MADE_BY, _VERSION, 0, _METHODS[member.method], 0, _DATE),
            *(member.crc, _UNKNOWN, _UNKNOWN, len(name), len(sizes), 0, 0, 0, _MODE, _UNKNOWN),
        )
        + name
        + sizes
    )
