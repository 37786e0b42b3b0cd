"""Law 2: never below the desired size, and above it by less than one sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.errors import UsageError
from dsgen.size import echo_size, format_size, parse_size
from dsgen.workloads import WORKLOADS, plan

CHOICES = [(name, law) for name, kind in WORKLOADS.items() for law in kind.LAWS]


@pytest.mark.parametrize(("workload", "law"), CHOICES)
@given(size_bytes=st.integers(1, 10**12), seed=st.integers(0, 2**64))
def test_size_is_reached_by_the_last_sample(workload, law, size_bytes, seed):
    layout = plan(workload, size_bytes=size_bytes, law=law, seed=seed)
    last = max(file.index for file in layout.files if file.samples)
    last_sample_bytes = sum(f.bytes for f in layout.files if f.key == layout.files[last].key)
    assert layout.data_bytes >= size_bytes
    assert layout.data_bytes - last_sample_bytes < size_bytes


@pytest.mark.parametrize(("workload", "law"), CHOICES)
@given(size_bytes=st.integers(10**9, 10**11))
def test_segments_tile_every_file(workload, law, size_bytes):
    for file in plan(workload, size_bytes=size_bytes, law=law, seed=1).files:
        at = 0
        for index in range(file.segment_count):
            segment = file.segment(index)
            assert (segment.index, segment.offset_bytes) == (index, at)
            at += segment.bytes
        assert at == file.bytes


@pytest.mark.parametrize(("workload", "law"), CHOICES)
def test_a_larger_set_begins_with_the_smaller_one(workload, law):
    small = plan(workload, size_bytes=10**9, law=law, seed=3)
    large = plan(workload, size_bytes=10**10, law=law, seed=3)
    assert large.files[: len(small.files)] == small.files


@given(st.integers(1, 10**15))
def test_a_size_in_bytes_means_itself(size_bytes):
    assert parse_size(str(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("16GB", 16 * 10**9), ("16GiB", 16 * 2**30), ("16e9", 16 * 10**9), ("1.5MiB", 1_572_864)],
)
def test_units_are_decimal_or_binary_as_written(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["16G", "16M", "1T", "1k"])
def test_a_bare_letter_is_refused_with_both_spellings(text):
    with pytest.raises(UsageError) as refused:
        parse_size(text)
    letter = text[-1].upper()
    assert f"{letter}iB" in str(refused.value)
    assert f"{'k' if letter == 'K' else letter}B" in str(refused.value)


@pytest.mark.parametrize("text", ["", "-1", "0", "many", "1e-3", "GB", "1 GB 2", "0x10", "٣GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        parse_size(text)


def test_a_size_is_said_in_three_ways():
    assert echo_size(16 * 10**9) == "16 GB = 16,000,000,000 bytes (14.9 GiB)"
    assert format_size(999_600) == "1 MB"
