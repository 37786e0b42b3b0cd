"""How click logs in days are read: a whole day at a time, by np.load, and then nothing for long.

The reference loads a day when its first row is due: X_int, X_cat and y, each inflated to its end,
in this order, which is not that of the archive. Batches are rows of the arrays in memory; one that
begins in a day and ends in the next loads that one. So only steps at a day's boundary read.

All days but the last are for training; of the last one, the first half is for tests. Each epoch
begins with the first day, and each test pass loads the last day anew; training then goes on with
the day that it was in. An epoch has as many batches as begin in its rows: the last one is short,
and nothing is dropped.

np.load itself reads here, over calls that are recorded. As in the reference there are two days in
memory while the second is loaded, of which the first one's last rows are still needed, and while
the last day is there for a test.

Source: data_loader_terabyte.py, lines 103 to 114, and dlrm_data_pytorch.py, lines 286 to 300, of
discslab-dl-bench/mlcomns_dlrm, branch vldb-main. That test passes load their day anew, and the
order in which the two files of counts are read, are inferred.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError, UsageError
from dsgen.manifest import Manifest, ManifestFile
from dsgen.npy import MALFORMED
from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS
from dsgen.workloads.dlrm_counts import CATEGORIES_NAME, ROWS_NAME
from harness.worker.record import FileClass, Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.recording.recorded import open_recorded
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch
from harness.worker.workloads.dlrm_rows import (
    CALLS_PER_SIDECAR,
    LogReading,
    RowBatches,
    batches_of_tests,
    check_enough,
    column_ends,
    global_batch,
    read_counts,
    read_sidecar,
    refuse_value,
    sidecar,
)

# The arrays in the order in which the reference asks for them, and their columns of the 40.
ARRAYS: Final = {"X_int": INTEGERS, "X_cat": CATEGORIES, "y": slice(0, 1)}
_LABEL: Final = "y"

_VALUE_BYTES: Final = 8
# numpy inflates so much at a time, for which zipfile seeks, reads and asks for the position: three
# calls in the mean of all that was traced, deflated or stored, and 50 a day beside.
_CHUNK_BYTES: Final = 2**18
_CALLS_PER_CHUNK: Final = 5
_CALLS_PER_DAY: Final = 100
_SHOWN: Final = 100  # of what is wrong with an archive
_THEN: Final = "`verify` the data set, or make it again"

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """A day's file, and how many rows it has."""

    file: TracedFile
    rows: int

    @property
    def calls(self) -> int:
        """Calls that loading it takes at most."""
        chunks = sum(
            -(-self.rows * (part.stop - part.start) * _VALUE_BYTES // _CHUNK_BYTES)
            for part in ARRAYS.values()
        )
        return _CALLS_PER_DAY + _CALLS_PER_CHUNK * chunks


@dataclass(frozen=True, kw_only=True, slots=True)
class DaysReading(LogReading):
    """The days of a data set, in their order."""

    train_days: tuple[Day, ...]
    test_day: Day
    rows_file: TracedFile
    counts_file: TracedFile

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """All days, and both files of counts."""
        days = (*self.train_days, self.test_day)
        return (*(day.file for day in days), self.rows_file, self.counts_file)

    @property
    def train_samples(self) -> int:
        """Rows of the training days."""
        return sum(day.rows for day in self.train_days)

    @property
    def test_rows(self) -> int:
        """The first half of the last day, of an odd number the larger one."""
        return -(-self.test_day.rows // 2)

    @property
    def open_files(self) -> int:
        """A day, while it is loaded, or a file of counts."""
        return 1

    @property
    def opening_calls(self) -> int:
        """Calls of reading the counts."""
        return 2 * CALLS_PER_SIDECAR

    @property
    def reader_bytes(self) -> int:
        """Two days: one that gives way to the next, or one of training and that of tests."""
        rows = max(day.rows for day in (*self.train_days, self.test_day))
        return 2 * rows * COLUMNS * _VALUE_BYTES

    @property
    def slot_bytes(self) -> int:
        """A batch of which the parts come from two days."""
        return global_batch(self.spec) * COLUMNS * _VALUE_BYTES

    def calls(self, phase: Phase, batches: int) -> int:
        """Return the calls of loading all days of a phase, however few of its batches."""
        if not batches:
            return 0
        days = self.train_days if phase is Phase.TRAIN else (self.test_day,)
        return sum(day.calls for day in days)

    def train(self, _epoch: int, _rank: int, /) -> RowBatches:
        """Return the batches of an epoch: the same for every one."""
        return RowBatches(
            order=range(self.steps_per_epoch),
            batch_rows=global_batch(self.spec),
            rows=self.train_samples,
        )

    def evaluation(self, _epoch: int, _rank: int, /) -> RowBatches:
        """Return the batches of a test pass: the same for every epoch."""
        return batches_of_tests(self.test_rows)

    def slots(self, count: int) -> list[Arrays]:
        """Return places for `count` batches."""
        return [{} for _ in range(count)]

    def reader(self, calls: DataCalls, slots: list[Arrays]) -> "DaysReader":
        """Return a reader that knows the counts."""
        return DaysReader(calls, self, slots)


class DaysReader:
    """Reads batches in one thread, and keeps the day that the last one ended in."""

    def __init__(self, calls: DataCalls, reading: DaysReading, slots: list[Arrays]) -> None:
        self._calls = calls
        self._slots = slots
        days = (*reading.train_days, reading.test_day)
        counted = read_sidecar(calls, reading.rows_file, "total_per_file")
        if counted.tolist() != [day.rows for day in days]:
            what = f"other rows in it than in the {len(days)} days"
            raise DataSetError(what, where=reading.rows_file.path, then=_THEN)
        ends = column_ends(read_counts(calls, reading.counts_file))
        self._ends = {name: ends[part] for name, part in ARRAYS.items()}
        self._days = {Phase.TRAIN: reading.train_days, Phase.EVAL: (reading.test_day,)}
        self._first_rows = {
            phase: list(accumulate((day.rows for day in days[:-1]), initial=0))
            for phase, days in self._days.items()
        }
        self._loaded: dict[Phase, Day] = {}
        self._arrays: dict[Phase, Arrays] = {phase: {} for phase in self._days}

    def read(self, batch: Batch, slot: int) -> None:
        """Take a batch from the day in memory, and load what it lacks.

        Raises:
            DataSetError: a day is unreadable, no such archive, or a value is out of range.
        """
        parts = list(self._parts(batch.samples[0], batch.samples[-1] + 1))
        self._slots[slot] = {
            name: parts[0][name]
            if len(parts) == 1
            else np.concatenate([part[name] for part in parts])
            for name in ARRAYS
        }

    def batch(self, slot: int) -> Arrays:
        """Return the arrays in a slot."""
        return self._slots[slot]

    def end(self) -> None:
        """Let go of the phase's day: an epoch and a test pass begin anew."""
        phase = self._calls.phase
        self._loaded.pop(phase, None)
        self._arrays[phase].clear()

    def _parts(self, first: int, end: int) -> Iterator[Arrays]:
        """Yield the arrays of rows `first` to `end` of the phase, day by day."""
        days, starts = self._days[self._calls.phase], self._first_rows[self._calls.phase]
        while first < end:
            number = bisect_right(starts, first) - 1
            self._load(days[number])
            start, until = starts[number], min(end, starts[number] + days[number].rows)
            rows = slice(first - start, until - start)
            arrays = self._arrays[self._calls.phase]
            part = {name: array[rows] for name, array in arrays.items()}
            self._check(part, days[number].file.path, rows.start)
            yield part
            first = until

    def _load(self, day: Day) -> None:
        phase = self._calls.phase
        if self._loaded.get(phase) is day:
            return
        stream = open_recorded(self._calls, day.file)
        try:
            with np.load(stream) as archive:
                for name, part in ARRAYS.items():
                    # One by one: what is replaced is let go before the next is inflated.
                    self._arrays[phase][name] = _checked(archive[name], name, part, day)
        except MemoryError:  # beside what malformed archives raise
            raise
        except MALFORMED as error:
            what = f"no archive of X_int, X_cat and y ({str(error)[:_SHOWN]})"
            raise DataSetError(what, where=day.file.path, then=_THEN) from error
        finally:
            stream.close()
        self._loaded[phase] = day

    def _check(self, part: Arrays, path: str, first: int) -> None:
        for name, values in part.items():
            columns = values.reshape(len(values), -1)
            # As it is asked, a value that is no number is beyond, too; and so is one that is not
            # whole, which the reference would cut.
            within = (columns >= 0) & (columns < self._ends[name]) & (columns == np.floor(columns))
            if not within.all():
                column = ARRAYS[name].start
                refuse_value(columns, ~within, column, self._ends[name], path, first)


def _checked(
    array: NDArray[np.float64], name: str, columns: slice, day: Day
) -> NDArray[np.float64]:
    width = columns.stop - columns.start
    shape = (day.rows,) if name == _LABEL else (day.rows, width)
    if array.dtype != np.float64 or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not float64 {shape}")
    return array


def plan_npz(spec: WorkerSpec, manifest: Manifest) -> DaysReading:
    """Return how `spec` reads the days of `manifest`.

    Raises:
        DataSetError: files are missing, or have too few rows for a batch or the steps.
        UsageError: loader workers, each of which would keep a day of its own.
    """
    if spec.loader_workers:
        where, then = f"--loader-workers {spec.loader_workers}", "give --loader-workers 0"
        what = "days are loaded by the rank itself, one after the other"
        raise UsageError(what, where=where, then=then)
    days = _days(spec, manifest)
    if len(days) < 2:
        what = f"{len(days)} days, of which the last one is for tests"
        raise DataSetError(what, where=spec.data_dir, then="use a data set of more days")
    reading = DaysReading(
        spec=spec,
        train_days=days[:-1],
        test_day=days[-1],
        rows_file=sidecar(spec, manifest, ROWS_NAME, len(days)),
        counts_file=sidecar(spec, manifest, CATEGORIES_NAME, len(days) + 1),
    )
    check_enough(spec, rows=reading.train_samples, tests=reading.test_rows)
    return reading


def _number(file: ManifestFile) -> int:
    return int(re.sub(r"\D", "", file.path))


def _days(spec: WorkerSpec, manifest: Manifest) -> tuple[Day, ...]:
    files = [file for file in manifest.files if file.role == "train"]
    files.sort(key=_number)
    missing = sorted(set(range(len(files))) - {_number(file) for file in files})
    if missing:
        what = f"{len(files)} days, and no day {missing[0]} among them"
        then = "bring it back, or number the days from 0 on"
        raise DataSetError(what, where=spec.data_dir, then=then)
    return tuple(
        Day(
            file=TracedFile(
                id=number,
                path=str(Path(spec.data_dir) / file.path),
                size_bytes=file.bytes,
                file_class=FileClass.DAY,
                role="eval" if number == len(files) - 1 else "train",
            ),
            rows=file.samples,
        )
        for number, file in enumerate(files)
    )
