"""dlrm bin: rows of 40 little-endian int32, as the reference's CriteoBinDataset reads them.

Source: data_loader_terabyte.py of discslab-dl-bench/mlcomns_dlrm, lines 207 to 291.
"""

from collections.abc import Generator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import SEGMENT_BYTES, Link, PlannedFile, even_starts
from dsgen.seed import segment_words
from dsgen.workloads.dlrm_columns import COLUMNS, day_rows, draw
from dsgen.workloads.dlrm_counts import categories_file

ROW_BYTES: Final = 4 * COLUMNS
LINKS: Final = (Link(path="preprocessed_train.bin", target="preprocessed.bin"),)

_BLOCK_ROWS = 4096
# Whole rows in whole blocks of 4 KiB: 128 rows have 5 of them.
_SEGMENT_ROWS = SEGMENT_BYTES // ROW_BYTES // 128 * 128


def files(size_bytes: int) -> list[PlannedFile]:
    """Return the training file, the test file in the original's proportion, and the counts."""
    rows = -(-size_bytes // ROW_BYTES)
    return [
        _file(0, "preprocessed.bin", rows, evaluates=False),
        _file(1, "preprocessed_test.bin", evaluation_rows(rows), evaluates=True),
        categories_file(2),
    ]


def evaluation_rows(rows: int) -> int:
    """Return the test rows beside so many training rows, in the original's proportion.

    It trains on 23 days; the last one is halved, for test and for validation.
    """
    *train_days, last_day = day_rows()
    return max(1, round(rows * ((last_day + 1) // 2) / sum(train_days)))


def blocks(
    file: PlannedFile, segment: int, seed: int, *, natural: bool
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the rows of one segment."""
    words = segment_words("dlrm-bin", seed, file.index, segment)
    rows = file.segment(segment).bytes // ROW_BYTES
    for first in range(0, rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, rows - first)
        drawn = draw(words, count, slice(0, COLUMNS), natural=natural)
        yield drawn.astype("<i4", copy=False).reshape(-1).view(np.uint8)


def _file(index: int, path: str, rows: int, *, evaluates: bool) -> PlannedFile:
    return PlannedFile(
        index=index,
        path=path,
        role="eval" if evaluates else "train",
        file_class="row",
        bytes=rows * ROW_BYTES,
        samples=rows,
        shape=(rows, COLUMNS),
        key=index,
        starts=even_starts(rows * ROW_BYTES, _SEGMENT_ROWS * ROW_BYTES),
        counts=not evaluates,
    )
