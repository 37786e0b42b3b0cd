"""bert: TFRecords of masked sentences, as BERT's pre-training on Wikipedia reads them.

`part-00000-of-00500` and so on hold the training records, `eval_10k` the evaluation's. What storage
sees is the number of files and their sizes. Records differ in length, but always come in pairs that
are twice the mean, so that every size and offset is known before a byte is written.

Source of the counts: the README of the generator that this one replaces (`documented`), and the
original's 156.77 million records in 500 files with 2,496.9 bytes each (`original`;
argonne-lcf/dlio_benchmark, configs/workload/bert.yaml).
"""

import itertools
from collections.abc import Generator, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.choices import Choices
from dsgen.errors import UsageError
from dsgen.layout import SEGMENT_BYTES, Layout, Parameters, PlannedFile, even_starts
from dsgen.seed import below, named_words
from dsgen.workloads import bert_records
from dsgen.workloads.bert_records import MEAN_BYTES

FORMAT_VERSION: Final = 1
FORMATS: Final = {"tfrecord": Choices(laws=("documented", "original"), min_files=True)}

# Instances of one file.
_DOCUMENTED = range(195_754, 260_462)
_ORIGINAL = 313_532
# The reference's file names say so, whatever their number is.
FILES_IN_NAME: Final = 500
_EVALUATION_RECORDS = 10_000
_TRAINING_PER_EVALUATION = 10

# Whole pairs, and whole blocks of 4 KiB, which direct writing wants: 64 records have 39 of them.
_SEGMENT_RECORDS = SEGMENT_BYTES // MEAN_BYTES // 64 * 64


def plan(parameters: Parameters) -> Layout:
    """Return as many records as reach the size, in files as the law fills them.

    Raises:
        UsageError: fewer records than files are wanted.
    """
    records = -(-parameters.size_requested_bytes // MEAN_BYTES)
    if records < parameters.min_files:
        what = f"{parameters.min_files:,} files need as many records"
        then = "ask for fewer files, or for a larger size"
        raise UsageError(what, where=f"{records:,} records have the size", then=then)
    counts = _records_of_files(records, parameters)
    of = max(len(counts), FILES_IN_NAME)
    files = [
        _file(index, f"part-{index:05d}-of-{of:05d}", count) for index, count in enumerate(counts)
    ]
    evaluation = max(1, min(_EVALUATION_RECORDS, records // _TRAINING_PER_EVALUATION))
    files.append(_file(len(files), "eval_10k", evaluation, evaluates=True))
    return Layout(parameters=parameters, files=tuple(files))


def blocks(
    layout: Layout, file: PlannedFile, segment: int, _: Mapping[int, int], /
) -> Generator[NDArray[np.uint8], None, None]:
    """Return the bytes of one segment: whole records, shuffled."""
    return bert_records.blocks(file, file.segment(segment), layout.parameters.seed)


def _file(index: int, path: str, records: int, *, evaluates: bool = False) -> PlannedFile:
    return PlannedFile(
        index=index,
        path=path,
        role="eval" if evaluates else "train",
        file_class="record",
        bytes=records * MEAN_BYTES,
        samples=records,
        shape=(records,),
        key=index,
        starts=even_starts(records * MEAN_BYTES, _SEGMENT_RECORDS * MEAN_BYTES),
        counts=not evaluates,
    )


def _records_of_files(records: int, parameters: Parameters) -> list[int]:
    """Return how many records each file has; the last one takes what is left."""
    counts, left = [], records
    for count in _law(parameters):
        counts.append(min(count, left))
        left -= counts[-1]
        if not left:
            break
    if len(counts) >= parameters.min_files:
        return counts
    # Shorter files, but in the proportions that as many files of the law have.
    files = parameters.min_files
    shares = list(itertools.accumulate(itertools.islice(_law(parameters), files), initial=0))
    bounds = [index + (records - files) * share // shares[-1] for index, share in enumerate(shares)]
    return [end - start for start, end in itertools.pairwise(bounds)]


def _law(parameters: Parameters) -> Iterator[int]:
    """Yield the endless numbers of records of full files."""
    if parameters.law == "original":
        yield from itertools.repeat(_ORIGINAL)
    words = named_words("bert-instances", parameters.seed)
    while True:
        yield _DOCUMENTED[below(words, len(_DOCUMENTED))]
