"""Files that share the device's blocks with others, and what the file system says of that.

Source: ioctl_ficlonerange(2), and linux/fiemap.h.
"""

import fcntl
import os
import struct
from collections.abc import Iterable
from errno import ENOTTY, EOPNOTSUPP, EXDEV
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from dsgen.errors import UsageError, unwritten
from dsgen.journal import Written
from dsgen.layout import Layout, PlannedFile, Segment
from dsgen.manifest import Allocation
from dsgen.sink import SegmentSink, measure
from dsgen.source import Source, unchanged
from dsgen.workloads import Blocks, dlrm_cut

_FICLONERANGE: Final = 0x4020940D
_CLONE_RANGE: Final = struct.Struct("=qQQQ")

_FIEMAP: Final = 0xC020660B
_FIEMAP_HEAD: Final = struct.Struct("=QQIIII")
_FIEMAP_EXTENT: Final = struct.Struct("=QQQQQIIII")
_EXTENTS: Final = 256
_FLAG_SYNC, _LAST, _UNWRITTEN, _SHARED = 0x1, 0x1, 0x800, 0x2000

_THEN: Final = "use --mode copy"


class CloneSink:
    """Lets segments share the blocks of their source; what is no whole copy is written."""

    def __init__(self, root: Path, layout: Layout, source: Source) -> None:
        self._root, self._layout, self._source = root, layout, source
        self._writes = SegmentSink()

    def write(self, path: Path, file: int, segment: Segment, blocks: Blocks) -> Written:
        """Share one segment, and measure the source's bytes on the way.

        Raises:
            PathError: no space, no right, or an error of the device.
            DataSetError: the source cannot be read, or has changed.
        """
        planned = self._layout.files[file]
        # The end of a file that was cut is rarely the end of a block.
        if not is_shared(planned) or not _reaches_end(planned, segment, self._source):
            return self._writes.write(path, file, segment, blocks)
        written = measure(file, segment, blocks)
        # What was measured and what is shared are the same: checked after both.
        with unchanged(self._root, self._source.files[planned.key]) as of:
            try:
                _share(of, path, segment)
            except OSError as error:
                raise unwritten(error, path) from error
        return written

    def flush(self) -> None:
        """Put what was written on the device; what is shared is there already.

        Raises:
            PathError: no space, or an error of the device.
        """
        self._writes.flush()


def is_shared(file: PlannedFile) -> bool:
    """Say whether a file of a clone shares blocks with its source."""
    return file.role != "sidecar" and not dlrm_cut.is_made(file)


def check_within(source: Source, lengths: Iterable[tuple[int, int]]) -> None:
    """Refuse files that are longer than what they would share blocks with.

    Raises:
        UsageError: one is; `lengths` has the numbers of their sources, and theirs.
    """
    for number, size_bytes in lengths:
        if size_bytes > source.files[number].bytes:
            what = f"{source.workload} {source.format} beyond its own length shares no blocks"
            raise UsageError(what, where=source.files[number].path, then=_THEN)


def check_cloneable(root: Path, source: Source, output: Path) -> None:
    """Refuse a file system that has no blocks to share, or two of them.

    Raises:
        UsageError: it is so.
    """
    existing = next(one for one in (output.absolute(), *output.absolute().parents) if one.exists())
    of = root / source.files[0].path
    if of.stat().st_dev != existing.stat().st_dev:
        what = "another file system than the input's"
        raise UsageError(what, where=str(output), then=f"{_THEN}, or an output beside the input")
    try:
        with of.open("rb") as stream, NamedTemporaryFile(dir=existing) as probe:
            _ficlonerange(stream.fileno(), probe.fileno(), 0, 0)
    except OSError as error:
        if error.errno == EXDEV:  # the same file system twice, as a container sees it
            what = "this kernel shares no blocks across mounts (Linux 5.18 and later do)"
            then = f"run without a container, or {_THEN}"
            raise UsageError(what, where=str(existing), then=then) from error
        if error.errno not in (EOPNOTSUPP, ENOTTY):
            raise unwritten(error, existing) from error
        what = "this file system cannot share blocks"
        raise UsageError(what, where=str(existing), then=_THEN) from error


def allocation_of(paths: Iterable[Path]) -> Allocation:
    """Return how many bytes of files are in no block, and in blocks that others have as well."""
    holes = shared = 0
    for path in paths:
        try:
            extents = _extents(path)
        except OSError:
            return Allocation(holes_bytes=None, shared_bytes=None)
        size_bytes = path.stat().st_size
        there = sum(min(length, size_bytes - start) for start, length, _ in extents)
        holes += max(0, size_bytes - there)
        shared += sum(
            min(length, size_bytes - start) for start, length, flags in extents if flags & _SHARED
        )
    return Allocation(holes_bytes=holes, shared_bytes=shared)


def _reaches_end(file: PlannedFile, segment: Segment, source: Source) -> bool:
    """Say whether a segment ends at a whole block, or where its source does."""
    is_last = segment.offset_bytes + segment.bytes == file.bytes
    return not is_last or file.bytes == source.files[file.key].bytes


def _share(of: int, path: Path, segment: Segment) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    to = os.open(path, flags, 0o644)
    try:
        _ficlonerange(of, to, segment.offset_bytes, segment.bytes)
        os.fsync(to)
    finally:
        os.close(to)


def _ficlonerange(source: int, destination: int, offset_bytes: int, size_bytes: int) -> None:
    request = _CLONE_RANGE.pack(source, offset_bytes, size_bytes, offset_bytes)
    fcntl.ioctl(destination, _FICLONERANGE, request)


def _extents(path: Path) -> list[tuple[int, int, int]]:
    """Return (first byte, bytes, flags) of every extent that holds data."""
    found: list[tuple[int, int, int]] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        at = 0
        while True:
            head = _FIEMAP_HEAD.pack(at, 2**64 - 1 - at, _FLAG_SYNC, 0, _EXTENTS, 0)
            answer = bytearray(head + bytes(_EXTENTS * _FIEMAP_EXTENT.size))
            fcntl.ioctl(descriptor, _FIEMAP, answer)
            count = _FIEMAP_HEAD.unpack_from(answer)[3]
            for number in range(count):
                place = _FIEMAP_HEAD.size + number * _FIEMAP_EXTENT.size
                start, _, length, _, _, flags, *_ = _FIEMAP_EXTENT.unpack_from(answer, place)
                if not flags & _UNWRITTEN:
                    found.append((start, length, flags))
                if flags & _LAST:
                    return found
                at = start + length
            if not count:
                return found
    finally:
        os.close(descriptor)
