"""From a reading to the rows of each rank: the order is the worker's, and so are the readers.

What a rank does one after the other is the loop in harness/worker/ranks, by its schedule: parts of
epochs, evaluations and checkpoints after them. Loader workers read at once; here their batches come
one after the other, in the order in which a rank takes them.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import UsageError
from harness.plan.calls import PlannedCalls
from harness.plan.content import Content
from harness.plan.imseg import CaseRows
from harness.worker.checkpoint import Checkpoint
from harness.worker.loading.loader import slots_for
from harness.worker.record import ROW, Phase
from harness.worker.schedule import parts_of_epoch
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batches, PartOfBatches, Reading
from harness.worker.workloads.imseg import ImsegReading

# st_blksize of ext4 and XFS; the smallest reads have its size.
BLOCK_BYTES: Final = 4096

# A place has 18 bits for its phase, 24 for its step, and 21 for its call within that.
_STEP_BITS: Final = 21
_PHASE_BITS: Final = 45

Rows = NDArray[np.void]


class _RankRows(Protocol):
    """The rows of one rank's readers."""

    def opening(self) -> Rows:
        """Return the rows of making the readers."""

    def of_phase(
        self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False
    ) -> Rows:
        """Return the rows of a phase, or of a part of it where it `goes_on` after another one."""


def plan_rows(
    spec: WorkerSpec,
    reading: Reading,
    content: Content,
    *,
    checkpoint: Checkpoint | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Rows]:
    """Yield each rank's rows in the order of its calls, which t0_ns and t1_ns tell; cpu_ns is 0.

    Times of different ranks are as if they took the calls of a step in turns.

    Args:
        spec: of the run; its loader is `native`.
        reading: of its data set.
        content: what reads find in the files of `reading`.
        checkpoint: which the run writes; None for none.
        block_bytes: st_blksize of the files.
    """
    cases: CaseRows | None = None
    if isinstance(reading, ImsegReading):
        cases = CaseRows(reading, content, block_bytes=block_bytes)
    for rank in range(spec.accelerators):
        phases = _phases(
            spec,
            reading,
            rank,
            _rank_rows(spec, reading, rank, content, block_bytes, cases),
            _Saves(checkpoint, rank, content, block_bytes),
        )
        yield np.concatenate([placed(rows, number) for number, rows in enumerate(phases)])


def _rank_rows(
    spec: WorkerSpec,
    reading: Reading,
    rank: int,
    content: Content,
    block_bytes: int,
    cases: CaseRows | None,
) -> _RankRows | None:
    """Return what makes the rows of a rank that reads."""
    if rank >= reading.readers:
        return None
    if cases is not None:
        return _Repeated(cases, rank)
    return _Readers(spec, reading, rank, content, block_bytes)


def _phases(
    spec: WorkerSpec, reading: Reading, rank: int, readers: _RankRows | None, saves: "_Saves"
) -> Iterator[Rows]:
    """Yield the rows of each phase in their order; as many of every rank, some without rows."""
    steps, none = reading.steps_per_epoch, np.empty(0, ROW)
    yield readers.opening() if readers else none
    for epoch in range(1, spec.epochs + 1):
        batches: Batches = reading.train(epoch, rank) if readers else ()
        for part in parts_of_epoch(spec, epoch, steps, after_tests=saves.after_tests):
            own = PartOfBatches(batches=batches, places=range(part.start, part.stop))
            goes_on = part.stop < steps
            yield (
                readers.of_phase(own, phase=Phase.TRAIN, epoch=epoch, goes_on=goes_on)
                if readers
                else none
            )
            if part.evaluated:
                yield (
                    readers.of_phase(reading.evaluation(epoch, rank), phase=Phase.EVAL, epoch=epoch)
                    if readers
                    else none
                )
            if part.saved:
                yield saves.next(epoch)


def placed(rows: Rows, phase: int) -> Rows:
    """Return the rows of one phase with the place of each as its times.

    Ranks meet at the end of each step, so calls of one step come before those of the next, whoever
    makes them; within a step, the first call of each rank comes first.

    Args:
        rows: in the order of their calls.
        phase: its number in the run.

    Raises:
        UsageError: such a number has no place in 64 bits.
    """
    if phase >= 1 << 63 - _PHASE_BITS:
        what = f"more than {1 << 63 - _PHASE_BITS:,} parts of epochs cannot be planned"
        raise UsageError(what, where="plan", then="plan fewer epochs or evaluations")
    own = rows.copy()
    steps = own["step"].astype(np.int64)
    # What belongs to no step comes at the end.
    steps[steps == 0] = steps.max(initial=0) + 1
    first = np.flatnonzero(np.diff(steps, prepend=-1))
    within = np.arange(len(steps)) - np.repeat(first, np.diff(first, append=len(steps)))
    own["t0_ns"] = own["t1_ns"] = (phase << _PHASE_BITS) + (steps << _STEP_BITS) + within
    return own


class _Saves:
    """The checkpoints of a rank, one after the other; none where the run writes none."""

    def __init__(
        self, checkpoint: Checkpoint | None, rank: int, content: Content, block_bytes: int
    ) -> None:
        self._checkpoint = checkpoint
        self._rank = rank
        self._turn = 0
        self._calls = PlannedCalls(
            rank=rank, loader=0, content=content, block_bytes=block_bytes, ticks=count()
        )
        self._calls.phase = Phase.CHECKPOINT

    @property
    def after_tests(self) -> bool:
        """Whether one follows each evaluation."""
        return self._checkpoint is not None and self._checkpoint.after_tests

    def next(self, epoch: int) -> Rows:
        """Return the rows of the next checkpoint."""
        writer = self._checkpoint.writer(self._rank, self._turn) if self._checkpoint else None
        self._turn += 1
        if writer is not None:
            self._calls.epoch = epoch
            writer.save(self._calls)
        rows = self._calls.rows()
        self._calls.forget_rows()
        return rows


class _Repeated:
    """imseg's: the rows of its cases again."""

    def __init__(self, cases: CaseRows, rank: int) -> None:
        self._cases = cases
        self._rank = rank

    def opening(self) -> Rows:
        """Return none: files are opened when they are read."""
        return np.empty(0, ROW)

    def of_phase(
        self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False
    ) -> Rows:
        """Return the rows of a phase, or of a part of it."""
        del goes_on  # files are closed when they are read
        return self._cases.of_phase(batches, phase=phase, epoch=epoch, rank=self._rank)


class _Readers:
    """The workload's own readers, one for each loader worker, or the rank's main thread."""

    def __init__(
        self, spec: WorkerSpec, reading: Reading, rank: int, content: Content, block_bytes: int
    ) -> None:
        ticks = count()
        loaders = range(1, spec.loader_workers + 1) if spec.loader_workers else range(1)
        self._slots = slots_for(spec.loader_workers, spec.prefetch_batches)
        slots = reading.slots(self._slots)
        self._calls = [
            PlannedCalls(
                rank=rank, loader=loader, content=content, block_bytes=block_bytes, ticks=ticks
            )
            for loader in loaders
        ]
        self._readers = [reading.reader(calls, slots) for calls in self._calls]

    def opening(self) -> Rows:
        """Return the rows of making the readers."""
        return self._new_rows()

    def of_phase(
        self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False
    ) -> Rows:
        """Return the rows of a phase; what is put away at its end belongs to no step."""
        for calls in self._calls:
            calls.phase, calls.epoch = phase, epoch
        for index in range(len(batches)):
            worker = index % len(self._calls)
            batch = batches[index]
            self._calls[worker].step = batch.step
            self._readers[worker].read(batch, index % self._slots)
        for calls, reader in zip(self._calls, self._readers, strict=True):
            calls.step = 0
            if not goes_on:
                reader.end()
        return self._new_rows()

    def _new_rows(self) -> Rows:
        rows: Rows = np.concatenate([calls.rows() for calls in self._calls])
        for calls in self._calls:
            calls.forget_rows()
        return rows[np.argsort(rows["t0_ns"], kind="stable")]
