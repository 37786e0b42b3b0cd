"""Time as a thread sees it: the wall, its CPU, and how long it waited for a core."""

import ctypes
import os
import resource
import time
from typing import NamedTuple

_PR_SET_TIMERSLACK = 29
_SCHEDSTAT = "/proc/thread-self/schedstat"


# A look takes a few microseconds; longer means that the thread lost its core in the middle.
_LOOK_NS = 50_000


class Look(NamedTuple):
    """A thread's clocks at one moment, in ns."""

    now: int
    cpu: int
    queue: int


class ThreadClock:
    """The clocks of the thread that called `open`.

    The run-queue delay comes from schedstat through a descriptor that is opened once. Each look
    is a read that the kernel counts in /proc/self/io, so the clock counts it too: `read_bytes`.
    Without schedstat (other kernels, sandboxes) the delay is 0 and `has_schedstat` False.
    """

    def __init__(self) -> None:
        self.read_bytes = 0
        self.has_schedstat = False
        self._descriptor = -1
        self._queue_ns = 0  # of the last look

    def open(self) -> None:
        """Attach to the calling thread."""
        self._queue_ns = 0
        try:
            self._descriptor = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self.has_schedstat = True

    def close(self) -> None:
        """Detach; the count of bytes stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def runqueue_ns(self) -> int:
        """Return how long this thread was ready but without a core since it began."""
        if self._descriptor < 0:
            return 0
        text = os.pread(self._descriptor, 96, 0)
        self.read_bytes += len(text)
        return int(text.split()[1])

    def sleeps(self) -> int:
        """Return how often this thread has given its core away by itself since it began."""
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def look(self) -> Look:
        """Return all clocks as they were at the first of them.

        A core lost between two of them would put a delay after `now` into a queue time before it.
        But one lost after the last of them, or to a hypervisor, is in no queue time yet: what is
        taken off is at most what came since the look before, so that no delay is negative. The
        look after it makes up for what was taken off in error.
        """
        now_ns = time.monotonic_ns()
        cpu_ns = time.thread_time_ns()
        queue_ns = self.runqueue_ns()
        took_ns = time.monotonic_ns() - now_ns
        if took_ns > _LOOK_NS:
            queue_ns -= took_ns - (time.thread_time_ns() - cpu_ns)
        self._queue_ns = max(self._queue_ns, queue_ns)
        return Look(now_ns, cpu_ns, self._queue_ns)


def set_timer_slack() -> None:
    """Ask the kernel to wake this thread, and those it starts, when asked and not 50 us later."""
    # A kernel that refuses costs 50 us a step, and the overshoot that is measured shows them.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


def wall_anchor() -> dict[str, int]:
    """Return one moment on both clocks: CLOCK_MONOTONIC and the calendar, in ns."""
    before_ns = time.monotonic_ns()
    unix_ns = time.time_ns()
    return {"monotonic_ns": (before_ns + time.monotonic_ns()) // 2, "unix_ns": unix_ns}
