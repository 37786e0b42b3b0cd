"""dlrm npz: a day's log a file, as three arrays of float64 in a zip archive.

An archive holds X_cat, X_int and y, each a header and chunks of rows. A chunk takes a planned
number of bytes: deflated rows, filled up by empty deflate blocks. So sizes and offsets are known
before a byte is deflated, and chunks can be written by many processes. Headers and directory name
the CRC-32 of all rows, and are the closing segments.

Source: data_utils.py of discslab-dl-bench/mlcomns_dlrm, lines 586 to 698.
"""

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dsgen.checksum import join
from dsgen.layout import Compression, Entropy, Layout, PlannedFile
from dsgen.npy import HEADER_BYTES, npy_header
from dsgen.npz import (
    DEFLATE_END,
    LEAST_PADDING,
    Member,
    directory,
    empty_blocks,
    local_header,
    stored_block,
)
from dsgen.seed import segment_words
from dsgen.workloads.dlrm_columns import CATEGORIES, INTEGERS, day_rows, draw
from dsgen.workloads.dlrm_counts import categories_file, rows_file

_ALIGNMENT = 4096
_LEVEL = 1
# Rows of the smallest set: every day has one.
_FEWEST_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Array:
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
        return 8 * int(self.columns.stop - self.columns.start)

    def shape(self, rows: int) -> tuple[int, ...]:
        width = self.columns.stop - self.columns.start
        return (rows,) if width == 1 else (rows, width)


# In the order of the reference's archives.
_ARRAYS: Final = (
    _Array(
        name="X_cat",
        columns=CATEGORIES,
        piece_rows=2**12,
        chunk_rows=2**18,
        deflated={"natural": 57_300, "incompressible": 86_200},
    ),
    _Array(
        name="X_int",
        columns=INTEGERS,
        piece_rows=2**13,
        chunk_rows=2**19,
        deflated={"natural": 26_020, "incompressible": 69_800},
    ),
    _Array(
        name="y",
        columns=slice(0, 1),
        piece_rows=2**17,
        chunk_rows=2**22,
        deflated={"natural": 118, "incompressible": 610},
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A segment: `rows` of array `array`, or without rows the header before it, or the end."""

    array: int
    rows: int
    bytes: int
    is_last: bool = False  # of its array


def files(size_bytes: int, compression: Compression, entropy: Entropy) -> list[PlannedFile]:
    """Return the 24 days, in the original's proportions, and the two files of counts."""
    rows = _rows_for(size_bytes, compression, entropy)
    days = [_day(day, count, compression, entropy) for day, count in enumerate(_rows_of_days(rows))]
    counts = [rows_file(len(days), days), categories_file(len(days) + 1)]
    return [*days, *counts]


def blocks(
    layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int]
) -> Generator[NDArray[np.uint8], None, int | None]:
    """Yield one segment of a day; the digest of a chunk is the CRC-32 of its rows."""
    wanted = layout.parameters
    parts = _parts(file.shape[0], wanted.compression, wanted.entropy)
    part = parts[segment]
    if not part.rows:
        yield np.frombuffer(_structure(parts, segment, file, digests, wanted.compression), np.uint8)
        return None
    words = segment_words("dlrm-npz", wanted.seed, file.index, segment)
    pieces = _pieces(words, part, natural=wanted.entropy == "natural")
    if wanted.compression == "stored":
        return (yield from _stored(pieces))
    return (yield from _deflated(pieces, part))


def _pieces(
    words: np.random.SFC64, part: _Part, *, natural: bool
) -> Generator[NDArray[np.uint8], None, None]:
    array = _ARRAYS[part.array]
    for rows in _split(part.rows, array.piece_rows):
        drawn = draw(words, rows, array.columns, natural=natural)
        yield drawn.astype("<f8").reshape(-1).view(np.uint8)


def _stored(
    pieces: Generator[NDArray[np.uint8], None, None],
) -> Generator[NDArray[np.uint8], None, int]:
    crc = 0
    for piece in pieces:
        crc = isal_zlib.crc32(piece, crc)
        yield piece
    return crc


def _deflated(
    pieces: Generator[NDArray[np.uint8], None, None], part: _Part
) -> Generator[NDArray[np.uint8], None, int]:
    """Yield the pieces deflated, and empty blocks up to the planned length.

    Should rows ever take more than was planned for them, zeros take their place.
    """
    array = _ARRAYS[part.array]
    end = DEFLATE_END if part.is_last else stored_block(b"")
    left = part.bytes - len(end) - LEAST_PADDING
    following, crc = -(-part.rows // array.piece_rows), 0
    for piece in pieces:
        following -= 1
        deflated = _deflate(piece)
        if len(deflated) > left - following * _zeros_bytes(array.piece_rows * array.row_bytes):
            piece = np.zeros_like(piece)
            deflated = _deflate(piece)
        left -= len(deflated)
        crc = isal_zlib.crc32(piece, crc)
        yield np.frombuffer(deflated, dtype=np.uint8)
    yield np.frombuffer(empty_blocks(left + LEAST_PADDING) + end, dtype=np.uint8)
    return crc


def _deflate(piece: NDArray[np.uint8]) -> bytes:
    """Return deflate blocks, none of them the last, that end on a byte."""
    deflating = isal_zlib.compressobj(_LEVEL, wbits=-15)
    return deflating.compress(piece) + deflating.flush(isal_zlib.Z_SYNC_FLUSH)


@cache
def _zeros_bytes(size_bytes: int) -> int:
    return len(_deflate(np.zeros(size_bytes, dtype=np.uint8)))


def _day(day: int, rows: int, compression: Compression, entropy: Entropy) -> PlannedFile:
    parts = _parts(rows, compression, entropy)
    *starts, size_bytes = itertools.accumulate((part.bytes for part in parts), initial=0)
    return PlannedFile(
        index=day,
        path=f"day_{day}_reordered.npz",
        role="train",
        file_class="day",
        bytes=size_bytes,
        samples=rows,
        shape=(rows,),
        key=day,
        starts=tuple(starts),
        closing=frozenset(index for index, part in enumerate(parts) if not part.rows),
    )


def _rows_for(size_bytes: int, compression: Compression, entropy: Entropy) -> int:
    """Return the fewest rows in all that take at least `size_bytes`."""

    def enough(rows: int) -> bool:
        days = _rows_of_days(rows)
        return sum(_day_bytes(day, compression, entropy) for day in days) >= size_bytes

    low, high = _FEWEST_ROWS, _FEWEST_ROWS
    while not enough(high):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _rows_of_days(rows: int) -> list[int]:
    ends = list(itertools.accumulate(day_rows(), initial=0))
    bounds = [rows * end // ends[-1] for end in ends]
    return [end - start for start, end in itertools.pairwise(bounds)]


def _day_bytes(rows: int, compression: Compression, entropy: Entropy) -> int:
    """Return the sum of `_parts` without making them."""
    at = 0
    for index, array in enumerate(_ARRAYS):
        at += _header_bytes(at, index, compression)
        chunks, left = divmod(rows, array.chunk_rows)
        at += chunks * _chunk_bytes(array, array.chunk_rows, compression, entropy)
        at += _chunk_bytes(array, left, compression, entropy) if left else 0
    return at + _end_bytes()


@lru_cache(maxsize=64)
def _parts(rows: int, compression: Compression, entropy: Entropy) -> tuple[_Part, ...]:
    """Return the segments of a day's archive."""
    parts: list[_Part] = []
    at = 0
    for index, array in enumerate(_ARRAYS):
        header = _Part(array=index, rows=0, bytes=_header_bytes(at, index, compression))
        counts = list(_split(rows, array.chunk_rows))
        chunks = [
            _Part(
                array=index,
                rows=count,
                bytes=_chunk_bytes(array, count, compression, entropy),
                is_last=number == len(counts),
            )
            for number, count in enumerate(counts, 1)
        ]
        parts += [header, *chunks]
        at += sum(part.bytes for part in (header, *chunks))
    return (*parts, _Part(array=len(_ARRAYS), rows=0, bytes=_end_bytes()))


def _split(rows: int, at_most: int) -> Iterator[int]:
    for first in range(0, rows, at_most):
        yield min(at_most, rows - first)


def _chunk_bytes(array: _Array, rows: int, compression: Compression, entropy: Entropy) -> int:
    if compression == "stored":
        return rows * array.row_bytes
    pieces = -(-rows // array.piece_rows)
    # Whatever the rows are: each piece can be stored as it is, with what frames it.
    most = rows * array.row_bytes + pieces * _worst_framing(array) + LEAST_PADDING
    planned = rows * array.deflated[entropy] // 1000 + _ALIGNMENT
    aligned = planned // _ALIGNMENT * _ALIGNMENT + _ALIGNMENT
    return min(most, aligned if rows == array.chunk_rows else planned)


def _worst_framing(array: _Array) -> int:
    return 5 * (array.piece_rows * array.row_bytes // 65_535 + 2)


def _header_bytes(at: int, array: int, compression: Compression) -> int:
    """Return the length of a header that lets the rows begin at a whole block of 4 KiB."""
    least = _least_header_bytes(array, compression)
    return least + -(at + least) % _ALIGNMENT


@cache
def _least_header_bytes(array: int, compression: Compression) -> int:
    kind, rows = _ARRAYS[array], 1  # every header has the same length, whatever it says
    empty = _member(kind, rows, compression, crc=0, data_bytes=0, offset_bytes=0)
    return len(local_header(empty, length=0)) + len(_npy_start(kind, rows, compression))


@cache
def _end_bytes() -> int:
    return len(directory(_members((), 1, {}, "stored"), 0))


def _npy_start(array: _Array, rows: int, compression: Compression) -> bytes:
    header = npy_header("<f8", array.shape(rows))
    return header if compression == "stored" else stored_block(header)


def _structure(
    parts: tuple[_Part, ...],
    segment: int,
    file: PlannedFile,
    digests: Mapping[int, int],
    compression: Compression,
) -> bytes:
    """Return a header, or the archive's end."""
    rows = file.shape[0]
    members = _members(parts, rows, digests, compression)
    part = parts[segment]
    if part.array == len(_ARRAYS):
        return directory(members, file.starts[segment])
    start = _npy_start(_ARRAYS[part.array], rows, compression)
    return local_header(members[part.array], length=part.bytes - len(start)) + start


def _members(
    parts: Sequence[_Part],
    rows: int,
    digests: Mapping[int, int],
    compression: Compression,
) -> list[Member]:
    """Return the three arrays as the archive describes them; unknown digests count as 0."""
    members = []
    at = 0
    for index, array in enumerate(_ARRAYS):
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
    array: _Array,
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
        stored_bytes=len(_npy_start(array, rows, compression)) + data_bytes,
        offset_bytes=offset_bytes,
    )


def _extend_crc32(crc: int, data: bytes) -> int:
    return int(isal_zlib.crc32(data, crc))
