"""The calls of a reader, recorded without making them: sizes, positions and bytes are as planned.

The readers of harness.worker make all their calls through DataCalls. Here each call gets the answer
that the kernel would give, and leaves the row that it would leave, but for times: a row's are its
number among those of the rank.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EINVAL, ENOTTY
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.plan.content import Content
from harness.worker.record import PACKED_ROW, ROW, Op
from harness.worker.recording.io import DataCalls, TracedFile

# Of read(2) and write(2): a call takes no more.
_MOST_CALL_BYTES: Final = 0x7FFFF000
# What F_GETFL tells of a file that was opened to be read, of 64-bit programs.
_FLAGS: Final = 0x8000
_FIRST_DESCRIPTOR: Final = 3


@dataclass(slots=True)
class _OpenFile:
    """What descriptors of one open share."""

    file: TracedFile
    position: int = 0


class PlannedCalls(DataCalls):
    """The calls of one thread of a rank; their rows are kept as they come.

    Args:
        rank: for the rows.
        loader: 0 for the main thread, 1.. for loader workers.
        content: what reads find.
        block_bytes: st_blksize of every file.
        ticks: numbers the rank's rows.
    """

    def __init__(
        self, *, rank: int, loader: int, content: Content, block_bytes: int, ticks: Iterator[int]
    ) -> None:
        super().__init__(rank=rank, loader=loader, rows=0, marks=0)
        self._planned: list[bytes] = []
        self._content = content
        self._block_bytes = block_bytes
        self._ticks = ticks
        self._open: dict[int, _OpenFile] = {}
        self._answers: dict[Op, Callable[..., Any]] = {
            Op.OPEN: self._answer_open,
            Op.STAT: self._answer_stat,
            Op.FSTAT: self._answer_stat,
            Op.IOCTL: self._answer_ioctl,
            Op.DUP: self._answer_dup,
            Op.FCNTL: lambda *_: _FLAGS,
            Op.LSEEK: self._answer_lseek,
            Op.READ: self._answer_read,
            Op.PREAD: self._answer_pread,
            Op.WRITE: lambda _, __, data: min(len(data), _MOST_CALL_BYTES),
            Op.FSYNC: lambda *_: None,
            Op.CLOSE: self._answer_close,
        }

    def rows(self, start: int = 0) -> NDArray[np.void]:
        """Return the rows from number `start` on, as a copy."""
        return np.frombuffer(b"".join(self._planned[start:]), ROW)

    def forget_rows(self) -> None:
        """Begin again without rows."""
        self._planned.clear()
        self.row_count = 0

    def _attempt(
        self,
        op: Op,
        file: TracedFile,
        offset: int,
        requested: int,
        _function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        result = self._answers[op](file, *arguments)
        failed = isinstance(result, OSError)
        returned = -1 if failed else result if type(result) is int else 0
        tick = next(self._ticks)
        self._planned.append(
            PACKED_ROW.pack(
                tick,
                tick,
                0,
                offset,
                requested,
                returned,
                file.id,
                self.epoch,
                self.step,
                self._rank,
                self._loader,
                op,
                file.file_class,
                self.phase,
                result.errno if failed else 0,
            )
        )
        self.row_count += 1
        return result

    def _brief(
        self,
        op: Op,
        file: TracedFile,
        offset: int,
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        return self._attempt(op, file, offset, -1, function, *arguments)

    def _answer_open(self, file: TracedFile, *_: Any) -> int:
        return self._new_descriptor(_OpenFile(file))

    def _new_descriptor(self, opened: _OpenFile) -> int:
        descriptor = _FIRST_DESCRIPTOR
        while descriptor in self._open:
            descriptor += 1
        self._open[descriptor] = opened
        return descriptor

    def _answer_stat(self, file: TracedFile, *_: Any) -> os.stat_result:
        mode = (0o100644, 0, 0, 1, 0, 0, file.size_bytes, 0, 0, 0)
        return os.stat_result(mode, {"st_blksize": self._block_bytes})

    def _answer_ioctl(self, *_: Any) -> OSError:
        return OSError(ENOTTY, "not a terminal")

    def _answer_dup(self, _: TracedFile, descriptor: int, *__: Any) -> int:
        return self._new_descriptor(self._open[descriptor])

    def _answer_lseek(
        self, file: TracedFile, descriptor: int, offset: int, whence: int
    ) -> int | OSError:
        opened = self._open[descriptor]
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: opened.position, os.SEEK_END: file.size_bytes}
        if origin[whence] + offset < 0:
            return OSError(EINVAL, "no such position")
        opened.position = origin[whence] + offset
        return opened.position

    def _answer_read(self, file: TracedFile, descriptor: int, address: int, size: int) -> int:
        opened = self._open[descriptor]
        got_bytes = self._fill(file, opened.position, address, size)
        opened.position += got_bytes
        return got_bytes

    def _answer_pread(self, file: TracedFile, _: int, address: int, size: int, offset: int) -> int:
        return self._fill(file, offset, address, size)

    def _fill(self, file: TracedFile, offset: int, address: int, size: int) -> int:
        got_bytes = max(0, min(size, _MOST_CALL_BYTES, file.size_bytes - offset))
        if got_bytes:
            memory = (ctypes.c_ubyte * got_bytes).from_address(address)
            self._content.fill(file, offset, memoryview(memory).cast("B"))
        return got_bytes

    def _answer_close(self, file: TracedFile, descriptor: int) -> None:
        del self._open[descriptor]
        if not any(opened.file is file for opened in self._open.values()):
            self._content.forget(file)
