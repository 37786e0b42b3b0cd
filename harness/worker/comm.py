"""How ranks of one host meet: a barrier, and a board on which they write how far they are."""

import mmap
from enum import IntEnum
from multiprocessing.context import ForkContext

import numpy as np
from numpy.typing import NDArray


class Turnstile:
    """A barrier for forked processes: two semaphores used in turn, and a counter under a lock.

    The last to arrive opens the gate for the others and goes through without sleeping. Two gates
    are enough: the next round can only fill up when everybody has left this one, so a gate is
    empty again before its second next round. With 8 processes it costs a seventh of
    `multiprocessing.Barrier`. A signal handler that raises ends the wait; whoever stops one
    party stops them all, for the barrier is not usable after that.
    """

    def __init__(self, context: ForkContext, parties: int) -> None:
        self._parties = parties
        self._lock = context.Lock()
        self._gates = (context.Semaphore(0), context.Semaphore(0))
        self._arrived = context.RawValue("i", 0)
        self._round = 0  # of this process: each counts its own passages

    def wait(self) -> None:
        """Return when all parties have called it as often as this one."""
        gate = self._gates[self._round]
        self._round ^= 1
        with self._lock:
            self._arrived.value += 1
            last = self._arrived.value == self._parties
            if last:
                self._arrived.value = 0
        if not last:
            gate.acquire()
            return
        for _ in range(self._parties - 1):
            gate.release()


class Activity(IntEnum):
    """What a rank is doing, for the progress line."""

    START = 0
    EVICT = 1
    TRAIN = 2
    EVAL = 3
    CHECKPOINT = 4


class Board:
    """Shared memory in which each rank keeps its position; the parent reads it once a second."""

    _FIELDS = 5

    def __init__(self, ranks: int) -> None:
        memory = mmap.mmap(-1, ranks * self._FIELDS * 8)
        flat = np.frombuffer(memory, np.int64)
        self._cells: NDArray[np.int64] = flat.reshape(ranks, self._FIELDS)

    def enter(self, rank: int, activity: Activity, epoch: int, steps: int) -> None:
        """Write that `rank` begins an activity of `steps` steps."""
        self._cells[rank, :4] = (activity, epoch, 0, steps)

    def advance(self, rank: int, step: int, read_bytes: int) -> None:
        """Write the last finished step, and the bytes it took."""
        cells = self._cells
        cells[rank, 2] = step
        cells[rank, 4] += read_bytes

    def position(self) -> tuple[Activity, int, int, int]:
        """Return activity, epoch, step and steps of rank 0; barriers keep the others near it."""
        activity, epoch, step, steps = (int(value) for value in self._cells[0, :4])
        return Activity(activity), epoch, step, steps

    def read_bytes(self) -> int:
        """Return the bytes that all ranks read so far."""
        return int(self._cells[:, 4].sum())
