"""How BERT's pre-training reads: streams of shuffled records out of many files at a time.

Each rank has a pipeline over its share of the files, every ranks-th. A pass takes them in an order
of its own, interleaves their records, and draws each from a buffer of 1,000. An epoch is one pass,
or so many steps of passes without end. With one pipeline the first rank reads for all.
Evaluation takes the first records of the evaluation file, the same in each rank.

Source: the BERT reference of MLPerf Training, in the variant of the published runs: by Horovod,
or in one process by MirroredStrategy.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from dsgen.errors import DataSetError
from harness.worker.loading.tfrecords import (
    CHUNK_BYTES,
    OPEN_FILES,
    Chunks,
    calls_of_file,
    interleaved,
    shuffled,
)
from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch, BatchReader
from harness.worker.workloads.bert_stream import SHUFFLE_RECORDS, Stream
from harness.worker.workloads.bert_tfdata import TfDataReader

T = TypeVar("T")

# Records that one rank evaluates on: 100 steps of one.
EVAL_RECORDS: Final = 100

# Measured: a process that reads by tf.data has 533 MB, of which most is the library.
_TENSORFLOW_BYTES: Final = 512 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class BertReading:
    """The files of a data set, and which rank reads which of them.

    Args:
        spec: of the run.
        train_files: in the order of their names.
        eval_files: one, or none where nothing is evaluated.
        records: of each training file; None where they are not known.
        eval_records: that a rank evaluates on.
        record_bytes: of a record, on average.
    """

    spec: WorkerSpec
    train_files: tuple[TracedFile, ...]
    eval_files: tuple[TracedFile, ...]
    records: tuple[int, ...] | None
    eval_records: int
    record_bytes: float

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """All files."""
        return self.train_files + self.eval_files

    @property
    def readers(self) -> int:
        """Pipelines: one of each rank, or one for all."""
        return self.spec.pipelines or self.spec.accelerators

    @property
    def steps_per_epoch(self) -> int:
        """What was asked for, or the full steps of the rank with the fewest records."""
        return self.spec.steps or self.shard_records // self._batch_records

    @property
    def train_samples(self) -> int | None:
        """Training records, None where nobody has counted them."""
        return None if self.records is None else sum(self.records)

    @property
    def computes(self) -> bool:
        """A batch is trained on."""
        return True

    @property
    def sample_bytes(self) -> float:
        """Of a record, on average."""
        return self.record_bytes

    @property
    def epoch_samples(self) -> int:
        """Records of whole steps; passes may follow one another."""
        return self.steps_per_epoch * self._batch_records * self.readers

    @property
    def opening_calls(self) -> int:
        """None: files are opened by each pass."""
        return 0

    @property
    def shard_records(self) -> int:
        """Records of a pass of the pipeline that has the fewest, estimated if not counted."""
        if self.records is not None:
            return min(sum(shard) for shard in self._shards(self.records))
        least_bytes = min(sum(shard) for shard in self._shards(self._sizes))
        return max(1, int(least_bytes / self.record_bytes))

    @property
    def open_files(self) -> int:
        """Files that take turns, and those ahead of them."""
        return OPEN_FILES

    @property
    def reader_bytes(self) -> int:
        """A chunk of each open file, and the records to draw from; TensorFlow as it is."""
        if self.spec.loader == "tfdata":
            return _TENSORFLOW_BYTES
        return OPEN_FILES * CHUNK_BYTES + round(SHUFFLE_RECORDS * self.record_bytes)

    @property
    def slot_bytes(self) -> int:
        """The records of a batch."""
        return round(self._batch_records * self.record_bytes)

    def calls(self, phase: Phase, batches: int) -> int:
        """Return the calls of so many batches, each file's open and close among them.

        Where records are not counted, they may be half as many as estimated. tf.data's calls leave
        no rows, but a mark for each batch.
        """
        if self.spec.loader == "tfdata":
            return batches
        if phase is Phase.EVAL:
            sizes = [file.size_bytes for file in self.eval_files]
            return min(sum(map(calls_of_file, sizes)), self._calls_of_part(1, batches))
        shards = self._shards(self._sizes)
        of_pass = max(sum(map(calls_of_file, shard)) for shard in shards)
        in_pass = max(1, self.shard_records if self.records else self.shard_records // 2)
        passes, rest = divmod(batches * self._batch_records, in_pass)
        of_part = self._calls_of_part(max(map(len, shards)), rest + SHUFFLE_RECORDS)
        return passes * of_pass + min(of_pass, of_part)

    def train(self, epoch: int, rank: int) -> Sequence[Batch]:
        """Return the rank's batches; a rank that does not read has none."""
        if rank >= self.readers:
            return []
        stream = Stream(
            files=self._shards(self.train_files)[rank],
            key=(self.spec.seed, epoch, rank),
            repeats=self.spec.steps > 0,
        )
        samples = (stream,) * self._batch_records
        return [Batch(step=step, samples=samples) for step in range(1, self.steps_per_epoch + 1)]

    def evaluation(self, _epoch: int, rank: int, /) -> Sequence[Batch]:
        """Return the rank's evaluation batches, the same after every epoch."""
        if rank >= self.readers:
            return []
        stream = Stream(files=self.eval_files, key=None, repeats=False)
        return [Batch(step=step, samples=(stream,)) for step in range(1, self.eval_records + 1)]

    def slots(self, count: int) -> list[Any]:
        """Return places for the records of `count` batches."""
        return [None] * count

    def reader(self, calls: DataCalls, slots: list[Any]) -> BatchReader:
        """Return a reader with memory for the files that it holds open.

        Raises:
            UsageError: TensorFlow shall read, and is not there.
        """
        if self.spec.loader == "tfdata":
            return TfDataReader(calls, slots, ahead=self.spec.prefetch_batches)
        return BertReader(calls, Chunks(reuse=self.spec.buffer == "reuse"), slots)

    @property
    def _batch_records(self) -> int:
        spec = self.spec
        return spec.batch_size * (spec.accelerators // self.readers)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(file.size_bytes for file in self.train_files)

    def _shards(self, values: tuple[T, ...]) -> list[tuple[T, ...]]:
        """Return each pipeline's part of what is listed file by file."""
        return [values[rank :: self.readers] for rank in range(self.readers)]

    def _calls_of_part(self, files: int, records: int) -> int:
        # Twice the mean, for files may hold longer records than others; and the ends of files.
        chunks = -(-2 * records * self.record_bytes // CHUNK_BYTES)
        return int(chunks) + files * calls_of_file(CHUNK_BYTES)


class BertReader:
    """Reads one stream after the other, batch by batch, in one thread."""

    def __init__(self, calls: DataCalls, chunks: Chunks, slots: list[Any]) -> None:
        self._calls = calls
        self._chunks = chunks
        self._slots = slots
        self._stream: Stream | None = None
        self._records: Generator[bytes, None, None] | None = None

    def read(self, batch: Batch, slot: int) -> None:
        """Leave the next records of the batch's stream.

        Raises:
            DataSetError: a file cannot be read, a record is damaged, or records are missing.
        """
        stream: Stream = batch.samples[0]
        if stream is not self._stream or self._records is None:
            self.end()
            self._stream, self._records = stream, records_of(stream, self._calls, self._chunks)
        records = list(islice(self._records, len(batch.samples)))
        if len(records) < len(batch.samples):
            what = f"its files have fewer records than they should, found at step {batch.step}"
            then = "`verify` the data set"
            raise DataSetError(what, where=stream.files[0].path, then=then)
        self._slots[slot] = records

    def batch(self, slot: int) -> list[bytes]:
        """Return the records in a slot."""
        records: list[bytes] = self._slots[slot]
        return records

    def end(self) -> None:
        """Close the files of the stream."""
        records, self._records, self._stream = self._records, None, None
        if records is not None:
            records.close()


def records_of(stream: Stream, calls: DataCalls, chunks: Chunks) -> Generator[bytes, None, None]:
    """Yield the records of a stream, pass after pass; closing the generator closes the files."""
    hold = 1 if stream.key is None else SHUFFLE_RECORDS
    for number in stream.passes():
        with closing(interleaved(calls, stream.order(number), chunks)) as records:
            yield from shuffled(records, stream.draws(number), hold=hold)
