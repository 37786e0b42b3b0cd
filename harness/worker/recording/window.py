"""Measured windows: what the kernel counted must be what the rows say, to the byte."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from harness.worker.failure import SelfCheckError
from harness.worker.host.counters import IoCounters, IoSnapshot
from harness.worker.host.sources import Sources
from harness.worker.record import WINDOW, Op, Phase, SourceCount
from harness.worker.recording.io import DataCalls


class Meter:
    """Measures one window after the other, over all threads of this process.

    Args:
        calls: of every thread that may read data.
        inferred: whether data is read by calls that leave no rows: then what the kernel counted
            beside what is known to be no data stands for them.
        bystanders: returns what threads that read no data were returned by reads so far; they are
            there before a window opens, and when it has closed.
        sources: which count for all ranks; None where another rank looks at them.
        spun_ns: returns what this process burnt so far while it waited, which is no work.
    """

    def __init__(
        self,
        calls: Sequence[DataCalls],
        *,
        inferred: bool = False,
        bystanders: Callable[[], int] = lambda: 0,
        sources: Sources | None = None,
        spun_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._calls = calls
        self._inferred = inferred
        self._bystanders = bystanders
        self._bystanders_bytes = 0
        self._sources = sources
        self._spun_ns = spun_ns
        self.counts: list[SourceCount] = []
        self._counters = IoCounters()
        self._opened: IoSnapshot | None = None
        self._other_bytes = 0
        self._first_rows: list[int] = []
        self._cpu_ns = 0

    def open(self) -> None:
        """Begin a window."""
        # Before the counters, and after them in `close`: the main thread reads them, too.
        if self._sources is not None:
            self._sources.open()
        self._bystanders_bytes = self._bystanders()
        self._first_rows = [calls.row_count for calls in self._calls]
        self._cpu_ns = self._worked_ns()
        self._opened = self._counters.snapshot()
        self._other_bytes = self._clock_bytes()

    def close(
        self, *, epoch: int, phase: Phase, start_ns: int, end_ns: int, samples: int
    ) -> np.void:
        """End the window and return its WINDOW row."""
        if self._opened is None:
            raise RuntimeError("close without open")
        other_bytes = self._clock_bytes() - self._other_bytes
        closed = self._counters.snapshot()
        # Who loses its core while it burns it has burnt less.
        cpu_ns = max(0, self._worked_ns() - self._cpu_ns)
        other_bytes += self._bystanders() - self._bystanders_bytes
        if self._sources is not None:
            self.counts += self._sources.close(epoch=epoch, phase=phase, start_ns=start_ns)
        opened, self._opened = self._opened, None
        counted_bytes = closed.rchar - opened.rchar - opened.own_bytes
        row_bytes, asked_bytes = self._recorded()
        if self._inferred:
            row_bytes = asked_bytes = counted_bytes - other_bytes
        known = opened.read_bytes >= 0 and closed.read_bytes >= 0
        row = np.zeros(1, WINDOW)
        row[0] = (
            epoch,
            phase,
            start_ns,
            end_ns,
            counted_bytes,
            other_bytes,
            row_bytes,
            asked_bytes,
            closed.read_bytes - opened.read_bytes if known else -1,
            cpu_ns,
            samples,
        )
        window: np.void = row[0]
        return window

    def _worked_ns(self) -> int:
        return time.process_time_ns() - self._spun_ns()

    def _clock_bytes(self) -> int:
        return sum(calls.clock.read_bytes for calls in self._calls)

    def _recorded(self) -> tuple[int, int]:
        row_bytes = asked_bytes = 0
        for calls, first in zip(self._calls, self._first_rows, strict=True):
            rows = calls.rows(first)
            reads = rows[np.isin(rows["op"], (Op.READ, Op.PREAD)) & (rows["errno"] == 0)]
            row_bytes += int(reads["returned"].sum())
            asked_bytes += int(reads["requested"].sum())
        return row_bytes, asked_bytes


def check_window(window: np.void, rank: int) -> None:
    """Compare the kernel's bytes with the rows'.

    Raises:
        SelfCheckError: they differ.
    """
    counted = int(window["rchar"])
    recorded, other = int(window["row_bytes"]), int(window["other_read_bytes"])
    if counted != recorded + other:
        phase = Phase(int(window["phase"])).name.lower()
        what = (
            f"the kernel counted {counted:,} bytes read, the rows hold {recorded:,} "
            f"and {other:,} are known beside the data"
        )
        where = f"rank {rank}, epoch {window['epoch']}, {phase}"
        raise SelfCheckError(what, where=where, then="report it: this recording cannot be trusted")
