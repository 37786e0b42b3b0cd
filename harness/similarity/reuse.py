"""What a memory of any size would spare the device: exact LRU stack distances of byte ranges.

A file is cut where some access begins or ends, in whole blocks, so that every access takes whole
pieces. Blocks of a piece are always accessed together, in one order, and share their distance: the
blocks of the piece but one, and those of all other pieces since its last access. That is a sum
over later accesses minus one over inversions of the order of last accesses, which a pass over the
bits of their ranks gives for all at once: O(n log n) in the number n of pieces accessed.

Source: Mattson et al., Evaluation techniques for storage hierarchies (1970), for the curve.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis.recording import Records
from harness.similarity.distances import Floats
from harness.similarity.pattern import moved_bytes

BLOCK_BYTES: Final = 1 << 20
# Memory over footprint.
MEMORY_SHARES: Final = tuple(round(0.05 * step, 2) for step in range(1, 25))

Counts = NDArray[np.int64]


class Accesses(NamedTuple):
    """Accesses to pieces in order of time: which piece, how many blocks it has, bytes touched."""

    piece: Counts
    blocks: Counts
    touched: Counts


def miss_ratios(rows: Records) -> Floats | None:
    """Return the share of bytes that a memory of each of MEMORY_SHARES would not have had.

    The share is of the bytes that were moved, the memory keeps what was used last, and its size is
    relative to all the blocks that were ever touched. First touches always miss.

    Args:
        rows: ROW rows in order of time.

    Returns:
        A ratio for each of MEMORY_SHARES; None where nothing was moved at a known place.
    """
    accesses = _accesses(rows)
    if not len(accesses.piece):
        return None
    distances = stack_distances(accesses.piece, accesses.blocks)
    again = distances >= 0
    first_bytes = int(accesses.touched[~again].sum())
    footprint = int(accesses.blocks[~again].sum())
    order = np.argsort(distances[again], kind="stable")
    ascending = distances[again][order]
    beyond = np.append(np.cumsum(accesses.touched[again][order][::-1])[::-1], 0)
    sizes = np.array(MEMORY_SHARES) * footprint
    missed = beyond[np.searchsorted(ascending, sizes)] + first_bytes
    ratios: Floats = missed / int(accesses.touched.sum())
    return ratios


def stack_distances(piece: Counts, blocks: Counts) -> Counts:
    """Return for each access how many other blocks came since the last one; -1 for a first access.

    Args:
        piece: which piece each access is to, in order of time.
        blocks: the blocks of that piece; the same at each of its accesses.

    >>> stack_distances(np.array([7, 8, 9, 8, 7]), np.array([1, 10, 100, 10, 1]))
    array([ -1,  -1,  -1, 109, 110])
    """
    last = _last_access(piece)
    distances = np.full(len(piece), -1, np.int64)
    again = np.flatnonzero(last >= 0)
    if not len(again):
        return distances
    before = np.concatenate(([0], np.cumsum(blocks)))
    # Of accesses in between, those that are not the first since then count their piece again.
    repeated = _later_last(last[again], blocks[again])
    between = before[again] - before[last[again] + 1] - repeated
    distances[again] = between + blocks[again] - 1
    return distances


def _last_access(piece: Counts) -> Counts:
    """Return the number of the last access to the same piece, -1 for none."""
    order = np.argsort(piece, kind="stable")
    same = piece[order][1:] == piece[order][:-1]
    last = np.full(len(piece), -1, np.int64)
    last[order[1:][same]] = order[:-1][same]
    return last


def _later_last(last: Counts, weights: Counts) -> Counts:
    """Return for each access the weight of earlier ones whose last access was later.

    Ranks are sorted by one bit after the other from the highest on, always stably. Of those whose
    higher bits are equal, one whose bit is set is later than one whose bit is not; each pair
    differs first in exactly one bit and is counted there.
    """
    ranks = np.empty(len(last), np.int64)
    ranks[np.argsort(last)] = np.arange(len(last))
    rank, weight, found = ranks, weights, np.zeros(len(last), np.int64)
    places = np.arange(len(last))
    for bit in reversed(range(int(len(last) - 1).bit_length())):
        is_set = (rank >> bit) & 1
        # Ranks are all different: those with equal higher bits lie from their smallest one on.
        group = rank >> (bit + 1) << (bit + 1)
        set_weight = np.concatenate(([0], np.cumsum(is_set * weight)))
        set_count = np.concatenate(([0], np.cumsum(is_set)))
        earlier = set_weight[:-1] - set_weight[group]
        found = found + np.where(is_set, 0, earlier)
        set_before = set_count[:-1] - set_count[group]
        place = (rank >> bit << bit) + np.where(is_set, set_before, places - group - set_before)
        rank, weight, found = (_placed(values, place) for values in (rank, weight, found))
    return found[ranks]


def _placed(values: Counts, place: Counts) -> Counts:
    moved = np.empty_like(values)
    moved[place] = values
    return moved


def _accesses(rows: Records) -> Accesses:
    """Cut the files of the rows into pieces, and the rows into accesses to these."""
    moved = moved_bytes(rows)
    kept = (moved > 0) & (rows["offset"] >= 0)
    start, end = rows["offset"][kept], rows["offset"][kept] + moved[kept]
    if not len(start):
        nothing = np.empty(0, np.int64)
        return Accesses(nothing, nothing, nothing)
    _, file = np.unique(rows["file"][kept], return_inverse=True)
    # One number line for the blocks of all files.
    stride = int(end.max()) // BLOCK_BYTES + 2
    base = file * stride
    first, beyond = base + start // BLOCK_BYTES, base + (end - 1) // BLOCK_BYTES + 1
    cuts, inverse = np.unique(np.concatenate((first, beyond)), return_inverse=True)
    from_piece, to_piece = np.split(inverse, 2)
    pieces = to_piece - from_piece
    call = np.repeat(np.arange(len(pieces)), pieces)
    within = np.arange(len(call)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    piece = from_piece[call] + within
    left = np.maximum((cuts[piece] - base[call]) * BLOCK_BYTES, start[call])
    right = np.minimum((cuts[piece + 1] - base[call]) * BLOCK_BYTES, end[call])
    return Accesses(piece, cuts[piece + 1] - cuts[piece], right - left)
