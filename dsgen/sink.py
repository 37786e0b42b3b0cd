"""Where one segment's bytes go: past the page cache where the file system allows it.

Aligned buffers in turn: while some are on their way to the device, the next one fills.
"""

import errno
import fcntl
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dsgen.errors import writing
from dsgen.journal import Written
from dsgen.layout import Segment
from dsgen.memory import fresh
from dsgen.workloads import Blocks
from dsgen.writeback import start_writeback

_BUFFER_BYTES: Final = 4 * 2**20
# Two writes under way keep a fast device busy while a third buffer fills and a fourth waits.
_BUFFERS: Final = 4
_WRITES: Final = 2
_ALIGNMENT: Final = 4096
_SAMPLE_BYTES: Final = 64 * 2**10
_BLOCK_BYTES: Final = 4096
# Deflating more would take a tenth of the time that generation takes.
_CHUNKS_PER_SAMPLE: Final = 4


class SegmentSink:
    """Writes segments, one after the other; each process has one and keeps its buffers."""

    def __init__(self) -> None:
        # Huge pages lie together: a device that takes large requests gets one where small pages
        # make four to eight (seen: 3.8 GB/s instead of 1.8 to 2.8). And they begin as direct
        # writing wants.
        self._buffers = [fresh(_BUFFER_BYTES) for _ in range(_BUFFERS)]
        self._turn = 0  # the buffer that fills next
        self._threads = ThreadPoolExecutor(_WRITES, thread_name_prefix="write")
        self._pending: deque[tuple[Path, Future[None]]] = deque()
        self._written: list[tuple[Path, int]] = []  # and not flushed yet

    def write(self, path: Path, file: int, segment: Segment, blocks: Blocks) -> Written:
        """Write the blocks of one segment into its range of `path`; `flush` comes after it.

        The last buffers are under way still when it returns, so that the next segment, if there is
        one before the flush, finds the device busy.

        Raises:
            PathError: no space, no right, or an error of the device.
        """
        with writing(path):
            descriptor = _open(path, direct=_fills_blocks(segment))
        self._written.append((path, descriptor))
        return self._write(path, descriptor, file, segment, blocks)

    def flush(self) -> None:
        """Wait until all that was written since the last time is on the device.

        Raises:
            PathError: no space, or an error of the device.
        """
        self._settle(left=0)
        if len(self._written) > 1:
            for _, descriptor in self._written:
                start_writeback(descriptor)
        for path, descriptor in self._written:
            with writing(path):
                os.fdatasync(descriptor)
                os.close(descriptor)
        self._written.clear()

    def _write(
        self,
        path: Path,
        descriptor: int,
        file: int,
        segment: Segment,
        blocks: Blocks,
    ) -> Written:
        digests: list[int | None] = []
        measured = _Measured(segment.index)
        offset = segment.offset_bytes
        for chunk in _regrouped(_noting(blocks, digests), self._buffers, self._turn):
            measured.add(chunk)
            if chunk.size == segment.bytes:  # small ones come many to a flush, a thread costs more
                with writing(path):
                    _write_all(descriptor, chunk, offset)
            else:
                write = self._threads.submit(_write_all, descriptor, chunk, offset)
                self._pending.append((path, write))
                self._turn = (self._turn + 1) % _BUFFERS
            offset += chunk.size
            # All other buffers may be under way, the one that fills next may not.
            self._settle(left=_BUFFERS - 1)
        written_bytes = offset - segment.offset_bytes
        if written_bytes != segment.bytes:
            raise AssertionError(f"{written_bytes} bytes for a segment of {segment.bytes}")
        return measured.written(file, segment, digests[0])

    def _settle(self, *, left: int) -> None:
        """Wait until so many writes at most are under way."""
        while len(self._pending) > left:
            path, write = self._pending.popleft()
            with writing(path):
                write.result()


def measure(file: int, segment: Segment, blocks: Blocks) -> Written:
    """Return what is measured of a segment's bytes, without writing them."""
    digests: list[int | None] = []
    measured = _Measured(segment.index)
    buffers = [np.empty(_BUFFER_BYTES, dtype=np.uint8)]
    for chunk in _regrouped(_noting(blocks, digests), buffers, 0):
        measured.add(chunk)
    return measured.written(file, segment, digests[0])


class _Measured:
    """CRC32C of all bytes, and reducibility of 64 KiB of every fourth buffer."""

    def __init__(self, segment: int) -> None:
        self._crc = self._chunks = 0
        self._words = np.random.SFC64(segment)
        self._sampled_bytes = self._deflated_bytes = 0
        self._blocks: set[bytes] = set()
        self._sampled_blocks = 0

    def add(self, chunk: NDArray[np.uint8]) -> None:
        self._crc = google_crc32c.extend(self._crc, chunk)
        self._chunks += 1
        if self._chunks % _CHUNKS_PER_SAMPLE == 1:
            self._sample(chunk)

    def _sample(self, chunk: NDArray[np.uint8]) -> None:
        # A fixed place in each chunk would follow the period of slices; a drawn one does not.
        places = max(1, (chunk.size - _SAMPLE_BYTES) // _BLOCK_BYTES)
        start = int(self._words.random_raw()) % places * _BLOCK_BYTES
        sample = chunk[start : start + _SAMPLE_BYTES].tobytes()
        self._sampled_bytes += len(sample)
        self._deflated_bytes += len(isal_zlib.compress(sample, 1))
        for at in range(0, len(sample) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
            self._blocks.add(sample[at : at + _BLOCK_BYTES])
            self._sampled_blocks += 1

    def written(self, file: int, segment: Segment, digest: int | None) -> Written:
        return Written(
            file=file,
            segment=segment.index,
            bytes=segment.bytes,
            crc32c=self._crc,
            sampled_bytes=self._sampled_bytes,
            deflated_bytes=self._deflated_bytes,
            sampled_blocks=self._sampled_blocks,
            duplicate_blocks=self._sampled_blocks - len(self._blocks),
            digest=digest,
        )


def _regrouped(
    blocks: Iterable[NDArray[np.uint8]], buffers: Sequence[NDArray[np.uint8]], turn: int
) -> Iterator[NDArray[np.uint8]]:
    """Regroup blocks of any size into full buffers, which are used in turn from `turn` on."""
    filled = 0
    for block in blocks:
        start = 0
        while start < block.size:
            buffer = buffers[turn]
            count = min(block.size - start, _BUFFER_BYTES - filled)
            buffer[filled : filled + count] = block[start : start + count]
            start, filled = start + count, filled + count
            if filled == _BUFFER_BYTES:
                yield buffer
                turn, filled = (turn + 1) % len(buffers), 0
    if filled:
        yield buffers[turn][:filled]


def _noting(blocks: Blocks, digests: list[int | None]) -> Iterator[NDArray[np.uint8]]:
    """Yield the blocks, and keep what their generator returns."""
    digests.append((yield from blocks))


def _fills_blocks(segment: Segment) -> bool:
    """Say whether a segment has whole blocks, which is what can be written directly."""
    return segment.offset_bytes % _ALIGNMENT == 0 and segment.bytes >= _ALIGNMENT


def _open(path: Path, *, direct: bool) -> int:
    # A link would lead the bytes out of the data set.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    if not direct:
        return os.open(path, flags, 0o644)
    try:
        return os.open(path, flags | os.O_DIRECT, 0o644)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags, 0o644)


def _write_all(descriptor: int, data: NDArray[np.uint8], offset: int) -> None:
    """Write `data`, the part that fills whole blocks directly, the rest through the cache."""
    aligned = data.size // _ALIGNMENT * _ALIGNMENT
    _write_range(descriptor, data[:aligned], offset)
    if aligned < data.size:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        _write_range(descriptor, data[aligned:], offset + aligned)


def _write_range(descriptor: int, data: NDArray[np.uint8], offset: int) -> None:
    view = data.data
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
