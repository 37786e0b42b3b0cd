"""Buffers begin with a huge page and end with one, and take what is said of them."""

import pytest

from dsgen.memory import fresh, held_bytes, touched
from dsgen.sink import SegmentSink

HUGE = 2 << 20


@pytest.mark.parametrize(
    ("size_bytes", "held"),
    [
        (1, 1),
        (HUGE - 1, HUGE - 1),
        (HUGE, HUGE),
        (HUGE + 1, 2 * HUGE),
        (117_280_426, 56 * HUGE),
    ],
)
def test_a_buffer_of_a_huge_page_or_more_takes_whole_ones(size_bytes, held):
    assert held_bytes(size_bytes) == held


@pytest.mark.parametrize("make", [fresh, touched])
@pytest.mark.parametrize("size_bytes", [1, HUGE - 1, HUGE, HUGE + 1, 5_000_000])
def test_a_buffer_has_its_size_and_can_be_written_to_its_end(make, size_bytes):
    buffer = make(size_bytes)
    assert buffer.nbytes == size_bytes
    assert buffer.ctypes.data % HUGE == 0
    buffer[-1] = 7
    assert buffer[-1] == 7
    # Its mapping reaches to the end of its last page.
    mapping = buffer.base
    while mapping.base is not None and hasattr(mapping.base, "ctypes"):
        mapping = mapping.base
    end = mapping.ctypes.data + mapping.nbytes
    assert end - buffer.ctypes.data >= held_bytes(size_bytes)


def test_what_is_written_directly_lies_in_huge_pages():
    buffers = SegmentSink()._buffers
    assert [buffer.ctypes.data % HUGE for buffer in buffers] == [0] * len(buffers)
