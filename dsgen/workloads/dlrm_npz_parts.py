"""How a day's npz archive is cut into segments, and how long each is, before a byte is deflated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from isal import isal_zlib

from dsgen.checksum import join
from dsgen.deflate import LEAST_PADDING, stored_block, stored_bytes
from dsgen.layout import Compression, Entropy
from dsgen.npy import HEADER_BYTES, npy_header
from dsgen.npz import Member, directory, local_header
from dsgen.workloads.dlrm_columns import CATEGORIES, INTEGERS

_ALIGNMENT = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """One of the three arrays.

    Args:
        name: in the archive.
        columns: of the 40; one column makes an array of one dimension.
        piece_rows: deflated together.
        chunk_rows: of one segment.
        deflated: planned bytes of 1,000 rows, by entropy: as deflate makes of them, and 0.4 %.
    """

    name: str
    columns: slice
    piece_rows: int
    chunk_rows: int
    deflated: Mapping[Entropy, int]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return 8 * int(self.columns.stop - self.columns.start)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Return the shape of the array of so many rows."""
        width = self.columns.stop - self.columns.start
        return (rows,) if width == 1 else (rows, width)


# In the order of the reference's archives.
ARRAYS: Final = (
    Array(
        name="X_cat",
        columns=CATEGORIES,
        piece_rows=2**12,
        chunk_rows=2**18,
        deflated={"natural": 57_390, "incompressible": 92_160},
    ),
    Array(
        name="X_int",
        columns=INTEGERS,
        piece_rows=2**13,
        chunk_rows=2**19,
        deflated={"natural": 26_600, "incompressible": 74_690},
    ),
    Array(
        name="y",
        columns=slice(0, 1),
        piece_rows=2**17,
        chunk_rows=2**22,
        deflated={"natural": 115, "incompressible": 740},
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A segment: `rows` of array `array`, or without rows the header before it, or the end."""

    array: int
    rows: int
    bytes: int
    is_last: bool = False  # of its array


def day_bytes(rows: int, compression: Compression, entropy: Entropy) -> int:
    """Return the sum of `parts_of` without making them."""
    at = 0
    for index, array in enumerate(ARRAYS):
        at += _header_bytes(at, index, compression)
        chunks, left = divmod(rows, array.chunk_rows)
        at += chunks * _chunk_bytes(array, array.chunk_rows, compression, entropy)
        at += _chunk_bytes(array, left, compression, entropy) if left else 0
    return at + _end_bytes()


@lru_cache(maxsize=64)
def parts_of(rows: int, compression: Compression, entropy: Entropy) -> tuple[Part, ...]:
    """Return the segments of a day's archive."""
    chunks: list[list[Part]] = []
    for index, array in enumerate(ARRAYS):
        counts = list(split(rows, array.chunk_rows))
        chunks.append(
            [
                Part(
                    array=index,
                    rows=count,
                    bytes=_chunk_bytes(array, count, compression, entropy),
                    is_last=number == len(counts),
                )
                for number, count in enumerate(counts, 1)
            ]
        )
    return with_headers(chunks, compression)


def with_headers(chunks: Sequence[Sequence[Part]], compression: Compression) -> tuple[Part, ...]:
    """Return all segments of an archive, given those with the rows of its three arrays."""
    parts: list[Part] = []
    at = 0
    for index, own in enumerate(chunks):
        header = Part(array=index, rows=0, bytes=_header_bytes(at, index, compression))
        parts += [header, *own]
        at += sum(part.bytes for part in (header, *own))
    return (*parts, Part(array=len(ARRAYS), rows=0, bytes=_end_bytes()))


def split(rows: int, at_most: int) -> Iterator[int]:
    """Yield the numbers of rows of the parts that `rows` fall into."""
    for first in range(0, rows, at_most):
        yield min(at_most, rows - first)


def _chunk_bytes(array: Array, rows: int, compression: Compression, entropy: Entropy) -> int:
    if compression == "stored":
        return rows * array.row_bytes
    whole, rest = divmod(rows * array.row_bytes, array.piece_rows * array.row_bytes)
    # Whatever the rows are: each piece can be stored as it is. The last 5 bytes end the stream.
    pieces_bytes = whole * stored_bytes(array.piece_rows * array.row_bytes) + stored_bytes(rest)
    most = pieces_bytes + LEAST_PADDING + 5
    planned = rows * array.deflated[entropy] // 1000 + _ALIGNMENT
    aligned = planned // _ALIGNMENT * _ALIGNMENT + _ALIGNMENT
    return min(most, aligned if rows == array.chunk_rows else planned)


def _header_bytes(at: int, array: int, compression: Compression) -> int:
    """Return the length of a header that lets the rows begin at a whole block of 4 KiB."""
    least = _least_header_bytes(array, compression)
    return least + -(at + least) % _ALIGNMENT


@cache
def _least_header_bytes(array: int, compression: Compression) -> int:
    kind, rows = ARRAYS[array], 1  # every header has the same length, whatever it says
    empty = _member(kind, rows, compression, crc=0, data_bytes=0, offset_bytes=0)
    return len(local_header(empty, length=0)) + len(npy_start(kind, rows, compression))


@cache
def _end_bytes() -> int:
    return len(directory(members_of((), 1, {}, "stored"), 0))


def npy_start(array: Array, rows: int, compression: Compression) -> bytes:
    """Return what an array's data in the archive begins with: its npy header."""
    header = npy_header("<f8", array.shape(rows))
    return header if compression == "stored" else stored_block(header)


def members_of(
    parts: Sequence[Part],
    rows: int,
    digests: Mapping[int, int],
    compression: Compression,
) -> list[Member]:
    """Return the three arrays as the archive describes them; unknown digests count as 0."""
    members = []
    at = 0
    for index, array in enumerate(ARRAYS):
        own = [(number, part) for number, part in enumerate(parts) if part.array == index]
        header = npy_header("<f8", array.shape(rows))
        crcs = [(len(header), isal_zlib.crc32(header))]
        crcs += [(part.rows * array.row_bytes, digests.get(n, 0)) for n, part in own if part.rows]
        data_bytes = sum(part.bytes for _, part in own if part.rows)
        members.append(
            _member(
                array,
                rows,
                compression,
                crc=join(crcs, _extend_crc32),
                data_bytes=data_bytes,
                offset_bytes=at,
            )
        )
        at += sum(part.bytes for _, part in own)
    return members


def _member(
    array: Array,
    rows: int,
    compression: Compression,
    *,
    crc: int,
    data_bytes: int,
    offset_bytes: int,
) -> Member:
    return Member(
        name=f"{array.name}.npy",
        method=compression,
        crc=crc,
        size_bytes=HEADER_BYTES + rows * array.row_bytes,
        stored_bytes=len(npy_start(array, rows, compression)) + data_bytes,
        offset_bytes=offset_bytes,
    )


def _extend_crc32(crc: int, data: bytes) -> int:
    return int(isal_zlib.crc32(data, crc))
