"""dlrm text: the lines of a user's log, then in each turn over it new ones, block by block.

A block is the lines that begin in about a MiB of the text. Their fields are shuffled, so that lines
change their lengths and a block does not: every block's place is known from the source.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.copied import counting_lines, turn_bytes
from dsgen.layout import PlannedFile
from dsgen.source import SourceFile, read_bytes, reading
from dsgen.workloads.dlrm_columns import COLUMNS
from dsgen.workloads.dlrm_shuffle import orders, part_at, turns

_BLOCK_BYTES: Final = 2**20
_WINDOW_BYTES: Final = 2**12
_LINES_AT_ONCE: Final = 512  # few enough for the caches
_TAB, _LINE_END = ord("\t"), ord("\n")


def blocks(
    descriptor: int, source: SourceFile, file: PlannedFile, segment: int, seed: int
) -> Generator[NDArray[np.uint8], None, int]:
    """Yield one segment; at the end, how many lines end in it.

    Raises:
        ValueError: a line has other than 40 fields, or there are too few.
    """

    def block_at(turn: int, place: int) -> tuple[int, NDArray[np.uint8]]:
        return _block_at(descriptor, source, seed, turn, place)

    planned = file.segment(segment)
    start, end = planned.offset_bytes, planned.offset_bytes + planned.bytes
    turn = turn_bytes(descriptor, source)
    return (yield from counting_lines(turns(descriptor, source, start, end, turn, block_at)))


def end_of_line(root: Path, source: SourceFile, seed: int, least_bytes: int) -> int:
    """Return where the line ends that holds byte `least_bytes` - 1, of a turn with new lines.

    Raises:
        DataSetError: the source cannot be read, has changed, or has a line that is no click.
    """
    with reading(root, source) as descriptor:
        turn, place = divmod(least_bytes - 1, turn_bytes(descriptor, source))
        begins, block = _block_at(descriptor, source, seed, turn, place)
        ends = np.flatnonzero(block[place - begins :] == _LINE_END)
        return least_bytes + int(ends[0])


def _block_at(
    descriptor: int, source: SourceFile, seed: int, turn: int, place: int
) -> tuple[int, NDArray[np.uint8]]:
    """Return the new block around a place in a turn, and where it begins."""
    total = turn_bytes(descriptor, source)
    block, low, high = part_at(total, _BLOCK_BYTES, place)
    first = _line_start(descriptor, low, total)
    while first > place:  # the line around it began in the block before
        block, low, high = part_at(total, _BLOCK_BYTES, low - 1)
        first = _line_start(descriptor, low, total)
    end = _line_start(descriptor, high, total)
    if end - first > 2 * _BLOCK_BYTES:
        raise ValueError(f"a line of more than {_BLOCK_BYTES:,} bytes before byte {end:,}")
    text = read_bytes(descriptor, first, min(end, source.bytes) - first)
    if end > source.bytes:  # the source's last line has no end
        text = np.append(text, np.uint8(_LINE_END))
    ends = _field_ends(text, first)
    return first, _shuffled(
        text, ends, orders("dlrm-text-shuffle", seed, turn, block, rows=len(ends), columns=COLUMNS)
    )


def _line_start(descriptor: int, at: int, total: int) -> int:
    """Return where the first line begins at or after byte `at`, `total` where none does."""
    if at == 0:
        return 0
    at -= 1
    while data := os.pread(descriptor, _WINDOW_BYTES, at):
        if (found := data.find(b"\n")) >= 0:
            return at + found + 1
        at += len(data)
    return total


def _field_ends(text: NDArray[np.uint8], first: int) -> NDArray[np.intp]:
    """Return where the tab or line end after each field is, (lines, 40).

    Raises:
        ValueError: a line has other than 40 fields.
    """
    is_line_end = text == _LINE_END
    ends = np.flatnonzero(is_line_end | (text == _TAB))
    lines = int(np.count_nonzero(is_line_end))
    if len(ends) != lines * COLUMNS or not is_line_end[ends[COLUMNS - 1 :: COLUMNS]].all():
        what = f"a line in its {len(text):,} bytes from byte {first:,} on has other than {COLUMNS}"
        raise ValueError(f"{what} fields")
    return ends.reshape(lines, COLUMNS)


def _shuffled(
    text: NDArray[np.uint8], ends: NDArray[np.intp], order: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Return the text with the fields of each column in another order."""
    starts = np.concatenate([[0], ends.reshape(-1)[:-1] + 1]).reshape(ends.shape)
    lengths = ends + 1 - starts  # what ends a field goes with it
    columns, parts = np.arange(COLUMNS), []
    for rows in np.split(order.T, range(_LINES_AT_ONCE, len(ends), _LINES_AT_ONCE)):
        of = (rows, columns)
        taken = lengths[of].reshape(-1)
        written = np.cumsum(taken)
        shifts = starts[of].reshape(-1) - (written - taken)
        parts.append(text[np.repeat(shifts, taken) + np.arange(written[-1])])
    return np.concatenate(parts)
