"""Memory for buffers that are filled again and again: in huge pages, and kept once it is freed."""

import contextlib
import ctypes
import mmap

import numpy as np
from numpy.typing import NDArray

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**28
_LARGEST_BYTES = 2**25  # the most that glibc takes

_HUGE_BYTES = 2 << 20

Bytes = NDArray[np.uint8]


def touched(size_bytes: int) -> Bytes:
    """Return `size_bytes` of memory in huge pages where there are any, each page touched.

    A read into a buffer as large as a volume pays for every page it crosses; huge pages take
    most of that cost away while the read stays the single call it is in the reference.
    """
    memory = fresh(size_bytes)
    memory[:: mmap.PAGESIZE] = 0
    return memory


def held_bytes(size_bytes: int) -> int:
    """Return the memory that a buffer takes: whole huge pages, if it is as large as one."""
    return size_bytes if size_bytes < _HUGE_BYTES else -(-size_bytes // _HUGE_BYTES) * _HUGE_BYTES


def fresh(size_bytes: int) -> Bytes:
    """Return `size_bytes` of memory that nobody has touched, to be given back when it is let go.

    As numpy's own arrays of this size it is a mapping of its own that asks for huge pages. It
    begins with one and ends with one, where numpy's has up to 511 small pages at either end.
    """
    mapped_bytes = held_bytes(size_bytes) + _HUGE_BYTES
    memory = mmap.mmap(-1, mapped_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them: small pages do too
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % _HUGE_BYTES
    return whole[start : start + size_bytes]


def keep_freed_memory() -> None:
    """Let freed memory stay with this process, to be used again.

    By default arrays above 128 KiB go back to the kernel at once, and each new one is paid for page
    by page: on virtual machines about 1 CPU second a GB, half of what generation takes.
    """
    # Other C libraries have no mallopt; there it is slower, and nothing else.
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
