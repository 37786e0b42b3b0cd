"""Deflate of float64 that are whole numbers, in numpy alone: the same bytes on every machine.

Small whole numbers begin with zero bytes: as words of 8 bytes, the lowest come first. So a block
is, word after word, a run of zeros and the bytes that follow it. Whole words of zeros belong to
the run of the next. A run is a match: 8 bytes back where the word there begins with as many zeros,
else a literal zero and a match 1 byte back. Any other numbers can be deflated as well, to more.

Source: RFC 1951.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# Empty deflate blocks that end on a byte: a stored one after none, one, or two fixed ones.
_EMPTY: Final = {5: b"\0\0\0\xff\xff", 6: b"\x02\0\0\0\xff\xff", 7: b"\x02\x08\0\0\0\xff\xff"}
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
        if self._code is None:
            self._code = _code_for(items)
        deflated = _block(items, self._code)
        return deflated if len(deflated) < stored_bytes(len(piece)) else _stored(piece)


def most_bytes_of_zeros(size_bytes: int) -> int:
    """Return what a piece of zeros takes at most, whatever the code."""
    items = size_bytes // 8 // _GRID + 2
    bits = _HEADER_BITS + items * (2 * _MOST_BITS + 5 + 1) + _MOST_BITS + 3
    return -(-bits // 8) + 4


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
    zeros: NDArray[np.int16]
    runs: NDArray[np.int16]


def _items(words: Words) -> _Items:
    ends = words != 0
    ends[::_GRID] = True
    ends[-1] = True
    places = np.flatnonzero(ends)
    own = words[places]
    zeros = _zero_bytes(own)
    before = np.zeros(len(own), np.int16)
    np.subtract(places[1:], places[:-1], out=before[1:], casting="unsafe")
    before[1:] -= 1
    runs = 8 * before + zeros
    near = np.zeros(len(own), np.bool_)
    np.less_equal(runs[1:], zeros[:-1], out=near[1:])
    near &= runs >= _SHORTEST_MATCH
    runs += near * np.int16(_NEAR)
    return _Items(words=own, zeros=zeros, runs=runs)


def _zero_bytes(words: Words) -> NDArray[np.int16]:
    """Return how many zero bytes each word begins with."""
    lowest = np.negative(words)
    lowest &= words
    # A power of two is exact as a float64, and its exponent says which one it is.
    powers = lowest.astype(np.float64)
    powers *= 2
    zeros = (powers.view(np.int64) >> 55).astype(np.int16)  # of the exponent, all but three bits
    zeros -= 128
    zeros[zeros < 0] = 8
    return zeros


@dataclass(frozen=True, kw_only=True, slots=True)
class _Code:
    """How runs and bytes are written: bits, the first of them lowest, and how many they are.

    Args:
        header: what a block begins with; takes `_HEADER_BITS`.
        end: what it ends with, and its bits.
        run_codes, run_bits: of each run.
        pair_codes, pair_bits: of two bytes, the first of them lowest: of those behind the first
            zeros; and from 65,536 on, of both.
    """

    header: int
    end: tuple[int, int]
    run_codes: Words
    run_bits: NDArray[np.uint8]
    pair_codes: NDArray[np.uint32]
    pair_bits: NDArray[np.uint8]


def _code_for(items: _Items) -> _Code:
    bits = _huffman_bits(_counts(items))
    codes = _codes(bits)
    sizes = np.array(bits, np.uint64)
    run_codes, run_bits = _run_table(codes, sizes)
    pair_codes, pair_bits = _pair_table(codes[:_END], sizes[:_END])
    return _Code(
        header=_header(bits),
        end=(int(codes[_END]), bits[_END]),
        run_codes=run_codes,
        run_bits=run_bits,
        pair_codes=pair_codes,
        pair_bits=pair_bits,
    )


def _counts(items: _Items) -> list[int]:
    """Return how often each symbol is needed, once more than that: other pieces may need it."""
    counts = np.ones(_SYMBOLS, np.int64)
    own = items.words.view(np.uint8).reshape(-1, 8)
    counts[:_END] += np.bincount(own[np.arange(8) >= items.zeros[:, None]], minlength=_END)
    runs = np.bincount(items.runs, minlength=2 * _NEAR).tolist()
    for length in range(1, _NEAR):
        if length <= _SHORTEST_MATCH:
            counts[0] += length * runs[length]
        else:
            counts[0] += runs[length]
            counts[_length_symbol(length - 1)] += runs[length]
    for length in range(_SHORTEST_MATCH, 9):
        counts[_length_symbol(length)] += runs[_NEAR + length]
    return [int(count) for count in counts]


def _length_symbol(length: int) -> int:
    return _END + sum(first <= length for first in _FIRST_LENGTHS)


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


def _codes(bits: Sequence[int]) -> Words:
    """Return the canonical code of each symbol, its first bit lowest."""
    codes = np.zeros(len(bits), np.uint64)
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


def _run_table(codes: Words, sizes: Words) -> tuple[Words, NDArray[np.uint8]]:
    def symbol(number: int) -> tuple[int, int]:
        return int(codes[number]), int(sizes[number])

    def match(length: int, distance: tuple[int, int]) -> tuple[int, int]:
        number = _length_symbol(length)
        extra = length - _FIRST_LENGTHS[number - 257], _EXTRA_BITS[number - 257]
        return _joined(symbol(number), extra, distance)

    zero = symbol(0)
    runs = [_joined(*[zero] * length) for length in range(_SHORTEST_MATCH + 1)]
    runs += [_joined(zero, match(length - 1, _ONE_BACK)) for length in range(4, _NEAR)]
    runs += [(0, 0)] * _SHORTEST_MATCH
    runs += [match(length, _EIGHT_BACK) for length in range(_SHORTEST_MATCH, 9)]
    values, bits = zip(*runs, strict=True)
    return np.array(values, np.uint64), np.array(bits, np.uint8)


def _pair_table(codes: Words, sizes: Words) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    # A row for each second byte, a column for each first.
    both_codes = codes[None, :] | (codes[:, None] << sizes[None, :])
    both_bits = sizes[None, :] + sizes[:, None]
    later_codes, later_bits = both_codes.copy(), both_bits.copy()
    later_codes[:, 0], later_bits[:, 0] = codes, sizes
    later_codes[0, 0] = later_bits[0, 0] = 0
    return (
        np.concatenate([later_codes, both_codes]).reshape(-1).astype(np.uint32),
        np.concatenate([later_bits, both_bits]).reshape(-1).astype(np.uint8),
    )


def _block(items: _Items, code: _Code) -> bytes:
    """Return a block that is not the last, and an empty one that ends it on a byte."""
    words = items.words
    pairs = words.view(np.uint16).reshape(-1, 4)
    run_codes, run_bits = code.run_codes[items.runs], code.run_bits[items.runs]
    low = words.view(np.uint32)[::2]
    third, third_bits = _pair(code, pairs[:, 2], low != 0)
    high, high_bits = _pair(code, pairs[:, 3], (words << np.uint64(16)) != 0)
    high <<= third_bits
    high |= third
    high_bits += third_bits
    # Most items take 64 bits at most: their run and the bytes of the upper half.
    whole, whole_bits = (high << run_bits) | run_codes, high_bits + run_bits
    sizes = whole_bits.astype(np.uint64)
    others = np.flatnonzero((low != 0) | (whole_bits > 64))
    whole[others], whole_bits[others] = high[others], high_bits[others]
    first, first_bits = _pair(code, pairs[others, 0], False)
    second, second_bits = _pair(code, pairs[others, 1], pairs[others, 0] != 0)
    second <<= first_bits
    second |= first
    second_bits += first_bits
    sizes[others] += second_bits
    ends = np.cumsum(sizes)
    ends += np.uint64(_HEADER_BITS)
    stream = _Stream(int(ends[-1]) + _MOST_BITS)
    stream.put(0, code.header, _HEADER_BITS)
    starts = ends[others] - sizes[others]
    stream.put_all(starts, run_codes[others])
    stream.put_all(starts + run_bits[others], second)
    stream.put_all(ends - whole_bits, whole)
    stream.put(int(ends[-1]), *code.end)
    return stream.bytes_to(int(ends[-1]) + code.end[1] + 3) + _EMPTY[5][1:]


def _pair(
    code: _Code, pairs: NDArray[np.uint16], both: NDArray[np.bool_] | bool
) -> tuple[Words, NDArray[np.uint8]]:
    """Return the codes of two bytes each, and their bits: of `both`, or without first zeros."""
    places = pairs.astype(np.int64)
    places += np.multiply(both, 1 << 16)
    return code.pair_codes[places].astype(np.uint64), code.pair_bits[places]


class _Stream:
    """Bits in memory, the first of each byte lowest."""

    def __init__(self, bits: int) -> None:
        self._words = np.zeros(bits // 64 + 2, "<u8")

    def put(self, start: int, value: int, bits: int) -> None:
        """Write one value of any number of bits."""
        first, shift = divmod(start, 64)
        count = (shift + bits) // 64 + 1
        words = np.frombuffer((value << shift).to_bytes(8 * count, "little"), "<u8")
        self._words[first : first + count] += words

    def put_all(self, starts: Words, values: Words) -> None:
        """Write values of up to 64 bits."""
        words, shifts = (starts >> np.uint64(6)).astype(np.intp), starts & np.uint64(63)
        np.add.at(self._words, words, values << shifts)
        words += 1
        np.add.at(self._words, words, (values >> np.uint64(1)) >> (shifts ^ np.uint64(63)))

    def bytes_to(self, end: int) -> bytes:
        """Return the bytes up to that with the last bit before `end`."""
        return self._words.view(np.uint8)[: -(-end // 8)].tobytes()
