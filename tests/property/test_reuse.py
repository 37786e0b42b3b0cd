"""Stack distances are those of a list that is searched, and the curve is that of a real LRU."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.similarity.reuse import BLOCK_BYTES, MEMORY_SHARES, miss_ratios, stack_distances
from harness.worker.record import ROW, Op


def slow_distances(blocks):
    """Return how many other blocks came since the last access to each, by looking."""
    found = []
    for place, block in enumerate(blocks):
        before = [at for at in range(place) if blocks[at] == block]
        found.append(len(set(blocks[before[-1] + 1 : place])) if before else -1)
    return found


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80))
def test_distances_count_the_different_blocks_in_between(blocks):
    ones = np.ones(len(blocks), np.int64)
    assert stack_distances(np.array(blocks), ones).tolist() == slow_distances(blocks)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 6)), min_size=1),
    st.integers(0, BLOCK_BYTES - 1),
)
def test_the_curve_is_that_of_a_memory_that_keeps_what_was_used_last(ranges, start):
    rows = np.zeros(len(ranges), ROW)
    rows["op"] = Op.PREAD
    for row, (file, first, blocks) in zip(rows, ranges, strict=True):
        row["file"], row["offset"] = file, first * BLOCK_BYTES + start
        row["returned"] = blocks * BLOCK_BYTES - start
    touched = [
        ((file, block), BLOCK_BYTES - start * (block == first))
        for file, first, blocks in ranges
        for block in range(first, first + blocks)
    ]
    footprint = len({block for block, _ in touched})
    total = sum(size for _, size in touched)
    curve = miss_ratios(rows)
    for share, ratio in zip(MEMORY_SHARES, curve, strict=True):
        assert ratio == pytest.approx(missed_by_lru(touched, share * footprint) / total)


def missed_by_lru(touched, capacity):
    """Return the bytes that were not there, in a memory of so many blocks."""
    memory, missed = OrderedDict(), 0
    for block, size in touched:
        if block in memory:
            memory.move_to_end(block)
        else:
            missed += size
            memory[block] = None
        # A share of a block keeps it whole: a block stays while fewer others came than fit.
        while len(memory) > np.ceil(capacity):
            memory.popitem(last=False)
    return missed


def test_nothing_moved_has_no_curve():
    assert miss_ratios(np.empty(0, ROW)) is None
