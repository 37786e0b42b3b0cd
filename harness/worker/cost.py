"""What recording costs this machine: the CPU time that a row adds to its call."""

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from harness.worker.io import DataCalls, TracedFile, read_at
from harness.worker.record import FileClass

_BURSTS = 24
_BURST_CALLS = 10
# More than a core keeps near.
_SWEPT_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingCost:
    """CPU time that recording takes.

    Args:
        row_ns: of a recorded call, beyond the call itself.
        look_ns: of asking for the run-queue delay, which some calls do.
    """

    row_ns: float
    look_ns: float


def recording_cost() -> RecordingCost:
    """Measure it on a file in memory; it takes about a tenth of a second.

    Calls come in bursts, and before each burst data goes through the processor's caches: a file is
    read by a few calls at its beginning and a few at its end, and its data in between.
    """
    calls = DataCalls(rank=0, loader=0, rows=_BURSTS * _BURST_CALLS, marks=_BURSTS * _BURST_CALLS)
    calls.clock.open()
    byte = ctypes.create_string_buffer(1)
    address = ctypes.addressof(byte)
    descriptor = os.memfd_create("feedrate", os.MFD_CLOEXEC)
    file = TracedFile(id=0, path="", size_bytes=1, file_class=FileClass.OTHER, role="sidecar")
    try:
        os.write(descriptor, b"x")
        recorded = partial(calls.pread, descriptor, file, offset=0, address=address, size_bytes=1)
        bare = partial(read_at, descriptor, address, 1, 0)
        return RecordingCost(
            row_ns=max(0.0, _cpu_ns(recorded) - _cpu_ns(bare)),
            look_ns=_cpu_ns(calls.clock.runqueue_ns),
        )
    finally:
        os.close(descriptor)
        calls.clock.close()


def _cpu_ns(call: Callable[[], object]) -> float:
    """Return what a call takes in the median burst."""
    data, swept = bytes(_SWEPT_BYTES), bytearray(_SWEPT_BYTES)
    taken = []
    for _ in range(_BURSTS):
        swept[:] = data
        before_ns = time.thread_time_ns()
        for _ in range(_BURST_CALLS):
            call()
        taken.append((time.thread_time_ns() - before_ns) / _BURST_CALLS)
    return median(taken)
