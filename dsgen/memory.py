"""How a process that fills buffers again and again treats its memory."""

import contextlib
import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**28
_LARGEST_BYTES = 2**25  # the most that glibc takes


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
