"""What the readers of click logs have in common: batches of rows, counts, and values in range."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.manifest import Manifest
from dsgen.npy import MALFORMED
from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS
from harness.worker.order import check_steps
from harness.worker.record import FileClass
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.recording.recorded import open_recorded
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch, mean_bytes

TEST_BATCH_ROWS: Final = 16_384
TEST_BATCHES: Final = 2_048
# Of a small archive: opened, one array, closed.
CALLS_PER_SIDECAR: Final = 45

_THEN: Final = "`verify` the data set, or make it again"
_SHOWN: Final = 100  # of what is wrong with an archive


@dataclass(frozen=True, kw_only=True, slots=True)
class RowBatches:
    """Batches of neighbouring rows, made when they are asked for.

    Args:
        order: which batch of the file each of them is.
        batch_rows: of every batch but the file's last.
        rows: of the file.
    """

    order: Sequence[int] | NDArray[np.intp]
    batch_rows: int
    rows: int

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int, /) -> Batch:
        """Return a batch whose samples are row numbers."""
        first = int(self.order[index]) * self.batch_rows
        return Batch(step=index + 1, samples=range(first, min(first + self.batch_rows, self.rows)))


def global_batch(spec: WorkerSpec) -> int:
    """Return the rows of a step."""
    return spec.batch_size * spec.accelerators


def batch_count(rows: int, batch_rows: int) -> int:
    """Return how many batches begin in so many rows; the last one may be short."""
    return -(-rows // batch_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogReading(ABC):
    """A click log as one process reads it for all accelerators, in batches of neighbouring rows.

    What is read of it says each format; `computes` whether it is trained on.
    """

    spec: WorkerSpec

    @property
    @abstractmethod
    def files(self) -> tuple[TracedFile, ...]:
        """Every file that may be read, by id."""

    @property
    @abstractmethod
    def train_samples(self) -> int:
        """Training rows."""

    @property
    def passes(self) -> int:
        """Passes of an epoch over the training rows."""
        return 1

    @property
    def readers(self) -> int:
        """One process reads for all accelerators."""
        return 1

    @property
    def computes(self) -> bool:
        """A batch is trained on."""
        return True

    @property
    def global_batch(self) -> int:
        """Rows of a step."""
        return global_batch(self.spec)

    @property
    def batches(self) -> int:
        """Batches of a pass, a short last one included."""
        return batch_count(self.train_samples, self.global_batch)

    @property
    def steps_per_epoch(self) -> int:
        """All batches of an epoch, or fewer where fewer are asked for."""
        return self.spec.steps or self.passes * self.batches

    @property
    def epoch_samples(self) -> int:
        """Rows that an epoch reads at least once; which of them a shuffled one leaves differs."""
        return min(self.train_samples, self.steps_per_epoch * self.global_batch)

    @property
    def sample_bytes(self) -> float:
        """Of the training files, spread over their rows."""
        return mean_bytes(self.files, self.train_samples)


def batches_of_tests(rows: int) -> RowBatches:
    """Return the batches of a test pass over so many rows, from the first on."""
    batches = min(TEST_BATCHES, batch_count(rows, TEST_BATCH_ROWS))
    return RowBatches(order=range(batches), batch_rows=TEST_BATCH_ROWS, rows=rows)


def check_enough(spec: WorkerSpec, *, rows: int, tests: int, passes: int = 1) -> None:
    """Check that a data set has a whole batch, all steps that are asked for, and test rows.

    Args:
        spec: for these.
        rows: for training.
        tests: test rows.
        passes: over the training rows in an epoch.

    Raises:
        DataSetError: it lacks one of these.
    """
    step = global_batch(spec)
    if rows < step:
        what = (
            f"{rows:,} training rows, and a step of {spec.accelerators} accelerators x batch "
            f"{spec.batch_size} takes {step:,}"
        )
        then = "use a larger data set, fewer accelerators or a smaller batch"
        raise DataSetError(what, where=spec.data_dir, then=then)
    check_steps(spec, passes * batch_count(rows, step))
    if 0 < spec.eval_from <= spec.epochs and not tests:
        then = "use a data set with test rows, or switch evaluation off"
        raise DataSetError("no test rows to evaluate", where=spec.data_dir, then=then)


def sidecar(spec: WorkerSpec, manifest: Manifest, name: str, number: int) -> TracedFile:
    """Return a file of counts beside the data, which only some manifests list.

    Raises:
        DataSetError: there is none.
    """
    path = Path(spec.data_dir) / name
    listed = [file.bytes for file in manifest.files if file.path == name]
    try:
        size_bytes = listed[0] if listed else path.stat().st_size
    except OSError as error:
        raise DataSetError(f"no counts ({error.strerror})", where=str(path), then=_THEN) from error
    return TracedFile(
        id=number,
        path=str(path),
        size_bytes=size_bytes,
        file_class=FileClass.COUNTS,
        role="sidecar",
    )


def read_counts(calls: DataCalls, file: TracedFile) -> NDArray[np.int64]:
    """Return the number of categories of each of the 26 columns, by np.load.

    Raises:
        DataSetError: unreadable, or not 26 counts.
    """
    counts = read_sidecar(calls, file, "counts")
    if counts.shape != (CATEGORIES.stop - CATEGORIES.start,) or counts.min() < 1:
        raise DataSetError("not 26 counts of categories", where=file.path, then=_THEN)
    return counts


def read_sidecar(calls: DataCalls, file: TracedFile, name: str) -> NDArray[np.int64]:
    """Return the array `name` of a small archive, by np.load.

    Raises:
        DataSetError: unreadable, or no such array of numbers.
    """
    stream = open_recorded(calls, file)
    try:
        with np.load(stream) as archive:
            return np.asarray(archive[name], np.int64)
    except MALFORMED as error:
        what = f"no {name} in it ({str(error)[:_SHOWN]})"
        raise DataSetError(what, where=file.path, then=_THEN) from error
    finally:
        stream.close()


class RowCheck:
    """Finds what the reference's conversion cannot take: a label, integer or id out of range.

    It takes the logarithm of an integer plus 1, and looks an id up in a table of as many rows as
    its column has categories.

    Args:
        counts: categories of each column.
        most_rows: that are checked at once.
    """

    def __init__(self, counts: NDArray[np.int64], *, most_rows: int) -> None:
        self._ends = column_ends(counts).astype(np.uint32)
        self._beyond = np.zeros((most_rows, COLUMNS), np.bool_)

    def __call__(self, rows: NDArray[np.int32], path: str, first: int) -> None:
        """Check rows, the first of which is number `first` of the file.

        Raises:
            DataSetError: the first value out of range, with its row and column.
        """
        # As unsigned numbers negative ones are beyond all ends: one comparison finds both.
        beyond = self._beyond[: len(rows)]
        np.greater_equal(rows.view(np.uint32), self._ends, out=beyond)
        if beyond.any():
            refuse_value(rows, beyond, 0, self._ends, path, first)


def column_ends(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of the 40 columns what its values are below: at most 2**31."""
    ends = np.full(COLUMNS, 2**31, np.int64)
    ends[0] = 2
    ends[CATEGORIES] = np.minimum(counts, 2**31)
    return ends


def refuse_value(
    values: NDArray[np.generic],
    beyond: NDArray[np.bool_],
    first_column: int,
    ends: NDArray[np.generic],
    path: str,
    first_row: int,
) -> NoReturn:
    """Name the first value that is out of range.

    Args:
        values: shape (rows, columns).
        beyond: which of them are, likewise.
        first_column: which of the 40 columns the first one is.
        ends: of these columns.
        path: of the file.
        first_row: number of the first row in it.

    Raises:
        DataSetError: always.
    """
    row, column = (int(place) for place in np.argwhere(beyond)[0])
    number = first_column + column
    what = (
        f"{column_name(number)} is {values[row, column]}, "
        f"no whole number from 0 to {int(ends[column]) - 1:,}"
    )
    where = f"{path}, row {first_row + row}, column {number}"
    raise DataSetError(what, where=where, then=_THEN)


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
