"""Rows that one rank reads for all: each rank's part of a batch, in memory that all of them share.

In the reference the one process scatters each batch over its accelerators.
"""

import mmap

import numpy as np
from numpy.typing import NDArray

from dsgen.workloads.dlrm_bin import ROW_BYTES
from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS

# A batch as the readers of rows leave it, or those of days: X_int, X_cat and y.
Rows = NDArray[np.int32] | dict[str, NDArray[np.float64]]


class Shares:
    """A place for each rank's part of a batch.

    Args:
        ranks: that share it.
        batch_size: rows of a rank's part at most.
    """

    def __init__(self, *, ranks: int, batch_size: int) -> None:
        self._rows: NDArray[np.int32] = np.frombuffer(
            mmap.mmap(-1, ranks * batch_size * ROW_BYTES), np.int32
        ).reshape(ranks, batch_size, COLUMNS)
        self._counts: NDArray[np.int64] = np.frombuffer(mmap.mmap(-1, 8 * ranks), np.int64)

    def put(self, batch: Rows) -> None:
        """Cut a batch into parts as equal as can be; a short one gives some ranks a row more."""
        for rank, part in enumerate(np.array_split(as_rows(batch), len(self._counts))):
            self._rows[rank, : len(part)] = part
            self._counts[rank] = len(part)

    def part(self, rank: int) -> NDArray[np.int32]:
        """Return the rows of a rank, shape (rows, 40); they stay until the next batch is put."""
        return self._rows[rank, : self._counts[rank]]


def as_rows(batch: Rows) -> NDArray[np.int32]:
    """Return a batch as rows of 40 int32: label, integers, categories."""
    if isinstance(batch, np.ndarray):
        return batch
    rows = np.empty((len(batch["y"]), COLUMNS), np.int32)
    rows[:, 0] = batch["y"]
    rows[:, INTEGERS] = batch["X_int"]
    rows[:, CATEGORIES] = batch["X_cat"]
    return rows
