"""Our own deflate: what any inflate makes of it, how long it may be, and its very bytes."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen import deflate
from dsgen.deflate import (
    DEFLATE_END,
    LEAST_PADDING,
    Deflater,
    empty_blocks,
    most_bytes_of_zeros,
    stored_bytes,
)
from dsgen.seed import named_words

WHOLE = st.integers(-(2**53), 2**53).map(float)
SMALL = st.integers(0, 3).map(float)
ANY_BYTES = st.binary(min_size=8, max_size=8).map(lambda own: np.frombuffer(own, "<f8")[0])
# Runs of equal words, so that zeros span words, the grid, and the end.
RUNS = st.lists(
    st.tuples(st.one_of(st.just(0.0), SMALL, WHOLE, ANY_BYTES), st.integers(1, 80)),
    min_size=1,
    max_size=12,
).map(lambda runs: np.repeat([value for value, _ in runs], [count for _, count in runs]))

# Length and CRC-32 as first written. A change makes other data sets, and asks for another
# FORMAT_VERSION of dlrm and of scaled sets.
GOLDEN = (135_547, 1_369_473_089)


def inflated(blocks):
    inflating = zlib.decompressobj(wbits=-15)
    data = inflating.decompress(blocks + DEFLATE_END)
    assert inflating.eof
    assert inflating.unused_data == b""
    return data


def as_bytes(values):
    return np.ascontiguousarray(values, "<f8").view(np.uint8)


@given(first=RUNS, second=RUNS)
def test_pieces_inflate_to_themselves_under_the_code_of_the_first(first, second):
    deflater = Deflater()
    blocks = b"".join(deflater.blocks(as_bytes(piece)) for piece in (first, second))
    assert inflated(blocks) == as_bytes(first).tobytes() + as_bytes(second).tobytes()


@given(first=RUNS, second=RUNS)
def test_no_piece_takes_more_than_stored_and_no_zeros_more_than_their_bound(first, second):
    deflater = Deflater()
    deflater.blocks(as_bytes(first))
    assert len(deflater.blocks(as_bytes(second))) <= stored_bytes(second.nbytes)
    zeros = np.zeros(len(second))
    assert len(deflater.blocks(as_bytes(zeros))) <= most_bytes_of_zeros(zeros.nbytes)


@given(first=RUNS, second=RUNS)
def test_a_piece_that_is_measured_has_the_length_of_its_blocks(first, second):
    made, measured = Deflater(), Deflater()
    for piece in (as_bytes(first), as_bytes(second)):
        assert measured.measure(piece) == len(made.blocks(piece))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 8191, 8192, 40_000])
def test_random_words_are_stored_and_zeros_hardly_take_room(count):
    words = named_words("deflate", count).random_raw(count)
    blocks = Deflater().blocks(words.view(np.uint8))
    assert len(blocks) == stored_bytes(8 * count)
    assert inflated(blocks) == words.tobytes()
    zeros = Deflater().blocks(np.zeros(8 * count, np.uint8))
    assert inflated(zeros) == bytes(8 * count)
    # A zero and a match for each 32 words, of 9 bits or so together.
    assert len(zeros) < 200 + count // 24


def test_a_code_of_very_unlike_counts_has_no_more_than_15_bits():
    # Fibonacci numbers of bytes make the deepest tree that there is.
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-2] + counts[-1])
    values = np.repeat(np.arange(1, 25, dtype=np.uint64) << np.uint64(56), counts)
    blocks = Deflater().blocks(values.view(np.uint8))
    assert inflated(blocks) == values.tobytes()
    assert len(blocks) < values.nbytes / 8


@pytest.mark.parametrize("how", ["compiled", "interpreted"])
def test_the_bytes_are_the_committed_ones(monkeypatch, how):
    if how == "interpreted":
        monkeypatch.setattr(deflate, "_compiled", lambda: deflate.put_items)
    words = named_words("deflate golden", 1).random_raw(20_000)
    values = (words >> (np.uint64(41) + words % np.uint64(23))).astype(np.float64)
    deflater = Deflater()
    blocks = deflater.blocks(as_bytes(values)) + deflater.blocks(as_bytes(values[::-1]))
    assert inflated(blocks) == as_bytes(values).tobytes() + as_bytes(values[::-1]).tobytes()
    assert (len(blocks), zlib.crc32(blocks)) == GOLDEN


def test_empty_blocks_inflate_to_nothing():
    for length in range(LEAST_PADDING, 200):
        assert inflated(empty_blocks(length)) == b""
