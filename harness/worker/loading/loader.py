"""Loaders bring the batches of a phase in order: by the main thread, or by workers ahead of it."""

import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls
from harness.worker.recording.waits import Waits, split_delivered, split_own
from harness.worker.workload import Batch, Batches, BatchReader

# Per batch, in ns or bytes: when it was ready; what its calls took; what the main thread spent
# while it waited for it, filled in by the loop.
DELIVERY = np.dtype(
    [
        (name, "<i8")
        for name in (
            "ready_ns",
            "io_wall_ns",
            "io_cpu_ns",
            "io_queue_ns",
            "bytes",
            "main_cpu_ns",
            "main_queue_ns",
        )
    ]
)
_DELIVERED = struct.Struct(f"<{len(DELIVERY.names or ())}q")


class Loader(Protocol):
    """Brings batches; one phase after the other."""

    deliveries: NDArray[np.void]

    def start(self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False) -> None:
        """Begin a phase, or go on with it.

        Args:
            batches: of the phase, or the next ones of it.
            phase: what they are for.
            epoch: from 1.
            goes_on: whether more of the phase follow, after another phase: what was read for them
                is kept.
        """

    def next(self) -> Any:
        """Return what was read of the next batch, once it is there; its DELIVERY row is filled.

        It is what the workload's reader leaves, and stays until the next call. None where a rank
        is handed nothing.
        """

    def rehearse(self) -> None:
        """Do what `next` does beside reading and waiting, without its effects."""

    def finish(self) -> None:
        """End the phase and what runs for it."""

    def waits(self, steps: NDArray[np.void]) -> Waits:
        """Return where the waits for the batches of this phase went.

        Args:
            steps: the STEP rows of the batches, without step 0.
        """


class InlineLoader:
    """Reads each batch when it is asked for."""

    def __init__(self, calls: DataCalls, reader: BatchReader, *, most_batches: int) -> None:
        # One more, to rehearse in after the last.
        self.deliveries = np.zeros(most_batches + 1, DELIVERY)
        self._work = _Work(calls=calls, reader=reader, memory=_memory_of(self.deliveries))
        self._calls = calls
        self._batches: Batches = ()
        self._next = 0
        self._goes_on = False

    def start(self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False) -> None:
        """Begin a phase, or go on with it."""
        self._goes_on = goes_on
        self._calls.phase, self._calls.epoch = phase, epoch
        self._calls.forget_marks()
        self._batches, self._next = batches, 0

    def next(self) -> Any:
        """Read the next batch."""
        self._work.read(self._batches[self._next], self._next, slot=0)
        self._next += 1
        return self._work.reader.batch(0)

    def rehearse(self) -> None:
        """Write down a delivery, in the place of the next one or a spare one."""
        self._work.rehearse(self._next)

    def finish(self) -> None:
        """End the phase, or this part of it."""
        if not self._goes_on:
            self._work.end()

    def waits(self, steps: NDArray[np.void]) -> Waits:
        """Return the split from the main thread's own clocks."""
        rows = self.deliveries[: len(steps)]
        return split_own(
            interval_ns=steps["load_end_ns"] - steps["load_start_ns"],
            cpu_ns=rows["main_cpu_ns"],
            queue_ns=rows["main_queue_ns"],
            io_wall_ns=rows["io_wall_ns"],
            io_cpu_ns=rows["io_cpu_ns"],
            io_queue_ns=rows["io_queue_ns"],
        )


class ThreadLoader:
    """Workers read whole batches ahead: batch i is worker i % W's, as in PyTorch's DataLoader.

    `prefetch` batches per worker are under way or waiting at the start; each batch taken allows
    its worker one more. So a slot is free again when `slots_for(W, prefetch)` are used in turn.
    Workers live for one phase, or a part of it: they read nothing ahead of a pause.
    """

    def __init__(
        self, workers: Sequence[tuple[DataCalls, BatchReader]], *, prefetch: int, most_batches: int
    ) -> None:
        self.deliveries = np.zeros(most_batches, DELIVERY)
        self._work = [
            _Work(calls=calls, reader=reader, memory=_memory_of(self.deliveries))
            for calls, reader in workers
        ]
        self._prefetch = prefetch
        self._slots = slots_for(len(workers), prefetch)
        self._next = 0
        self._goes_on = False
        self._cores = os.sched_getaffinity(0)
        self._threads: list[threading.Thread] = []
        self._allowed: list[SimpleQueue[bool]] = []
        self._ready: list[SimpleQueue[BaseException | None]] = []

    def start(self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False) -> None:
        """Start the workers on a phase, or on more of it."""
        self._goes_on = goes_on
        count = len(self._work)
        self._next = 0
        self._allowed = [SimpleQueue() for _ in range(count)]
        self._ready = [SimpleQueue() for _ in range(count)]
        self._threads = []
        for number, work in enumerate(self._work):
            for _ in range(self._prefetch):
                self._allowed[number].put(True)
            work.calls.phase, work.calls.epoch = phase, epoch
            work.calls.forget_marks()
            thread = threading.Thread(target=self._run, args=(number, batches), daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self) -> Any:
        """Wait for the next batch."""
        number = self._next % len(self._work)
        failure = self._ready[number].get()
        if failure is not None:
            raise failure
        self._allowed[number].put(True)
        slot = self._next % self._slots
        self._next += 1
        return self._work[number].reader.batch(slot)

    def rehearse(self) -> None:
        """Do nothing: workers do it all."""

    def finish(self) -> None:
        """Wait until the workers have ended."""
        for allowed in self._allowed:
            allowed.put(False)
        for thread in self._threads:
            thread.join()

    def waits(self, steps: NDArray[np.void]) -> Waits:
        """Return the split by what the delivering workers did meanwhile."""
        count = len(self._work)
        kinds = {kind: np.zeros(len(steps), np.int64) for kind in Waits.__dataclass_fields__}
        for number, work in enumerate(self._work):
            own, rows = steps[number::count], self.deliveries[: len(steps)][number::count]
            split = split_delivered(
                start_ns=own["load_start_ns"],
                end_ns=own["load_end_ns"],
                ready_ns=rows["ready_ns"],
                cpu_ns=rows["main_cpu_ns"],
                marks=work.calls.marks(),
            )
            for kind, values in kinds.items():
                values[number::count] = getattr(split, kind)
        return Waits(**kinds)

    def _run(self, number: int, batches: Batches) -> None:
        work, allowed, ready = self._work[number], self._allowed[number], self._ready[number]
        # The main thread may stay on one core; its workers read on all.
        os.sched_setaffinity(0, self._cores)
        work.calls.clock.open()
        try:
            work.calls.mark()
            for index in range(number, len(batches), len(self._work)):
                if not allowed.get():
                    break
                work.read(batches[index], index, slot=index % self._slots)
                ready.put(None)
            if not self._goes_on:
                work.end()
        except BaseException as failure:  # raised again in the main thread
            ready.put(failure)
        finally:
            work.calls.clock.close()


def slots_for(workers: int, prefetch: int) -> int:
    """Return how many batches exist at a time: those read ahead, and the one in use."""
    return workers * prefetch + 1


def _memory_of(deliveries: NDArray[np.void]) -> memoryview:
    return deliveries.view(np.uint8).data


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What one thread reads with, and where its deliveries are written."""

    calls: DataCalls
    reader: BatchReader
    memory: memoryview

    def end(self) -> None:
        self.calls.step = 0  # what is put away belongs to no step
        self.reader.end()

    def read(self, batch: Batch, index: int, *, slot: int) -> None:
        self.calls.step = batch.step
        before = self._sums()
        self.reader.read(batch, slot)
        self._deliver(index, self.calls.mark(), before)

    def rehearse(self, index: int) -> None:
        """Deliver nothing, in a place that a batch is delivered to later."""
        before = self._sums()
        self._deliver(index, self.calls.rehearse(), before)

    def _sums(self) -> tuple[int, int, int, int]:
        totals = self.calls.totals
        return totals.wall_ns, totals.cpu_ns, totals.runqueue_ns, totals.read_bytes

    def _deliver(self, index: int, ready_ns: int, before: tuple[int, int, int, int]) -> None:
        totals = self.calls.totals
        wall_ns, cpu_ns, runqueue_ns, read_bytes = before
        # An accelerator waits for this: packing takes a tenth of numpy's time for a row.
        _DELIVERED.pack_into(
            self.memory,
            index * DELIVERY.itemsize,
            ready_ns,
            totals.wall_ns - wall_ns,
            totals.cpu_ns - cpu_ns,
            totals.runqueue_ns - runqueue_ns,
            totals.read_bytes - read_bytes,
            0,
            0,
        )
