"""Deflate of float64 that are whole numbers, by code of our own: the same bytes on every machine.

Small whole numbers begin with zero bytes: as words of 8 bytes, the lowest come first. So a block
is, word after word, a run of zeros and the bytes that follow it. Whole words of zeros belong to
the run of the next. A run is a match: 8 bytes back where the word there begins with as many zeros,
else a literal zero and a match 1 byte back. Any other numbers can be deflated as well, to more.

Source: RFC 1951.
"""

import bisect
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# Empty deflate blocks that end on a byte: a stored one after none, one, or two fixed ones.
_EMPTY: Final = {5: b"\0\0\0\xff\xff", 6: b"\x02\0\0\0\xff\xff", 7: b"\x02\x08\0\0\0\xff\xff"}
# A block ends with a stored one that is empty: the bits of its header, and whole bytes.
_STORED_BITS: Final = 3
_EMPTY_END: Final = _EMPTY[5][1:]
# With these, every length from here on can be filled.
LEAST_PADDING: Final = 20
# The last block of a stream: stored, and empty.
DEFLATE_END: Final = b"\x01\0\0\xff\xff"
_MOST_STORED: Final = 65_535

# One word in so many ends a run, even of zeros: no run is longer than a match can be.
_GRID: Final = 32
_LONGEST: Final = 8 * _GRID
# Runs by their length; and after them, those that are a match 8 bytes back.
_NEAR: Final = _LONGEST + 1
_SHORTEST_MATCH: Final = 3
_RUNS: Final = _NEAR + 9  # a match 8 bytes back is a word at most

_END: Final = 256
_SYMBOLS: Final = 285  # 258, the one length of symbol 285, is longer than any run
_MOST_BITS: Final = 15
# The lengths of symbols from 257 on: the first of each, and how many bits say which of them it is.
_FIRST_LENGTHS: Final = (
    *(3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23),
    *(27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227),
)
_EXTRA_BITS: Final = (*[0] * 8, *[1] * 4, *[2] * 4, *[3] * 4, *[4] * 4, *[5] * 4)
# Distances 1 and 8 are symbol 0, and the second of symbol 5; both symbols have one bit.
_DISTANCE_BITS: Final = (1, 0, 0, 0, 0, 1)
_ONE_BACK: Final = (0b0, 1)
_EIGHT_BACK: Final = (0b11, 2)
# A field: up to 58 bits, the first lowest, and in the upper six how many they are.
_FIELD_BITS: Final = 58
_FIELD_MASK: Final = 2**_FIELD_BITS - 1
# Order in which a header says how many bits the numbers of bits take: each takes four.
_HEADER_ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_HEADER_BITS: Final = 3 + 14 + 3 * len(_HEADER_ORDER) + 4 * (_SYMBOLS + len(_DISTANCE_BITS))


class Deflater:
    """Deflates words piece by piece. The first piece decides on the code of all."""

    def __init__(self) -> None:
        self._code: _Code | None = None

    def blocks(self, piece: NDArray[np.uint8]) -> bytes:
        """Return deflate blocks, none of them the last, that end on a byte.

        Args:
            piece: bytes of whole words, one at least.
        """
        items = _items(piece.view("<u8"))
        deflated = _block(items, self._code_of(items))
        return deflated if len(deflated) < stored_bytes(len(piece)) else _stored(piece)

    def measure(self, piece: NDArray[np.uint8]) -> int:
        """Return how many bytes `blocks` makes of a piece, without making them."""
        items = _items(piece.view("<u8"))
        bits = _block_bits(items, self._code_of(items))
        return min(_whole_bytes(bits) + len(_EMPTY_END), stored_bytes(len(piece)))

    def _code_of(self, items: "_Items") -> "_Code":
        if self._code is None:
            self._code = _code_for(items)
        return self._code


def most_bytes_of_zeros(size_bytes: int) -> int:
    """Return what a piece of zeros takes at most, whatever the code."""
    items = size_bytes // 8 // _GRID + 2
    bits = _HEADER_BITS + items * (2 * _MOST_BITS + 5 + 1) + _MOST_BITS + _STORED_BITS
    return _whole_bytes(bits) + len(_EMPTY_END)


def stored_bytes(size_bytes: int) -> int:
    """Return what bytes take in stored blocks, and so a piece at most."""
    return size_bytes + 5 * -(-size_bytes // _MOST_STORED)


def stored_block(data: bytes) -> bytes:
    """Return a deflate block, not the last, that holds up to 65,535 bytes as they are."""
    return struct.pack("<BHH", 0, len(data), len(data) ^ 0xFFFF) + data


def empty_blocks(length: int) -> bytes:
    """Return deflate blocks that hold nothing and take `length` bytes, 20 or more.

    >>> all(len(empty_blocks(length)) == length for length in range(20, 100))
    True
    """
    last = {0: b"", 1: _EMPTY[6], 2: _EMPTY[7], 3: _EMPTY[6] + _EMPTY[7], 4: _EMPTY[7] * 2}
    tail = last[length % 5]
    return _EMPTY[5] * ((length - len(tail)) // 5) + tail


def _stored(piece: NDArray[np.uint8]) -> bytes:
    data = piece.tobytes()
    return b"".join(
        stored_block(data[first : first + _MOST_STORED])
        for first in range(0, len(data), _MOST_STORED)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Items:
    """The words that end a run: all but zeros, and of these those on the grid and the last.

    Args:
        words: as they are.
        zeros: zero bytes that each begins with, up to 8.
        runs: of zero bytes up to there, by length; from `_NEAR` on as a match 8 bytes back.
    """

    words: Words
    zeros: NDArray[np.uint8]
    runs: NDArray[np.int16]


def _items(words: Words) -> _Items:
    ends = words != 0
    ends[::_GRID] = True
    ends[-1] = True
    places = np.flatnonzero(ends)
    own = words.take(places)
    zeros = _zero_bytes(own)
    before = np.zeros(len(own), np.int16)
    np.subtract(places[1:], places[:-1], out=before[1:], casting="unsafe")
    before[1:] -= 1
    runs = 8 * before
    runs += zeros
    near = np.zeros(len(own), np.bool_)
    np.less_equal(runs[1:], zeros[:-1], out=near[1:])
    near &= runs >= _SHORTEST_MATCH
    runs += near * np.int16(_NEAR)
    return _Items(words=own, zeros=zeros, runs=runs)


def _zero_bytes(words: Words) -> NDArray[np.uint8]:
    """Return how many zero bytes each word begins with."""
    lowest_zeros = words - np.uint64(1)
    lowest_zeros &= ~words
    zeros: NDArray[np.uint8] = np.bitwise_count(lowest_zeros)
    zeros >>= np.uint8(3)
    return zeros


@dataclass(frozen=True, kw_only=True, slots=True)
class _Code:
    """How a block is written.

    Args:
        header: what it begins with; takes `_HEADER_BITS`.
        end: what it ends with, and its bits.
        runs: the field of each run.
        bytes: the field of each byte.
    """

    header: int
    end: tuple[int, int]
    runs: Words
    bytes: Words


def _code_for(items: _Items) -> _Code:
    bits = _huffman_bits(_counts(items))
    codes = _codes(bits)
    return _Code(
        header=_header(bits),
        end=(codes[_END], bits[_END]),
        runs=_fields(_runs(codes, bits)),
        bytes=_fields(list(zip(codes, bits, strict=True))[:_END]),
    )


def _counts(items: _Items) -> list[int]:
    """Return how often each symbol is needed, once more than that: other pieces may need it."""
    counts = np.ones(_SYMBOLS, np.int64)
    counts[:_END] += _byte_counts(items)
    runs = _run_counts(items).tolist()
    for length in range(1, _NEAR):
        if length <= _SHORTEST_MATCH:
            counts[0] += length * runs[length]
        else:
            counts[0] += runs[length]
            counts[_length_symbol(length - 1)] += runs[length]
    for length in range(_SHORTEST_MATCH, 9):
        counts[_length_symbol(length)] += runs[_NEAR + length]
    return [int(count) for count in counts]


def _byte_counts(items: _Items) -> NDArray[np.int64]:
    # Two bytes at a time: it takes a third of the time.
    pairs = np.bincount(items.words.view("<u2"), minlength=_END**2).reshape(_END, _END)
    counts: NDArray[np.int64] = pairs.sum(axis=0) + pairs.sum(axis=1)
    counts[0] -= items.zeros.sum(dtype=np.int64)
    return counts


def _run_counts(items: _Items) -> NDArray[np.int64]:
    return np.bincount(items.runs, minlength=_RUNS)


def _length_symbol(length: int) -> int:
    return _END + bisect.bisect(_FIRST_LENGTHS, length)


def _huffman_bits(counts: Sequence[int]) -> list[int]:
    """Return the bits of each symbol in a Huffman code of at most 15 bits."""
    while True:
        bits = _unbounded_bits(counts)
        if max(bits) <= _MOST_BITS:
            return bits
        counts = [count // 2 + 1 for count in counts]


def _unbounded_bits(counts: Sequence[int]) -> list[int]:
    """Return the depths of the leaves: nodes are made in the order of their weights."""
    order = sorted(range(len(counts)), key=lambda symbol: (counts[symbol], symbol))
    weights = [counts[symbol] for symbol in order]
    leaves = len(weights)
    parents = [0] * (2 * leaves - 1)
    leaf, inner = 0, leaves
    for node in range(leaves, 2 * leaves - 1):
        weight = 0
        for _ in range(2):
            if inner == node or (leaf < leaves and weights[leaf] <= weights[inner]):
                lightest, leaf = leaf, leaf + 1
            else:
                lightest, inner = inner, inner + 1
            parents[lightest] = node
            weight += weights[lightest]
        weights.append(weight)
    depths = [0] * (2 * leaves - 1)
    for node in reversed(range(2 * leaves - 2)):
        depths[node] = depths[parents[node]] + 1
    bits = [0] * leaves
    for place, symbol in enumerate(order):
        bits[symbol] = depths[place]
    return bits


def _codes(bits: Sequence[int]) -> list[int]:
    """Return the canonical code of each symbol, its first bit lowest."""
    codes = [0] * len(bits)
    following = 0
    for size in range(1, _MOST_BITS + 1):
        following <<= 1
        for symbol, own in enumerate(bits):
            if own == size:
                codes[symbol] = _reversed(following, size)
                following += 1
    return codes


def _reversed(code: int, bits: int) -> int:
    return int(f"{code:0{bits}b}"[::-1], 2)


def _header(bits: Sequence[int]) -> int:
    """Return the header of a block that is not the last: the bits of all symbols, 4 bits each."""
    fields = [(0, 1), (2, 2), (_SYMBOLS - 257, 5), (len(_DISTANCE_BITS) - 1, 5), (15, 4)]
    fields += [(4 if symbol <= _MOST_BITS else 0, 3) for symbol in _HEADER_ORDER]
    fields += [(_reversed(own, 4), 4) for own in (*bits, *_DISTANCE_BITS)]
    return _joined(*fields)[0]


def _joined(*fields: tuple[int, int]) -> tuple[int, int]:
    """Return fields one after the other as one, each a value and its bits."""
    value = bits = 0
    for own, size in fields:
        value |= own << bits
        bits += size
    return value, bits


def _runs(codes: Sequence[int], bits: Sequence[int]) -> list[tuple[int, int]]:
    """Return each run as it is written, and its bits."""

    def symbol(number: int) -> tuple[int, int]:
        return codes[number], bits[number]

    def match(length: int, distance: tuple[int, int]) -> tuple[int, int]:
        number = _length_symbol(length)
        extra = length - _FIRST_LENGTHS[number - 257], _EXTRA_BITS[number - 257]
        return _joined(symbol(number), extra, distance)

    zero = symbol(0)
    runs = [_joined(*[zero] * length) for length in range(_SHORTEST_MATCH + 1)]
    runs += [_joined(zero, match(length - 1, _ONE_BACK)) for length in range(4, _NEAR)]
    runs += [(0, 0)] * _SHORTEST_MATCH
    return runs + [match(length, _EIGHT_BACK) for length in range(_SHORTEST_MATCH, 9)]


def _fields(values: Sequence[tuple[int, int]]) -> Words:
    return np.array([value | bits << _FIELD_BITS for value, bits in values], np.uint64)


def _block(items: _Items, code: _Code) -> bytes:
    """Return a block that is not the last, and an empty one that ends it on a byte."""
    # The longest run is three literal zeros; at most eight bytes follow it.
    most_item_bits = (_SHORTEST_MATCH + 8) * _MOST_BITS
    most_bits = _HEADER_BITS + len(items.words) * most_item_bits + _MOST_BITS + _STORED_BITS
    stream = np.zeros(most_bits // 64 + 2, "<u8")
    _put(stream, 0, code.header, _HEADER_BITS)
    end = _compiled()(
        stream, _HEADER_BITS, items.words, items.zeros, items.runs, code.runs, code.bytes
    )
    _put(stream, end, *code.end)
    end += code.end[1] + _STORED_BITS
    return stream.view(np.uint8)[: _whole_bytes(end)].tobytes() + _EMPTY_END


def _block_bits(items: _Items, code: _Code) -> int:
    """Return how many bits a block has, up to the first of the empty one that ends it."""
    fields = ((code.runs, _run_counts(items)), (code.bytes, _byte_counts(items)))
    bits = sum(
        int((own >> np.uint64(_FIELD_BITS)).astype(np.int64) @ counts) for own, counts in fields
    )
    return _HEADER_BITS + bits + code.end[1] + _STORED_BITS


def _whole_bytes(bits: int) -> int:
    return -(-bits // 8)


def _put(stream: Words, start: int, value: int, bits: int) -> None:
    """Write one value of any number of bits behind `start`."""
    first, shift = divmod(start, 64)
    count = (shift + bits) // 64 + 1
    stream[first : first + count] |= np.frombuffer(
        (value << shift).to_bytes(8 * count, "little"), "<u8"
    )


@cache
def _compiled() -> "Callable[..., int]":
    """Return `put_items`, compiled: it takes a second, and only who deflates waits for it."""
    import numba

    return cast("Callable[..., int]", numba.njit(put_items))


def put_items(
    stream: Words,
    end: int,
    words: Words,
    zeros: NDArray[np.uint8],
    runs: NDArray[np.int16],
    run_fields: Words,
    byte_fields: Words,
) -> int:
    """Write items behind the bits that a stream has, and return where it ends then.

    Integers of 64 bits and nothing else, so that it is the same compiled anywhere, or not at all.
    """
    eight, sixty_four, mask = np.uint64(8), np.uint64(64), np.uint64(_FIELD_MASK)
    size_at = np.uint64(_FIELD_BITS)
    at, filled = end // 64, np.uint64(end % 64)
    bits = stream[at]
    for item in range(len(words)):
        field = run_fields[runs[item]]
        place = np.uint64(zeros[item])
        while True:
            value, size = field & mask, field >> size_at
            bits |= value << filled
            filled += size
            if filled >= sixty_four:
                stream[at] = bits
                at += 1
                filled -= sixty_four
                bits = value >> (size - filled)
            if place == eight:
                break
            field = byte_fields[(words[item] >> (eight * place)) & np.uint64(255)]
            place += np.uint64(1)
    stream[at] = bits
    return at * 64 + int(filled)
