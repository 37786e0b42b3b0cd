"""How click logs in rows are read: a seek and a read a batch, in one file that stays open.

The reference makes a data set of the training file and one of the test file. Each takes its
file's size, opens it, and reads the counts of categories beside it; then a batch is a seek to its
number times its bytes and a read, through Python's buffered file. A file has as many batches as
begin in it: the last one is short, and is read like any other. Nothing is dropped.

`--shuffle batches` takes the batches in a random order, as the reference does with
--mlperf-bin-shuffle; without it they are read from the first on. A test pass reads up to 2,048
batches of 16,384 rows, always from the first on. It follows an epoch and, in the midst of one,
every `eval_every_steps` training batches, which are 16,384 in the reference.

Source: data_loader_terabyte.py, lines 207 to 251, dlrm_data_pytorch.py, lines 468 to 501, and
dlrm_s_pytorch.py, lines 1642 to 1729, of discslab-dl-bench/mlcomns_dlrm, branch vldb-main.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.manifest import Manifest, ManifestFile
from dsgen.seed import named_words, permutation
from dsgen.workloads.dlrm_bin import ROW_BYTES
from dsgen.workloads.dlrm_counts import CATEGORIES_NAME
from harness.worker.record import FileClass, Phase
from harness.worker.recording.io import DataCalls, Role, TracedFile
from harness.worker.recording.recorded import CALLS_PER_OPEN, open_recorded
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch
from harness.worker.workloads.dlrm_rows import (
    CALLS_PER_SIDECAR,
    TEST_BATCH_ROWS,
    LogReading,
    RowBatches,
    RowCheck,
    batches_of_tests,
    check_enough,
    read_counts,
    sidecar,
)

# A seek and a read. Where batches are no whole blocks, Python reads a block more; where the file
# ends, it asks once more.
_CALLS_PER_BATCH: Final = 3
# Of both files: the size, the file, and the counts.
_OPENING_CALLS: Final = 2 * (1 + CALLS_PER_OPEN + CALLS_PER_SIDECAR)
_THEN: Final = "`verify` the data set, or make it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsReading(LogReading):
    """The files of rows of a data set; `test` None where there is none."""

    train_file: TracedFile
    test_file: TracedFile | None
    counts_file: TracedFile

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """Rows for training, for tests, and the counts."""
        tests = () if self.test_file is None else (self.test_file,)
        return (self.train_file, *tests, self.counts_file)

    @property
    def train_samples(self) -> int:
        """Training rows."""
        return self.train_file.size_bytes // ROW_BYTES

    @property
    def open_files(self) -> int:
        """Both files, and the counts while they are read."""
        return 3

    @property
    def opening_calls(self) -> int:
        """Calls of both data sets."""
        return _OPENING_CALLS

    @property
    def reader_bytes(self) -> int:
        """The batch that is being read, and what is found out about its values."""
        largest = max(self.global_batch, TEST_BATCH_ROWS if self.test_file else 0)
        checks = self.global_batch + (TEST_BATCH_ROWS if self.test_file else 0)
        return largest * ROW_BYTES + checks * ROW_BYTES // 4

    @property
    def slot_bytes(self) -> int:
        """A batch."""
        return self.global_batch * ROW_BYTES

    def calls(self, _phase: Phase, batches: int, /) -> int:
        """Return a seek and a read for each batch, and one to spare."""
        return _CALLS_PER_BATCH * batches

    def train(self, epoch: int, _rank: int, /) -> RowBatches:
        """Return the batches of an epoch, in the file's order or a random one."""
        order: Sequence[int] | NDArray[np.intp] = range(self.batches)
        if self.spec.shuffle == "batches":
            order = permutation(named_words("batch order", self.spec.seed, epoch), self.batches)
        return RowBatches(
            order=order[: self.steps_per_epoch],
            batch_rows=self.global_batch,
            rows=self.train_samples,
        )

    def evaluation(self, _epoch: int, _rank: int, /) -> RowBatches:
        """Return the batches of a test pass: the same for every epoch."""
        rows = 0 if self.test_file is None else self.test_file.size_bytes // ROW_BYTES
        return batches_of_tests(rows)

    def slots(self, count: int) -> list[NDArray[np.int32]]:
        """Return places for `count` batches; each gets the memory that Python read it into."""
        return [np.empty((0, 0), np.int32)] * count

    def reader(self, calls: DataCalls, slots: list[NDArray[np.int32]]) -> "RowsReader":
        """Return a reader that has both files open."""
        return RowsReader(calls, self, slots)


class RowsReader:
    """Reads batches of both files in one thread."""

    def __init__(
        self, calls: DataCalls, reading: RowsReading, slots: list[NDArray[np.int32]]
    ) -> None:
        self._calls = calls
        self._slots = slots
        self._files = {
            phase: _OpenRows(calls, file, reading.counts_file, batch_rows)
            for phase, file, batch_rows in (
                (Phase.TRAIN, reading.train_file, reading.global_batch),
                (Phase.EVAL, reading.test_file, TEST_BATCH_ROWS),
            )
            if file is not None
        }

    def read(self, batch: Batch, slot: int) -> None:
        """Read a batch of the file that the phase is about.

        Raises:
            DataSetError: the file is unreadable or ends early, or a value is none.
        """
        self._slots[slot] = self._files[self._calls.phase].read(batch.samples)

    def batch(self, slot: int) -> NDArray[np.int32]:
        """Return the rows in a slot."""
        return self._slots[slot]

    def end(self) -> None:
        """Both files stay open."""


class _OpenRows:
    """A file of rows, opened as the reference's data set opens it."""

    def __init__(
        self, calls: DataCalls, file: TracedFile, counts_file: TracedFile, batch_rows: int
    ) -> None:
        calls.stat(file)
        self._file = file
        self._batch_bytes = batch_rows * ROW_BYTES
        self._stream: io.BufferedReader = open_recorded(calls, file)
        self._check = RowCheck(read_counts(calls, counts_file), most_rows=batch_rows)

    def read(self, samples: Sequence[int]) -> NDArray[np.int32]:
        first = samples[0]
        self._stream.seek(first * ROW_BYTES)
        # A whole batch is asked for also where the file has less.
        data = self._stream.read(self._batch_bytes)
        if len(data) != len(samples) * ROW_BYTES:
            what = "file changed its length while it was read"
            raise DataSetError(what, where=self._file.path, then=_THEN)
        rows = np.frombuffer(data, "<i4").reshape(-1, ROW_BYTES // 4)
        self._check(rows, self._file.path, first)
        return rows


def plan_bin(spec: WorkerSpec, manifest: Manifest) -> RowsReading:
    """Return how `spec` reads the rows of `manifest`.

    Raises:
        DataSetError: files are missing, no whole rows, or too few for a batch or the steps.
    """
    reading = RowsReading(
        spec=spec,
        train_file=_rows_file(spec, manifest, "train", 0),
        test_file=_rows_file(spec, manifest, "eval", 1) if manifest.samples_eval else None,
        counts_file=sidecar(spec, manifest, CATEGORIES_NAME, 2),
    )
    check_enough(spec, rows=reading.train_samples, tests=manifest.samples_eval)
    return reading


def _rows_file(spec: WorkerSpec, manifest: Manifest, role: Role, number: int) -> TracedFile:
    files = [file for file in manifest.files if file.role == role]
    if len(files) != 1:
        what = f"{len(files)} files of {role} rows, where one belongs"
        raise DataSetError(what, where=spec.data_dir, then=_THEN)
    path = Path(spec.data_dir) / _opened_name(manifest, files[0])
    if files[0].bytes % ROW_BYTES:
        what = f"{files[0].bytes:,} bytes are no whole number of rows of {ROW_BYTES}"
        raise DataSetError(what, where=str(path), then=_THEN)
    return TracedFile(
        id=number,
        path=str(path),
        size_bytes=files[0].bytes,
        file_class=FileClass.ROW,
        role=role,
    )


def _opened_name(manifest: Manifest, file: ManifestFile) -> str:
    """Return the name that the reference opens, where it is a link to the file."""
    names = [link.path for link in manifest.links if link.target == file.path]
    return names[0] if names else file.path
