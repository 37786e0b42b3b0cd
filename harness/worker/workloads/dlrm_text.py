"""How click logs in lines are read: twice from end to end before the first training, then never.

The reference prepares text when it is trained on for the first time: it counts the lines of the
file, then goes through them again and writes each to one of seven parts. Both passes are those of
Python's text reader, line by line. Training reads what became of the parts, never the text. An
epoch here is these two passes. No accelerator computes meanwhile, so all steps are declared to
take no time, and none of the passes tells of AU; there is no checkpoint, and nothing to evaluate.

What the reference writes in the second pass, and reads again part by part, is left out: the data
set is only read here, and may not be this tool's to write to.

A step is as many lines as a global batch has rows, a line being one; the last one of a pass goes on
to the end of the file.

Source: data_utils.py of discslab-dl-bench/mlcomns_dlrm, lines 917 to 944 and 980 to 1067.
"""

import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from dsgen.errors import DataSetError, UsageError
from dsgen.layout import COUNTED
from dsgen.manifest import Manifest
from harness.worker.record import FileClass, Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.recording.recorded import CALLS_PER_OPEN, open_recorded
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch
from harness.worker.workloads.dlrm_rows import (
    LogReading,
    RowBatches,
    batch_count,
    check_enough,
    global_batch,
)

PASSES: Final = 2

_CHUNK_BYTES: Final = io.DEFAULT_BUFFER_SIZE  # that Python's text reader asks for at a time
_THEN: Final = "`verify` the data set, or make it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class LineBatches:
    """The batches of some passes over the same lines.

    Args:
        once: those of one pass.
        steps: of all passes.
    """

    once: RowBatches
    steps: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int, /) -> Batch:
        """Return a batch whose samples are line numbers."""
        if index >= self.steps:
            raise IndexError(index)
        batch = self.once[index % len(self.once)]
        return Batch(step=index + 1, samples=batch.samples)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinesReading(LogReading):
    """A file of lines, and how many it has."""

    file: TracedFile
    lines: int

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """The one file."""
        return (self.file,)

    @property
    def passes(self) -> int:
        """Both passes."""
        return PASSES

    @property
    def computes(self) -> bool:
        """Nothing is trained yet."""
        return False

    @property
    def train_samples(self) -> int:
        """Lines."""
        return self.lines

    @property
    def open_files(self) -> int:
        """The one file."""
        return 1

    @property
    def opening_calls(self) -> int:
        """None: the file is opened by each pass."""
        return 0

    @property
    def reader_bytes(self) -> int:
        """What Python keeps of the file."""
        return 4 * _CHUNK_BYTES

    @property
    def slot_bytes(self) -> int:
        """Nothing: a line is let go when the next one is there."""
        return 0

    def calls(self, phase: Phase, batches: int) -> int:
        """Return the calls of all passes, however few of their batches."""
        if phase is not Phase.TRAIN or not batches:
            return 0
        return PASSES * (CALLS_PER_OPEN + batch_count(self.file.size_bytes, _CHUNK_BYTES) + 1)

    def train(self, _epoch: int, _rank: int, /) -> LineBatches:
        """Return the batches of both passes."""
        batch_rows = global_batch(self.spec)
        return LineBatches(
            once=RowBatches(
                order=range(batch_count(self.lines, batch_rows)),
                batch_rows=batch_rows,
                rows=self.lines,
            ),
            steps=self.steps_per_epoch,
        )

    def evaluation(self, _epoch: int, _rank: int, /) -> tuple[()]:
        """Return nothing."""
        return ()

    def slots(self, _count: int, /) -> None:
        """Return nothing: no line is kept."""
        return

    def reader(self, calls: DataCalls, _slots: None, /) -> "LinesReader":
        """Return a reader that opens the file with its first line."""
        return LinesReader(calls, self)


class LinesReader:
    """Goes through the lines in one thread."""

    def __init__(self, calls: DataCalls, reading: LinesReading) -> None:
        self._calls = calls
        self._file = reading.file
        self._lines = reading.lines
        self._stream: io.TextIOWrapper | None = None

    def read(self, batch: Batch, _slot: int, /) -> None:
        """Read the next lines; open the file before its first one, and close it after its last.

        Raises:
            DataSetError: unreadable, no text, or not as many lines as are known of it.
        """
        if batch.samples[0] == 0:
            self._open()
        end = batch.samples[-1] + 1
        read = batch.samples[0] + self._count(len(batch.samples))
        if end == self._lines:
            read += self._count(None)
            self._close()
        if read != end:
            how = "fewer" if read < end else "more"
            what = f"{how} than the {self._lines:,} lines it was to have"
            raise DataSetError(what, where=self._file.path, then=_THEN)

    def batch(self, _slot: int, /) -> None:
        """Return nothing: no line is kept."""
        return

    def end(self) -> None:
        """Close the file, of an epoch that ended before its last line."""
        self._close()

    def _open(self) -> None:
        self._stream = io.TextIOWrapper(open_recorded(self._calls, self._file), encoding="utf-8")

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _count(self, most: int | None) -> int:
        """Read up to `most` lines, None for all that are left, and return how many there were."""
        try:
            return sum(1 for _ in islice(self._stream or (), most))
        except UnicodeDecodeError as error:
            what = f"no text ({error.reason})"
            raise DataSetError(what, where=self._file.path, then=_THEN) from error


def plan_text(spec: WorkerSpec, manifest: Manifest) -> LinesReading:
    """Return how `spec` reads the lines of `manifest`.

    Raises:
        DataSetError: nobody counted them, or they are too few for a step.
        UsageError: options that only training has.
    """
    if spec.loader_workers:
        where, then = f"--loader-workers {spec.loader_workers}", "give --loader-workers 0"
        what = "text is read by the rank itself, line after line"
        raise UsageError(what, where=where, then=then)
    if 0 < spec.eval_from <= spec.epochs:
        where, then = f"--eval-from {spec.eval_from}", "give --eval-from 0"
        raise UsageError("text has no test rows", where=where, then=then)
    (file,) = [file for file in manifest.files if file.role == "train"]
    path = str(Path(spec.data_dir) / file.path)
    if file.samples == COUNTED:
        then = "`scale` the text, which counts them"
        raise DataSetError("nobody counted its lines", where=path, then=then)
    traced = TracedFile(
        id=0, path=path, size_bytes=file.bytes, file_class=FileClass.LINE, role="train"
    )
    check_enough(spec, rows=file.samples, tests=0, passes=PASSES)
    return LinesReading(spec=spec, file=traced, lines=file.samples)
