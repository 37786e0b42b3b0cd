"""imseg's rows: each case is read once by the worker's own reader, and then repeated.

How a case is read depends on its two files alone, so an epoch is a choice among these rows. A run
over 500 GiB is some millions of them.
"""

from collections.abc import Iterable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from harness.plan.calls import PlannedCalls
from harness.plan.content import Content
from harness.worker.loading.npy import NpyReader
from harness.worker.record import ROW, Phase
from harness.worker.workload import Batch, Batches
from harness.worker.workloads.imseg import Case, CropSlots, ImsegReader, ImsegReading, Sample

Rows = NDArray[np.void]


class CaseRows:
    """The rows of every case of a reading.

    Args:
        reading: for its cases.
        content: what reads find.
        block_bytes: st_blksize of the files.
    """

    def __init__(self, reading: ImsegReading, content: Content, *, block_bytes: int) -> None:
        cases = reading.train_cases + reading.eval_cases
        parts = list(_rows_of_cases(cases, content, block_bytes))
        self._workers = reading.spec.loader_workers
        self._rows = np.concatenate(parts)
        self._lengths = np.array([len(part) for part in parts])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._numbers = {case.x.id: number for number, case in enumerate(cases)}

    def of_phase(self, batches: Batches, *, phase: Phase, epoch: int, rank: int) -> Rows:
        """Return the rows of a rank's batches, one batch after the other."""
        samples = [
            (self._numbers[sample.case.x.id], batch.step, self._loader(index))
            for index, batch in ((index, batches[index]) for index in range(len(batches)))
            for sample in batch.samples
        ]
        numbers, steps, loaders = np.array(samples, np.int64).reshape(-1, 3).T
        lengths = self._lengths[numbers]
        # Row i of a case lies i rows after its first one.
        before = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self._starts[numbers] - before, lengths)
        rows: Rows = self._rows[places]
        rows["phase"], rows["epoch"], rows["rank"] = phase, epoch, rank
        rows["step"], rows["loader"] = np.repeat(steps, lengths), np.repeat(loaders, lengths)
        return rows

    def _loader(self, index: int) -> int:
        return index % self._workers + 1 if self._workers else 0


def _rows_of_cases(cases: Iterable[Case], content: Content, block_bytes: int) -> Iterable[Rows]:
    nothing = CropSlots(x=np.empty(0, np.float32), y=np.empty(0, np.uint8))
    calls = PlannedCalls(rank=0, loader=0, content=content, block_bytes=block_bytes, ticks=count())
    npy = NpyReader(calls, block_bytes=block_bytes)
    # Without buffers each file has memory that nobody touches; without a corner nothing is cropped.
    reader = ImsegReader(npy=npy, slots=nothing, x_buffer=None, y_buffer=None)
    for case in cases:
        first = calls.row_count
        reader.read(Batch(step=0, samples=(Sample(case=case, corner=None),)), 0)
        yield calls.rows(first).copy() if calls.row_count > first else np.empty(0, ROW)
