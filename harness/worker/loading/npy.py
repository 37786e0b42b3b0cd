"""Read .npy files with the very calls of np.load: what numpy, Python and the C library do.

Python's buffered reader takes a block for the header; numpy then hands a second descriptor to
the C library's stream, which takes the header once more up to the array, then a block, then all
that fills whole blocks straight into the array in one call, then the rest. So a file costs its
size, its header once more and one of Python's blocks. Python's block is st_blksize, the
stream's at most BUFSIZ.

Source: strace of np.load with numpy 2.4, Python 3.11, glibc 2.36 and later, on file systems with
st_blksize of 1 KiB, 4 KiB and 2 MiB.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.memory import Bytes, fresh
from harness.worker.recording.io import DataCalls, TracedFile

# Open, read and close make this many calls; more only where the kernel returns less than it has.
CALLS_PER_FILE = 20

_BUFSIZ = 8192  # of the C library
# The header is a Python literal, but ast.literal_eval can raise SystemError where threads call it
# at once (CPython issue 106905, seen here with 3.11). numpy writes the fields in this one form.
_FIELDS = re.compile(
    r"\{'descr': '(?P<descr>[^']*)', 'fortran_order': (?P<order>True|False), "
    r"'shape': \((?P<shape>(?:\d+, ?)*(?:\d+,?)?)\),? ?\}"
)
_MAGIC = b"\x93NUMPY\x01\x00"
_THEN = "`verify` the data set"


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a .npy header says: `size_bytes` is its own length, the array follows."""

    size_bytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def array_bytes(self) -> int:
        """The length of the array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def parse_header(block: bytes, file: TracedFile) -> Header:
    """Return the header at the start of `block`.

    Raises:
        DataSetError: not version 1.0, malformed, cut short, or in Fortran order.
    """
    if block[:8] != _MAGIC or len(block) < 10:
        raise DataSetError("not a .npy file of version 1.0", where=file.path, then=_THEN)
    size_bytes = 10 + struct.unpack_from("<H", block, 8)[0]
    fields = _FIELDS.fullmatch(block[10:size_bytes].decode("latin-1").rstrip())
    if fields is None:
        raise DataSetError("malformed .npy header", where=file.path, then=_THEN)
    shape = tuple(int(length) for length in re.findall(r"\d+", fields["shape"]))
    if fields["order"] != "False" or min(shape, default=1) < 1 or len(block) < size_bytes:
        raise DataSetError("unusable .npy header", where=file.path, then=_THEN)
    return Header(size_bytes=size_bytes, shape=shape, dtype=_dtype(fields["descr"], file))


def _dtype(descr: str, file: TracedFile) -> np.dtype[np.generic]:
    try:
        return np.dtype(descr)
    except (TypeError, ValueError) as error:
        what = f"malformed .npy header (no type {descr!r})"
        raise DataSetError(what, where=file.path, then=_THEN) from error


class NpyReader:
    """np.load for one thread, into memory that may be kept.

    Args:
        calls: records what is done.
        block_bytes: the largest st_blksize to expect; a larger one is met by growing.
    """

    def __init__(self, calls: DataCalls, *, block_bytes: int) -> None:
        self._calls = calls
        self._head = np.zeros(block_bytes, np.uint8)
        self._block = np.zeros(_BUFSIZ, np.uint8)

    def load(self, file: TracedFile, buffer: Bytes | None) -> NDArray[np.generic]:
        """Return the array of `file`, in `buffer` or, without one, in memory of its own.

        Raises:
            DataSetError: unreadable, malformed, or not of the length that the manifest says.
        """
        calls = self._calls
        descriptor = calls.open(file)
        try:
            status = calls.fstat(descriptor, file)
            calls.isatty(descriptor, file)
            _check_size(status.st_size, file)
            calls.tell(descriptor, file)
            head_bytes = self._read_head(descriptor, file, status.st_blksize)
            header = parse_header(self._head[: min(head_bytes, _BUFSIZ)].tobytes(), file)
            if header.size_bytes + header.array_bytes != file.size_bytes:
                what = f"{header.dtype} {header.shape} does not fill {file.size_bytes:,} bytes"
                raise DataSetError(what, where=file.path, then=_THEN)
            target = fresh(header.array_bytes) if buffer is None else buffer
            self._load_array(descriptor, file, header, target, min(status.st_blksize, _BUFSIZ))
            calls.seek(descriptor, file, head_bytes)
            if file.size_bytes > head_bytes:
                calls.seek(descriptor, file, file.size_bytes)
        finally:
            calls.close(descriptor, file)
        return target[: header.array_bytes].view(header.dtype).reshape(header.shape)

    def _read_head(self, descriptor: int, file: TracedFile, block_bytes: int) -> int:
        if block_bytes > len(self._head):
            self._head = np.zeros(block_bytes, np.uint8)
        address = self._head.ctypes.data
        return self._calls.read(descriptor, file, offset=0, address=address, size_bytes=block_bytes)

    def _load_array(
        self, descriptor: int, file: TracedFile, header: Header, target: Bytes, block_bytes: int
    ) -> None:
        calls = self._calls
        stream = calls.duplicate(descriptor, file)
        try:
            calls.flags(stream, file)
            calls.tell(stream, file)
            calls.tell(descriptor, file)
            calls.fstat(stream, file)
            calls.seek(stream, file, 0)
            self._read_block(stream, file, 0, header.size_bytes)
            calls.seek(stream, file, 0)
            got_bytes = self._read_block(stream, file, 0, block_bytes)
            array = target[: header.array_bytes]
            kept = self._block[header.size_bytes : got_bytes][: len(array)]
            array[: len(kept)] = kept
            self._fill(stream, file, array, len(kept), block_bytes)
        finally:
            calls.close(stream, file)

    def _fill(
        self, stream: int, file: TracedFile, array: Bytes, done_bytes: int, block_bytes: int
    ) -> None:
        header_bytes = file.size_bytes - len(array)
        address = array.ctypes.data
        while (missing_bytes := len(array) - done_bytes) > 0:
            offset = header_bytes + done_bytes
            if missing_bytes >= block_bytes:
                got_bytes = self._calls.read(
                    stream,
                    file,
                    offset=offset,
                    address=address + done_bytes,
                    size_bytes=missing_bytes - missing_bytes % block_bytes,
                )
            else:
                got_bytes = self._read_block(stream, file, offset, block_bytes)
                array[done_bytes : done_bytes + got_bytes] = self._block[:got_bytes]
            if got_bytes == 0:
                raise DataSetError("file shrank while it was read", where=file.path, then=_THEN)
            done_bytes += got_bytes

    def _read_block(self, stream: int, file: TracedFile, offset: int, size_bytes: int) -> int:
        address = self._block.ctypes.data
        return self._calls.read(stream, file, offset=offset, address=address, size_bytes=size_bytes)


def _check_size(size_bytes: int, file: TracedFile) -> None:
    if size_bytes != file.size_bytes:
        what = f"{size_bytes:,} bytes where the manifest says {file.size_bytes:,}"
        raise DataSetError(what, where=file.path, then=_THEN)
