"""Let the kernel begin to write what it has of a file, without waiting for it.

Source: sync_file_range(2), which Python lacks.
"""

import ctypes
from typing import Final

_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE of linux/fs.h
# C libraries that lack it only make what follows slower.
_CALL: Final = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _CALL is not None:
    _CALL.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def start_writeback(descriptor: int) -> None:
    """Start it for the whole of an open file; a flush has to follow, and tells of errors.

    Files of which each was started find most of their bytes, and of what the file system writes
    beside them, on the device when they are flushed one after the other.
    """
    if _CALL is not None:
        _CALL(descriptor, 0, 0, _WRITE)
