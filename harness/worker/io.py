"""Every call on data, made and recorded here: one row for each.

`read` and `pread` go to the C library: Python has neither into memory that is already there.
"""

import ctypes
import fcntl
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOTTY
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError, FeedrateError, PathError
from harness.worker.clock import ThreadClock
from harness.worker.record import ROW, FileClass, Op, Phase

Role = Literal["train", "eval", "sidecar", "checkpoint"]

_ROW = struct.Struct("<qqqqqqIIIHHBBBB")
# Per call what a row has no room for: the thread's CPU clock at both ends, and the run-queue
# delay between them.
MARK = np.dtype([(f"{name}_ns", "<i8") for name in ("t0", "t1", "cpu0", "cpu1", "queue")])
_MARK = struct.Struct("<qqqqq")
# Calls that may block; the others cannot lose a core to anything but the end of a time slice.
_BLOCKING = frozenset({Op.OPEN, Op.READ, Op.PREAD, Op.WRITE, Op.FSYNC})

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_LIBC.read.restype = ctypes.c_ssize_t
_LIBC.pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
_LIBC.pread.restype = ctypes.c_ssize_t


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedFile:
    """A file of the trace: `id` is what rows carry, `path` is absolute."""

    id: int
    path: str
    size_bytes: int
    file_class: FileClass
    role: Role


@dataclass(slots=True)
class Totals:
    """Running sums over a thread's calls; differences of two looks belong to what lay between."""

    wall_ns: int = 0
    cpu_ns: int = 0
    runqueue_ns: int = 0
    read_bytes: int = 0


class DataCalls:
    """The calls of one thread and the rows they leave, in memory that is there from the start.

    Args:
        rows: capacity; one more call than that is an error.
        marks: capacity; begins again with `forget_marks`.
        loader: 0 for the main thread, 1.. for loader workers.

    Set `phase`, `epoch` and `step` before the calls they describe. `delay`, for tests of this tool,
    is called in every read with the bytes that came, and makes it take longer.
    """

    def __init__(self, *, rank: int, loader: int, rows: int, marks: int) -> None:
        self.clock = ThreadClock()
        self.totals = Totals()
        self.phase = Phase.TRAIN
        self.delay: Callable[[int], None] | None = None
        self.epoch = 0
        self.step = 0
        self.row_count = 0
        self.mark_count = 0
        self._rank = rank
        self._loader = loader
        # A product, unlike bytearray(n), writes every page now.
        self._rows = bytearray(b"\0") * (rows * _ROW.size)
        self._marks = bytearray(b"\0") * (marks * _MARK.size)
        self._queue_ns = 0

    def rows(self, start: int = 0) -> NDArray[np.void]:
        """Return the rows from number `start` on, as a view."""
        return np.frombuffer(self._rows, ROW)[start : self.row_count]

    def marks(self) -> NDArray[np.void]:
        """Return the marks since the last `forget_marks`, as a view."""
        return np.frombuffer(self._marks, MARK)[: self.mark_count]

    def forget_marks(self) -> None:
        """Use the memory of the marks again."""
        self.mark_count = 0

    def mark(self) -> int:
        """Leave a mark without a call: an end of what this thread did meanwhile."""
        now_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        self._leave_mark(now_ns, now_ns, cpu_ns, cpu_ns, self._queue_ns)
        return now_ns

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
        self._attempt(Op.IOCTL, file, -1, -1, _terminal, descriptor)

    def duplicate(self, descriptor: int, file: TracedFile) -> int:
        """Return a second descriptor of the same open file."""
        arguments = (descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
        return int(self._call(Op.DUP, file, -1, -1, fcntl.fcntl, *arguments))

    def flags(self, descriptor: int, file: TracedFile) -> None:
        """Ask for the flags of the open file, as fdopen(3) does."""
        self._call(Op.FCNTL, file, -1, -1, fcntl.fcntl, descriptor, fcntl.F_GETFL)

    def tell(self, descriptor: int, file: TracedFile) -> None:
        """Ask for the position, by a seek of no distance."""
        self._call(Op.LSEEK, file, -1, -1, os.lseek, descriptor, 0, os.SEEK_CUR)

    def seek(self, descriptor: int, file: TracedFile, offset: int) -> None:
        """Move to `offset` from the start."""
        self._call(Op.LSEEK, file, offset, -1, os.lseek, descriptor, offset, os.SEEK_SET)

    def move(self, descriptor: int, file: TracedFile, offset: int, whence: int) -> int:
        """Move by `offset` as lseek(2) takes it with `whence`, and return the position.

        Raises:
            OSError: there is no such position, which those who look for something may ask for.
        """
        known = offset if whence == os.SEEK_SET else -1
        arguments = (descriptor, offset, whence)
        result = self._attempt(Op.LSEEK, file, known, -1, os.lseek, *arguments)
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
        function = self._function(_pread)
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

    def outside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what reads by calls of its own: no row, but a mark, as of one call that blocks."""
        queue0_ns = self.clock.runqueue_ns()
        t0_ns = time.monotonic_ns()
        cpu0_ns = time.thread_time_ns()
        try:
            return function(*arguments)
        finally:
            cpu1_ns = time.thread_time_ns()
            t1_ns = time.monotonic_ns()
            self._queue_ns = self.clock.runqueue_ns()
            self._leave_mark(t0_ns, t1_ns, cpu0_ns, cpu1_ns, queue0_ns)

    def _function(self, read: Callable[..., int]) -> Callable[..., int]:
        return read if self.delay is None else partial(_delayed, self.delay, read)

    def _call(self, op: Op, file: TracedFile, offset: int, requested: int, *call: Any) -> Any:
        result = self._attempt(op, file, offset, requested, *call)
        while isinstance(result, InterruptedError):
            result = self._attempt(op, file, offset, requested, *call)
        if isinstance(result, OSError):
            raise _expected(result, op, file) from result
        return result

    def _attempt(
        self,
        op: Op,
        file: TracedFile,
        offset: int,
        requested: int,
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        # Returns the failure instead of raising it: some calls are made although they must fail.
        blocking = op in _BLOCKING
        queue0_ns = self.clock.runqueue_ns() if blocking else self._queue_ns
        errno = 0
        # The CPU clock is read inside the wall clock, so that CPU never exceeds wall.
        t0_ns = time.monotonic_ns()
        cpu0_ns = time.thread_time_ns()
        try:
            result = function(*arguments)
            returned = result if type(result) is int else 0
        except OSError as error:
            # With its traceback it would keep this frame, and the buffers of all its callers,
            # until the garbage collector comes by.
            result, returned, errno = error.with_traceback(None), -1, error.errno or 0
        cpu1_ns = time.thread_time_ns()
        t1_ns = time.monotonic_ns()
        self._queue_ns = self.clock.runqueue_ns() if blocking else queue0_ns
        self._leave_row(
            t0_ns, t1_ns, cpu1_ns - cpu0_ns, offset, requested, returned, file, op, errno
        )
        self._leave_mark(t0_ns, t1_ns, cpu0_ns, cpu1_ns, queue0_ns)
        return result

    def _leave_row(
        self,
        t0_ns: int,
        t1_ns: int,
        cpu_ns: int,
        offset: int,
        requested: int,
        returned: int,
        file: TracedFile,
        op: Op,
        errno: int,
    ) -> None:
        _ROW.pack_into(
            self._rows,
            self.row_count * _ROW.size,
            *(t0_ns, t1_ns, cpu_ns, offset, requested, returned),
            *(file.id, self.epoch, self.step, self._rank, self._loader),
            *(op, file.file_class, self.phase, errno),
        )
        self.row_count += 1

    def _leave_mark(
        self, t0_ns: int, t1_ns: int, cpu0_ns: int, cpu1_ns: int, queue0_ns: int
    ) -> None:
        wall_ns, cpu_ns = t1_ns - t0_ns, cpu1_ns - cpu0_ns
        # schedstat is read outside the wall clock: what does not fit in was lost before or after.
        queue_ns = min(self._queue_ns - queue0_ns, wall_ns - cpu_ns)
        offset = self.mark_count * _MARK.size
        _MARK.pack_into(self._marks, offset, t0_ns, t1_ns, cpu0_ns, cpu1_ns, queue_ns)
        self.mark_count += 1
        totals = self.totals
        totals.wall_ns += wall_ns
        totals.cpu_ns += cpu_ns
        totals.runqueue_ns += queue_ns


def _read(descriptor: int, address: int, size_bytes: int) -> int:
    return _checked(_LIBC.read(descriptor, address, size_bytes))


def _pread(descriptor: int, address: int, size_bytes: int, offset: int) -> int:
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
