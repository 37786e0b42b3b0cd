"""Records are counted from the bytes of a file as they come, in whatever pieces."""

import itertools
import os
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen import tfrecord
from dsgen.tfrecord import (
    FOOTER_BYTES,
    HEADER_BYTES,
    RecordCounter,
    frame_header,
    record_from,
)

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=30)


def framed(lengths):
    """Return records of these lengths, and where each begins."""
    records = [frame_header(length) + bytes(length + FOOTER_BYTES) for length in lengths]
    starts = [0, *itertools.accumulate(map(len, records))]
    return b"".join(records), starts[:-1]


def counted(data, start, cuts, *, first=None):
    """Count what begins in `data` from `start` on, whose pieces end at `cuts`."""
    counter = RecordCounter(start if first is None else first, len(data))
    bounds = sorted({start, len(data), *(cut for cut in cuts if start < cut < len(data))})
    for begin, end in itertools.pairwise(bounds):
        counter.add(begin, memoryview(data)[begin:end])
    return counter.records


@given(LENGTHS, st.lists(st.integers(0, 2_000)), st.data())
def test_every_record_counts_once_however_the_bytes_are_cut(lengths, cuts, draw):
    data, starts = framed(lengths)
    start = draw.draw(st.integers(0, starts[-1]))
    first = next(one for one in starts if one >= start)
    wanted = sum(one >= start for one in starts)
    assert counted(data, start, cuts, first=first) == wanted


@given(LENGTHS, st.lists(st.integers(0, 2_000)), st.data())
def test_a_header_that_is_none_is_told_though_its_length_came_before(lengths, cuts, draw):
    data, starts = framed([*lengths, lengths[0]])
    damaged = draw.draw(st.sampled_from(starts))
    at = damaged + draw.draw(st.integers(0, HEADER_BYTES - 1))
    flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(ValueError, match=rf"no record begins at byte {damaged:,}$"):
        counted(flipped, 0, cuts)


@given(LENGTHS, st.lists(st.integers(0, 2_000)))
def test_a_last_record_that_ends_beyond_the_file_is_told(lengths, cuts):
    data, starts = framed([*lengths, lengths[0]])
    with pytest.raises(ValueError, match=f"truncated: the record at byte {starts[-1]:,} ends"):
        counted(data[:-1], 0, cuts)


@given(LENGTHS, st.lists(st.integers(0, 2_000)), st.integers(1, HEADER_BYTES - 1))
def test_a_last_record_without_a_whole_header_is_told(lengths, cuts, there):
    data, starts = framed([*lengths, lengths[0]])
    with pytest.raises(ValueError, match=f"byte {starts[-1]:,} has no whole header"):
        counted(data[: starts[-1] + there], 0, cuts)


def counted_in_parts(data, cuts):
    """Count the parts of a file that end at `cuts`, each by what the file alone says."""
    descriptor = os.memfd_create("records")
    try:
        os.write(descriptor, data)
        bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        total = 0
        for begin, end in itertools.pairwise(bounds):
            counter = RecordCounter(record_from(descriptor, begin, len(data)), len(data))
            counter.add(begin, memoryview(data)[begin:end])
            total += counter.records
        return total
    finally:
        os.close(descriptor)


# So few bytes to look back over that parts do not all begin at the file's first record.
@patch.object(tfrecord, "_BACK_BYTES", 64)
@given(LENGTHS, st.lists(st.integers(0, 2_000)))
def test_parts_of_a_file_have_all_its_records(lengths, cuts):
    data, starts = framed(lengths)
    assert counted_in_parts(data, cuts) == len(starts)


@patch.object(tfrecord, "_BACK_BYTES", 64)
@given(LENGTHS, st.lists(st.integers(0, 2_000)), st.data())
def test_a_header_that_is_none_is_told_in_whatever_part_it_begins(lengths, cuts, draw):
    data, starts = framed([*lengths, lengths[0]])
    at = draw.draw(st.sampled_from(starts)) + draw.draw(st.integers(0, HEADER_BYTES - 1))
    flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(ValueError, match="no record begins"):
        counted_in_parts(flipped, cuts)
