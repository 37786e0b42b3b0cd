"""The bytes of copies: a file of the input, or its beginning, or it again and again."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import COUNTED, PlannedFile
from dsgen.source import SourceFile, reading
from dsgen.tfrecord import RecordCounter, record_from

_BLOCK_BYTES: Final = 2**20


def blocks(
    root: Path, source: SourceFile, file: PlannedFile, segment: int
) -> Generator[NDArray[np.uint8], None, int | None]:
    """Yield one segment of a copy; at the end, how many samples begin in it where they count.

    A copy that is longer than its source goes on at its beginning. A text that does not end with a
    line end gets one before it goes on.

    Raises:
        DataSetError: the source cannot be read, has changed, or is none of its format.
    """
    planned = file.segment(segment)
    start, end = planned.offset_bytes, planned.offset_bytes + planned.bytes
    with reading(root, source) as descriptor:
        if file.samples != COUNTED:
            yield from cyclic(descriptor, source, start, end)
            return None
        if file.file_class == "line":
            return (yield from counting_lines(cyclic(descriptor, source, start, end)))
        return (yield from _counting_records(descriptor, source, start, end))


def turn_bytes(descriptor: int, source: SourceFile) -> int:
    """Return after how many bytes a copy goes on at the source's beginning."""
    lacks_end = source.file_class == "line" and os.pread(descriptor, 1, source.bytes - 1) != b"\n"
    return source.bytes + lacks_end


def cyclic(
    descriptor: int, source: SourceFile, start: int, end: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the bytes of `start` to `end` of the source, repeated."""
    turn = turn_bytes(descriptor, source)
    buffer = np.empty(_BLOCK_BYTES, dtype=np.uint8)
    at = start
    while at < end:
        place = at % turn
        wanted = min(_BLOCK_BYTES, end - at, turn - place)
        got = os.preadv(descriptor, [buffer[:wanted].data], place)
        if got == 0 and place == source.bytes:
            buffer[0], got = ord("\n"), 1
        if got == 0:
            raise ValueError("became shorter while it was read")
        yield buffer[:got]
        at += got


def counting_lines(
    blocks_: Generator[NDArray[np.uint8], None, None],
) -> Generator[NDArray[np.uint8], None, int]:
    """Yield the blocks; at the end, how many line ends are in them."""
    lines = 0
    for block in blocks_:
        lines += int(np.count_nonzero(block == ord("\n")))
        yield block
    return lines


def _counting_records(
    descriptor: int, source: SourceFile, start: int, end: int
) -> Generator[NDArray[np.uint8], None, int]:
    counter = RecordCounter(record_from(descriptor, start, source.bytes), source.bytes)
    at = start
    for block in cyclic(descriptor, source, start, end):
        counter.add(at, block.data)
        yield block
        at += block.size
    return counter.records
