"""Evaluations and the checkpoint: outside every AU, told on their own."""

import numpy as np

from harness.analysis.counted import NOTHING_COUNTED, Counted
from harness.analysis.part import Part
from harness.analysis.recording import Recording, Records
from harness.analysis.volume import Volume, volume
from harness.worker.record import WINDOW, Op, Phase


class EvaluationPass(Part, frozen=True, kw_only=True):
    """One evaluation: from the first rank's start to the last rank's end."""

    epoch: int
    samples: int
    window_ns: int
    bytes: Volume


class Checkpoint(Part, frozen=True, kw_only=True):
    """The checkpoint at the end, of all ranks that write one.

    `window_ns` is from the first start to the last end, `fsync_ns` the longest that a rank of it
    spent in fsync.
    """

    epoch: int
    written_bytes: int
    window_ns: int
    fsync_ns: int


def evaluations_of(
    recording: Recording, *, byte_source: str, counted: Counted = NOTHING_COUNTED
) -> list[EvaluationPass]:
    """Return every evaluation that all ranks finished, in order."""
    rows = [own[own["phase"] == Phase.EVAL] for own in recording.windows]
    numbers = sorted({int(number) for own in rows for number in own["epoch"]})
    passes = []
    for number in numbers:
        windows = [own[own["epoch"] == number] for own in rows]
        if not all(len(own) == 1 for own in windows):
            continue
        both = np.concatenate(windows)
        passes.append(
            EvaluationPass(
                epoch=number,
                samples=int(both["samples"].sum()),
                window_ns=int(both["end_ns"].max() - both["start_ns"].min()),
                bytes=volume([both], byte_source=byte_source, counted=counted),
            )
        )
    return passes


def checkpoint_of(recording: Recording) -> Checkpoint | None:
    """Return the checkpoint that ranks finished, None when there was none."""
    windows = [own[own["phase"] == Phase.CHECKPOINT] for own in recording.windows]
    every = np.concatenate([np.empty(0, WINDOW), *windows])
    if not len(every):
        return None
    finished = [
        rows[(rows["phase"] == Phase.CHECKPOINT) & (rows["errno"] == 0)]
        for own, rows in zip(windows, recording.rows, strict=True)
        if len(own)
    ]
    return Checkpoint(
        epoch=int(every["epoch"].max()),
        written_bytes=sum(int(own["returned"][own["op"] == Op.WRITE].sum()) for own in finished),
        window_ns=int(every["end_ns"].max() - every["start_ns"].min()),
        fsync_ns=max(_fsync_ns(own) for own in finished),
    )


def _fsync_ns(rows: Records) -> int:
    syncs = rows[rows["op"] == Op.FSYNC]
    return int((syncs["t1_ns"] - syncs["t0_ns"]).sum())
