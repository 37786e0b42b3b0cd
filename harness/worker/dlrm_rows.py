"""Values of click logs: whether the reference could train on them, and the counts that say so."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.npy import MALFORMED
from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS
from harness.worker.io import DataCalls, TracedFile
from harness.worker.recorded import open_recorded

_THEN: Final = "`verify` the data set, or make it again"
_SHOWN: Final = 100  # of what is wrong with an archive


def read_counts(calls: DataCalls, file: TracedFile) -> NDArray[np.int64]:
    """Return the number of categories of each of the 26 columns, by np.load.

    Raises:
        DataSetError: unreadable, or not 26 counts.
    """
    stream = open_recorded(calls, file)
    try:
        with np.load(stream) as archive:
            counts = np.asarray(archive["counts"], np.int64)
    except MALFORMED as error:
        what = f"no counts of categories in it ({str(error)[:_SHOWN]})"
        raise DataSetError(what, where=file.path, then=_THEN) from error
    finally:
        stream.close()
    if counts.shape != (CATEGORIES.stop - CATEGORIES.start,) or counts.min() < 1:
        raise DataSetError("not 26 counts of categories", where=file.path, then=_THEN)
    return counts


class RowCheck:
    """Finds what the reference's conversion cannot take: a label, integer or id out of range.

    It takes the logarithm of an integer plus 1, and looks an id up in a table of as many rows as
    its column has categories.

    Args:
        counts: categories of each column.
        most_rows: that are checked at once.
    """

    def __init__(self, counts: NDArray[np.int64], *, most_rows: int) -> None:
        self._ends = np.full(COLUMNS, 2**31, np.uint32)
        self._ends[0] = 2
        self._ends[CATEGORIES] = np.minimum(counts, 2**31)
        self._beyond = np.zeros((most_rows, COLUMNS), np.bool_)

    def __call__(self, rows: NDArray[np.int32], path: str, first: int) -> None:
        """Check rows, the first of which is number `first` of the file.

        Raises:
            DataSetError: the first value out of range, with its row and column.
        """
        # As unsigned numbers negative ones are beyond all ends: one comparison finds both.
        beyond = self._beyond[: len(rows)]
        np.greater_equal(rows.view(np.uint32), self._ends, out=beyond)
        if not beyond.any():
            return
        row, column = (int(place) for place in np.argwhere(beyond)[0])
        end = int(self._ends[column])
        what = f"{column_name(column)} is {rows[row, column]}, not from 0 to {end - 1:,}"
        raise DataSetError(what, where=f"{path}, row {first + row}, column {column}", then=_THEN)


def column_name(column: int) -> str:
    """Return what one of the 40 columns is called.

    >>> column_name(0), column_name(1), column_name(39)
    ('y', 'X_int 0', 'X_cat 25')
    """
    if column < INTEGERS.start:
        return "y"
    if column < CATEGORIES.start:
        return f"X_int {column - INTEGERS.start}"
    return f"X_cat {column - CATEGORIES.start}"
