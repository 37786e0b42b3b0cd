"""dlrm npz: a day's log a file, as three arrays of float64 in a zip archive.

An archive holds X_cat, X_int and y, each a header and chunks of rows. A chunk takes a planned
number of bytes: deflated rows, filled up by empty deflate blocks. So sizes and offsets are known
before a byte is deflated, and chunks can be written by many processes. Headers and directory name
the CRC-32 of all rows, and are the closing segments.

Source: data_utils.py of discslab-dl-bench/mlcomns_dlrm, lines 586 to 698.
"""

import itertools
from collections.abc import Generator, Mapping

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dsgen.deflate import (
    DEFLATE_END,
    LEAST_PADDING,
    Deflater,
    empty_blocks,
    most_bytes_of_zeros,
    stored_block,
)
from dsgen.layout import Compression, Entropy, Layout, PlannedFile
from dsgen.npz import directory, local_header
from dsgen.seed import segment_words
from dsgen.workloads.dlrm_columns import day_rows, draw
from dsgen.workloads.dlrm_counts import categories_file, rows_file
from dsgen.workloads.dlrm_npz_parts import (
    ARRAYS,
    Part,
    day_bytes,
    members_of,
    npy_start,
    parts_of,
    split,
)

# Rows of the smallest set: every day has one.
_FEWEST_ROWS = 64


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
    parts = parts_of(file.shape[0], wanted.compression, wanted.entropy)
    part = parts[segment]
    if not part.rows:
        yield np.frombuffer(structure(parts, segment, file, digests, wanted.compression), np.uint8)
        return None
    words = segment_words("dlrm-npz", wanted.seed, file.index, segment)
    pieces = _pieces(words, part, natural=wanted.entropy == "natural")
    if wanted.compression == "stored":
        return (yield from _stored(pieces))
    return (yield from _deflated(pieces, part))


def _pieces(
    words: np.random.SFC64, part: Part, *, natural: bool
) -> Generator[NDArray[np.uint8], None, None]:
    array = ARRAYS[part.array]
    for rows in split(part.rows, array.piece_rows):
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
    pieces: Generator[NDArray[np.uint8], None, None], part: Part
) -> Generator[NDArray[np.uint8], None, int]:
    """Yield the pieces deflated, and empty blocks up to the planned length.

    Should rows ever take more than was planned for them, zeros take their place.
    """
    array = ARRAYS[part.array]
    end = DEFLATE_END if part.is_last else stored_block(b"")
    left = part.bytes - len(end) - LEAST_PADDING
    counts = split(part.rows, array.piece_rows)
    reserved = [most_bytes_of_zeros(rows * array.row_bytes) for rows in counts]
    deflater, crc = Deflater(), 0
    for number, piece in enumerate(pieces, 1):
        deflated = deflater.blocks(piece)
        if len(deflated) > left - sum(reserved[number:]):
            piece = np.zeros_like(piece)
            deflated = deflater.blocks(piece)
        left -= len(deflated)
        crc = isal_zlib.crc32(piece, crc)
        yield np.frombuffer(deflated, dtype=np.uint8)
    yield np.frombuffer(empty_blocks(left + LEAST_PADDING) + end, dtype=np.uint8)
    return crc


def _day(day: int, rows: int, compression: Compression, entropy: Entropy) -> PlannedFile:
    parts = parts_of(rows, compression, entropy)
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
        return sum(day_bytes(day, compression, entropy) for day in days) >= size_bytes

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


def structure(
    parts: tuple[Part, ...],
    segment: int,
    file: PlannedFile,
    digests: Mapping[int, int],
    compression: Compression,
) -> bytes:
    """Return a header, or the archive's end."""
    rows = file.shape[0]
    members = members_of(parts, rows, digests, compression)
    part = parts[segment]
    if part.array == len(ARRAYS):
        return directory(members, file.starts[segment])
    start = npy_start(ARRAYS[part.array], rows, compression)
    return local_header(members[part.array], length=part.bytes - len(start)) + start
