"""Rows and clocks: what the calls of a thread leave, and what that costs as little as may be."""

import mmap
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.worker.record import PACKED_ROW, ROW, FileClass, Op, Phase
from harness.worker.recording.clock import ThreadClock
from harness.worker.recording.whereabouts import NO_FILE, WHERE, Place, Post

Role = Literal["train", "eval", "sidecar", "checkpoint"]

# Per call what a row has no room for: the thread's CPU clock at both ends, the run-queue delay
# between them, and the CPU of brief calls, which have no mark, since the mark before.
MARK = np.dtype([(f"{name}_ns", "<i8") for name in ("t0", "t1", "cpu0", "cpu1", "queue", "brief")])
_MARK = struct.Struct("<qqqqqq")
_ROW_BYTES, _MARK_BYTES = PACKED_ROW.size, _MARK.size
_pack_row, _pack_mark, _pack_where = PACKED_ROW.pack_into, _MARK.pack_into, WHERE.pack_into
_monotonic_ns, _thread_time_ns = time.monotonic_ns, time.thread_time_ns
# What is off its processor for less than this has not waited for a core: to be taken from it and
# to get it back takes longer. So schedstat, dearer than both clocks, is only asked after more: what
# it does not tell is at most this for each gap between two calls; in a call it is its CPU time.
_UNNOTICED_NS = 3_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedFile:
    """A file of the trace: `id` is what rows carry, `path` is absolute."""

    id: int
    path: str
    size_bytes: int
    file_class: FileClass
    role: Role


@dataclass(slots=True)
class Totals:
    """Running sums over a thread's calls; differences of two looks belong to what lay between."""

    wall_ns: int = 0
    cpu_ns: int = 0
    runqueue_ns: int = 0
    read_bytes: int = 0


class Recorder:
    """The calls of one thread and the rows they leave, in memory that is there from the start.

    Args:
        rows: capacity; one more call than that is an error.
        marks: capacity; begins again with `forget_marks`.
        loader: 0 for the main thread, 1.. for loader workers.
        memory: of the rows, all zero; its own where there is none.
        post: where the thread writes what it is in, for others to see.

    Set `phase`, `epoch` and `step` before the calls they describe.
    """

    def __init__(
        self,
        *,
        rank: int,
        loader: int,
        rows: int,
        marks: int,
        memory: mmap.mmap | None = None,
        post: Post | None = None,
    ) -> None:
        self.clock = ThreadClock()
        self.totals = Totals()
        self.phase = Phase.TRAIN
        self.epoch = 0
        self.step = 0
        self.row_count = 0
        self.mark_count = 0
        self.look_count = 0
        self._brief_ns = 0  # CPU of brief calls since the last mark
        self._rank = rank
        self._loader = loader
        self._rows = bytearray(rows * PACKED_ROW.size) if memory is None else memory
        if rows:  # every page is written now
            np.frombuffer(self._rows, np.uint8)[:: mmap.PAGESIZE] = 0
        # A product, unlike bytearray(n), does so as well.
        self._marks = bytearray(b"\0") * ((marks + 1) * _MARK.size)  # one to rehearse
        # The run-queue delay up to the last call's end, and the clocks there.
        self._queue_ns = self._t1_ns = self._cpu1_ns = self._sleeps = 0
        self._post = post or Post()

    def rows(self, start: int = 0) -> NDArray[np.void]:
        """Return the rows from number `start` on, as a view."""
        return np.frombuffer(self._rows, ROW)[start : self.row_count]

    def marks(self) -> NDArray[np.void]:
        """Return the marks since the last `forget_marks`, as a view."""
        return np.frombuffer(self._marks, MARK)[: self.mark_count]

    def forget_marks(self) -> None:
        """Use the memory of the marks again."""
        self.mark_count = 0

    def mark(self) -> int:
        """Leave a mark without a call: an end of what this thread did meanwhile."""
        now_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        self._leave_mark(now_ns, now_ns, cpu_ns, cpu_ns, self._queue_ns)
        return now_ns

    def rehearse(self) -> int:
        """Leave a mark, and take it back."""
        brief_ns = self._brief_ns
        now_ns = self.mark()
        self.mark_count -= 1
        self._brief_ns = brief_ns
        return now_ns

    def outside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what reads by calls of its own: no row, but a mark, as of one call that blocks."""
        self._look()
        queue0_ns = self._queue_ns
        t0_ns = time.monotonic_ns()
        cpu0_ns = time.thread_time_ns()
        self._post.enter(Place.PIPELINE, t0_ns)
        try:
            return function(*arguments)
        finally:
            cpu1_ns = time.thread_time_ns()
            t1_ns = time.monotonic_ns()
            self._post.leave(t1_ns)
            self._look()
            self._t1_ns, self._cpu1_ns = t1_ns, cpu1_ns
            self._leave_mark(t0_ns, t1_ns, cpu0_ns, cpu1_ns, queue0_ns)

    def _attempt(
        self,
        op: Op,
        file: TracedFile,
        offset: int,
        requested: int,
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        # Longer than a screen: each function called here would make every row dearer.
        # Returns the failure instead of raising it: some calls are made although they must fail.
        post, errno = self._post, 0
        # The CPU clock is read inside the wall clock, so that CPU never exceeds wall.
        t0_ns = _monotonic_ns()
        cpu0_ns = _thread_time_ns()
        if t0_ns - self._t1_ns - (cpu0_ns - self._cpu1_ns) > _UNNOTICED_NS:
            self._look()
            t0_ns = _monotonic_ns()
            cpu0_ns = _thread_time_ns()
        queue0_ns, sleeps = self._queue_ns, self._sleeps
        _pack_where(post.memory, post.offset, t0_ns, file.id, op)
        try:
            result = function(*arguments)
            returned = result if type(result) is int else 0
        except OSError as error:
            # With its traceback it would keep this frame, and the buffers of all its callers,
            # until the garbage collector comes by.
            result, returned, errno = error.with_traceback(None), -1, error.errno or 0
        self._cpu1_ns = cpu1_ns = _thread_time_ns()
        self._t1_ns = t1_ns = _monotonic_ns()
        _pack_where(post.memory, post.offset, t1_ns, NO_FILE, 0)
        cpu_ns = cpu1_ns - cpu0_ns
        if t1_ns - t0_ns - cpu_ns > _UNNOTICED_NS:
            self._look()
            if self._sleeps == sleeps:
                # Who never slept did not wait for storage. What is missing was without a core,
                # also where a hypervisor had taken it, of which the run queue does not know.
                queue0_ns = self._queue_ns - (t1_ns - t0_ns - cpu_ns)
        else:
            # Nor has it waited for storage: the rest lies between the readings of the two clocks,
            # before the call as after it.
            apart_ns = t1_ns - t0_ns - cpu_ns
            cpu_ns += apart_ns
            cpu0_ns -= apart_ns // 2
            cpu1_ns = cpu0_ns + cpu_ns
        _pack_row(
            self._rows,
            self.row_count * _ROW_BYTES,
            t0_ns,
            t1_ns,
            cpu_ns,
            offset,
            requested,
            returned,
            file.id,
            self.epoch,
            self.step,
            self._rank,
            self._loader,
            op,
            file.file_class,
            self.phase,
            errno,
        )
        self.row_count += 1
        self._leave_mark(t0_ns, t1_ns, cpu0_ns, cpu1_ns, queue0_ns)
        return result

    def _brief(
        self,
        op: Op,
        file: TracedFile,
        offset: int,
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        """Make a call that no storage answers, and return what it returned or its failure.

        One that is over at once has not lost its core: its CPU time is its wall time, and nobody
        has to ask for it.
        """
        post, errno = self._post, 0
        t0_ns = _monotonic_ns()
        _pack_where(post.memory, post.offset, t0_ns, file.id, op)
        try:
            result = function(*arguments)
            returned = result if type(result) is int else 0
        except OSError as error:
            result, returned, errno = error.with_traceback(None), -1, error.errno or 0
        t1_ns = _monotonic_ns()
        _pack_where(post.memory, post.offset, t1_ns, NO_FILE, 0)
        cpu_ns = t1_ns - t0_ns
        if cpu_ns > _UNNOTICED_NS:
            cpu_ns = self._brief_cpu_ns(t0_ns, t1_ns)
        self._brief_ns += cpu_ns
        totals = self.totals
        totals.wall_ns += t1_ns - t0_ns
        totals.cpu_ns += cpu_ns
        _pack_row(
            self._rows,
            self.row_count * _ROW_BYTES,
            t0_ns,
            t1_ns,
            cpu_ns,
            offset,
            -1,
            returned,
            file.id,
            self.epoch,
            self.step,
            self._rank,
            self._loader,
            op,
            file.file_class,
            self.phase,
            errno,
        )
        self.row_count += 1
        return result

    def _brief_cpu_ns(self, t0_ns: int, t1_ns: int) -> int:
        """Return the CPU of a brief call that was not over at once, and book what it lost.

        It has no more CPU than the thread had since its clock was last read: what its wall time has
        beyond that it was without a core. Where another thread made the call before, the clock is
        that one's and tells nothing.
        """
        cpu1_ns = _thread_time_ns()
        wall_ns, had_ns = t1_ns - t0_ns, cpu1_ns - self._cpu1_ns
        if not 0 <= had_ns < wall_ns:
            return wall_ns
        # Booked now: neither the next call nor the gap before it shall find it again.
        self._look()
        self._t1_ns, self._cpu1_ns = t1_ns, cpu1_ns
        self.totals.runqueue_ns += wall_ns - had_ns
        return had_ns

    def _look(self) -> None:
        self._queue_ns = self.clock.runqueue_ns()
        self._sleeps = self.clock.sleeps()
        self.look_count += 1

    def _leave_mark(
        self, t0_ns: int, t1_ns: int, cpu0_ns: int, cpu1_ns: int, queue0_ns: int
    ) -> None:
        wall_ns, cpu_ns = t1_ns - t0_ns, cpu1_ns - cpu0_ns
        totals, queue_ns = self.totals, self._queue_ns - queue0_ns
        if queue_ns:
            # schedstat is read outside the wall clock: what does not fit in was lost before or
            # after.
            queue_ns = min(queue_ns, wall_ns - cpu_ns)
            totals.runqueue_ns += queue_ns
        _pack_mark(
            self._marks,
            self.mark_count * _MARK_BYTES,
            t0_ns,
            t1_ns,
            cpu0_ns,
            cpu1_ns,
            queue_ns,
            self._brief_ns,
        )
        self.mark_count += 1
        self._brief_ns = 0
        totals.wall_ns += wall_ns
        totals.cpu_ns += cpu_ns
