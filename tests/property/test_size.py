"""Law 2: never below the desired size, and above it by less than one sample."""

import operator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.choices import Wanted
from dsgen.errors import UsageError
from dsgen.size import echo_size, format_size, parse_size
from dsgen.workloads import WORKLOADS
from tests.property.strategies import DataSet, data_set

# Every format with each law, entropy and compression in turn.
CHOICES = [
    DataSet(workload=name, size_bytes=1, wanted=Wanted(format=format_, **{field: value}))
    for name, kind in WORKLOADS.items()
    for format_, choices in kind.FORMATS.items()
    for field, values in (
        ("law", choices.laws),
        ("entropy", choices.entropies),
        ("compression", choices.compressions),
        ("min_files", (7, 600) if choices.min_files else ()),
    )
    for value in values
]
EACH = pytest.mark.parametrize("choice", CHOICES, ids=operator.attrgetter("name"))


def planned(choice, size_bytes, seed):
    # As many files need as many records.
    size_bytes = max(size_bytes, 2496 * choice.wanted.min_files)
    return replace(choice, size_bytes=size_bytes).layout(seed)


def excess_bytes(layout):
    """Return what a data set may have above its size: one sample."""
    wanted = layout.parameters
    if wanted.workload == "imseg":
        last = layout.files[-1].key
        return sum(file.bytes for file in layout.files if file.key == last)
    if wanted.format == "npz":
        # 0.5 %, or where that is less, a block of 4 KiB for each array of each day.
        return max(wanted.size_requested_bytes // 200, 24 * 3 * 4096)
    return {"tfrecord": 2496, "text": 340, "bin": 160}[wanted.format]


@EACH
@given(size_bytes=st.integers(1, 10**12), seed=st.integers(0, 2**64))
def test_size_is_reached_by_the_last_sample(choice, size_bytes, seed):
    layout = planned(choice, size_bytes, seed)
    size_bytes = layout.parameters.size_requested_bytes
    assert layout.data_bytes >= size_bytes
    assert layout.data_bytes - excess_bytes(layout) < max(size_bytes, smallest(choice))


def smallest(choice):
    """Return the bytes of the smallest data set; an archive a day takes some whatever it holds."""
    return planned(choice, 1, 1).data_bytes if choice.wanted.format == "npz" else 1


@EACH
@given(size_bytes=st.integers(10**9, 10**11))
def test_segments_tile_every_file(choice, size_bytes):
    for file in planned(choice, size_bytes, 1).files:
        at = 0
        for index in range(file.segment_count):
            segment = file.segment(index)
            assert (segment.index, segment.offset_bytes) == (index, at)
            assert segment.bytes > 0
            at += segment.bytes
        assert at == file.bytes


# Rows that are stored in an archive end where they end.
@pytest.mark.parametrize(
    "choice",
    [choice for choice in CHOICES if choice.wanted.compression != "stored"],
    ids=operator.attrgetter("name"),
)
def test_segments_begin_where_direct_writing_may(choice):
    for file in planned(choice, 10**10, 1).files:
        large = [s for s in map(file.segment, range(file.segment_count)) if s.bytes > 10**7]
        assert all(segment.offset_bytes % 4096 == 0 for segment in large)


@pytest.mark.parametrize("law", WORKLOADS["imseg"].FORMATS["npy"].laws)
def test_a_larger_set_begins_with_the_smaller_one(law):
    small, large = (data_set("imseg", size, law=law).layout(3) for size in (10**9, 10**10))
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


@pytest.mark.parametrize(
    "text", ["1e400", "1e999999", "1e9999999TB", f"1e{'9' * 5000}", str(2**63), "9223373TB"]
)
def test_a_size_beyond_every_device_is_refused(text):
    with pytest.raises(UsageError, match="below 2"):
        parse_size(text)


def test_zero_stays_too_small_whatever_its_exponent():
    with pytest.raises(UsageError, match="at least one byte"):
        parse_size("0e999999")


def test_a_size_is_said_in_three_ways():
    assert echo_size(16 * 10**9) == "16 GB = 16,000,000,000 bytes (14.9 GiB)"
    assert format_size(999_600) == "1 MB"
