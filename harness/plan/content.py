"""What planned reads find: the bytes that a data set has, or would have.

A reader follows what it reads: the header of an array, the lengths of records, the directory of an
archive. Bytes that no reader follows, the voxels of a volume, stay whatever the memory holds.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from dsgen.content import Drawn
from dsgen.errors import DataSetError
from dsgen.layout import Layout, PlannedFile
from dsgen.segments import Task, blocks_of
from dsgen.workloads import Blocks
from dsgen.workloads.bert_records import framed_blocks
from harness.worker.record import FileClass
from harness.worker.recording.io import TracedFile

# What np.load looks at of an array: Python's block and the C library's, both at the start.
_HEAD_BYTES: Final = 1 << 20
_ARRAYS: Final = frozenset({FileClass.X, FileClass.Y})
# Read from the first byte to the last, never back.
_SEQUENTIAL: Final = frozenset({FileClass.RECORD, FileClass.LINE})


class Content(Protocol):
    """Fills the memory of reads."""

    def fill(self, file: TracedFile, offset: int, memory: memoryview, /) -> None:
        """Put what `file` has from `offset` on into `memory`, which is not longer than that."""

    def forget(self, file: TracedFile, /) -> None:
        """Let go of what is kept of a file: it was closed."""


class OnDisk:
    """The bytes of a data set that is there, as far as a reader follows them."""

    def fill(self, file: TracedFile, offset: int, memory: memoryview, /) -> None:
        """Read them.

        Raises:
            DataSetError: the file cannot be read, or is shorter than it was.
        """
        if _is_unfollowed(file, offset, memory):
            return
        then = "check the storage, then `verify` the data set"
        try:
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                got_bytes = os.preadv(descriptor, [memory], offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            what = f"cannot read ({error.strerror})"
            raise DataSetError(what, where=file.path, then=then) from error
        if got_bytes != len(memory):
            raise DataSetError("shorter than it was", where=file.path, then=then)

    def forget(self, file: TracedFile, /) -> None:
        """Keep nothing."""


class InLayout:
    """The bytes that a layout's files would have, drawn when they are asked for.

    Args:
        layout: of a data set that is generated.
        directory: where it would be; the paths of files begin with it.
    """

    def __init__(self, layout: Layout, directory: Path) -> None:
        self._layout = layout
        self._files = {str(directory / file.path): file for file in layout.files}
        for link in layout.links:
            self._files[str(directory / link.path)] = self._files[str(directory / link.target)]
        self._kept: dict[str, _Tape] = {}

    def fill(self, file: TracedFile, offset: int, memory: memoryview, /) -> None:
        """Draw them; rows are all zeros, which are valid ones."""
        if _is_unfollowed(file, offset, memory):
            return
        if file.file_class is FileClass.ROW:
            memory[:] = bytes(len(memory))
            return
        tape = self._kept.get(file.path)
        if tape is None or offset < tape.first:
            tape = _Tape(self._layout, self._files[file.path])
            self._kept[file.path] = tape
        if file.file_class in _SEQUENTIAL:
            tape.skip_to(offset)
        tape.read_into(memory, offset)

    def forget(self, file: TracedFile, /) -> None:
        """Let go of what was drawn of it."""
        self._kept.pop(file.path, None)


class _Tape:
    """A file's bytes from `first` on, as far as they were drawn."""

    def __init__(self, layout: Layout, file: PlannedFile) -> None:
        self.first = 0
        self._layout = layout
        self._file = file
        self._bytes = bytearray()
        self._blocks: Iterator[memoryview] = _blocks(layout, file, 0)

    def skip_to(self, offset: int) -> None:
        """Let go of what lies before `offset`; whole segments before it need not be drawn."""
        segment = bisect_right(self._file.starts, offset) - 1
        if self._file.starts[segment] > self.first + len(self._bytes):
            self.first, self._bytes = self._file.starts[segment], bytearray()
            self._blocks = _blocks(self._layout, self._file, segment)
        passed = min(offset - self.first, len(self._bytes))
        del self._bytes[:passed]
        self.first += passed

    def read_into(self, memory: memoryview, offset: int) -> None:
        """Copy what begins at `offset`, not before `first`."""
        start = offset - self.first
        while len(self._bytes) < start + len(memory):
            self._bytes += next(self._blocks)
        memory[:] = self._bytes[start : start + len(memory)]


def _blocks(layout: Layout, file: PlannedFile, segment: int) -> Iterator[memoryview]:
    """Yield the bytes of a file from a segment on; of records their lengths and CRCs are enough."""
    content = Drawn()
    parameters = layout.parameters
    known: dict[Task, int | None] = {}
    of_records = parameters.workload == "bert" and parameters.entropy == "natural"
    for number in range(segment, file.segment_count):
        blocks: Blocks
        if of_records:
            blocks = framed_blocks(file, file.segment(number), parameters.seed)
        else:
            blocks = blocks_of(content, layout, file, number, known)
        for block in blocks:
            yield block.data


def _is_unfollowed(file: TracedFile, offset: int, memory: memoryview) -> bool:
    return file.file_class in _ARRAYS and offset + len(memory) > _HEAD_BYTES and offset > 0
