"""bert: new records of a user's, by shuffling the words of each between its separators.

Only words move, as the varints they are, so that a record keeps its length, and its place is known
from the source. The first token and every [SEP] stay. A record's order follows from the seed, its
file, the copy and its place. Records of few words have few orders: theirs are counted through, so
that no two copies are equal until all orders have been had. Sources: as `dsgen.tfrecord`.
"""

import itertools
import math
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dsgen.layout import PlannedFile
from dsgen.seed import named_words
from dsgen.source import SourceFile, read_bytes
from dsgen.tfrecord import FOOTER_BYTES, HEADER_BYTES, header_length, masked, record_around
from dsgen.workloads.bert_wire import packed_values

Places = NDArray[np.int64]

_SEP: Final = 102
_BATCH_BYTES: Final = 2**20
_LONGEST_BYTES: Final = 2**23
# Up to so many words the orders are counted through; beyond, drawn ones never come twice.
_FEW_WORDS: Final = 20
# A key to sort by: the record in its batch, a hash, the word in its batch.
_RECORD_BIT: Final = np.uint64(47)
_HASHED_BITS: Final = np.uint64(41)
_WORD_BITS: Final = np.uint64(24)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def blocks(
    descriptor: int, source: SourceFile, file: PlannedFile, segment: int, seed: int
) -> Generator[NDArray[np.uint8], None, int]:
    """Yield one segment; at the end, how many records begin in it.

    Raises:
        ValueError: a record is damaged, or none of bert's.
    """
    planned = file.segment(segment)
    start, end = planned.offset_bytes, planned.offset_bytes + planned.bytes
    seeded = named_words("bert-shuffle", seed, file.key).random_raw()
    records = 0
    for at, data, bounds in _batches(descriptor, source, start, end):
        _shuffle(data, at, bounds, np.uint64(seeded), file.copy)
        records += int(np.count_nonzero(at + bounds[:-1] >= start))
        yield data[max(0, start - at) : end - at]
    return records


def _batches(
    descriptor: int, source: SourceFile, start: int, end: int
) -> Iterator[tuple[int, NDArray[np.uint8], Places]]:
    """Yield whole records that together hold the range: their place, bytes, and bounds therein."""
    at = record_around(descriptor, start, source.bytes)
    wanted = _BATCH_BYTES
    while at < end:
        data = read_bytes(descriptor, at, min(wanted, source.bytes - at))
        bounds, following = _bounds(data, at, min(end, source.bytes), source.bytes)
        if len(bounds) == 1:  # not one whole record
            wanted = following
            continue
        yield at, data[: bounds[-1]], np.array(bounds, dtype=np.int64)
        at, wanted = at + bounds[-1], _BATCH_BYTES


def _bounds(data: NDArray[np.uint8], at: int, end: int, file_bytes: int) -> tuple[list[int], int]:
    """Return the bounds of the whole records that begin before `end`, and that of the next one."""
    bounds, place = [0], 0
    while at + place < end:
        if len(data) < place + HEADER_BYTES and at + len(data) < file_bytes:
            break
        length = header_length(data[place : place + HEADER_BYTES].tobytes())
        if length is None:
            raise ValueError(f"no record begins at byte {at + place:,}")
        place += HEADER_BYTES + length + FOOTER_BYTES
        if at + place > file_bytes or length > _LONGEST_BYTES:
            what = f"the record at byte {at + bounds[-1]:,} ends at {at + place:,}"
            raise ValueError(f"truncated, or no record of bert: {what}")
        if place > len(data):
            break
        bounds.append(place)
    return bounds, place


def _shuffle(
    data: NDArray[np.uint8], at: int, bounds: Places, seeded: np.uint64, copy: int
) -> None:
    """Shuffle the words of every record in its place, and renew the CRCs."""
    starts, ends = bounds[:-1], bounds[1:]
    footers = (ends - FOOTER_BYTES)[:, None] + np.arange(FOOTER_BYTES)
    wrong = np.flatnonzero((data[footers] != _footers(data, bounds)).any(axis=1))
    if wrong.size:
        raise ValueError(f"another CRC of its data: the record at byte {at + starts[wrong[0]]:,}")
    first, end = starts + HEADER_BYTES, ends - FOOTER_BYTES
    masks, ids = packed_values(data, first, end, (b"input_mask", b"input_ids"))
    mask_bytes = masks[1] - masks[0]
    ones = np.flatnonzero(data[_spread(masks[0], mask_bytes)] == 1)
    used = np.diff(np.searchsorted(ones, np.cumsum(mask_bytes)), prepend=0)
    hashes = _mixed((at + starts).astype(np.uint64) * _GOLDEN + seeded)
    _move(data, *ids, np.maximum(used - 2, 0), hashes, copy)
    data[footers] = _footers(data, bounds)


def _move(
    data: NDArray[np.uint8],
    first: Places,
    end: Places,
    inner: Places,
    hashes: NDArray[np.uint64],
    copy: int,
) -> None:
    """Shuffle varints 1 to `inner` of each of the packed lists from `first` to `end`."""
    place = _spread(first, end - first)
    text = data[place]
    token_ends = np.flatnonzero(text < 0x80) + 1
    if not token_ends.size:
        raise ValueError("a record whose input_ids are no varints")
    list_ends = np.cumsum(end - first)
    upto = np.searchsorted(token_ends, list_ends, side="right")
    counts = np.diff(upto, prepend=0)
    if (token_ends[upto - 1] != list_ends).any() or (np.sign(inner) * 2 + inner > counts).any():
        raise ValueError("a record with another number of input_ids than its input_mask says")
    tokens = _spread(upto - counts + 1, inner)
    starts = token_ends[tokens - 1]
    lengths = token_ends[tokens] - starts
    words = np.flatnonzero((text[starts] != _SEP) | (lengths != 1))
    of = np.repeat(np.arange(len(inner)), inner)
    in_record = np.arange(len(tokens)) - (np.cumsum(inner) - inner)[of]
    moved = np.arange(len(tokens))
    moved[words] = words[_orders(of[words], in_record[words], hashes, copy)]
    _count_through(text, starts, lengths, words, of, moved, hashes, copy)
    has = inner > 0
    last = np.cumsum(inner)[has] - 1
    region = starts[last + 1 - inner[has]]
    to = place[_spread(region, starts[last] + lengths[last] - region)]
    data[to] = text[_spread(starts[moved], lengths[moved])]


def _orders(
    record: NDArray[np.intp], in_record: NDArray[np.intp], hashes: NDArray[np.uint64], copy: int
) -> NDArray[np.intp]:
    """Return the words of each record in a random order of its own, another one for each copy."""
    hashes = _mixed(hashes ^ np.uint64(copy))
    drawn = _mixed(hashes[record] + in_record.astype(np.uint64) * _GOLDEN)
    keys = record.astype(np.uint64) << _RECORD_BIT
    keys |= drawn >> _HASHED_BITS << _WORD_BITS
    keys |= np.arange(len(record), dtype=np.uint64)  # no two keys are equal: one order, sorted
    keys.sort()
    return (keys & np.uint64((1 << int(_WORD_BITS)) - 1)).astype(np.intp)


def _count_through(
    text: NDArray[np.uint8],
    starts: Places,
    lengths: Places,
    words: NDArray[np.intp],
    of: NDArray[np.intp],
    moved: NDArray[np.intp],
    hashes: NDArray[np.uint64],
    copy: int,
) -> None:
    """Give records of few words, in `moved`, the order that is the copy's."""
    counts = np.bincount(of[words], minlength=len(hashes))
    ends = np.cumsum(counts)
    for record in np.flatnonzero((counts > 0) & (counts <= _FEW_WORDS)).tolist():
        own = words[ends[record] - counts[record] : ends[record]]
        values = [text[starts[n] : starts[n] + lengths[n]].tobytes() for n in own]
        moved[own] = own[arrangement(values, copy, int(hashes[record]))]


def arrangement(values: list[bytes], copy: int, hashed: int) -> list[int]:
    """Return the order of `values` in a copy; the values are in the order of copy 0.

    No two copies have equal values in all places until every way to arrange them has been had.
    """
    counts = Counter(values)
    ways = math.factorial(len(values)) // math.prod(map(math.factorial, counts.values()))
    stride = hashed % ways or 1
    while math.gcd(stride, ways) > 1:
        stride += 1
    kinds = list(counts)
    rank = (_rank(values, kinds, ways) + copy * stride) % ways
    left = {kind: [n for n, value in enumerate(values) if value == kind] for kind in kinds}
    order = []
    for remaining in range(len(values), 0, -1):
        for kind in kinds:
            of_kind = ways * len(left[kind]) // remaining
            if rank < of_kind:
                break
            rank -= of_kind
        order.append(left[kind].pop(0))
        ways = of_kind
    return order


def _rank(values: list[bytes], kinds: list[bytes], ways: int) -> int:
    """Return how many arrangements come before this one, by the order of kinds."""
    counts, rank = Counter(values), 0
    for remaining, value in zip(range(len(values), 0, -1), values, strict=True):
        before = sum(counts[kind] for kind in kinds[: kinds.index(value)])
        rank += ways * before // remaining
        ways = ways * counts[value] // remaining
        counts[value] -= 1
    return rank


def _footers(data: NDArray[np.uint8], bounds: Places) -> NDArray[np.uint8]:
    """Return the 4 bytes that belong after the data of each record."""
    crcs = [
        google_crc32c.value(data[start + HEADER_BYTES : end - FOOTER_BYTES])
        for start, end in itertools.pairwise(bounds.tolist())
    ]
    footers = masked(np.array(crcs, dtype=np.uint32)).astype("<u4")
    return footers.view(np.uint8).reshape(-1, FOOTER_BYTES)


def _spread(first: Places, lengths: Places) -> Places:
    """Return the numbers of all ranges, given their first numbers and their lengths."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    return np.repeat(first - (ends - lengths), lengths) + np.arange(total)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 mixed bits for each number. Source: the finalizer of splitmix64."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)
