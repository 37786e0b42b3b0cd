"""From a reading to the rows of each rank: the order is the worker's, and so are the readers.

What a rank does one after the other is harness/worker/loop.py: epochs of training, evaluations
between them, a checkpoint at the end. Loader workers read at once; here their batches come one
after the other, in the order in which a rank takes them.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.plan.calls import PlannedCalls
from harness.plan.content import Content
from harness.plan.imseg import CaseRows
from harness.worker.checkpoint import Checkpoint
from harness.worker.imseg import ImsegReading
from harness.worker.loader import slots_for
from harness.worker.order import evaluates
from harness.worker.record import ROW, Phase
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batches, Reading

# st_blksize of ext4 and XFS; the smallest reads have its size.
BLOCK_BYTES: Final = 4096

Rows = NDArray[np.void]


class _RankRows(Protocol):
    """The rows of one rank's readers."""

    def opening(self) -> Rows:
        """Return the rows of making the readers."""

    def of_phase(self, batches: Batches, *, phase: Phase, epoch: int) -> Rows:
        """Return the rows of a phase."""


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
        parts = [np.empty(0, ROW)]
        if rank < reading.readers:
            readers: _RankRows = (
                _Readers(spec, reading, rank, content, block_bytes)
                if cases is None
                else _Repeated(cases, rank)
            )
            parts += _phases(spec, reading, rank, readers)
        if checkpoint is not None and (writer := checkpoint.writer(rank)):
            calls = PlannedCalls(
                rank=rank, loader=0, content=content, block_bytes=block_bytes, ticks=count()
            )
            calls.phase, calls.epoch = Phase.CHECKPOINT, spec.epochs
            writer.save(calls)
            parts.append(_placed(calls.rows(), 2 * spec.epochs + 1))
        yield np.concatenate(parts)


def _phases(spec: WorkerSpec, reading: Reading, rank: int, readers: _RankRows) -> Iterator[Rows]:
    yield _placed(readers.opening(), 0)
    for epoch in range(1, spec.epochs + 1):
        train = readers.of_phase(reading.train(epoch, rank), phase=Phase.TRAIN, epoch=epoch)
        yield _placed(train, 2 * epoch - 1)
        if evaluates(epoch, eval_from=spec.eval_from, eval_every=spec.eval_every):
            batches = reading.evaluation(epoch, rank)
            evaluation = readers.of_phase(batches, phase=Phase.EVAL, epoch=epoch)
            yield _placed(evaluation, 2 * epoch)


def _placed(rows: Rows, phase: int) -> Rows:
    """Return the rows of one phase with the place of each as its times.

    Ranks meet at the end of each step, so calls of one step come before those of the next, whoever
    makes them; within a step, the first call of each rank comes first.

    Args:
        rows: in the order of their calls.
        phase: its number in the run.
    """
    placed = rows.copy()
    steps = placed["step"].astype(np.int64)
    # What belongs to no step comes at the end.
    steps[steps == 0] = steps.max(initial=0) + 1
    first = np.flatnonzero(np.diff(steps, prepend=-1))
    within = np.arange(len(steps)) - np.repeat(first, np.diff(first, append=len(steps)))
    placed["t0_ns"] = placed["t1_ns"] = (phase << 48) + (steps << 24) + within
    return placed


class _Repeated:
    """imseg's: the rows of its cases again."""

    def __init__(self, cases: CaseRows, rank: int) -> None:
        self._cases = cases
        self._rank = rank

    def opening(self) -> Rows:
        """Return none: files are opened when they are read."""
        return np.empty(0, ROW)

    def of_phase(self, batches: Batches, *, phase: Phase, epoch: int) -> Rows:
        """Return the rows of a phase."""
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

    def of_phase(self, batches: Batches, *, phase: Phase, epoch: int) -> Rows:
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
            reader.end()
        return self._new_rows()

    def _new_rows(self) -> Rows:
        rows: Rows = np.concatenate([calls.rows() for calls in self._calls])
        for calls in self._calls:
            calls.forget_rows()
        return rows[np.argsort(rows["t0_ns"], kind="stable")]
