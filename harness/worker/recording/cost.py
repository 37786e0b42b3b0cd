"""What recording costs this machine: the CPU time that a row adds to its call."""

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from harness.worker.record import FileClass
from harness.worker.recording.io import DataCalls, TracedFile, read_at

_BURSTS = 40
_BURST_CALLS = 10
# More than a core keeps near; copied before each burst.
_SWEPT = bytes(4 << 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCost:
    """CPU time that rows take.

    Args:
        row_ns: of a recorded call, beyond the call itself.
        brief_row_ns: likewise, of one of `record.BRIEF`.
        look_ns: of asking for the run-queue delay, which some calls do.
    """

    row_ns: float
    brief_row_ns: float
    look_ns: float


def row_cost() -> RowCost:
    """Measure rows of a file in memory; it takes about a tenth of a second.

    Calls come in bursts, and before each burst data goes through the processor's caches: a file is
    read by a few calls at its beginning and a few at its end, and its data in between.
    """
    most = 2 * _BURSTS * _BURST_CALLS
    calls = DataCalls(rank=0, loader=0, rows=most, marks=most)
    calls.clock.open()
    byte = ctypes.create_string_buffer(1)
    address = ctypes.addressof(byte)
    descriptor = os.memfd_create("feedrate", os.MFD_CLOEXEC)
    file = TracedFile(id=0, path="", size_bytes=1, file_class=FileClass.OTHER, role="sidecar")
    try:
        os.write(descriptor, b"x")
        return RowCost(
            row_ns=_added_ns(
                partial(calls.pread, descriptor, file, offset=0, address=address, size_bytes=1),
                partial(read_at, descriptor, address, 1, 0),
            ),
            brief_row_ns=_added_ns(
                partial(calls.tell, descriptor, file),
                partial(os.lseek, descriptor, 0, os.SEEK_CUR),
            ),
            look_ns=median(_burst_ns(calls.clock.runqueue_ns) for _ in range(_BURSTS)),
        )
    finally:
        os.close(descriptor)
        calls.clock.close()


def _added_ns(recorded: Callable[[], object], bare: Callable[[], object]) -> float:
    """Return what recording adds to a call, in the median pair of bursts."""
    added_ns = [_burst_ns(recorded) - _burst_ns(bare) for _ in range(_BURSTS)]
    return max(0.0, median(added_ns))


def _burst_ns(call: Callable[[], object]) -> float:
    """Return the CPU that a call takes in a burst of them."""
    swept = bytearray(_SWEPT)
    del swept
    before_ns = time.thread_time_ns()
    for _ in range(_BURST_CALLS):
        call()
    return (time.thread_time_ns() - before_ns) / _BURST_CALLS
