"""Which pages of the data set are in this host's memory, and getting them out or in.

Eviction works for any reader on any mount, but leaves pages that are dirty or mapped. Questions
about residency are answered truthfully only by a read that may not wait (RWF_NOWAIT): mincore and
its kin tell everybody but the owner that all pages are there.
"""

import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence

from dsgen.errors import DataSetError
from harness.worker.host.counters import IoCounters

_PROBE_EVERY_BYTES = 64 << 20
_WARM_BLOCK_BYTES = 1 << 20
# A page that the kernel holds for a moment, to move or to write it, is gone a moment later.
_EXPEL_TRIES = 5
_EXPEL_PAUSE_S = 0.05
# Of the probed pages; with few files a single one would be more.
LEFT_SHARE = 0.02
_REFUSED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def evict(paths: Iterable[str]) -> None:
    """Ask the kernel to forget the pages of these files."""
    for path in paths:
        descriptor = _open(path)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def expel(paths: Sequence[str]) -> float | None:
    """Evict until nothing is left, whoever brought the pages in, and return what is left.

    A limit counts only pages that were read under it, so that one which somebody else had read
    before would answer beyond it. Pages that were written and not yet stored are stored first.

    Returns:
        The share of probed pages that stays in memory, 0 to 1; None where it cannot be asked.
    """
    evict(paths)
    left = resident_fraction(paths)
    for _ in range(_EXPEL_TRIES):
        if not left:
            break
        time.sleep(_EXPEL_PAUSE_S)
        _store(paths)
        evict(paths)
        left = resident_fraction(paths)
    evict(paths)  # what was probed is in memory again
    return left


def _store(paths: Iterable[str]) -> None:
    for path in paths:
        descriptor = _open(path)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def warm(paths: Iterable[str]) -> None:
    """Read these files to their end, so that memory holds what it can of them."""
    block = bytearray(_WARM_BLOCK_BYTES)
    for path in paths:
        descriptor = _open(path)
        try:
            while os.readv(descriptor, [block]):
                pass
        finally:
            os.close(descriptor)


def resident_fraction(paths: Iterable[str]) -> float | None:
    """Return the share of probed pages in memory, one page in 64 MiB and at least one a file.

    A probe loads the page that it missed: asked again it would lie, so each page is asked for
    once. One page in the middle of nowhere starts no read-ahead; the first of a file would.
    """
    found = probed = 0
    counters = IoCounters()
    try:
        for path in paths:
            for resident in _probe(path, counters):
                if resident is None:
                    return None
                found += resident
                probed += 1
    finally:
        counters.close()
    return found / probed if probed else None


def _probe(path: str, counters: IoCounters) -> Iterator[bool | None]:
    page = bytearray(os.sysconf("SC_PAGESIZE"))
    descriptor = _open(path)
    try:
        size_bytes = os.fstat(descriptor).st_size
        for start in range(0, size_bytes, _PROBE_EVERY_BYTES):
            middle = start + min(_PROBE_EVERY_BYTES, size_bytes - start) // 2
            yield _resident(descriptor, page, middle, counters)
    finally:
        os.close(descriptor)


def _resident(descriptor: int, page: bytearray, offset: int, counters: IoCounters) -> bool | None:
    before = counters.snapshot().read_bytes
    try:
        os.preadv(descriptor, [page], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _REFUSED:
            return None
        raise
    # A call that may not wait starts the read all the same; where the device is fast, or another
    # process gets the core meanwhile, it finds the page there.
    return counters.snapshot().read_bytes == before


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        then = "`verify` the data set"
        raise DataSetError(f"cannot open ({error.strerror})", where=path, then=then) from error
