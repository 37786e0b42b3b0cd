"""dlrm text: the raw log, a line a row, as the reference's preparation reads it.

Tab-separated: a label, 13 integers, 26 categories as eight hexadecimal digits; a missing value is
an empty field. Lines differ in length, but a block of 4,096 lines always has 995,328 bytes: each
column has a fixed number of values of each length in a block, in an order of its own. So a
segment's place is known before a byte is written.

Source of the format: data_utils.py of discslab-dl-bench/mlcomns_dlrm, lines 980 to 1067; of the
mean line, 243 bytes: 11,147,184,845 bytes in 45,840,617 lines of the Kaggle set. How often which
column is missing is not among the known facts: it is chosen here, so that this mean comes out.
"""

from collections.abc import Generator
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import SEGMENT_BYTES, PlannedFile, even_starts
from dsgen.seed import segment_words
from dsgen.workloads.dlrm_columns import CATEGORIES, draw

BLOCK_LINES: Final = 4096
BLOCK_BYTES: Final = 243 * BLOCK_LINES

_FILE = "train.txt"
# Of a block's lines, as many as fit in a core's cache together with what masks them.
_ROWS_AT_ONCE: Final = 2048
_SEGMENT_BLOCKS = SEGMENT_BYTES // BLOCK_BYTES
# For each integer column, of 4,096 lines: how many have none, one, two, ... six digits. Each
# further digit is half as likely, as a power law has it.
_DIGITS: Final = (
    (1843, 1291, 582, 262, 118, 0, 0),
    (0, 2292, 1033, 466, 210, 95, 0),
    (860, 1811, 816, 368, 166, 75, 0),
    (901, 1931, 871, 393, 0, 0, 0),
    (123, 2200, 992, 447, 202, 91, 41),
    (901, 1787, 806, 364, 164, 74, 0),
    (164, 2252, 1015, 458, 207, 0, 0),
    (0, 2475, 1117, 504, 0, 0, 0),
    (164, 2252, 1015, 458, 207, 0, 0),
    (1843, 1553, 700, 0, 0, 0, 0),
    (164, 2376, 1072, 484, 0, 0, 0),
    (3113, 594, 268, 121, 0, 0, 0),
    (901, 1830, 825, 372, 168, 0, 0),
)
# Category column -> how many of 4,096 lines have none; all others always have one.
_MISSING: Final = {
    **dict.fromkeys((2, 3, 11, 15, 20, 23), 140),
    5: 492,
    **dict.fromkeys((18, 19, 24, 25), 1802),
    21: 3113,
}
_INTEGERS, _CATEGORIES = len(_DIGITS), CATEGORIES.stop - CATEGORIES.start
_PERMUTED = _INTEGERS + len(_MISSING)

# A line at its widest: the label and a tab, 13 times 8 bytes with up to 7 used, 26 times 9.
_INTEGERS_AT = 2
_CATEGORIES_AT = _INTEGERS_AT + 8 * _INTEGERS
_WIDTH = _CATEGORIES_AT + 9 * _CATEGORIES


def files(size_bytes: int, seed: int) -> list[PlannedFile]:
    """Return the log: as few lines as reach the size."""
    blocks_, left = divmod(size_bytes, BLOCK_BYTES)
    lines, length = blocks_ * BLOCK_LINES, blocks_ * BLOCK_BYTES
    if left:
        segment, block = divmod(blocks_, _SEGMENT_BLOCKS)
        ends = np.cumsum(_line_lengths(_strata(seed, segment, block)))
        more = int(np.searchsorted(ends, left)) + 1
        lines, length = lines + more, length + int(ends[more - 1])
    return [
        PlannedFile(
            index=0,
            path=_FILE,
            role="train",
            file_class="line",
            bytes=length,
            samples=lines,
            shape=(lines, 40),
            key=0,
            starts=even_starts(length, _SEGMENT_BLOCKS * BLOCK_BYTES),
        )
    ]


def blocks(
    file: PlannedFile, segment: int, seed: int, *, natural: bool
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the lines of one segment, a block at a time."""
    words = segment_words("dlrm-text", seed, file.index, segment)
    left = file.segment(segment).bytes
    lines = np.full((_ROWS_AT_ONCE, _WIDTH), ord("\t"), dtype=np.uint8)
    lines[:, -1] = ord("\n")
    kept = np.ones((_ROWS_AT_ONCE, _WIDTH), dtype=np.bool_)
    for block in range(-(-left // BLOCK_BYTES)):
        strata = _strata(seed, segment, block)
        integers = _drawn_integers(words, strata[:, :_INTEGERS])
        ids = draw(words, BLOCK_LINES, CATEGORIES, natural=natural)
        # A label is 0 or 1.
        labels = draw(words, BLOCK_LINES, slice(0, 1), natural=natural)[:, 0] + ord("0")
        for first in range(0, BLOCK_LINES, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            _write_integers(integers[rows], strata[rows, :_INTEGERS], lines, kept)
            _write_categories(ids[rows], strata[rows, _INTEGERS:], lines, kept)
            lines[:, 0] = labels[rows]
            text = lines.reshape(-1)[kept.reshape(-1)]
            yield text[:left]
            left -= min(left, len(text))


def _strata(seed: int, segment: int, block: int) -> NDArray[np.intp]:
    """Return a random order of 0 .. 4095 for each permuted column, (4096, columns).

    It has a source of its own, so that the lengths of a block's lines are known without its lines.
    """
    words = segment_words("dlrm-text-order", seed, segment, block)
    raw = words.random_raw(BLOCK_LINES * _PERMUTED // 4).astype("<u8", copy=False).view("<u2")
    # Of 16-bit numbers the stable order comes from a radix sort.
    return np.argsort(raw.reshape(_PERMUTED, BLOCK_LINES), axis=1, kind="stable").T


def _line_lengths(strata: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the bytes of each line of a block, its newline included."""
    lengths = np.full(BLOCK_LINES, 1 + _INTEGERS + 9 * _CATEGORIES + 1, dtype=np.int64)
    for column, digits in enumerate(_digits_of_strata()):
        lengths += digits[strata[:, column]]
    for number, missing in enumerate(_MISSING.values()):
        lengths -= 8 * (strata[:, _INTEGERS + number] < missing)
    return lengths


def _drawn_integers(words: np.random.SFC64, strata: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which of its stratum's 16 numbers each field has, and which stratum's."""
    raw = words.random_raw(-(-strata.size // 4)).astype("<u8", copy=False).view("<u2")
    return strata << 4 | (raw[: strata.size] & np.uint16(0xF)).reshape(strata.shape)


def _write_integers(
    drawn: NDArray[np.intp],
    strata: NDArray[np.intp],
    lines: NDArray[np.uint8],
    kept: NDArray[np.bool_],
) -> None:
    fields = lines[:, _INTEGERS_AT:_CATEGORIES_AT].view("<u8")
    masks = kept[:, _INTEGERS_AT:_CATEGORIES_AT].view("<u8")
    for column, (texts, digits) in enumerate(zip(_integers(), _kept_of_strata(), strict=True)):
        fields[:, column] = texts.take(drawn[:, column])
        masks[:, column] = digits.take(strata[:, column])


def _write_categories(
    ids: NDArray[np.int32],
    strata: NDArray[np.intp],
    lines: NDArray[np.uint8],
    kept: NDArray[np.bool_],
) -> None:
    digits = _hex_digits()
    hashed = _hashed(ids.view(np.uint32))
    split = (len(ids), _CATEGORIES, 9)
    text = lines[:, _CATEGORIES_AT:].reshape(split)[:, :, :8].view("<u4")
    text[..., 0] = digits.take(hashed >> np.uint32(16))
    text[..., 1] = digits.take(hashed & np.uint32(0xFFFF))
    masks = kept[:, _CATEGORIES_AT:].reshape(split)
    for number, (column, missing) in enumerate(_MISSING.items()):
        masks[:, column, :8] = (strata[:, number] >= missing)[:, None]


def _hashed(ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return 32 mixed bits for each id, another one for each id of a column."""
    hashed = ids * np.uint32(0x9E3779B1) + np.arange(_CATEGORIES, dtype=np.uint32) * np.uint32(
        0x7FEB352D
    )
    hashed ^= hashed >> np.uint32(15)
    hashed *= np.uint32(0x85EBCA77)
    hashed ^= hashed >> np.uint32(13)
    return hashed


@cache
def _hex_digits() -> NDArray[np.uint32]:
    """Return four digits, as the bytes of a little-endian word, of each number of 16 bits."""
    text = "".join(f"{number:04x}" for number in range(2**16))
    return np.frombuffer(text.encode(), dtype="<u4").astype(np.uint32)


@cache
def _kept_with_tab() -> NDArray[np.uint64]:
    """Return the 8 booleans that keep so many digits and a tab."""
    masks = np.arange(8) <= np.arange(8)[:, None]
    return masks.view("<u8")[:, 0].astype(np.uint64)


@cache
def _digits_of_strata() -> tuple[NDArray[np.intp], ...]:
    """Return, for each integer column, the number of digits of each of the 4,096 strata."""
    return tuple(np.repeat(np.arange(len(counts)), counts) for counts in _DIGITS)


@cache
def _kept_of_strata() -> tuple[NDArray[np.uint64], ...]:
    """Return the same as booleans that keep so many digits and a tab."""
    return tuple(_kept_with_tab()[digits] for digits in _digits_of_strata())


@cache
def _integers() -> tuple[NDArray[np.uint64], ...]:
    """Return, for each integer column, the text and tab of each of 65,536 drawn numbers."""
    return tuple(
        np.concatenate([_texts(digits, 16 * count) for digits, count in enumerate(counts)])
        for counts in _DIGITS
    )


def _texts(digits: int, count: int) -> NDArray[np.uint64]:
    """Return `count` numbers of so many digits, rising, smaller ones denser, as text and tab."""
    text = np.full((count, 8), ord("\t"), dtype=np.uint8)
    if digits:
        lowest = 10 ** (digits - 1) if digits > 1 else 0
        ranks = np.arange(count, dtype=np.int64)
        values = lowest + (10**digits - lowest) * ranks * ranks // max(count * count, 1)
        for place in range(digits):
            text[:, place] = values // 10 ** (digits - 1 - place) % 10 + ord("0")
    return text.view("<u8")[:, 0].astype(np.uint64)
