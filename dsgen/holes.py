"""Files of holes: the right length, what a reader follows, and no place on the device.

They are for the calls alone that reading takes: storage answers a hole from memory, so nothing
that is measured over them tells of it.
"""

import ctypes
import os
from collections.abc import Generator, Iterable
from errno import ENOSYS, EOPNOTSUPP
from functools import cache
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dsgen.errors import writing
from dsgen.journal import Written
from dsgen.layout import Layout, Segment

_BLOCK_BYTES: Final = 2**20
_NOTHING: Final = np.zeros(_BLOCK_BYTES, dtype=np.uint8)
_NOTHING.flags.writeable = False

# fallocate(2): the file keeps its length, the range gives its blocks back.
_PUNCH_HOLE_KEEP_SIZE: Final = 0x02 | 0x01
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def zeros(size_bytes: int) -> Generator[NDArray[np.uint8], None, None]:
    """Yield so many zeros, in blocks of a MiB."""
    for start in range(0, size_bytes, _BLOCK_BYTES):
        yield _NOTHING[: min(_BLOCK_BYTES, size_bytes - start)]


@cache
def crc32c_of_zeros(size_bytes: int) -> int:
    """Return the CRC32C of so many zeros.

    >>> crc32c_of_zeros(3) == google_crc32c.value(bytes(3))
    True
    """
    crc = 0
    for block in zeros(size_bytes):
        crc = google_crc32c.extend(crc, block)
    return crc


def after(start: bytes, segment: Segment) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment of a file that begins with `start` and is zeros otherwise."""
    size_bytes = segment.bytes
    if segment.offset_bytes == 0:
        yield np.frombuffer(start, dtype=np.uint8)
        size_bytes -= len(start)
    yield from zeros(size_bytes)


def holes_bytes(paths: Iterable[Path]) -> int:
    """Return how many bytes of files no block was given to."""
    states = [path.lstat() for path in paths]
    return sum(max(0, state.st_size - 512 * state.st_blocks) for state in states)


class HoleSink:
    """Writes what is not zero, and leaves a hole for the rest; each process has one.

    Args:
        layout: for the length of each file, which it gets at once.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._written: list[tuple[Path, int]] = []  # and not flushed yet

    def write(
        self,
        path: Path,
        file: int,
        segment: Segment,
        blocks: Generator[NDArray[np.uint8], None, int | None],
    ) -> Written:
        """Write the blocks of one segment that are not zero; `flush` comes after it.

        Raises:
            PathError: no space, no right, or an error of the device.
        """
        with writing(path):
            # A link would lead the bytes out of the data set.
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
            self._written.append((path, descriptor))
            # Whoever comes first gives a file its length, so that none cuts what another wrote.
            if os.fstat(descriptor).st_size < self._layout.files[file].bytes:
                os.truncate(descriptor, self._layout.files[file].bytes)
            crc, offset = 0, segment.offset_bytes
            for block in blocks:
                crc = google_crc32c.extend(crc, block)
                _put(descriptor, block, offset)
                offset += block.size
        return Written(
            file=file,
            segment=segment.index,
            bytes=segment.bytes,
            crc32c=crc,
            sampled_bytes=0,
            deflated_bytes=0,
            sampled_blocks=0,
            duplicate_blocks=0,
            digest=None,
        )

    def flush(self) -> None:
        """Wait until all that was written since the last time is on the device.

        Raises:
            PathError: no space, or an error of the device.
        """
        for path, descriptor in self._written:
            with writing(path):
                os.fdatasync(descriptor)
                os.close(descriptor)
        self._written.clear()


def _put(descriptor: int, block: NDArray[np.uint8], offset: int) -> None:
    if not block.any() and _punch(descriptor, offset, block.size):
        return
    view = block.data
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _punch(descriptor: int, offset: int, size_bytes: int) -> bool:
    """Make a hole, also where something was; return whether the file system has any."""
    if _LIBC.fallocate64(descriptor, _PUNCH_HOLE_KEEP_SIZE, offset, size_bytes) == 0:
        return True
    errno = ctypes.get_errno()
    if errno in (EOPNOTSUPP, ENOSYS):
        return False
    raise OSError(errno, os.strerror(errno))
