"""The bytes of bert's records: seven features of one masked pair of sentences.

A record's length follows from its number of tokens alone. Records of one length share a skeleton,
in which all is laid out but the tokens; a segment fills each skeleton's records at once and
shuffles them. Lengths are chosen so that two partners have twice the mean, and a segment draws
partners. So its size is known, and its records are as varied as single draws would be.

Source of the features: run_pretraining.py of discslab-dl-bench/mlcomns_bert, lines 385 to 400.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dsgen.holes import crc32c_of_zeros, zeros
from dsgen.layout import PlannedFile, Segment
from dsgen.seed import permutation, segment_words
from dsgen.tfrecord import (
    FOOTER_BYTES,
    HEADER_BYTES,
    example,
    feature,
    frame_header,
    masked,
)

# The original's mean is 2,496.9 bytes, the 16 bytes of framing included.
MEAN_BYTES: Final = 2496

_LENGTH = 512
_PREDICTIONS = 76
# What each record has, as the reference's parser declares it: numbers of integers, and of floats.
INTEGERS: Final = {
    "input_ids": _LENGTH,
    "input_mask": _LENGTH,
    "segment_ids": _LENGTH,
    "masked_lm_positions": _PREDICTIONS,
    "masked_lm_ids": _PREDICTIONS,
    "next_sentence_labels": 1,
}
FLOATS: Final = {"masked_lm_weights": _PREDICTIONS}
_MASKED_PERCENT = 15
# [CLS] and [SEP] of the vocabulary; both are varints of one byte.
_CLS, _SEP = 101, 102
# Words begin at 1,000; those below 16,384 are varints of two bytes, rarer ones of three.
_WORDS = range(1000, 16_384)
_RARE_WORDS = range(16_384, 30_522)
# Tokens of the shortest skeleton, between neighbours, and the number of skeletons. Partners are
# those that are equally far from either end.
_FEWEST_TOKENS, _TOKEN_STEP, _SKELETONS = 16, 2, 221
_MIDDLE = _SKELETONS // 2
# Of the words of short records; their partners have what completes their length, 1 to 7 %.
_RARE_PERCENT = 5
# A feature that fills up a record takes 17 bytes beside its values.
_FEWEST_FILLED = 32
# Records that are filled and shuffled together: enough for numpy, few enough for the caches.
_BATCH_RECORDS = 13_440


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """The layout of all records with one number of tokens.

    Args:
        row: the record, framed, with zeros where a record's own values go.
        runs: (first byte, first word, number of words): where words of two bytes lie together.
        rare: first bytes of the words of three bytes.
        positions: byte at which masked positions begin.
        ids: byte at which the masked words begin.
        label: byte of the next-sentence label.
        slots: position of each word of two bytes.
        strata: (first word, number of words) for each masked word to be drawn from, (m, 2).
        near: how many masked positions are below 128, and so of one byte.
    """

    row: NDArray[np.uint8]
    runs: tuple[tuple[int, int, int], ...]
    rare: tuple[int, ...]
    positions: int
    ids: int
    label: int
    slots: NDArray[np.uint16]
    strata: NDArray[np.uint32]
    near: int


def blocks(
    file: PlannedFile, segment: Segment, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment's records, a block of mixed lengths at a time.

    Where it is no multiple of the mean, the last record is longer.
    """
    words = segment_words("bert", seed, file.index, segment.index)
    records, last_bytes = _records_and_rest(segment.bytes)
    for batch in _batches(records):
        yield _shuffled(words, batch)
    if last_bytes:
        yield _longer(_shuffled(words, 1), last_bytes)


def framed_blocks(
    file: PlannedFile, segment: Segment, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield what `blocks` yields with zeros in the place of all data: its records' lengths alone.

    Those who follow records and look at nothing else get them fifty times as fast.
    """
    words = segment_words("bert", seed, file.index, segment.index)
    records, last_bytes = _records_and_rest(segment.bytes)
    for batch in _batches(records):
        kinds = _draw_kinds(words, batch)
        counts = np.bincount(kinds, minlength=_SKELETONS)
        for kind, count in enumerate(counts):
            words.random_raw(_words_of_halves(int(count), _halves_of(skeleton(kind))))
        lengths = [len(skeleton(kind).row) for kind in np.repeat(range(_SKELETONS), counts)]
        framed = b"".join(_empty_record(lengths[index]) for index in permutation(words, batch))
        yield np.frombuffer(framed, dtype=np.uint8)
    if last_bytes:
        yield np.frombuffer(_empty_record(last_bytes), dtype=np.uint8)


@cache
def _empty_record(size_bytes: int) -> bytes:
    data = bytes(size_bytes - HEADER_BYTES - FOOTER_BYTES)
    footer = masked(np.array([google_crc32c.value(data)], dtype=np.uint32))
    return frame_header(len(data)) + data + footer.astype("<u4").tobytes()


def sparse_blocks(
    file: PlannedFile, segment: Segment, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment of a file of holes: a file's first records, then one of zeros a segment.

    The published runs read less of any file than its first records are.
    """
    left_bytes = segment.bytes
    if _first_records(segment):
        first = next(blocks(file, segment, seed))
        yield first
        left_bytes -= first.size
    if left_bytes:
        data_bytes = left_bytes - HEADER_BYTES - FOOTER_BYTES
        yield np.frombuffer(frame_header(data_bytes), dtype=np.uint8)
        yield from zeros(data_bytes)
        crc = masked(np.array([crc32c_of_zeros(data_bytes)], dtype=np.uint32))
        yield crc.astype("<u4").view(np.uint8)


def record_count(size_bytes: int) -> int:
    """Return how many records of mean length, but for a longer last one, have a size.

    >>> record_count(3 * MEAN_BYTES), record_count(3 * MEAN_BYTES + 1)
    (3, 2)
    """
    records, last_bytes = _records_and_rest(size_bytes)
    return records + (last_bytes > 0)


def sparse_record_count(segments: Iterable[Segment]) -> int:
    """Return how many records `sparse_blocks` makes of the segments of a file."""
    return sum(
        _first_records(segment) + (_first_records(segment) * MEAN_BYTES < segment.bytes)
        for segment in segments
    )


def _first_records(segment: Segment) -> int:
    return min(_BATCH_RECORDS, _records_and_rest(segment.bytes)[0]) if segment.index == 0 else 0


def _records_and_rest(size_bytes: int) -> tuple[int, int]:
    """Return how many records of mean length there are, and the bytes of a longer last one."""
    records, rest = divmod(size_bytes, MEAN_BYTES)
    if not rest:
        return records, 0
    more = 1 if rest >= _FEWEST_FILLED else 2
    return records - more, more * MEAN_BYTES + rest


def _longer(row: NDArray[np.uint8], size_bytes: int) -> NDArray[np.uint8]:
    """Return a record with one feature more, or two, that no parser asks for, and so of a size."""
    data = row[HEADER_BYTES:-FOOTER_BYTES].tobytes()
    body = data[len(data) - _body_bytes(len(data)) :]
    wanted = size_bytes - HEADER_BYTES - FOOTER_BYTES
    # Where its length takes a byte more, a size is out of reach for one feature; two reach it.
    for others in (b"", feature("filler_2", "int64", bytes(1))):
        for values in range(wanted - len(data) - len(others), 0, -1):
            made = example([body, others, feature("filler", "int64", bytes(values))])
            if len(made) == wanted:
                footer = masked(np.array([google_crc32c.value(made)], dtype=np.uint32))
                framed = frame_header(len(made)) + made + footer.astype("<u4").tobytes()
                return np.frombuffer(framed, dtype=np.uint8)
            if len(made) < wanted:
                break
    raise AssertionError(f"no record of {size_bytes} bytes")


def _body_bytes(data_bytes: int) -> int:
    """Return the length of an Example's features, from its own."""
    return next(n for n in range(data_bytes, 0, -1) if len(example([bytes(n)])) == data_bytes)


def _batches(records: int) -> Iterator[int]:
    for first in range(0, records, _BATCH_RECORDS):
        yield min(_BATCH_RECORDS, records - first)


def _shuffled(words: np.random.SFC64, records: int) -> NDArray[np.uint8]:
    kinds = _draw_kinds(words, records)
    counts = np.bincount(kinds, minlength=_SKELETONS)
    groups = [_fill(skeleton(kind), words, int(count)) for kind, count in enumerate(counts)]
    rows = [row for group in groups for row in group]
    order = permutation(words, records)
    return np.concatenate([rows[index] for index in order])


def _draw_kinds(words: np.random.SFC64, records: int) -> NDArray[np.int64]:
    """Return each record's skeleton: pairs of partners, and the middle one if one is left."""
    raw = words.random_raw(records // 2) >> np.uint64(32)
    drawn = (raw * np.uint64(_SKELETONS) >> np.uint64(32)).astype(np.int64)
    middle = np.full(records % 2, _SKELETONS // 2)
    return np.concatenate([drawn, _SKELETONS - 1 - drawn, middle])


def _fill(shape: Skeleton, words: np.random.SFC64, count: int) -> NDArray[np.uint8]:
    """Return `count` records of one skeleton, (count, bytes of a record)."""
    rows = np.tile(shape.row, (count, 1))
    used, masks = len(shape.slots), len(shape.strata)
    drawn = _halves(words, count, _halves_of(shape))
    ids = _word_table()[drawn[:, :used]]
    for first, start, length in shape.runs:
        rows[:, first : first + 2 * length] = _bytes(ids[:, start : start + length])
    rare = _rare_table()[drawn[:, used : used + len(shape.rare)]]
    for index, first in enumerate(shape.rare):
        rows[:, first : first + 3] = rare[:, index]
    jitter = drawn[:, used + len(shape.rare) : -1].astype(np.uint32)
    chosen = shape.strata[:, 0] + (jitter * shape.strata[:, 1] >> np.uint32(16))
    rows[:, shape.ids : shape.ids + 2 * masks] = _bytes(np.take_along_axis(ids, chosen, axis=1))
    positions = shape.slots[chosen]
    far = shape.positions + shape.near
    rows[:, shape.positions : far] = positions[:, : shape.near]
    rows[:, far : far + 2 * (masks - shape.near)] = _bytes(_varint2(positions[:, shape.near :]))
    rows[:, shape.label] = drawn[:, -1] & 1
    crcs = [google_crc32c.value(row[HEADER_BYTES:-FOOTER_BYTES]) for row in rows]
    footers = masked(np.array(crcs, dtype=np.uint32))
    rows[:, -FOOTER_BYTES:] = footers.astype("<u4").view(np.uint8).reshape(count, FOOTER_BYTES)
    return rows


def _halves(words: np.random.SFC64, count: int, each: int) -> NDArray[np.uint16]:
    """Return random 16-bit numbers, (count, each)."""
    raw = words.random_raw(_words_of_halves(count, each)).astype("<u8", copy=False)
    return raw.view("<u2")[: count * each].reshape(count, each)


def _words_of_halves(count: int, each: int) -> int:
    return -(-count * each // 4)


def _halves_of(shape: Skeleton) -> int:
    """Return how many random numbers a record takes: for its words, its masks and its label."""
    return len(shape.slots) + len(shape.rare) + len(shape.strata) + 1


def _bytes(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values, dtype="<u2").view(np.uint8)


def _varint2(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return numbers of 7 to 14 bits as varints: the first byte is the lower one."""
    return values & np.uint16(0x7F) | np.uint16(0x80) | (values >> np.uint16(7) << np.uint16(8))


@cache
def skeleton(kind: int) -> Skeleton:
    """Return skeleton `kind`, 0 to 220: as many rare words as give it its length."""
    tokens = _FEWEST_TOKENS + _TOKEN_STEP * kind
    if kind < _MIDDLE:
        return _skeleton(tokens, round(tokens * _RARE_PERCENT / 100))
    partner = MEAN_BYTES if kind == _MIDDLE else len(skeleton(_SKELETONS - 1 - kind).row)
    # A rare word adds one byte.
    rare = 2 * MEAN_BYTES - partner - len(_skeleton(tokens, 0).row)
    shape = _skeleton(tokens, rare)
    if len(shape.row) + partner != 2 * MEAN_BYTES:
        raise AssertionError(f"no record of {tokens} tokens completes one of {partner} bytes")
    return shape


def _skeleton(tokens: int, rare: int) -> Skeleton:
    separator = tokens // 2
    words = [at for at in range(1, tokens - 1) if at != separator]
    # Spread evenly, so that no part of a record is richer in rare words than another.
    rare_words = {words[(2 * index + 1) * len(words) // (2 * rare)] for index in range(rare)}
    slots = [at for at in words if at not in rare_words]
    masks = max(1, min(_PREDICTIONS, round(tokens * _MASKED_PERCENT / 100)))
    low = sum(at < 128 for at in slots)
    near = round(masks * min(1, 128 / tokens))  # whatever is rare, so that only that adds bytes
    strata = _strata(0, low, near) + _strata(low, len(slots), masks - near)
    widths = [1] * _LENGTH
    for at in words:
        widths[at] = 3 if at in rare_words else 2
    input_ids = bytearray(sum(widths))
    starts = list(itertools.accumulate(widths, initial=0))
    input_ids[0], input_ids[starts[separator]], input_ids[starts[tokens - 1]] = _CLS, _SEP, _SEP
    data, places = _example(
        input_ids=bytes(input_ids),
        input_mask=bytes([1] * tokens + [0] * (_LENGTH - tokens)),
        masked_lm_ids=bytes(2 * masks + _PREDICTIONS - masks),
        masked_lm_positions=bytes(near + 2 * (masks - near) + _PREDICTIONS - masks),
        masked_lm_weights=np.array([1] * masks + [0] * (_PREDICTIONS - masks), "<f4").tobytes(),
        next_sentence_labels=bytes(1),
        segment_ids=bytes(
            [0] * (separator + 1) + [1] * (tokens - separator - 1) + [0] * (_LENGTH - tokens)
        ),
    )
    ids = places["input_ids"]
    return Skeleton(
        row=np.frombuffer(frame_header(len(data)) + data + bytes(FOOTER_BYTES), dtype=np.uint8),
        runs=tuple((ids + starts[slots[at]], at, count) for at, count in _runs(slots)),
        rare=tuple(ids + starts[at] for at in sorted(rare_words)),
        positions=places["masked_lm_positions"],
        ids=places["masked_lm_ids"],
        label=places["next_sentence_labels"],
        slots=np.array(slots, dtype=np.uint16),
        strata=np.array(strata, dtype=np.uint32),
        near=near,
    )


def _strata(first: int, end: int, parts: int) -> list[tuple[int, int]]:
    """Divide a range into parts, as (first, number); one place drawn of each is sorted."""
    bounds = [first + (end - first) * index // max(parts, 1) for index in range(parts + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(bounds)]


def _runs(slots: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (index, number) of neighbours in `slots`."""
    start = 0
    for index in range(1, len(slots) + 1):
        if index == len(slots) or slots[index] != slots[index - 1] + 1:
            yield start, index - start
            start = index


def _example(**values: bytes) -> tuple[bytes, dict[str, int]]:
    """Return an Example and where in its framed record the values of each feature begin."""
    features = {
        name: feature(name, "float" if name == "masked_lm_weights" else "int64", encoded)
        for name, encoded in values.items()
    }
    data = example(list(features.values()))
    ends = itertools.accumulate(len(text) for text in features.values())
    body = HEADER_BYTES + len(data) - sum(len(text) for text in features.values())
    return data, {
        name: body + end - len(values[name]) for name, end in zip(features, ends, strict=True)
    }


@cache
def _word_table() -> NDArray[np.uint16]:
    """Return the words that the 65,536 random numbers stand for, as varints of two bytes."""
    return _varint2(_zipf(_WORDS).astype(np.uint16))


@cache
def _rare_table() -> NDArray[np.uint8]:
    """Return the same of rare words, as varints of three bytes, (65536, 3)."""
    ids = _zipf(_RARE_WORDS)
    parts = [ids & 0x7F | 0x80, ids >> 7 & 0x7F | 0x80, ids >> 14]
    return np.stack(parts, axis=1).astype(np.uint8)


def _zipf(ids: range) -> NDArray[np.int64]:
    """Return 65,536 of `ids`, each in proportion to 1 / rank, in whole numbers throughout."""
    weights = np.array([10**9 // rank for rank in range(1, len(ids) + 1)], dtype=np.int64)
    ends = np.cumsum(weights)
    middles = (2 * np.arange(2**16, dtype=np.int64) + 1) * int(ends[-1]) // 2**17
    return ids.start + np.searchsorted(ends, middles, side="right")
