"""Records of TFRecord files in the calls and the order of tf.data, without TensorFlow.

A file is read in chunks of 256 KiB, each by one pread; the last one is short and followed by one
that returns nothing. Eight files take turns, a record each. Sixteen more are open, with their first
chunk read, and take the place of those that end.

Source: strace of TensorFlow 2.21, tf.data.experimental.parallel_interleave over TFRecordDataset.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Final

import numpy as np

from dsgen import tfrecord
from dsgen.errors import DataSetError
from dsgen.memory import Bytes, touched
from harness.worker.loading.damage import record_error
from harness.worker.recording.io import DataCalls, TracedFile

CHUNK_BYTES: Final = 262_144
ACTIVE_FILES: Final = 8
AHEAD_FILES: Final = 16
OPEN_FILES: Final = ACTIVE_FILES + AHEAD_FILES


def calls_of_file(size_bytes: int) -> int:
    """Return the calls of a file read to its end: open, preads, close.

    >>> calls_of_file(CHUNK_BYTES), calls_of_file(CHUNK_BYTES + 1)
    (4, 5)
    """
    return 3 + -(-size_bytes // CHUNK_BYTES)


class Chunks:
    """Memory for the chunks of `OPEN_FILES` files.

    Args:
        reuse: made once; otherwise each file has its own.
    """

    def __init__(self, *, reuse: bool) -> None:
        memory = touched(OPEN_FILES * CHUNK_BYTES if reuse else 0)
        self._reuse = reuse
        self._free = [
            memory[start : start + CHUNK_BYTES] for start in range(0, len(memory), CHUNK_BYTES)
        ]

    def take(self) -> Bytes:
        """Return a chunk's memory."""
        return self._free.pop() if self._reuse else np.empty(CHUNK_BYTES, np.uint8)

    def give(self, chunk: Bytes) -> None:
        """Take it back."""
        if self._reuse:
            self._free.append(chunk)


class RecordFile:
    """A file of records, open from `open` to `close`."""

    def __init__(self, calls: DataCalls, file: TracedFile, chunks: Chunks) -> None:
        self._calls = calls
        self._file = file
        self._chunks = chunks
        self._chunk = chunks.take()
        self._view = self._chunk.data
        self._address = self._chunk.ctypes.data
        self._descriptor = -1
        self._offset = 0  # of the next pread
        self._at = self._filled = 0  # in the chunk
        self._ended = False
        self._records = 0
        self._record_offset = 0

    def open(self) -> None:
        """Open the file and read its first chunk."""
        self._descriptor = self._calls.open(self._file)
        self._fill()

    def close(self) -> None:
        """Close the file, if it is open, and give its memory back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._chunks.give(self._chunk)
            self._calls.close(descriptor, self._file)

    def next(self) -> bytes | None:
        """Return the next record, None at the end of the file.

        Raises:
            DataSetError: it is cut, or one of its CRCs is another.
        """
        if self._at == self._filled and not self._fill():
            return None
        try:
            record = tfrecord.read_record(self, self._file.size_bytes)
        except ValueError as error:
            what = record_error(self._records, self._record_offset, error)
            then = "`verify` the data set, or restore the file"
            raise DataSetError(what, where=self._file.path, then=then) from error
        self._records += 1
        self._record_offset += tfrecord.HEADER_BYTES + len(record) + tfrecord.FOOTER_BYTES
        return record

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the file."""
        start, end = self._at, self._at + size
        if end <= self._filled:
            self._at = end
            return self._view[start:end].tobytes()
        parts = []
        while size and (self._at < self._filled or self._fill()):
            part = self._view[self._at : min(self._at + size, self._filled)].tobytes()
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _fill(self) -> bool:
        """Read the next chunk and return whether there was anything."""
        self._at = self._filled = 0
        while not self._ended and self._filled < CHUNK_BYTES:
            got_bytes = self._calls.pread(
                self._descriptor,
                self._file,
                offset=self._offset,
                address=self._address + self._filled,
                size_bytes=CHUNK_BYTES - self._filled,
            )
            self._filled += got_bytes
            self._offset += got_bytes
            self._ended = got_bytes == 0
        return self._filled > 0


def interleaved(
    calls: DataCalls, files: Iterable[TracedFile], chunks: Chunks
) -> Generator[bytes, None, None]:
    """Yield the records of files in turns; closing the generator closes the files.

    Raises:
        DataSetError: as `RecordFile.next`, or a file cannot be read.
    """
    waiting = iter(files)
    active: list[RecordFile] = []
    ahead: deque[RecordFile] = deque()
    try:
        active.extend(_opened(calls, islice(waiting, ACTIVE_FILES), chunks))
        ahead.extend(_opened(calls, islice(waiting, AHEAD_FILES), chunks))
        turn = 0
        while active:
            record = active[turn].next()
            if record is not None:
                yield record
                turn = (turn + 1) % len(active)
                continue
            active[turn].close()
            ahead.extend(_opened(calls, islice(waiting, 1), chunks))
            if ahead:
                active[turn] = ahead.popleft()
                turn = (turn + 1) % len(active)
            else:
                del active[turn]
                turn %= max(1, len(active))
    finally:
        for file in (*active, *ahead):
            file.close()


def shuffled(
    records: Iterable[bytes], draws: Iterator[int], *, hold: int
) -> Generator[bytes, None, None]:
    """Yield records in a random order: each is drawn from the next `hold` ones.

    Args:
        records: in their own order.
        draws: random words.
        hold: how many are there before the first is drawn; with 1 the order stays.
    """
    held: list[bytes] = []
    for record in records:
        held.append(record)
        if len(held) >= hold:
            yield _drawn(held, next(draws))
    while held:
        yield _drawn(held, next(draws))


def _drawn(held: list[bytes], word: int) -> bytes:
    place = word % len(held)
    held[place], held[-1] = held[-1], held[place]
    return held.pop()


def _opened(calls: DataCalls, files: Iterable[TracedFile], chunks: Chunks) -> Iterator[RecordFile]:
    for file in files:
        opened = RecordFile(calls, file, chunks)
        opened.open()
        yield opened
