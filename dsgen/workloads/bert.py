"""bert: TFRecords of masked sentences, as BERT's pre-training on Wikipedia reads them.

`part-00000-of-00500` and so on hold the training records, `eval_10k` the evaluation's. What storage
sees is the number of files and their sizes. Records differ in length, but come in pairs that are
twice the mean, and the last one of a file has what is left of its size, so that every size and
offset is known before a byte is written.

Source of the sizes of `original-mean`: README of discslab-dl-bench/mlcomns_bert. Source of the
counts: the README of the generator that this one replaces (`documented`), and the original's 156.77
million records in 500 files with 2,496.9 bytes each (`original`; argonne-lcf/dlio_benchmark,
configs/workload/bert.yaml).
"""

import itertools
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.choices import Choices
from dsgen.errors import UsageError
from dsgen.layout import SEGMENT_BYTES, Layout, Parameters, PlannedFile, even_starts
from dsgen.seed import below, named_words
from dsgen.workloads import bert_records
from dsgen.workloads.bert_records import MEAN_BYTES, record_count, sparse_record_count

FORMAT_VERSION: Final = 2
FORMATS: Final = {
    "tfrecord": Choices(
        laws=("original-mean", "original", "documented"),
        entropies=("natural", "holes"),
        min_files=True,
    )
}

# Instances of one file.
_DOCUMENTED = range(195_754, 260_462)
_ORIGINAL = 313_532
# The reference's file names say so, whatever their number is.
FILES_IN_NAME: Final = 500
_EVALUATION_RECORDS = 10_000
_TRAINING_PER_EVALUATION = 10

# Of the original two parts and eval_10k are known; the other parts share what is left evenly.
ORIGINAL_BYTES: Final = 391_434_110_129
_KNOWN_BYTES: Final = {0: 514_241_279, 499: 898_392_312}
_EVALUATION_BYTES: Final = 25_382_591

# Whole pairs, and whole blocks of 4 KiB, which direct writing wants: 64 records have 39 of them.
_SEGMENT_RECORDS = SEGMENT_BYTES // MEAN_BYTES // 64 * 64


def plan(parameters: Parameters) -> Layout:
    """Return as many records as reach the size, in files as the law fills them.

    Raises:
        UsageError: fewer records than files are wanted.
    """
    records = _records_for(parameters.size_requested_bytes)
    if records < parameters.min_files:
        what = f"{parameters.min_files:,} files need as many records"
        then = "ask for fewer files, or for a larger size"
        raise UsageError(what, where=f"{records:,} records have the size", then=then)
    sizes = _bytes_of_files(parameters)
    of = max(len(sizes), FILES_IN_NAME)
    names = [f"part-{index:05d}-of-{of:05d}" for index in range(len(sizes))]
    evaluation = max(1, min(_EVALUATION_RECORDS, records // _TRAINING_PER_EVALUATION))
    whole = parameters.law == "original-mean" and evaluation == _EVALUATION_RECORDS
    sizes.append(_EVALUATION_BYTES if whole else evaluation * MEAN_BYTES)
    sparse = parameters.entropy == "holes"
    files = [
        _file(index, path, size_bytes, evaluates=index == len(names), sparse=sparse)
        for index, (path, size_bytes) in enumerate(zip([*names, "eval_10k"], sizes, strict=True))
    ]
    return Layout(parameters=parameters, files=tuple(files))


def blocks(
    layout: Layout, file: PlannedFile, segment: int, _: Mapping[int, int], /
) -> Generator[NDArray[np.uint8], None, None]:
    """Return the bytes of one segment: whole records, shuffled."""
    sparse = layout.parameters.entropy == "holes"
    drawn = bert_records.sparse_blocks if sparse else bert_records.blocks
    return drawn(file, file.segment(segment), layout.parameters.seed)


def _file(index: int, path: str, size_bytes: int, *, evaluates: bool, sparse: bool) -> PlannedFile:
    records = record_count(size_bytes)
    # The last segment ends with the longer record, and has others before it.
    even_bytes = size_bytes if size_bytes % MEAN_BYTES == 0 else (records - 2) * MEAN_BYTES
    file = PlannedFile(
        index=index,
        path=path,
        role="eval" if evaluates else "train",
        file_class="record",
        bytes=size_bytes,
        samples=records,
        shape=(records,),
        key=index,
        starts=even_starts(even_bytes, _SEGMENT_RECORDS * MEAN_BYTES),
        counts=not evaluates,
    )
    if not sparse:
        return file
    records = sparse_record_count(map(file.segment, range(file.segment_count)))
    return replace(file, samples=records, shape=(records,))


def _bytes_of_files(parameters: Parameters) -> list[int]:
    """Return the size of each file; the last one has as many records as are missing."""
    sizes, left = [], parameters.size_requested_bytes
    for size_bytes in _law(parameters):
        sizes.append(min(size_bytes, _records_for(left) * MEAN_BYTES))
        left -= sizes[-1]
        if left <= 0:
            break
    if len(sizes) >= parameters.min_files:
        return sizes
    # Shorter files, but in the proportions that as many files of the law have.
    files, records = parameters.min_files, _records_for(parameters.size_requested_bytes)
    counts = (size_bytes // MEAN_BYTES for size_bytes in _law(parameters))
    shares = list(itertools.accumulate(itertools.islice(counts, files), initial=0))
    bounds = [index + (records - files) * share // shares[-1] for index, share in enumerate(shares)]
    return [(end - start) * MEAN_BYTES for start, end in itertools.pairwise(bounds)]


def _records_for(size_bytes: int) -> int:
    return -(-size_bytes // MEAN_BYTES)


def _law(parameters: Parameters) -> Iterator[int]:
    """Yield the endless sizes of full files."""
    if parameters.law == "original":
        yield from itertools.repeat(_ORIGINAL * MEAN_BYTES)
    if parameters.law == "original-mean":
        yield from itertools.cycle(_original_sizes())
    words = named_words("bert-instances", parameters.seed)
    while True:
        yield _DOCUMENTED[below(words, len(_DOCUMENTED))] * MEAN_BYTES


def _original_sizes() -> list[int]:
    """Return the sizes of the original's parts: those that are known, and a mean of the others."""
    others = FILES_IN_NAME - len(_KNOWN_BYTES)
    mean_bytes, rest = divmod(ORIGINAL_BYTES - sum(_KNOWN_BYTES.values()), others)
    # What the mean leaves is a byte more in the first of them.
    sizes = itertools.chain(itertools.repeat(mean_bytes + 1, rest), itertools.repeat(mean_bytes))
    return [_KNOWN_BYTES.get(index) or next(sizes) for index in range(FILES_IN_NAME)]
