"""Files for Python's own readers, whose calls are made and recorded here.

In which pieces a file is read is decided by Python's buffered reader, its text reader, zipfile and
numpy; they are used as they are. Beneath them lies this in the place of io.FileIO: it makes the
calls that FileIO makes, with a row for each.

Source: strace of open, read, seek, np.load and lines of text with Python 3.11, numpy 2.4; CPython,
Modules/_io/fileio.c.
"""

import ctypes
import io
import os

from dsgen.errors import DataSetError
from harness.worker.recording.io import DataCalls, TracedFile

# Calls of opening and closing a file.
CALLS_PER_OPEN = 5


class RecordedFile(io.RawIOBase):
    """An open file; made by `open_recorded`."""

    def __init__(self, calls: DataCalls, file: TracedFile) -> None:
        super().__init__()
        self._calls = calls
        self._file = file
        self._position = 0
        self._descriptor = -1
        self._descriptor = calls.open(file)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def fstat(self) -> os.stat_result:
        """Return what fstat says."""
        return self._calls.fstat(self._descriptor, self._file)

    def isatty(self) -> bool:
        """Ask whether it is a terminal, and say no: a data set is none."""
        self._calls.isatty(self._descriptor, self._file)
        return False

    # The base class's type for the buffer is not importable before Python 3.12.
    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill `buffer`, not empty, by one read; return the bytes that came."""
        got_bytes = self._calls.read(
            self._descriptor,
            self._file,
            offset=self._position,
            address=ctypes.addressof(ctypes.c_char.from_buffer(buffer)),
            size_bytes=len(buffer),
        )
        self._position += got_bytes
        return got_bytes

    def readall(self) -> bytes:
        """Read to the end: what is left and one byte more is asked for, until nothing comes."""
        position = self.tell()
        left_bytes = self.fstat().st_size - position
        content = memoryview(bytearray(max(0, left_bytes) + 1))
        filled = 0
        while filled < len(content) and (got_bytes := self.readinto(content[filled:])):
            filled += got_bytes
        return bytes(content[:filled])

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, and return the position."""
        self._position = self._calls.move(self._descriptor, self._file, offset, whence)
        return self._position

    def tell(self) -> int:
        """Ask for the position, by a seek of no distance."""
        return self.seek(0, os.SEEK_CUR)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._calls.close(descriptor, self._file)
        super().close()


def open_recorded(calls: DataCalls, file: TracedFile) -> io.BufferedReader:
    """Open a file as `open(path, "rb")` does.

    Raises:
        DataSetError: unreadable, or not of the size that is known of it.
    """
    raw = RecordedFile(calls, file)
    status = raw.fstat()
    raw.isatty()
    if status.st_size != file.size_bytes:
        raw.close()
        what = f"{status.st_size:,} bytes where {file.size_bytes:,} were to be"
        raise DataSetError(what, where=file.path, then="`verify` the data set")
    return io.BufferedReader(raw, status.st_blksize)
