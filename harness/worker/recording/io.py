"""Every call on data, made and recorded here: one row for each.

`read` and `pread` go to the C library: Python has neither into memory that is already there.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable
from errno import ENOTTY
from functools import partial
from typing import Any

from dsgen.errors import DataSetError, FeedrateError, PathError
from harness.worker.record import Op
from harness.worker.recording.recorder import MARK, Recorder, Role, TracedFile

__all__ = ["MARK", "DataCalls", "Role", "TracedFile", "read_at"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_LIBC.read.restype = ctypes.c_ssize_t
_LIBC.pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
_LIBC.pread.restype = ctypes.c_ssize_t


class DataCalls(Recorder):
    """The calls of one thread; `phase`, `epoch` and `step` are set before those they describe.

    `delay`, for tests of this tool, is called in every read with the bytes that came, and makes it
    take longer.
    """

    delay: Callable[[int], None] | None = None

    def open(self, file: TracedFile, flags: int = os.O_RDONLY) -> int:
        """Open a file, closed on exec, and return the descriptor."""
        flags |= os.O_CLOEXEC
        return int(self._call(Op.OPEN, file, -1, -1, os.open, file.path, flags, 0o644))

    def stat(self, file: TracedFile) -> os.stat_result:
        """Look the file up by its path, as os.path.getsize does."""
        status: os.stat_result = self._call(Op.STAT, file, -1, -1, os.stat, file.path)
        return status

    def fstat(self, descriptor: int, file: TracedFile) -> os.stat_result:
        """Return what fstat says."""
        status: os.stat_result = self._call(Op.FSTAT, file, -1, -1, os.fstat, descriptor)
        return status

    def isatty(self, descriptor: int, file: TracedFile) -> None:
        """Ask whether the file is a terminal, as every buffered open of Python does."""
        self._brief(Op.IOCTL, file, -1, _terminal, descriptor)

    def duplicate(self, descriptor: int, file: TracedFile) -> int:
        """Return a second descriptor of the same open file."""
        arguments = (descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
        return int(self._call_briefly(Op.DUP, file, -1, fcntl.fcntl, *arguments))

    def flags(self, descriptor: int, file: TracedFile) -> None:
        """Ask for the flags of the open file, as fdopen(3) does."""
        self._call_briefly(Op.FCNTL, file, -1, fcntl.fcntl, descriptor, fcntl.F_GETFL)

    def tell(self, descriptor: int, file: TracedFile) -> None:
        """Ask for the position, by a seek of no distance."""
        self._call_briefly(Op.LSEEK, file, -1, os.lseek, descriptor, 0, os.SEEK_CUR)

    def seek(self, descriptor: int, file: TracedFile, offset: int) -> None:
        """Move to `offset` from the start."""
        self._call_briefly(Op.LSEEK, file, offset, os.lseek, descriptor, offset, os.SEEK_SET)

    def move(self, descriptor: int, file: TracedFile, offset: int, whence: int) -> int:
        """Move by `offset` as lseek(2) takes it with `whence`, and return the position.

        Raises:
            OSError: there is no such position, which those who look for something may ask for.
        """
        arguments = (descriptor, offset, whence)
        if whence == os.SEEK_END:
            result = self._attempt(Op.LSEEK, file, -1, -1, os.lseek, *arguments)
        else:
            known = offset if whence == os.SEEK_SET else -1
            result = self._brief(Op.LSEEK, file, known, os.lseek, *arguments)
        if isinstance(result, OSError):
            raise result
        return int(result)

    def read(
        self, descriptor: int, file: TracedFile, *, offset: int, address: int, size_bytes: int
    ) -> int:
        """Read at the position, which the caller knows to be `offset`; return the bytes that came.

        Args:
            descriptor: of the open file.
            file: the file, for the row.
            offset: where the read begins.
            address: of memory that holds `size_bytes` and outlives the call.
            size_bytes: what is asked for.
        """
        arguments = (descriptor, address, size_bytes)
        function = self._function(_read)
        returned = int(self._call(Op.READ, file, offset, size_bytes, function, *arguments))
        self.totals.read_bytes += returned
        return returned

    def pread(
        self, descriptor: int, file: TracedFile, *, offset: int, address: int, size_bytes: int
    ) -> int:
        """Read at `offset`, without a position; arguments and result are those of `read`."""
        arguments = (descriptor, address, size_bytes, offset)
        function = self._function(read_at)
        returned = int(self._call(Op.PREAD, file, offset, size_bytes, function, *arguments))
        self.totals.read_bytes += returned
        return returned

    def write(self, descriptor: int, file: TracedFile, *, offset: int, data: memoryview) -> int:
        """Write at the position, which the caller knows to be `offset`; return the bytes taken."""
        return int(self._call(Op.WRITE, file, offset, len(data), os.write, descriptor, data))

    def fsync(self, descriptor: int, file: TracedFile) -> None:
        """Wait until the file is on its device."""
        self._call(Op.FSYNC, file, -1, -1, os.fsync, descriptor)

    def close(self, descriptor: int, file: TracedFile) -> None:
        """Close a descriptor."""
        self._call(Op.CLOSE, file, -1, -1, os.close, descriptor)

    def _function(self, read: Callable[..., int]) -> Callable[..., int]:
        return read if self.delay is None else partial(_delayed, self.delay, read)

    def _call(self, op: Op, file: TracedFile, offset: int, requested: int, *call: Any) -> Any:
        result = self._attempt(op, file, offset, requested, *call)
        while isinstance(result, InterruptedError):
            result = self._attempt(op, file, offset, requested, *call)
        if isinstance(result, OSError):
            raise _expected(result, op, file) from result
        return result

    def _call_briefly(self, op: Op, file: TracedFile, offset: int, *call: Any) -> Any:
        result = self._brief(op, file, offset, *call)
        if isinstance(result, OSError):
            raise _expected(result, op, file) from result
        return result


def _read(descriptor: int, address: int, size_bytes: int) -> int:
    return _checked(_LIBC.read(descriptor, address, size_bytes))


def read_at(descriptor: int, address: int, size_bytes: int, offset: int) -> int:
    """Read by pread(2) and return the bytes that came; the call that `DataCalls.pread` records."""
    return _checked(_LIBC.pread(descriptor, address, size_bytes, offset))


def _delayed(delay: Callable[[int], None], read: Callable[..., int], *arguments: int) -> int:
    returned = read(*arguments)
    delay(returned)
    return returned


def _checked(returned: int) -> int:
    if returned < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return returned


def _terminal(descriptor: int) -> int:
    if not os.isatty(descriptor):
        raise OSError(ENOTTY, "not a terminal")
    return 0


def _expected(failure: OSError, op: Op, file: TracedFile) -> FeedrateError:
    what = f"cannot {op.name.lower()} ({failure.strerror})"
    if file.role == "checkpoint":
        return PathError(what, where=file.path, then="check its directory's rights and free space")
    then = "check the storage, then `verify` the data set"
    return DataSetError(what, where=file.path, then=then)
