"""Causes of slowness made on purpose: the proof that the figures and the verdict find them."""

import mmap
import time
from functools import partial
from multiprocessing.context import ForkContext
from typing import Any

from harness.worker.recording.io import DataCalls
from harness.worker.spec import Planted
from harness.worker.workload import Batch, BatchReader


class Throttle:
    """A storage of limited bandwidth that all ranks share: reads end when their bytes are due.

    Args:
        context: of the ranks' processes.
        bytes_per_s: what all reads together come to at most.
    """

    def __init__(self, context: ForkContext, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = context.Lock()
        self._free_ns = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def wait(self, size_bytes: int) -> None:
        """Sleep until these bytes would have come, after those that were asked for before."""
        cost_ns = size_bytes * 1_000_000_000 // self._bytes_per_s
        now_ns = time.monotonic_ns()
        with self._lock:
            due_ns = max(self._free_ns[0], now_ns) + cost_ns
            self._free_ns[0] = due_ns
        time.sleep(max(0, due_ns - now_ns) / 1e9)


class BurningReader:
    """A reader that burns CPU time after each sample, as a costly decoder does."""

    def __init__(self, reader: BatchReader, burn_s: float) -> None:
        self._reader = reader
        self._burn_ns = round(burn_s * 1e9)

    def read(self, batch: Batch, slot: int) -> None:
        """Read a batch, then burn."""
        self._reader.read(batch, slot)
        end_ns = time.thread_time_ns() + self._burn_ns * len(batch.samples)
        while time.thread_time_ns() < end_ns:
            pass

    def batch(self, slot: int) -> Any:
        """Return what was read."""
        return self._reader.batch(slot)

    def end(self) -> None:
        """End a phase."""
        self._reader.end()


def plant_in_calls(
    calls: DataCalls, planted: Planted | None, rank: int, throttle: Throttle | None
) -> None:
    """Let the reads of one thread take longer, where that is planted."""
    if throttle is not None:
        calls.delay = throttle.wait
    elif planted is not None and planted.slow_rank == rank:
        calls.delay = partial(_sleep, planted.slow_read_s)


def plant_in_reader(reader: BatchReader, planted: Planted | None) -> BatchReader:
    """Return a reader that burns CPU time, where that is planted."""
    return BurningReader(reader, planted.burn_s) if planted and planted.burn_s else reader


def _sleep(seconds: float, _size_bytes: int) -> None:
    time.sleep(seconds)
