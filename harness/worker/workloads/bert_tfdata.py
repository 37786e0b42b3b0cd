"""bert's pipeline by tf.data itself, as the reference builds it: records are parsed, too.

Its calls are its own and leave no rows: strace shows them, and the kernel's counters their bytes.
"""

import os
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from dsgen.errors import DataSetError, UsageError
from dsgen.seed import named_words
from dsgen.workloads.bert_records import FLOATS, INTEGERS
from harness.worker.loading.damage import find_damage
from harness.worker.loading.tfrecords import ACTIVE_FILES
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.workload import Batch
from harness.worker.workloads.bert_stream import SHUFFLE_RECORDS, Stream

_SEED_BITS: Final = 31


class TfDataReader:
    """Takes batches of parsed records from tf.data, which reads in threads of its own.

    Args:
        calls: of the thread that takes them.
        slots: where the tensors of a batch go.
        ahead: batches that tf.data makes at a time.
    """

    def __init__(self, calls: DataCalls, slots: list[Any], *, ahead: int) -> None:
        self._calls = calls
        self._slots = slots
        self._ahead = ahead
        self._tf = _tensorflow()
        self._stream: Stream | None = None
        self._batches: Iterator[Any] = iter(())

    def read(self, batch: Batch, slot: int) -> None:
        """Leave the next batch of the stream.

        Raises:
            DataSetError: tf.data refuses a record or a file, or records are missing.
        """
        stream: Stream = batch.samples[0]
        if stream is not self._stream:
            self.end()
            self._stream = stream
            self._batches = self._calls.outside(self._pipeline, stream, len(batch.samples))
        try:
            tensors = self._calls.outside(next, self._batches, None)
        except self._tf.errors.OpError as error:
            raise refused(stream.files, str(error.message)) from error
        if tensors is None:
            what = f"its files have fewer records than they should, found at step {batch.step}"
            where = stream.files[0].path
            raise DataSetError(what, where=where, then="`verify` the data set")
        self._slots[slot] = tensors

    def batch(self, slot: int) -> Any:
        """Return the tensors in a slot."""
        return self._slots[slot]

    def end(self) -> None:
        """Let the pipeline go, which closes its files."""
        self._stream, self._batches = None, iter(())

    def _pipeline(self, stream: Stream, size: int) -> Iterator[Any]:
        data = self._tf.data
        paths = [file.path for file in stream.files]
        if stream.key is None:
            records = data.TFRecordDataset(paths)
            return iter(records.map(self._parse).batch(size, drop_remainder=True))
        seed = int(named_words("bert tf.data", *stream.key).random_raw()) >> (64 - _SEED_BITS)
        files = data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed=seed)
        interleave = data.experimental.parallel_interleave(
            data.TFRecordDataset, sloppy=True, cycle_length=min(ACTIVE_FILES, len(paths))
        )
        records = files.apply(interleave).shuffle(SHUFFLE_RECORDS, seed=seed)
        if stream.repeats:
            records = records.repeat()
        batches = data.experimental.map_and_batch(
            self._parse, size, num_parallel_batches=self._ahead, drop_remainder=True
        )
        return iter(records.apply(batches))

    def _parse(self, record: Any) -> Any:
        tf = self._tf
        integers = {
            name: tf.io.FixedLenFeature([length], tf.int64) for name, length in INTEGERS.items()
        }
        floats = {
            name: tf.io.FixedLenFeature([length], tf.float32) for name, length in FLOATS.items()
        }
        return tf.io.parse_single_example(record, integers | floats)


def refused(files: Sequence[TracedFile], message: str) -> DataSetError:
    """Return the error that tf.data's message is about, which names a byte, but no file."""
    at = re.search(r" at (\d+)", message)
    found = find_damage(files, int(at[1])) if at else None
    if found is not None:
        return found
    what = f"tf.data refuses a record ({message.splitlines()[0]})"
    where = f"{files[0].path}, or another of {len(files):,} files"
    return DataSetError(what, where=where, then="`verify` the data set")


def _tensorflow() -> Any:
    """Import TensorFlow, which only this needs, and keep it quiet and off the accelerators."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        tf = import_module("tensorflow")
    except ImportError as error:
        then = "use the docker engine, whose image has it, or --loader native"
        raise UsageError("no TensorFlow here", where="--loader tfdata", then=then) from error
    tf.get_logger().setLevel("ERROR")
    tf.config.set_visible_devices([], "GPU")
    return tf
