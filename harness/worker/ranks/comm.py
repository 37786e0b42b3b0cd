"""How ranks of one host meet: a barrier, and a board on which they write how far they are."""

import mmap
import time
from enum import IntEnum
from functools import cached_property
from multiprocessing.context import ForkContext
from multiprocessing.synchronize import Lock, Semaphore
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Longer than it takes to wake a sleeper up, and short beside any step.
SPIN_NS = 300_000


class Turnstile:
    """A barrier for forked processes: two semaphores used in turn, and a counter under a lock.

    The last to arrive opens the gate for the others and goes through without sleeping. Two gates
    are enough: the next round can only fill up when everybody has left this one, so a gate is
    empty again before its second next round. With 8 processes it costs a seventh of
    `multiprocessing.Barrier`. A signal handler that raises ends the wait; whoever stops one
    party stops them all, for the barrier is not usable after that.

    Args:
        context: of the processes.
        parties: how many meet.
        spin: burn a core for up to `SPIN_NS` before sleeping, for those who have one to spare.
            Who sleeps wakes up late, is the last one next time, and so makes the next one late.

    `spin_ns` is the time burnt by this process.
    """

    def __init__(self, context: ForkContext, parties: int, *, spin: bool) -> None:
        self._context = context
        self._parties = parties
        self._spin = spin
        self.spin_ns = 0
        self._lock = context.Lock()
        self._gates = (context.Semaphore(0), context.Semaphore(0))
        self._arrived = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self._round = 0  # of this process: each counts its own passages

    def wait(self) -> None:
        """Return when all parties have called it as often as this one."""
        gate = self._gates[self._round]
        self._round ^= 1
        with self._lock:
            arrived = self._arrived[0] + 1
            last = arrived == self._parties
            self._arrived[0] = 0 if last else arrived
        if not last:
            if not (self._spin and self._spin_at(gate)):
                gate.acquire()
            return
        for _ in range(self._parties - 1):
            gate.release()

    def rehearse(self) -> None:
        """Do what `wait` does, without arriving, and with a lock of this process's own."""
        gate = self._gates[self._round]
        with self._own_lock:
            pass
        gate.acquire(block=False)  # in vain: it opens when this party has arrived, too

    @cached_property
    def _own_lock(self) -> Lock:
        return self._context.Lock()  # made after the fork: many that rehearse share none

    def _spin_at(self, gate: Semaphore) -> bool:
        """Try the gate for a while, and say whether it opened."""
        start_ns = now_ns = time.monotonic_ns()
        opened = False
        while not opened and now_ns - start_ns < SPIN_NS:
            opened = gate.acquire(block=False)
            now_ns = time.monotonic_ns()
        self.spin_ns += now_ns - start_ns
        return opened


class Activity(IntEnum):
    """What a rank is doing, for the progress line."""

    START = 0
    EVICT = 1
    TRAIN = 2
    EVAL = 3
    CHECKPOINT = 4


class Tally(NamedTuple):
    """Sums over the measured epochs, up to the last step that all ranks have finished.

    Ratios of them are what a result makes of the rows: AU is declared / window, bandwidth bytes /
    window. `window_ns` runs from the release of each opening barrier, which is when the first rank
    left it, to the release of the last one.
    """

    declared_ns: int
    window_ns: int
    bytes: int


class Board:
    """Shared memory in which each rank keeps its position; the parent reads it once a second.

    Args:
        ranks: how many.
        epochs: of the run.
        warmup_epochs: the first ones, which no figure is made of.
    """

    # Of a rank: activity, epoch, step, steps, bytes. Of its epoch: steps finished, start, and
    # twice, for even and odd steps: end, declared and bytes since the start.
    _FIELDS, _EPOCH_FIELDS = 5, 8

    def __init__(self, ranks: int, *, epochs: int, warmup_epochs: int = 0) -> None:
        shape = (ranks, epochs + 1, self._EPOCH_FIELDS)
        cells = ranks * self._FIELDS
        memory = mmap.mmap(-1, (cells + int(np.prod(shape))) * 8)
        flat = np.frombuffer(memory, np.int64)
        self._cells: NDArray[np.int64] = flat[:cells].reshape(ranks, self._FIELDS)
        self._epochs: NDArray[np.int64] = flat[cells:].reshape(shape)
        self._warmup_epochs = warmup_epochs

    def enter(
        self, rank: int, activity: Activity, epoch: int, steps: int, *, done: int = 0
    ) -> None:
        """Write that `rank` begins an activity of `steps` steps, or goes on after `done`."""
        self._cells[rank, :4] = (activity, epoch, done, steps)

    def start(self, rank: int, epoch: int, start_ns: int) -> None:
        """Write when `rank` left the barrier that opens the epoch."""
        self._epochs[rank, epoch, 1] = start_ns

    def advance(self, rank: int, step: int, read_bytes: int) -> None:
        """Write the last finished step, and the bytes it took."""
        cells = self._cells
        cells[rank, 2] = step
        cells[rank, 4] += read_bytes

    def finish(
        self, rank: int, epoch: int, step: int, *, end_ns: int, declared_ns: int, read_bytes: int
    ) -> None:
        """Write a training step: when `rank` left the barrier after it, and what it adds."""
        own = self._epochs[rank, epoch]
        here, before = (2, 5) if step % 2 == 0 else (5, 2)
        own[here] = end_ns
        own[here + 1] = own[before + 1] + declared_ns
        own[here + 2] = own[before + 2] + read_bytes
        # Last: who reads the count finds what belongs to it.
        own[0] = step
        self.advance(rank, step, read_bytes)

    def position(self) -> tuple[Activity, int, int, int]:
        """Return activity, epoch, step and steps of rank 0; barriers keep the others near it."""
        activity, epoch, step, steps = (int(value) for value in self._cells[0, :4])
        return Activity(activity), epoch, step, steps

    def read_bytes(self) -> int:
        """Return the bytes that all ranks read so far."""
        return int(self._cells[:, 4].sum())

    def snapshot(self) -> bytes:
        """Return the ranks' positions as they are: they differ once any rank got on."""
        return self._cells.tobytes()

    def tally(self) -> Tally:
        """Return what the steps so far come to.

        The barrier lets no rank finish two steps while another finishes none: what belongs to the
        last step that all have finished is at its parity in every rank.
        """
        begun = int(self._cells[:, 1].max())
        epochs = self._epochs[:, self._warmup_epochs + 1 : begun + 1].copy()
        steps = epochs[:, :, 0].min(axis=0)
        even = (steps % 2 == 0)[np.newaxis, :, np.newaxis]
        ends = np.where(even, epochs[:, :, 2:5], epochs[:, :, 5:8])[:, steps > 0]
        starts = epochs[:, steps > 0, 1]
        if not ends.size:
            return Tally(0, 0, 0)
        windows = ends[:, :, 0].min(axis=0) - starts.min(axis=0)
        declared = ends[:, :, 1].sum(axis=0) // len(ends)
        return Tally(int(declared.sum()), int(windows.sum()), int(ends[:, :, 2].sum()))
